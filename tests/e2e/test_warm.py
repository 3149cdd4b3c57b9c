# SPDX-License-Identifier: Apache-2.0
"""Audiences that the agent fetches by itself: there when the first caller asks, and
ever after."""

from conftest import wait_for
from steps import ACCESS, ACCOUNT, FAST, ID_TOKEN, SIGNATURE, steps
from test_status import OPERATOR, down, flush, status

A, B = "https://a.example.com", "https://b.example.com"
WARM = f"[cache]\nwarm = {A} {B}\n"
RETRY = "unavailable = 1ms\nunavailable-max = 5ms\ndenied = 5ms\ntrouble = 20ms\n"


def cached(agent):
    return {token["audience"] for token in status(agent)["tokens"]}


def test_the_first_caller_after_start_gets_a_hit(start_agent, emulator):
    agent = start_agent(FAST + WARM, OPERATOR)
    wait_for(lambda: cached(agent) == {A, B}, "both tokens")
    for audience in (A, B):
        answer = agent.token(audience)
        assert answer.status == 200
        assert answer.headers["Gce-Oidc-Cache"] == "hit"
        emulator.verify(answer.text, audience)
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, SIGNATURE: 2, ID_TOKEN: 2}
    assert {token["owner"] for token in status(agent)["tokens"]} == {"agent"}


def test_warm_audiences_are_tried_until_upstream_is_there(start_agent, emulator):
    down(emulator)
    agent = start_agent(FAST + RETRY + WARM, OPERATOR)
    wait_for(lambda: steps(emulator).get(SIGNATURE, 0) > 8, "a second round")
    assert cached(agent) == set()
    emulator.unfault()
    wait_for(lambda: cached(agent) == {A, B}, "both tokens")
    assert agent.token(A).headers["Gce-Oidc-Cache"] == "hit"


def test_warm_tokens_are_refreshed_though_nobody_asks(start_agent, emulator):
    emulator.set(id_token_life=10)
    agent = start_agent(FAST + WARM + "refresh-idle-limit = 0\nrefresh-ahead = 5s\n"
                        "[timing]\nrefresh-jitter = 0\nwish = 0\n", OPERATOR)
    wait_for(lambda: steps(emulator).get(ID_TOKEN, 0) >= 6, "two refreshes of each")
    assert agent.token(A).headers["Gce-Oidc-Cache"] == "hit"


def test_a_flush_fetches_them_again(start_agent, emulator):
    agent = start_agent(FAST + WARM, OPERATOR)
    wait_for(lambda: cached(agent) == {A, B}, "both tokens")
    emulator.reset()
    assert flush(agent).status == 204
    wait_for(lambda: cached(agent) == {A, B}, "both tokens")
    assert steps(emulator) == {SIGNATURE: 2, ID_TOKEN: 2}


def test_they_cost_no_peer_anything(start_agent):
    agent = start_agent("[limits]\nrequests-per-second = 0.001\n[cache]\nper-peer = 80\n"
                        + "".join(f"warm = https://w{i}\n" for i in range(64)), OPERATOR)
    wait_for(lambda: len(cached(agent)) == 64, "all tokens")
    for i in range(64):
        assert agent.token(f"https://mine{i}").status == 200
    assert agent.token("https://w0").headers["Gce-Oidc-Cache"] == "hit"
