# SPDX-License-Identifier: Apache-2.0
"""What a request costs, counted by strace: numbers of the design that nothing but
a count can hold."""

import collections
import functools
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess

import pytest

from cgroups import cgroups  # noqa: F401
from conftest import wait_for
from loopback import LISTEN, Loopback
from raw_http import TOKEN, request, wire
from timers import seconds_to_a_timer

PROGRAM = pathlib.Path(os.environ.get("abs_builddir", ".")) / "gce-oidc-agent"
IDLE = 10           # seconds that nothing may happen in
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
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
        self.process.wait(60)
        self.process.stderr.close()

    def calls(self):
        """Names and results of what came back in between; only after the end."""
        found = [CALL.match(line) for line in self.file.read_text().splitlines()]
        return [(m[1], m[2]) for m in found if m]


@traced
def test_warm_request_costs_three_calls_on_one_connection(agent):
    with wire(agent) as it:
        assert it.ask(TOKEN).status == 200
        with Trace(agent) as trace:
            for _ in range(300):
                assert it.ask(TOKEN)["Gce-Oidc-Cache"] == "hit"
    names = [name for name, _ in trace.calls()]
    # The last answer may be here before strace has seen its call return.
    answers = names.count("sendto")
    assert answers in (299, 300)
    assert len(names) / answers <= 3.05, names[:20]


def turns(trace):
    """Calls of each turn of the event loop, that is, from one wait for anything to
    the next, by the number of answers in it.  A turn's first call is the wait."""
    turn, found = [], []
    for name, result in trace.calls():
        if name in WAITS and any(
                n in ("sendto", "send", "sendmsg", "write") for n in turn):
            found.append(turn)
            turn = []
        turn.append(name)
        assert result != "-1" or name in ("recvfrom", *WAITS), (name, result)
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


@pytest.fixture
def start_quiet(start_agent, emulator):
    """Starts one that has done all it does at its start, unasked."""
    def start(idle):
        agent = start_agent(f"[timing]\ncerts-early = 0\nidle = {idle}\n")
        agent.get("/computeMetadata/v1/instance/service-accounts/default/email")
        wait_for(lambda: emulator.counts()["certs"]["total"] > 0, "Google's keys are fetched")
        wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/task")) == 1, "one thread")
        return agent

    return start


def calls_while_idle(agent):
    with Trace(agent) as trace:
        with pytest.raises(subprocess.TimeoutExpired):
            trace.process.wait(IDLE)
    return trace.calls()


@traced
def test_idle_agent_sleeps(start_quiet):
    agent = start_quiet("10min")
    with wire(agent) as it:
        assert it.ask(TOKEN).status == 200
        assert calls_while_idle(agent) == []


@traced
def test_idle_agent_without_clients_sleeps(start_quiet):
    agent = start_quiet("1s")
    # The time-out of who has left is awaited once.
    wait_for(lambda: seconds_to_a_timer(agent.pid) > IDLE + 1, "no timer is near")
    assert calls_while_idle(agent) == []


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


# --- connect, ask once, close: what each call is made for, so that one more shows

PEERS = 50
USER = 1000

BARE = collections.Counter(accept4=1, getsockopt=1, epoll_ctl=1, recvfrom=1, sendto=1, close=1)
# The process: SO_PEERPIDFD, /proc/PID, does it live, and both closed.
LOOK = collections.Counter(getsockopt=1, openat=1, poll=1, close=2)
FILE = collections.Counter(openat=1, read=2, close=1)
# Whom no rule admits is a stranger, and connections count for a unit, from the first
# moment on; so it is read then.  Whether the process still lives is looked at again
# when it asks.
AGAIN = collections.Counter(getsockopt=1, poll=1, close=1)
UNIT = LOOK + FILE + AGAIN
HOST = LOOK + FILE + FILE + FILE + AGAIN
HOST_TOO = LOOK + FILE + FILE       # what a cgroup says is known by then


def ask_once(path, times):
    """So many connections in turn, in a child that forgets what pytest is."""
    for _ in range(times):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(request(TOKEN))
            assert b" 200 " in sock.recv(65536)


def peers_in(agent, cgroup, go):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if cgroup:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        ask_once(agent.socket, 1)       # the token is there from now on
        go.send(b"x")
        go.recv(1)
        ask_once(agent.socket, PEERS)
        code = 0
    finally:
        os._exit(code)


def all_gone(trace):
    accepted = [result for name, result in trace.calls() if name == "accept4"]
    return len(accepted) >= PEERS and not os.path.exists(
        f"/proc/{trace.agent.pid}/fd/{accepted[-1]}")


