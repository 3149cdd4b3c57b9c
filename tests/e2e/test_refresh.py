# SPDX-License-Identifier: Apache-2.0
"""Tokens are fetched anew before they expire, and nobody waits for it."""

import time

from conftest import wait_for
from steps import COLD, FAST, SIGNATURE, steps, warm_up
from test_reload import reload

AUDIENCE = "https://refresh.example.com"
AHEAD = FAST + "brand-new = 0\nwish = 0\nrefresh-jitter = 0\n[cache]\nrefresh-ahead = 6s\n"


def signatures(emulator):
    return steps(emulator).get(SIGNATURE, 0)


def cache_of(answer):
    assert answer.status == 200, answer
    return answer.headers["Gce-Oidc-Cache"]


def start(start_agent, emulator, life=12):
    agent = start_agent(AHEAD)
    warm_up(agent, emulator)
    emulator.set(id_token_life=life)
    return agent


def test_token_in_use_is_fetched_anew_before_it_expires(start_agent, emulator):
    agent = start(start_agent, emulator)
    first = agent.token(AUDIENCE)
    assert cache_of(first) == "miss"
    assert steps(emulator) == COLD
    wait_for(lambda: signatures(emulator) >= 2, "a refresh that nobody asked for")
    second = wait_for(lambda: (a := agent.token(AUDIENCE)).body != first.body and a,
                      "the new token")
    assert cache_of(second) == "hit"
    assert emulator.verify(second.text, AUDIENCE)


def test_failing_refresh_leaves_the_token_to_those_who_ask(start_agent, emulator):
    agent = start(start_agent, emulator)
    first = agent.token(AUDIENCE)
    emulator.fault("iam", "status", status=503)
    wait_for(lambda: signatures(emulator) >= 2, "a refresh that fails")
    answer = agent.token(AUDIENCE)
    assert cache_of(answer) == "hit"
    assert answer.body == first.body


def test_hanging_refresh_does_not_hold_up_those_who_ask(start_agent, emulator):
    agent = start(start_agent, emulator)
    first = agent.token(AUDIENCE)
    emulator.fault("token-endpoint", "hang")
    wait_for(lambda: signatures(emulator) == 2, "a refresh that hangs")
    began = time.monotonic()
    for _ in range(20):
        answer = agent.token(AUDIENCE)
        assert cache_of(answer) == "hit"
        assert answer.body == first.body
    assert time.monotonic() - began < 5
    emulator.unfault()


def test_refresh_that_hangs_at_a_reload_is_begun_anew_after_it(start_agent, emulator):
    agent = start_agent(AHEAD + "refresh-ahead = 5s\n")
    warm_up(agent, emulator)
    emulator.set(id_token_life=10)
    first = agent.token(AUDIENCE)
    emulator.fault("token-endpoint", "hang")
    wait_for(lambda: signatures(emulator) >= 2, "a refresh that hangs")
    agent.configure(agent.config.read_text() + "\n[limits]\nflights = 9\n")
    assert reload(agent).status == 204
    assert "what asks upstream is made anew; 0 requests still wait" in agent.log()
    wait_for(lambda: signatures(emulator) >= 3, "another one")
    emulator.unfault()
    wait_for(lambda: (a := agent.token(AUDIENCE)).body != first.body and cache_of(a) == "hit", "its token")


def test_limit_of_no_refreshes_is_none(start_agent, emulator):
    agent = start_agent(AHEAD + "refresh-idle-limit = 0\n")
    warm_up(agent, emulator)
    emulator.set(id_token_life=4)
    assert agent.token(AUDIENCE).status == 200
    wait_for(lambda: agent.token(AUDIENCE, Cache_Control="only-if-cached").status == 504,
             "its expiry")
    assert signatures(emulator) == 1
