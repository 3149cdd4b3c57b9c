# SPDX-License-Identifier: Apache-2.0
"""Both flows, as by default: where one is denied the other one serves, where it is
down nobody looks for another; and who has a token keeps it whatever happens."""

import pytest

from e2e.conftest import wait_for
from matrix import BOTH, EMAIL, IDENTITY_UPSTREAM, SIGN_UPSTREAM, TOKEN_UPSTREAM, cases
from steps import ID_TOKEN, IDENTITY, SIGNATURE, steps
from timing import FRESH, FULL_LIFE, NEAR_LIFE

OTHER = "https://other.example.com"
# Of the account: any other audience would be denied the same.
DENIALS = ("403", "403-scopes", "403-api", "403-billing", "401-account")
UPSTREAMS = (SIGN_UPSTREAM, TOKEN_UPSTREAM)
DOWN = [case for upstream in UPSTREAMS for case in cases(upstream)
        if case.state == "near" and case.expect.code in ("unavailable", "timeout")]
DENIED = [case for case in cases(SIGN_UPSTREAM)
          if case.state == "near" and case.fault.name in DENIALS]
METADATA_DOWN = [case for case in cases(IDENTITY_UPSTREAM)
                 if case.state == "near" and case.expect.code == "unavailable"]


@pytest.fixture
def agent(bench, stage):
    """It has nothing in mind against a flow, whatever test was before."""
    bench.replace()
    stage.agent = bench.agent(BOTH)
    return stage.agent


def flow(asked):
    """Whose token it is."""
    return asked.code or asked.answer.headers["Gce-Oidc-Flow"]


def served_by_metadata(stage, audience=None):
    """Who comes while a first denial is in doubt may get that one's answer."""
    wait_for(lambda: flow(stage.ask(audience, wait=stage.patient)) == "metadata",
             "the other flow serves")


def test_each_fault_is_played():
    assert len(DENIED) == len(DENIALS) and len(DOWN) > 40 and len(METADATA_DOWN) > 15


@pytest.mark.parametrize("case", DOWN, ids=lambda case: f"{case.upstream.name}-{case.fault.name}")
def test_flow_that_is_down_is_waited_for_and_not_left(stage, agent, emulator, case):
    emulator.set(id_token_life=NEAR_LIFE)
    assert flow(stage.ask(wait=stage.patient)) == "signblob"
    stage.spoil(case, "127.0.0.1:9")
    emulator.set(id_token_life=FULL_LIFE)
    patience = None if case.waits else stage.patient
    assert stage.ask(OTHER + stage.audience, wait=patience).code == case.expect.code
    assert stage.ask().mark == "hit"
    assert IDENTITY not in steps(emulator)
    emulator.unfault()
    stage.recovered()
    assert flow(stage.ask()) == "signblob"


@pytest.mark.parametrize("case", DENIED, ids=lambda case: case.fault.name)
def test_flow_that_is_denied_is_left_at_once_and_served_from_the_cache_on(
        stage, agent, emulator, case):
    emulator.set(id_token_life=NEAR_LIFE)
    token = stage.ask(wait=stage.patient)
    assert flow(token) == "signblob"
    stage.spoil(case, "127.0.0.1:9")
    served_by_metadata(stage, OTHER)
    # Its own is still good, and a better one comes the other way.
    asked = stage.ask(directive="only-if-cached")
    assert (asked.mark, asked.text) == ("hit", token.text)
    emulator.set(id_token_life=FULL_LIFE)
    asked = stage.ask(min_fresh=FRESH, wait=stage.patient)
    assert (asked.mark, flow(asked)) == ("miss", "metadata")
    assert steps(emulator)[ID_TOKEN] == 1

    # Now that is down, too: who has a token has it, and nobody else gets one.
    emulator.fault("metadata", "status", status=503, match="/identity")
    for demand in ({}, {"min_fresh": FRESH}):
        assert stage.ask(**demand).mark == "hit"
    asked = stage.ask(OTHER)
    assert (asked.mark, flow(asked)) == ("hit", "metadata")
    assert stage.ask(OTHER + "/new").code in ("unavailable", "denied-by-google")
    emulator.unfault()
    stage.recovered()


@pytest.mark.parametrize("case", METADATA_DOWN, ids=lambda case: case.fault.name)
def test_metadata_flow_that_fails_beside_a_denied_one_costs_nobody_a_token(
        stage, agent, emulator, case):
    emulator.set(role=False)
    served_by_metadata(stage)
    token = stage.ask().text
    stage.spoil(case, "127.0.0.1:9")
    for demand in ({}, {"wait": 0}, {"min_fresh": 3000}):
        asked = stage.ask(**demand)
        assert (asked.mark, asked.text) == ("hit", token)
    assert stage.ask(OTHER).code in ("unavailable", "timeout", "denied-by-google")
    emulator.unfault()
    served_by_metadata(stage, OTHER)


def test_audience_that_google_does_not_know_is_denied_and_not_asked_for_elsewhere(
        stage, agent, emulator):
    stage.ask(wait=stage.patient)
    emulator.fault("token-endpoint", "status", reason="scope")
    asked = stage.ask(OTHER)
    assert asked.code == "denied-by-google"
    assert "ask for the audience that the application expects" in asked.text
    assert IDENTITY not in steps(emulator)


def test_all_denied_names_the_first_flows_remedy(stage, agent, emulator):
    emulator.set(role=False)
    emulator.fault("metadata", "status", status=403, match="/identity")
    asked = stage.ask(wait=stage.patient)
    assert asked.code == "denied-by-google"
    assert f"gcloud iam service-accounts add-iam-policy-binding {EMAIL}" in asked.text
    emulator.unfault()
    emulator.set(role=True)
    stage.recovered()
    assert steps(emulator)[SIGNATURE] >= 2