def calls_of_one_peer(agent, cgroup):
    """Waits, and the clock that goes with them, come as they come."""
    ours, theirs = socket.socketpair()
    pid = peers_in(agent, cgroup, theirs)
    assert ours.recv(1) == b"x"
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/task")) == 1, "one thread")
    with Trace(agent) as trace:
        ours.send(b"x")
        assert os.waitpid(pid, 0)[1] == 0
        wait_for(lambda: all_gone(trace), "every connection closed")
    names = collections.Counter(name for name, _ in trace.calls())
    return {name: round(n / PEERS) for name, n in names.items()
            if name not in WAITS and round(n / PEERS)}


COSTS = {
    "peer = anyone\nhost = any": BARE,
    f"user = {USER}\nhost = any": BARE,
    f"user = {USER}": BARE + HOST,
    f"group = {USER}": BARE + HOST,
    "unit = web.service\nhost = any": BARE + UNIT,
    "unit = web.service": BARE + UNIT + HOST_TOO,
    f"user = {USER}\nslice = goat*.slice": BARE + UNIT + HOST_TOO,
    # what is refused by a cheap fact reads nothing dear
    f"user = {USER}\nhost = any\naudience = **\n[rule s]\nuser = 1\nunit = web.service": BARE,
}


def visit(agent, times):
    """Nobody else is there before each has seen its own end."""
    for _ in range(times):
        with wire(agent) as it:
            assert it.ask(TOKEN).status == 200
            it.sock.shutdown(socket.SHUT_WR)
            assert it.sock.recv(1) == b""


@traced
def test_client_who_comes_alone_costs_three_waits(agent):
    visit(agent, 2)
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/task")) == 1, "one thread")
    with Trace(agent) as trace:
        visit(agent, PEERS)
    names = collections.Counter(name for name, _ in trace.calls())
    # For it, for what it asks, for its end; a few for what happens beside.
    assert sum(names[name] for name in WAITS) <= 3 * PEERS + 10, names
    # The end is read, and strace may not have seen the last one closed.
    cost = BARE + collections.Counter(recvfrom=1)
    assert {name: round(n / PEERS) for name, n in names.items()
            if name not in WAITS and round(n / PEERS)} == dict(cost)


# Over TCP: between which addresses, once the kernel has said that it is no Unix
# socket's; whose it is, asked and answered, at accept and for the token; and its end,
# which is read.
ASK_DIAG = collections.Counter(sendto=1, recvfrom=1)
TCP_ONCE = (BARE + collections.Counter(getpeername=1, getsockname=1) + ASK_DIAG + ASK_DIAG
            + collections.Counter(recvfrom=1))


@traced
def test_peer_over_tcp_costs_a_question_at_accept_and_one_for_each_token(start_agent):
    it = Loopback(start_agent(args=LISTEN))

    def ask(times):
        for _ in range(times):
            with wire(it) as one:
                assert one.ask(TOKEN).status == 200

    ask(1)
    wait_for(lambda: len(os.listdir(f"/proc/{it.agent.pid}/task")) == 1, "one thread")
    with Trace(it.agent) as trace:
        ask(PEERS)
        wait_for(lambda: all_gone(trace), "every connection closed")
    names = collections.Counter(name for name, _ in trace.calls())
    assert {name: round(n / PEERS) for name, n in names.items()
            if name not in WAITS and round(n / PEERS)} == dict(TCP_ONCE)


@traced
def test_warm_request_over_tcp_costs_five_calls_on_one_connection(start_agent):
    agent = start_agent(args=LISTEN)
    with wire(Loopback(agent)) as it:
        assert it.ask(TOKEN).status == 200
        with Trace(agent) as trace:
            for _ in range(300):
                assert it.ask(TOKEN)["Gce-Oidc-Cache"] == "hit"
    names = [name for name, _ in trace.calls()]
    answers = names.count("sendto") / 2         # the kernel is asked by one, too
    assert answers in (299, 299.5, 300)
    assert len(names) / answers <= 5.05, names[:20]


@traced
def test_peer_costs_the_calls_that_its_rules_ask_for(start_agent, cgroups):  # noqa: F811
    found = {who: calls_of_one_peer(start_agent(rules=f"[rule r]\n{who}\naudience = **\n"),
                                    cgroups.make("web.service")) for who in COSTS}
    assert found == {who: dict(cost) for who, cost in COSTS.items()}
