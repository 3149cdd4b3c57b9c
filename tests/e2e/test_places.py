# SPDX-License-Identifier: Apache-2.0
"""Machines with a metadata server that are no Compute Engine VMs: App Engine's, Cloud
Run's, GKE's.  What differs is tolerated, and what is missing is told."""

import json
import sys

import pytest

from conftest import ANYONE, TESTS, Emulator, wait_for
from steps import ACCOUNT, FAST, FIRST, HURRY, IDENTITY, steps

AUDIENCE = "https://app.example.com"
ROOT = "/computeMetadata/v1/"
DEFAULT = ROOT + "instance/service-accounts/default/"
METADATA = "[account default]\nflows = metadata\n" + HURRY
LAUNCH = (sys.executable, TESTS / "e2e" / "launch.py", "--firmware=none")
RULES = ANYONE + """
[rule access]
peer = anyone
host = any
kind = access
account = default

[rule monitor]
peer = anyone
host = any
kind = monitor
"""
# Those of the plain values that are not there.
MISSING = {
    "appengine": ["instance/hostname", "instance/name", "universe/universe-domain"],
    "cloudrun": ["instance/hostname", "instance/name", "universe/universe-domain"],
    "gke": ["instance/name", "universe/universe-domain"],
}
GRANT = "roles/iam.workloadIdentityUser"


@pytest.fixture(scope="module", params=MISSING)
def emulator_process(request):
    with Emulator(f"--place={request.param}") as emulator:
        yield emulator


@pytest.fixture
def place(emulator):
    return emulator.set()["place"]


on_gke = pytest.mark.parametrize("emulator_process", ["gke"], indirect=True)


def refused(answer, code, *words):
    assert answer.headers["Gce-Oidc-Error"] == code, answer
    assert all(word in answer.text for word in words), answer.text


def without_metadata(emulator):
    return emulator.agent_config().replace(f"metadata = {emulator.metadata}\n", "")


def test_token_comes_by_the_default_flows_with_no_further_question(start_agent, emulator):
    agent = start_agent(HURRY, RULES)
    answer = agent.token(AUDIENCE)
    claims = emulator.verify(answer.text, AUDIENCE)
    assert (claims["email"], answer.headers["Gce-Oidc-Flow"]) == (emulator.email, "signblob")
    assert steps(emulator) == FIRST


def test_where_the_role_is_missing_the_metadata_server_makes_it(start_agent, emulator):
    emulator.set(role=False)
    agent = start_agent(HURRY, RULES)
    answer = wait_for(lambda: (it := agent.token(AUDIENCE)).status == 200 and it, "a token")
    claims = emulator.verify(answer.text, AUDIENCE)
    assert (claims["email"], answer.headers["Gce-Oidc-Flow"]) == (emulator.email, "metadata")


@pytest.mark.parametrize("query", ["", "&format=standard", "&format=full",
                                   "&format=full&licenses=TRUE"])
def test_identity_token_has_the_email_and_describes_no_vm(start_agent, emulator, query):
    agent = start_agent(METADATA, RULES)
    answer = agent.get(f"{DEFAULT}identity?audience={AUDIENCE}{query}")
    claims = emulator.verify(answer.text, AUDIENCE)
    assert claims["email"] == emulator.email
    assert "google" not in claims
    assert steps(emulator) == {ACCOUNT: 1, IDENTITY: 1}
    again = agent.get(f"{DEFAULT}identity?audience={AUDIENCE}{query}")
    assert (again.text, again.headers["Gce-Oidc-Cache"]) == (answer.text, "hit")


def test_status_health_and_listings_name_the_account(start_agent, emulator):
    agent = start_agent(HURRY, RULES)
    wait_for(lambda: agent.get("/healthz").status == 200, "the account is found")
    status = json.loads(agent.get("/v1/status").text)
    account = status["accounts"][0] if "accounts" in status else status
    assert json.dumps(emulator.email) in json.dumps(account)
    assert agent.get(DEFAULT + "email").text == emulator.email
    assert "/auth/cloud-platform" in agent.get(DEFAULT + "scopes").text
    assert set(agent.get(ROOT + "instance/service-accounts/").text.split()) == {
        "default/", emulator.email + "/"}
    described = json.loads(agent.get(DEFAULT + "?recursive=true").text)
    assert (described["email"], described["aliases"]) == (emulator.email, ["default"])


