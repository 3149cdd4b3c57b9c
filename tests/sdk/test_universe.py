# SPDX-License-Identifier: Apache-2.0
"""Stock clients on a machine in another universe: where that is the metadata server's paths tell them, and what they
then do by themselves they do there."""

import pytest

from claims import AUDIENCE, check_id_token, check_signature

UNIVERSE = "apis.example"       # the other one that the emulator's names are of
IN_OTHER = f"[upstream]\nuniverse = {UNIVERSE}\n"
IAM = f"iamcredentials.{UNIVERSE}"

there = pytest.mark.parametrize("sdk_agent", [IN_OTHER], indirect=True)
# Node's signs where its options say, and would have the program put the universe there.
signs_by_itself = pytest.mark.parametrize("client, what", [("python", "signer"), ("java", "sign")])


@pytest.fixture(autouse=True)
def elsewhere(emulator):
    """Before there is an agent."""
    emulator.set(universe=UNIVERSE)


@there
@pytest.mark.parametrize("client", ["python", "node", "go", "go-debian", "java"])
def test_clients_are_told_the_universe(sdk, sdk_agent, client):
    # Go gives the metadata server a second, which is for this machine to miss.
    assert sdk_agent.get("/computeMetadata/v1/universe/universe-domain").text == UNIVERSE
    assert sdk(client).ask("universe") == UNIVERSE


@there
@pytest.mark.parametrize("client, what", [
    ("python", "fetch_id_token"), ("node", "idToken"), ("go", "idToken"),
    ("go-debian", "idToken"), ("java", "idToken")])
def test_clients_get_the_agents_id_tokens(sdk, emulator, client, what):
    check_id_token(emulator, sdk(client).ask(what, AUDIENCE))
    assert emulator.counts()["token-endpoint"]["total"] == 0


@there
@signs_by_itself
def test_what_they_have_signed_is_signed_there(sdk, emulator, client, what):
    answer = sdk(client).ask(what, "any text")
    check_signature(emulator, "any text", answer["signature"] if client == "python" else answer)
    asked = {dict(record["headers"])["Host"] for record in emulator.requests("iam")
             if record["target"].endswith(":signBlob")}
    assert asked == {IAM}


def test_an_agent_of_another_universe_says_so_to_the_program(sdk):
    assert f"this machine is in universe {UNIVERSE}" in sdk("python").refused("identity_endpoint", AUDIENCE)
