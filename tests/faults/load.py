# SPDX-License-Identifier: Apache-2.0
"""Callers of all sorts, and an upstream that fails at random: all from one seed."""

import contextlib
import random
import threading
import time

from judge import Asked, Wrong, judge, must
from matrix import ACCOUNT_UPSTREAM, UPSTREAMS, cases
from raw_http import request
from timing import FULL_LIFE

FAMILIAR = [f"https://familiar-{i}.example.com" for i in range(20)]
STRANGERS = 2000        # further audiences
LIVES = (2, 5, 15, 30, FULL_LIFE)

# Without those of the metadata server's account: they have nothing more to spoil.
FAULTS = [case for upstream in UPSTREAMS if upstream is not ACCOUNT_UPSTREAM
          for case in cases(upstream) if case.state == "cold"]


class Load:
    def __init__(self, agent, emulator, seed):
        self.agent = agent
        self.emulator = emulator
        self.seed = seed
        # All that Google will ever sign with.
        self.jwks = emulator.keys()["google"]["keys"]
        for _ in range(2):
            self.jwks += emulator.rotate("google", keep_old=False)["google"]["keys"]
        self.rounds = 0         # each has a course of its own
        self.counts = {}
        self.wrong = []
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = []

    def count(self, what):
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # --- callers

    def _demands(self, rng):
        return rng.choice((
            {}, {}, {}, {}, {"wait": 0}, {"wait": 1}, {"directive": "no-cache"},
            {"directive": "only-if-cached"}, {"min_fresh": rng.choice((1, 10, 20, 3000))}))

    def _call(self, rng):
        audience = rng.choice(FAMILIAR) if rng.random() < 0.8 else \
            f"https://stranger-{rng.randrange(STRANGERS)}.example.com"
        asked = Asked(self.agent, audience, full=rng.random() < 0.2, **self._demands(rng))
        judge(asked, self.emulator.email, self.jwks)
        must(asked.code != "bad-request", f"refused: {asked}")
        self.count(asked.code or asked.mark)

    def _leave(self, rng):
        """Asks, and does not wait for the answer."""
        with self.agent.connect() as sock:
            sock.sendall(request(f"/v1/token?audience={rng.choice(FAMILIAR)}/{rng.randrange(50)}",
                                 "Cache-Control: no-cache"))
        self.count("left")

    def _babble(self, rng):
        with self.agent.connect() as sock, contextlib.suppress(OSError):
            sock.sendall(rng.randbytes(rng.randrange(1, 2000)))
        self.count("babbled")

    def _caller(self, number):
        rng = random.Random(f"{self.seed}/{self.rounds}/{number}")
        while not self.stop.is_set():
            dice = rng.random()
            (self._call if dice < 0.9 else self._leave if dice < 0.97 else self._babble)(rng)

    # --- what they meet

    def _fault(self, rng):
        case = rng.choice(FAULTS)
        options = dict(case.fault.options)
        if case.fault.kind == "redirect":
            options["location"] = "http://127.0.0.1:9/"
        if case.fault.counted:
            options.setdefault("times", rng.choice((1, 2, 5, 50)))
        if case.fault.kind not in ("refuse", "tls"):
            options["match"] = case.upstream.match
        self.emulator.fault(case.upstream.service, case.fault.kind, **options)
        self.count("faults")

    def _weather(self):
        rng = random.Random(f"{self.seed}/{self.rounds}/weather")
        while not self.stop.wait(rng.uniform(0.01, 0.2)):
            dice = rng.random()
            if dice < 0.5:
                self._fault(rng)
            elif dice < 0.8:
                self.emulator.unfault()
            elif dice < 0.9:
                self.emulator.set(id_token_life=rng.choice(LIVES))
            elif dice < 0.93:
                self.emulator.set(role=rng.random() < 0.8)
            elif dice < 0.95:
                self.emulator.rotate("google", keep_old=False, make=False)
            elif dice < 0.97:
                self.emulator.rotate("account")
            else:
                self.emulator.revoke()

    # --- all of it

    def _run(self, what, *args):
        try:
            what(*args)
        except Wrong as error:
            self.wrong.append(str(error))
        except Exception as error:
            self.wrong.append(repr(error))
        self.stop.set()

    def run(self, seconds, callers):
        """What has come of it is in counts, and what must not be in wrong."""
        self.rounds += 1
        jobs = [(self._weather,), *((self._caller, i) for i in range(callers))]
        self._threads = [threading.Thread(target=self._run, args=job) for job in jobs]
        for thread in self._threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in self._threads:
            thread.join()
        self.stop.clear()
        self.emulator.unfault()
        self.emulator.set(id_token_life=FULL_LIFE, role=True)
