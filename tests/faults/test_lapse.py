# SPDX-License-Identifier: Apache-2.0
"""The end of a token's life while upstream is dead.  An agent of a peer's looked at
the clock, waited for its upstream in vain, and then judged the token in its cache by
the time before the wait: it handed out one that had expired."""

import threading
import time

import pytest

from e2e.conftest import wait_for
from judge import Asked, judge
from matrix import TOKEN_UPSTREAM, UPSTREAMS
from timing import FULL_LIFE

LIFE = 2                # seconds
BEFORE = 0.3            # the caller comes so long before the end, and waits for longer

# Those without which there is no new token for whoever has had one.
ASKED = [upstream for upstream in UPSTREAMS if not upstream.lasts]
DEAD = {"hang": {}, "drip": {"interval": 0.01}, "status": {"status": 503}}


@pytest.fixture(autouse=True)
def everybody_is_asked(emulator):
    """Each new token takes all steps, with an access token of its own."""
    for upstream in ASKED:
        emulator.set(**dict(upstream.settings))


@pytest.fixture
def upstream():
    """Of those tests that do not name one."""
    return TOKEN_UPSTREAM


@pytest.fixture
def token(stage, bench, emulator, upstream):
    """One that ends soon; and when."""
    stage.agent = bench.agent(upstream.way)
    emulator.set(id_token_life=LIFE)
    asked = stage.ask(wait=5)
    return judge(asked, stage.email, stage.jwks)["exp"]


@pytest.fixture
def unhurried(bench):
    """Nothing goes upstream but for a caller."""
    agent = bench.start("[cache]\nrefresh-idle-limit = 0\n")
    yield agent
    wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


def shortly_before_the_end(stage, exp):
    """When that is: another token than the one known may have come before the fault."""
    while True:
        wait_for(lambda: time.time() >= exp - BEFORE, "the token is near its end", poll=0.001)
        claims = judge(Asked(stage.agent, stage.audience, directive="only-if-cached"),
                       stage.email, stage.jwks)
        if claims is None or claims["exp"] == exp:
            return exp
        exp = claims["exp"]


def spoil(stage, upstream, kind):
    stage.emulator.fault(upstream.service, kind, match=upstream.match, **DEAD[kind])


def mend(stage):
    """And not before: a flight that was past the fault would bring a token for long."""
    stage.emulator.set(id_token_life=FULL_LIFE)
    stage.emulator.unfault()


@pytest.mark.parametrize("upstream", ASKED, ids=lambda upstream: upstream.name)
@pytest.mark.parametrize("kind", DEAD)
def test_token_that_ends_while_its_caller_waits_is_not_served(stage, token, upstream, kind):
    spoil(stage, upstream, kind)
    end = shortly_before_the_end(stage, token)
    asked = stage.ask()         # the invariant: live, or an error
    assert asked.code in (None, "unavailable", "timeout")
    wait_for(lambda: time.time() >= end, "the token's end")
    assert stage.ask(directive="only-if-cached").code == "timeout"
    assert stage.ask(wait=0).code in ("unavailable", "timeout")
    mend(stage)
    stage.recovered()


@pytest.mark.parametrize("wait", [None, 0, 2])
def test_token_endpoint_hangs_shortly_before_exp_live_token_or_error(stage, token, wait):
    """The case that caught a peer, 5 s before the end with a wait of 30 s; this is its
    scale, and one caller waits longer than the token lives, one not at all."""
    spoil(stage, TOKEN_UPSTREAM, "hang")
    end = shortly_before_the_end(stage, token)
    for demands in ({}, {"directive": "no-cache"}):
        asked = stage.ask(wait=wait, **demands)     # judged by the clock when it came
        assert asked.code in (None, "unavailable", "timeout")
        assert asked.code or asked.mark == "hit"
    wait_for(lambda: time.time() >= end, "the token's end")
    assert stage.ask(wait=wait).code in ("unavailable", "timeout")
    mend(stage)
    stage.recovered()


