# SPDX-License-Identifier: Apache-2.0
"""What a request costs, counted by strace: numbers of the design that nothing but
a count can hold."""

import functools
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess

import pytest

from conftest import wait_for
from raw_http import TOKEN, request, wire

PROGRAM = pathlib.Path(os.environ.get("abs_builddir", ".")) / "gce-oidc-agent"
IDLE = 10           # seconds that nothing may happen in
# The call that strace leaves the agent in is not one: it has no result.
CALL = re.compile(r"^\d+ +(\w+)\(.*= (-?\d+)")


@functools.cache
def sanitizers():
    """Their runtime makes calls of its own."""
    if os.environ.get("SANITIZERS", "no") not in ("", "no"):
        return True
    with open(PROGRAM, "rb") as file:
        return b"__asan_init" in file.read()


@functools.cache
def can_trace():
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False,
                          capture_output=True).returncode == 0


def traced(test):
    test = pytest.mark.skipif(not can_trace(), reason="no strace, or no ptrace")(test)
    return pytest.mark.skipif(sanitizers(), reason="sanitizers make calls of their"
                              " own")(test)


class Trace:
    """The system calls of a running agent, from attaching to detaching."""

    def __init__(self, agent):
        self.file = agent.dir / "strace"
        self.agent = agent
        self.process = subprocess.Popen(
            ["strace", "-f", "-o", self.file, "-p", str(agent.pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)

    def attached(self):
        if self.process.poll() is not None:
            pytest.skip("strace cannot attach: "
                        + self.process.stderr.read().decode().strip())
        status = pathlib.Path(f"/proc/{self.agent.pid}/status").read_text()
        return f"TracerPid:\t{self.process.pid}\n" in status

    def __enter__(self):
        wait_for(self.attached, "strace at the agent")
        # The call that the agent slept in when strace came is written down first.
        wait_for(lambda: self.file.exists() and self.file.read_text(),
                 "the call that the agent waits in")
        return self

    def __exit__(self, *_exception):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stderr.close()

    def calls(self):
        """Names and results of what came back in between; only after the end."""
        found = [CALL.match(line) for line in self.file.read_text().splitlines()]
        return [(m[1], m[2]) for m in found if m]


@traced
def test_warm_request_costs_five_calls_on_one_connection(agent):
    with wire(agent) as it:
        assert it.ask(TOKEN).status == 200
        with Trace(agent) as trace:
            for _ in range(300):
                assert it.ask(TOKEN)["Gce-Oidc-Cache"] == "hit"
    names = [name for name, _ in trace.calls()]
    # The last answer may be here before strace has seen its call return.
    answers = names.count("sendto")
    assert answers in (299, 300)
    assert len(names) / answers <= 5.0, names[:20]


def turns(trace):
    """Calls of each turn of the event loop, that is, from one wait for anything to
    the next, by the number of answers in it.  A turn's first call is the wait."""
    turn, found = [], []
    for name, result in trace.calls():
        if name in ("epoll_wait", "epoll_pwait", "epoll_pwait2") and any(
                n in ("sendto", "send", "sendmsg", "write") for n in turn):
            found.append(turn)
            turn = []
        turn.append(name)
        assert result != "-1" or name in ("recvfrom", "epoll_wait", "epoll_pwait2",
                                          "epoll_pwait"), (name, result)
    return [(sum(n == "sendto" for n in turn), len(turn)) for turn in found]


def drive(wires, rounds):
    """One request on each connection, then one answer from each, and again."""
    data = request(TOKEN)
    for _ in range(rounds):
        for it in wires:
            it.send(data)
        waiting = {it.sock: it for it in wires}
        while waiting:
            for sock in select.select(list(waiting), [], [], 30)[0]:
                assert waiting.pop(sock).answer()["Gce-Oidc-Cache"] == "hit"


@traced
def test_warm_request_costs_two_and_a_quarter_calls_on_sixteen(agent):
    wires = [wire(agent) for _ in range(16)]
    assert [it.ask(TOKEN).status for it in wires] == [200] * 16
    with Trace(agent) as trace:
        drive(wires, 40)
    for it in wires:
        it.close()
    # How many come at once is the machine's affair; what so many cost is ours.
    full = [calls for answers, calls in turns(trace) if answers == 16]
    assert full, turns(trace)
    assert max(full) <= 2.25 * 16, max(full)


@traced
def test_idle_agent_sleeps(agent):
    with wire(agent) as it:
        assert it.ask(TOKEN).status == 200
        with Trace(agent) as trace:
            with pytest.raises(subprocess.TimeoutExpired):
                trace.process.wait(IDLE)
    assert trace.calls() == []


@traced
def test_idle_agent_without_clients_sleeps(start_agent):
    agent = start_agent()
    agent.get("/computeMetadata/v1/instance/service-accounts/default/email")
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/task")) == 1, "one thread")
    with Trace(agent) as trace:
        with pytest.raises(subprocess.TimeoutExpired):
            trace.process.wait(IDLE)
    assert trace.calls() == []


def test_cold_request_asks_google_twice(agent, emulator):
    agent.token("first")        # the account, its access token, the connections
    before = emulator.counts()
    assert agent.token("second").headers["Gce-Oidc-Cache"] == "miss"
    after = emulator.counts()
    asked = {name: after[name]["total"] - before[name]["total"] for name in after}
    assert asked == {"metadata": 0, "iam": 1, "token-endpoint": 1, "certs": 0, "app": 0}
    opened = {name: after[name]["connections"] - before[name]["connections"]
              for name in after}
    assert set(opened.values()) == {0}


def test_warm_request_asks_nobody(agent, emulator):
    agent.token("a")
    before = emulator.counts()
    for _ in range(10):
        assert agent.token("a").headers["Gce-Oidc-Cache"] == "hit"
    assert emulator.counts() == before
