# SPDX-License-Identifier: Apache-2.0
"""What the agent costs while nobody asks it anything."""

import contextlib
import os
import pathlib
import re
import resource

import pytest

from conftest import ANYONE, wait_for
from raw_http import TOKEN, Wire
from test_syscalls import sanitizers

CONNECTIONS = 9000
MANY = """
[limits]
connections = 10000
connections-per-peer = 10000
peer-share = 100%
[timing]
idle = 10min
"""
BYTES = 160         # of ours for each of them
BY_GROUP = """
[rule by-group]
group = 165535
audience = https://**
"""

pytestmark = pytest.mark.skipif(sanitizers(), reason="sanitizers need memory and time")


@pytest.fixture
def many_files():
    """Descriptors for that many connections, here and in the agent, which inherits
    the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = CONNECTIONS + 1000
    if hard != resource.RLIM_INFINITY and hard < want:
        pytest.skip(f"at most {hard} file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def private(agent):
    """Bytes of memory that only this process has written to."""
    text = pathlib.Path(f"/proc/{agent.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"^Private_Dirty: +(\d+) kB$", text, re.MULTILINE)[1]) * 1024


def test_9000_idle_connections_cost_160_bytes_each(start_agent, many_files):
    agent = start_agent(MANY)
    assert agent.get(TOKEN).status == 200
    before = private(agent)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):    # each accepted before the next: no full backlog
            it = Wire(stack.enter_context(agent.connect()))
            assert it.ask(TOKEN)["Gce-Oidc-Cache"] == "hit"
        each = (private(agent) - before) / CONNECTIONS
        open_now = len(os.listdir(f"/proc/{agent.pid}/fd"))
    assert open_now > CONNECTIONS
    assert each <= BYTES, f"{each:.0f} bytes"
    # It holds none of them any longer than they live.
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) < 100, "they are closed")
    assert agent.get(TOKEN).headers["Gce-Oidc-Cache"] == "hit"


@contextlib.contextmanager
def many_groups():
    """Who connects meanwhile has as many groups as there may be, as root of a
    container can."""
    own = os.getgroups()
    try:
        os.setgroups(range(100000, 100000 + 65536))
    except OSError:             # or they are not in this user namespace
        pytest.skip("setgroups() needs root")
    try:
        yield
    finally:
        os.setgroups(own)


@pytest.mark.parametrize("rules, target", [(ANYONE, "/v1/whoami"), (BY_GROUP, TOKEN)],
                         ids=["whoami", "a rule"])
def test_peers_with_65536_groups_cost_no_more_than_others(start_agent, rules, target):
    agent = start_agent(MANY, rules=rules)
    with contextlib.ExitStack() as stack:
        for i in range(120):
            with many_groups():
                it = Wire(stack.enter_context(agent.connect()))
            assert it.ask(target).status == 200
            if i == 19:
                before = private(agent)     # what one at a time takes is not given back
        each = (private(agent) - before) / 100
    assert each <= 8192, f"{each:.0f} bytes"
