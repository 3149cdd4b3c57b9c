# SPDX-License-Identifier: Apache-2.0
"""Ten thousand processes that live for one connection, or less."""

import os
import pathlib
import subprocess
import sys

import pytest

from cgroups import USER, cgroups, either, old_kernel  # noqa: F401
from conftest import TESTS, wait_for
from test_policy import A, other_users, rule, token, under  # noqa: F401
from test_syscalls import sanitizers

pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def swarm(agent, number, uid, cgroup, expected):
    return subprocess.Popen(
        [sys.executable, "-S", "-E", TESTS / "e2e" / "swarm.py", agent.socket, token(A),
         str(number), str(uid), cgroup, str(expected)], stdout=subprocess.PIPE, text=True)


def test_ten_thousand_short_lived_peers(either, cgroups):
    rules = either(rule("r", user=USER, unit="web.service"))
    web, db = cgroups.make("web.service"), cgroups.make("db.service")
    agent = rules.agent
    kinds = [(USER, web, 200), (USER, db, 403), (USER + 1, web, 403),
             (USER, cgroups.make("x"), 403)]

    def run(number):
        swarms = [swarm(agent, number, *kind) for kind in kinds]
        for one in swarms:
            assert one.communicate(timeout=500)[0].split() == [str(number // 4)] * 2
            assert one.returncode == 0
        wait_for(lambda: descriptors(agent.pid) <= before, "every descriptor closed")

    assert rules.tokens(A, uid=USER, cgroup=web) == [200]
    before = descriptors(agent.pid)
    run(100)
    resident = resident_kib(agent.pid)
    run(1152)       # with the 100, of 4 kinds and in both ways: 10,000
    # Sanitizers keep what is freed.
    assert sanitizers() or resident_kib(agent.pid) - resident < 2048
    assert rules.tokens(A, uid=USER, cgroup=web) == [200]
