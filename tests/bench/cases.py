# SPDX-License-Identifier: Apache-2.0
"""What is timed: cases, and rounds of them."""

import contextlib
import random
import statistics
import sys

from servers import TOKEN, cores, request

HANGING = 8         # callers who wait while upstream hangs


class Case:
    """One way of asking.  target and gate are ratios of CPU to the limit's."""

    def __init__(self, name, options, target=None, gate=None, face="token",
                 agent="agent", same_core=False, hang=False):
        self.name = name
        self.options = options
        self.target = target
        self.gate = gate
        self.face = face
        self.agent = agent
        self.same_core = same_core
        self.hang = hang


CASES = [
    Case("1 connection", ["-c", 1], 1.20, 1.25, same_core=True),
    Case("16 connections", ["-c", 16], 1.15, 1.25),
    Case("64 connections", ["-c", 64], 1.15, 1.25),
    Case("16, metadata server's face", ["-c", 16], face="identity"),
    Case("16, upstream hangs", ["-c", 16], hang=True),
    Case("16, each with 16 at once", ["-c", 16, "-m", "pipeline"]),
    Case("connect, ask, close", ["-m", "connect"], 1.15, 1.25, same_core=True),
    Case("the same, host asked", ["-m", "connect"], 4.0, 5.0, agent="host",
         same_core=True),
    Case("the same, 16 at a time", ["-c", 16, "-m", "connect"], 1.15, 1.25),
]


class Result:
    """All rounds of one case; for each contender a list of what load said."""

    def __init__(self, case):
        self.case = case
        self.rounds = {}

    def add(self, name, said):
        self.rounds.setdefault(name, []).append(said)

    def values(self, name, what):
        return [said[what] for said in self.rounds[name]]

    def median(self, name, what):
        return statistics.median(self.values(name, what))

    def ratios(self, name, what="cpu_usec"):
        """Round by round, in order of size."""
        return sorted(a / b for a, b in zip(self.values(name, what),
                                            self.values("limit", what), strict=True))


@contextlib.contextmanager
def upstream_hangs(bench, agent, round_number):
    """Callers whose tokens have to be fetched wait all the while."""
    fault = bench.emulator.fault("iam", "hang")
    with contextlib.ExitStack() as stack:
        stack.callback(bench.emulator.unfault, id=fault)
        for i in range(HANGING):
            sock = stack.enter_context(agent.connect())
            sock.sendall(request(f"{TOKEN}-{round_number}-{i}"))
        yield


def measure_case(bench, case, result, number, options):
    face = getattr(bench, case.face)
    agent = getattr(bench, case.agent)
    contenders = [("limit", face.limit), ("agent", agent)]
    if case.agent == "agent":
        contenders += [(other.name, other) for other in bench.also]
    random.shuffle(contenders)
    core = cores()[0] if case.same_core else None
    for name, server in contenders:
        with contextlib.ExitStack() as stack:
            if case.hang and name != "limit":
                stack.enter_context(upstream_hangs(bench, server, number))
            result.add(name, bench.load(server, face, *case.options, *options,
                                        core=core))


def measure(bench, arguments):
    random.seed(arguments.seed)
    rounds = arguments.rounds or (3 if arguments.quick else 9)
    options = ["-w", 100, "-t", 250] if arguments.quick else ["-w", 300, "-t", 700]
    results = [Result(case) for case in CASES if arguments.only in case.name]
    for number in range(rounds):
        for result in random.sample(results, len(results)):
            measure_case(bench, result.case, result, number, options)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results
