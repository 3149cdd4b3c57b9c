# SPDX-License-Identifier: Apache-2.0
"""One case of the matrix, from a healthy upstream through a fault and back."""

import itertools
import os
import time

from e2e.conftest import wait_for
from judge import Asked, judge, must
from matrix import CERTS_UPSTREAM, DOWN, LATE
from resources import fds_left
from steps import Listener, step
from timing import DENIED, FRESH, FULL_LIFE, NEAR_LIFE, TRY, UNAVAILABLE, UNAVAILABLE_MAX

OTHERS = 3              # requests of a flight, beside those to the upstream that fails
UNIVERSE = 1            # and this one of the agent's, before it looks for its account
RECOVERY = 10.0         # seconds, until it is
STORM = 12              # callers who ask again at once, after an error
GROWTH = 4 << 20        # bytes, of an agent's memory over all cases of a file
SANITIZERS = os.environ.get("SANITIZERS", "no") not in ("", "no")


def may_try_again(seconds):
    """How often, in so much time, if trouble is remembered as long as it should be."""
    times, span = 0, UNAVAILABLE
    while (seconds := seconds - span) >= 0:
        times, span = times + 1, min(2 * span, UNAVAILABLE_MAX)
    return times


class Stage:
    numbers = itertools.count(1)

    def __init__(self, bench, emulator):
        self.bench = bench
        self.emulator = emulator
        self.agent = None
        self.email = emulator.email
        self.jwks = emulator.keys()["google"]["keys"]
        self.patient = 5        # seconds; a caller who waits until all is well again
        self.patience = 5       # one who needs a new token, where the fault does not hang
        self.audience = None
        self.mark = 0           # requests to the emulator up to here count no more
        self.spoilt = None      # since when there is a fault
        self.renew()

    def play(self, case):
        self.emulator.set(**dict(case.upstream.settings))
        with Listener() as elsewhere:
            if case.alone:
                self._alone(case, elsewhere.address)
            else:
                self._shared(case, elsewhere.address)
            must(elsewhere.seen == [], f"a redirect was followed: {elsewhere.seen}")

    def play_with(self, agent, case):
        """The same with an agent of the caller's, who answers for it himself."""
        self.agent = agent
        self._enter(case, "127.0.0.1:9")
        self.recovered()

    def renew(self):
        """For a case: what no agent has in its cache."""
        self.audience = f"https://case-{next(self.numbers)}.example.com"

    def _shared(self, case, elsewhere):
        try:
            self.agent = self.bench.agent(case.upstream.way)
            self._enter(case, elsewhere)
            self.recovered()
            self._nothing_left()
        except BaseException:
            self.bench.replace()
            raise

    def _alone(self, case, elsewhere):
        """An agent that starts when the fault is there already."""
        self.spoil(case, elsewhere)
        self.agent = self.bench.start(way=case.upstream.way)
        try:
            self._without_token(case)
            self.emulator.unfault()
            self.recovered()
        finally:
            wrong = self.agent.finish()
        must(not wrong, "; ".join(wrong))

    # --- the states

    def _enter(self, case, elsewhere):
        if case.upstream is CERTS_UPSTREAM:
            # Fetched for the first token, not beside it, and then past their time or not.
            self.emulator.set(certs_max_age=0 if case.state == "near" else 3600, certs_age=0)
            self.rotate()
        getattr(self, "_" + case.state)(case, elsewhere)

    def rotate(self):
        """Google signs with another key from now on, and publishes no other."""
        published = self.emulator.rotate("google", keep_old=False, make=False)["google"]["keys"]
        self.jwks = [key for key in self.jwks if key not in published] + published

    def _cold(self, case, elsewhere):
        self._prime(self.audience + "/other")
        self.spoil(case, elsewhere)
        self._without_token(case)
        self.emulator.unfault()

    def _warm(self, case, elsewhere):
        token = self._prime(self.audience).text
        self.spoil(case, elsewhere)
        for demand in ({}, {"wait": 0}, {"min_fresh": 3000}, {"directive": "only-if-cached"}):
            asked = self.ask(**demand)
            must((asked.mark, asked.text) == ("hit", token), f"not the cached token: {asked}")
        self._asked_upstream(case, flights=0)
        self.emulator.unfault()

    def _near(self, case, elsewhere):
        """The token in the cache is good, and a better one would be welcome."""
        self.emulator.set(id_token_life=NEAR_LIFE)
        self._prime(self.audience)
        self.spoil(case, elsewhere)
        self._better(case)

    def _unknown(self, case, elsewhere):
        """The same, and the better one is signed with a key that nobody has seen."""
        self.emulator.set(id_token_life=NEAR_LIFE)
        self._prime(self.audience)
        self.spoil(case, elsewhere)
        self.rotate()
        self._better(case)

    def _better(self, case):
        self.emulator.set(id_token_life=FULL_LIFE)
        asked = self.ask()
        if case.expect.code is None or not case.strikes:
            must(asked.mark in ("miss", "shared"), f"not a better token: {asked}")
            self._asked_upstream(case, flights=1)
            if case.upstream is CERTS_UPSTREAM and case.fault.counted:
                wait_for(lambda: self.emulator.faults()[0]["hits"], "the keys are asked for beside")
        else:
            must(asked.mark == "hit", f"not the cached token: {asked}")
            # Who demands more than that is as those who have nothing, and may join
            # a flight whose tries are over before its own time is.
            self._without_token(case, flights=2, min_fresh=FRESH)
        self.emulator.unfault()

    # --- what they consist of

    def ask(self, audience=None, **demands):
        """An answer that holds the invariant."""
        asked = Asked(self.agent, audience or self.audience, **demands)
        judge(asked, self.email, self.jwks)
        return asked

    def _prime(self, audience):
        asked = self.ask(audience, wait=self.patient)
        good = ("miss", "shared")
        if asked.code in ("unavailable", "timeout"):    # a busy machine has spun out all tries
            asked, good = self.ask(audience, wait=self.patient), (*good, "hit")
        must(asked.mark in good, f"not a first token: {asked}")
        if self.agent.pid and self.bench.before is None:
            self.bench.before = self.bench.resources_of(self.agent).look()
        return asked

    def spoil(self, case, elsewhere):
        options = dict(case.fault.options)
        if case.fault.kind == "redirect":
            options["location"] = f"http://{elsewhere}/"
        if case.fault.kind not in ("refuse", "tls"):
            options["match"] = case.upstream.match
        self.mark = self._last_request()
        self.spoilt = time.monotonic()
        self.emulator.fault(case.upstream.service, case.fault.kind, **options)

    def _without_token(self, case, flights=1, **demands):
        """The caller has nothing in the cache that would do."""
        began = time.monotonic()
        # Where the answer does not wait for the end, a busy machine may be late with it.
        asked = self.ask(wait=None if case.waits else self.patience, **demands)
        joined = flights > 1 and case.expect == LATE and asked.code == DOWN.code
        if not joined:
            self._as_expected(case, asked)
        self._asked_upstream(case, flights)
        if case.expect.code == "denied-by-google":
            last = self._last_request()
            self._as_expected(case, self.ask(**demands))
            must(self._last_request() == last or time.monotonic() - began > DENIED,
                 "a denial is not remembered")
        elif case.expect.code:
            for _ in range(STORM):
                asked = self.ask(**{**demands, "wait": 0})
                must(asked.code is not None, f"a token, from where? {asked}")
            self._asked_upstream(case, flights + may_try_again(time.monotonic() - began))

    @staticmethod
    def _as_expected(case, asked):
        expect = case.expect
        must(asked.code == expect.code, f"not {expect.code or 'a token'}: {asked}")
        if expect.code is None:
            must(asked.mark in ("miss", "shared"), f"from where? {asked}")
        for words in expect.words:
            must(words in asked.text, f"{words!r} is not in {asked.text!r}")

    def recovered(self):
        """All is well upstream, and who asks now gets a token of full life; one that
        was denied, as soon as that is forgotten."""
        wait_for(lambda: self.ask(wait=self.patient, min_fresh=FRESH).code is None,
                 "the next clean request works", RECOVERY)

    # --- what it has cost

    def _last_request(self):
        return max((record["number"] for record in self.emulator.requests()), default=0)

    def _asked_upstream(self, case, flights):
        """What has been asked since the fault came is within the budget.  A try that
        a busy machine has spun out is made again, of whichever request, in each of
        two flights at a time."""
        spun_out = (2 if flights > 1 else 1) * int((time.monotonic() - self.spoilt) / TRY)
        asked = [step(record) for record in self.emulator.requests()
                 if record["number"] > self.mark]
        spoilt = asked.count(case.upstream.step)
        must(spoilt <= case.asks * flights + case.beside + spun_out
             and len(asked) <= (UNIVERSE + (OTHERS + case.asks) * flights + case.beside
                                + case.alone + spun_out),
             f"over the budget: {asked}")
        if flights and case.strikes and case.fault.counted:
            (fault,) = self.emulator.faults()
            must(fault["hits"] > 0, f"nobody has met the fault: {asked}")

    def _nothing_left(self):
        if not self.agent.pid:
            return
        resources, before, left = self.bench.resources_of(self.agent), self.bench.before, []

        def all_closed():
            left[:] = fds_left(before, resources.look())
            return not left

        wait_for(all_closed, left, RECOVERY)
        if not SANITIZERS:
            grown = resources.look().memory - before.memory
            must(grown <= GROWTH, f"memory has grown by {grown >> 10} KiB")
