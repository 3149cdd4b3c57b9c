# SPDX-License-Identifier: Apache-2.0
"""Processes that come and go while their connections stay: a rule by unit is about
the process that connected, and holds as long as that lives."""

import ctypes
import os
import signal
import struct
import subprocess
import sys

import pytest

from cgroups import USER, Connector, cgroups, either, old_kernel  # noqa: F401
from conftest import wait_for
from test_policy import A, B, other_users, rule, token, under  # noqa: F401

pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")

SYS_CLONE3 = 435


# --- connections that are left to others


def test_connection_left_to_others_has_no_unit_when_its_maker_is_gone(either, cgroups):
    rules = either(rule("r", audience="**", unit="web.service"),
                   rule("u", audience=B, user=USER, host="any"))
    with Connector(rules.agent, cgroups.make("web.service")) as left:
        assert left.ask(token(A)) == 200
        assert left.whoami()["unit"] == "web.service"
        left.exit()
        assert left.ask(token("cold")) == 403       # looked at again
        assert left.ask(token(A)) == 403
        assert left.ask(token(B)) == 200            # the uid is that of connect time
        told = left.whoami()
        assert (told["uid"], told["unit"], told["slice"], told["cgroup"], told["host"]) == (
            USER, None, None, None, None)


def test_connection_left_to_others_is_looked_at_from_time_to_time(either, cgroups):
    rules = either(rule("r", unit="web.service"), config="[timing]\npeer-recheck = 50ms\n")
    with Connector(rules.agent, cgroups.make("web.service")) as left:
        assert left.ask(token(A)) == 200
        left.exit()
        wait_for(lambda: left.ask(token(A)) == 403, "a second look")


def test_connection_may_be_used_by_others_while_its_maker_lives(either, cgroups):
    rules = either(rule("r", unit="web.service"))
    with Connector(rules.agent, cgroups.make("web.service")) as shared:
        assert [shared.ask(token(A)), shared.ask(token(B))] == [200, 403]


def test_who_exits_before_asking_has_no_unit(either, cgroups):
    rules = either(rule("r", unit="web.service"))
    with Connector(rules.agent, cgroups.make("web.service")) as left:
        left.exit()
        assert left.ask(token(A)) == 403


AFTER = {
    "exec": "os.execv(sys.executable, [sys.executable, '-c', ASK, str(sock.fileno())])",
    "fork": "pid = os.fork()\n"
            "os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) if pid else exec(ASK)",
    "other ids": "os.setgroups([7]); os.setresgid(7, 7, 7); os.setresuid(7, 7, 7); exec(ASK)",
}

ASK = """
import os, socket, sys
same = socket.socket(fileno=int(sys.argv[-1]))
same.settimeout(60)
same.sendall(b"GET TARGET HTTP/1.1\\r\\nHost: x\\r\\nMetadata-Flavor: Google\\r\\n\\r\\n")
os._exit(int(same.recv(65536).split()[1]) // 10)
"""


@pytest.mark.parametrize("what", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("unit, status", [("web.service", 200), ("db.service", 403)])
def test_what_a_process_becomes_after_connecting_changes_nothing(
        either, cgroups, what, unit, status):  # noqa: F811
    rules = either(rule("r", unit="web.service", user="root"))
    ask = ASK.replace("TARGET", token(A))
    code = f"""
import os, socket, sys
ASK = {ask!r}
open(sys.argv[1], "w").write(str(os.getpid()))
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[2])
sock.set_inheritable(True)
sys.argv.append(str(sock.fileno()))
{what}
"""
    result = subprocess.run([sys.executable, "-c", code, cgroups.make(unit) / "cgroup.procs",
                             rules.agent.socket], check=False, timeout=60)
    # Pinned by number, it is known by the owner of its /proc entry: ids that changed
    # before that was looked at make it unknown, never somebody else.
    if "setresuid" in what and result.returncode == 40:
        return
    assert result.returncode == status // 10


# --- numbers that are used again


SLEEPER = """
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
print("there", flush=True)
time.sleep(60)
"""


def process_as(number, cgroup, uid):
    """A process with this number, in that cgroup; 0 where it cannot be had."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    wanted = (ctypes.c_int * 1)(number)
    args = ctypes.create_string_buffer(struct.pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0,
                                                   ctypes.addressof(wanted), 1, 0))
    got = ctypes.CDLL(None).syscall(SYS_CLONE3, args, 88)
    if got == 0:
        os.dup2(writer, 1)
        os.execv(sys.executable, [sys.executable, "-c", SLEEPER, str(cgroup / "cgroup.procs"),
                                  str(uid)])
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert got < 0 or pipe.readline() == b"there\n"
    return max(got, 0)


# Where it is pinned by number its owner tells it apart.  Where the kernel keeps it,
# it does not even when it is one's own.
@pytest.mark.parametrize("kept, uid", [(True, USER), (True, 0), (False, USER + 1), (False, 0)])
def test_recycled_number_has_not_the_unit_of_who_has_it_now(
        under, old_kernel, cgroups, kept, uid):
    rules = (under if kept else old_kernel)(
        rule("r", unit="payroll.service"), rule("u", audience=B, user=USER, host="any"))
    victim = 0
    # What connects waits in the queue: it is gone before it is accepted.
    rules.agent.process.send_signal(signal.SIGSTOP)
    try:
        with Connector(rules.agent, cgroups.make("db.service")) as attack:
            number = attack.pid
            attack.exit()
            victim = process_as(number, cgroups.make("payroll.service"), uid)
            if not victim:
                pytest.skip("cannot choose a process number")
            rules.agent.process.send_signal(signal.SIGCONT)
            assert [attack.ask(token(A)), attack.ask(token(B))] == [403, 200]
    finally:
        rules.agent.process.send_signal(signal.SIGCONT)
        if victim:
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
