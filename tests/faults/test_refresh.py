# SPDX-License-Identifier: Apache-2.0
"""A token that is fetched anew ahead of its end, behind everybody's back, while
something is wrong upstream: who asks meanwhile notices nothing."""

import time

import pytest

from e2e.conftest import wait_for
from judge import judge
from matrix import UPSTREAMS, cases
from steps import step
from timing import FULL_LIFE, REFRESH_PAUSE

LIFE = 10               # seconds: fetched anew when half of it is over
ASKS = 5                # in the other half
ONLY_REFRESHES = "wish = 0\nrefresh-jitter = 0\n"
FAULTS = ("hang", "503-twice", "403", "aud", "wrong-host")

REFRESHES = [case for upstream in UPSTREAMS if not upstream.lasts
             for case in cases(upstream) if case.state == "near" and case.fault.name in FAULTS]


@pytest.fixture
def agent(bench, case):
    agent = bench.start(ONLY_REFRESHES, case.upstream.way)
    yield agent
    wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


def asked_for(emulator, case):
    return [record for record in emulator.requests() if step(record) == case.upstream.step]


@pytest.mark.parametrize("case", REFRESHES, ids=lambda case: f"{case.upstream.name}-{case.fault.name}")
def test_refresh_that_fails_disturbs_nobody(stage, agent, emulator, case):
    emulator.set(id_token_life=LIFE, **dict(case.upstream.settings))
    stage.agent = agent
    asked = stage.ask(wait=5)
    end = judge(asked, stage.email, stage.jwks)["exp"]
    stage.spoil(case, "127.0.0.1:9")
    emulator.set(id_token_life=FULL_LIFE)
    wait_for(lambda: emulator.faults()[0]["hits"] > 0, "the refresh meets the fault")
    for _ in range(ASKS):
        again = stage.ask(wait=0)
        assert again.mark == "hit" and (again.text == asked.text or case.expect.code is None)
    asked_anew = asked_for(emulator, case)[1:]
    if asked_anew:
        tries = 1 + int((time.time() - asked_anew[0]["time"]) / REFRESH_PAUSE)
        assert len(asked_anew) <= tries * case.asks
    emulator.unfault()
    wait_for(lambda: judge(stage.ask(), stage.email, stage.jwks)["exp"] > end,
             "the next refresh succeeds")
    assert asked_for(emulator, case)[-1]["time"] < end, "the token's end came first"