def test_access_token_is_passed_on(start_agent, emulator):
    agent = start_agent(HURRY, RULES)
    answer = json.loads(agent.get(DEFAULT + "token").text)
    assert emulator.secrets()[answer["access_token"]] == "access token"


def test_values_that_are_there_are_served_and_others_told_missing(start_agent, place):
    agent = start_agent(HURRY, RULES)
    for path in ("project/project-id", "project/numeric-project-id", "instance/id",
                 "instance/zone"):
        assert agent.get(ROOT + path).status == 200, path
    for path in MISSING[place]:
        refused(agent.get(ROOT + path), "not-found", f"the metadata server has no {path}")


def test_directory_as_a_whole_leaves_out_what_is_missing_and_is_json(start_agent, place):
    agent = start_agent(HURRY, RULES)
    wait_for(lambda: agent.get("/healthz").status == 200, "the account is found")
    answer = agent.get(ROOT + "instance/?recursive=true")
    found = json.loads(answer.text)
    assert set(found) == {"id", "zone", "serviceAccounts"} | (
        {"hostname"} if place == "gke" else set())
    assert isinstance(found["id"], int if place == "gke" else str)
    assert json.loads(agent.get(ROOT + "instance/id?alt=json").text) == found["id"]


def test_agent_started_by_hand_knows_the_place_for_one_of_googles(start_agent, emulator):
    agent = start_agent(HURRY + "detect = 10s\n", RULES, prefix=LAUNCH,
                        upstream=without_metadata(emulator),
                        env={"GCE_METADATA_HOST": emulator.metadata.removeprefix("http://")})
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_account_without_scopes_that_do_gets_its_tokens_from_the_metadata_server(
        start_agent, emulator):
    emulator.set(scopes=[])
    agent = start_agent(HURRY, RULES)
    answer = agent.token(AUDIENCE)
    emulator.verify(answer.text, AUDIENCE)
    assert answer.headers["Gce-Oidc-Flow"] == "metadata"


@pytest.mark.parametrize("email", ["", "default"])
def test_empty_email_is_told_and_looked_up_again(start_agent, emulator, email):
    emulator.set(email=email)
    agent = start_agent(HURRY + "wait = 200ms\n", RULES)
    wait_for(lambda: "is not a service account's address" in agent.token(AUDIENCE).text,
             "the reason")
    emulator.set(email=emulator.email)
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token")


# --- GKE alone


@on_gke
def test_pod_without_an_account_is_told_how_to_get_one_and_found_when_it_has(start_agent, emulator):
    emulator.set(annotated=False)
    agent = start_agent(HURRY + "wait = 200ms\n", RULES)
    wait_for(lambda: "it is the workload identity pool" in agent.token(AUDIENCE).text,
             "the reason")
    refused(agent.token(AUDIENCE), "unavailable", "looking for the VM's service account",
            "iam.gke.io/gcp-service-account=EMAIL", GRANT)
    assert agent.get("/healthz").status == 503
    emulator.set(annotated=True)
    answer = wait_for(lambda: (it := agent.token(AUDIENCE)).status == 200 and it, "a token")
    emulator.verify(answer.text, AUDIENCE)


@pytest.mark.parametrize("reason, words", [
    ("gke-not-bound", "IAM returned 403 Forbidden: Permission "
                      "'iam.serviceAccounts.getAccessToken' denied"),
    ("gke-no-account", "IAM returned 404 Not Found: Not found; Gaia id not found for email"),
])
@on_gke
def test_what_iam_says_to_gkes_metadata_server_is_passed_on(start_agent, emulator, reason, words):
    emulator.fault("metadata", "status", reason=reason, match="/token")
    agent = start_agent(FAST, RULES)
    refused(agent.token(AUDIENCE), "denied-by-google", words, GRANT)
    refused(agent.get(DEFAULT + "token"), "denied-by-google", words, GRANT)


@on_gke
def test_pod_that_has_lost_its_account_is_told_so_by_the_metadata_flow(start_agent, emulator):
    emulator.fault("metadata", "status", reason="gke-not-annotated", match="/identity")
    agent = start_agent(METADATA + "wait = 1s\n", RULES)
    refused(agent.token(AUDIENCE), "unavailable",
            "Your Kubernetes service account (default/web) is not annotated", GRANT)


@on_gke
def test_metadata_server_that_is_not_ready_is_waited_for(start_agent, emulator):
    emulator.fault("metadata", "status", status=500, times=3)
    agent = start_agent(HURRY, RULES)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