def test_every_caller_around_the_end_gets_a_live_token_or_an_error(stage, token):
    """A new one each 10 ms, from before the end until after it."""
    spoil(stage, TOKEN_UPSTREAM, "hang")
    end = shortly_before_the_end(stage, token) + BEFORE
    answers, callers = [], []

    def call():
        answers.append(Asked(stage.agent, stage.audience))

    def next_call():
        callers.append(threading.Thread(target=call))
        callers[-1].start()
        return time.time() > end and len(callers) > 10

    wait_for(next_call, "the last of the callers", poll=0.01)
    for caller in callers:
        caller.join()
    assert len(answers) == len(callers)
    for asked in answers:
        judge(asked, stage.email, stage.jwks)
    assert {"timeout", "unavailable"} & {asked.code for asked in answers}
    mend(stage)
    stage.recovered()


def test_upstream_that_comes_back_after_the_end_is_waited_for(stage, emulator, unhurried):
    stage.agent = unhurried
    emulator.set(id_token_life=LIFE)
    token = judge(stage.ask(wait=5), stage.email, stage.jwks)["exp"]
    spoil(stage, TOKEN_UPSTREAM, "hang")
    shortly_before_the_end(stage, token)
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(Asked(stage.agent, stage.audience, wait=5)))
    caller.start()
    wait_for(lambda: any(fault["hits"] for fault in emulator.faults()), "somebody is asked")
    wait_for(lambda: time.time() >= token, "the token's end")
    mend(stage)
    caller.join()
    assert judge(answers[0], stage.email, stage.jwks)["exp"] > token
    assert answers[0].mark in ("miss", "shared")


@pytest.mark.parametrize("upstream", ASKED, ids=lambda upstream: upstream.name)
def test_failed_renewal_leaves_the_token_in_the_cache_as_it_is(stage, bench, emulator, upstream):
    stage.agent = bench.agent(upstream.way)
    for kind in DEAD:
        stage.renew()
        token = stage.ask(wait=5).text
        spoil(stage, upstream, kind)
        for directive in ("no-cache", None):
            asked = stage.ask(directive=directive)
            assert (asked.mark, asked.text) == ("hit", token)
        emulator.unfault()


def test_no_second_is_promised_that_is_not_there(stage, emulator, unhurried):
    """Not by a clock that knows whole seconds only."""
    stage.agent = unhurried

    def asked_in_its_last_second():
        """Again where the machine was too busy to ask in time."""
        stage.renew()
        emulator.unfault()
        emulator.set(id_token_life=LIFE)
        token = judge(stage.ask(wait=5), stage.email, stage.jwks)["exp"]
        wait_for(lambda: time.time() >= token - 0.6, "half a second is left", poll=0.001)
        spoil(stage, TOKEN_UPSTREAM, "status")
        asked = stage.ask(directive="only-if-cached")
        return None if asked.code else asked

    asked = wait_for(asked_in_its_last_second, "an answer in time")
    assert asked.answer.headers["Cache-Control"] == "private, max-age=0"
    assert stage.ask(min_fresh=1).code == "unavailable"


# Retry-After


@pytest.mark.parametrize("upstream", ASKED, ids=lambda upstream: upstream.name)
def test_retry_after_within_the_callers_time_is_kept(bench, stage, emulator, upstream):
    bench.replace()         # no other agent asks meanwhile
    stage.agent = agent = bench.start("retry-after-max = 5s\n", upstream.way)
    try:
        emulator.fault(upstream.service, "status", status=429, match=upstream.match, times=1,
                       headers={"Retry-After": "1"})
        asked = stage.ask(wait=5)
        assert asked.code is None
        times = [record["time"] for record in emulator.requests(upstream.service)
                 if upstream.match in f"{record['method']} {record['target']}"]
        # The agent counts from the time at which it woke up for the answer.
        assert len(times) == 2 and times[1] - times[0] > 0.95
    finally:
        wrong = agent.finish()
    assert not wrong
