# SPDX-License-Identifier: Apache-2.0
"""Descriptors and memory come to an end: clients are told so, and those who are
served go on being served."""

import contextlib
import os
import pathlib
import resource

import pytest

from conftest import wait_for
from raw_http import Wire, request
from steps import FAST
from test_http_limits import connections

AUDIENCE = "https://exhaustion.example.com"
SANITIZERS = os.environ.get("SANITIZERS", "no") not in ("", "no")
CLIENTS = 100
CPU = 1.0               # seconds; what all this may cost, and spinning exceeds
BUFFERS = 16 << 20      # the agent's budget for all clients' unfinished input
ROOM = 8 << 20          # for what it makes of that, and for Google's answers
TOKEN = "/v1/token?audience="


def wire(agent):
    return Wire(agent.connect())


def cpu(pid):
    """Seconds of it so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def statuses(wires):
    """What each is told; None to whom the connection was closed without a word."""
    told = []
    for it in wires:
        try:
            told.append(it.answer().status)
        except (AssertionError, ConnectionResetError):
            told.append(None)
    return told


@pytest.mark.parametrize("left", [0, 1, 3])
def test_nobody_is_lost_and_nothing_spins_without_descriptors(start_agent, emulator, left):
    agent = start_agent(FAST)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(wire(agent))
        # Account, access token, and connections to Google are there.
        assert old.ask(TOKEN + AUDIENCE).status == 200
        wait_for(lambda: connections(agent) == 1, "no other connection")
        used = len(os.listdir(f"/proc/{agent.pid}/fd"))
        limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (used + left, limits[1]))
        before = cpu(agent.pid)

        many = [stack.enter_context(wire(agent)) for _ in range(CLIENTS)]
        for it in many:
            it.send(request(TOKEN + AUDIENCE))
        told = statuses(many)
        assert set(told) <= {200, 429} and told.count(200) <= left, told
        assert old.ask(TOKEN + AUDIENCE).status == 200
        # Google is asked over the connections that there are.
        fresh = old.ask(f"{TOKEN}{AUDIENCE}/another")
        assert fresh.status == 200, fresh
        assert emulator.verify(fresh.text, f"{AUDIENCE}/another")
        assert cpu(agent.pid) - before < CPU

        for it in many:
            it.close()
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
        wait_for(lambda: agent.token(f"{AUDIENCE}/third").status == 200, "a token for a new one")


@pytest.mark.skipif(SANITIZERS, reason="sanitizers want terabytes of address space")
@pytest.mark.parametrize("kind", ["bodies", "heads", "announced", "pipelined", "audiences"])
def test_large_requests_get_errors_where_memory_is_tight(start_agent, kind):
    """All the memory that there is, is what the agent's own limits promise it needs;
    a client that made it take more would be its end."""
    agent = start_agent(FAST)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(wire(agent))
        assert old.ask(TOKEN + AUDIENCE).status == 200
        pages = int(pathlib.Path(f"/proc/{agent.pid}/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + BUFFERS + ROOM
        resource.prlimit(agent.pid, resource.RLIMIT_AS, (limit, limit))

        many = [stack.enter_context(wire(agent)) for _ in range(400)]
        for it in many:
            it.send(LARGE[kind])
        told = statuses(many)
        assert None not in told
        assert all(400 <= status < 500 or status == 503 for status in told), set(told)
        assert old.ask(TOKEN + AUDIENCE).status == 200
        for it in many:
            it.close()
        wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token for a new one")
    assert agent.running()


LARGE = {
    "bodies": request("/v1/whoami", body=b"b" * 65535, method="POST"),
    "heads": request("/", *[f"X-{i}: {'h' * 1000}" for i in range(200)]),
    "announced": request("/", "Content-Length: 9223372036854775807", method="POST"),
    "pipelined": request("/none") * 2000,
    "audiences": request(TOKEN + "a" * 60000),
}
