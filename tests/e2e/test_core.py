# SPDX-License-Identifier: Apache-2.0
"""An agent started by hand, which no service manager protects: its memory is for
nobody, not even when it dies."""

import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

AUDIENCE = "https://core.example.com"
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
OTHER = 1234            # a user
# In a directory of its own, because a core may be written where a process is.
THERE = ("sh", "-c", 'ulimit -c unlimited; cd "$0" && exec "$@"')


def can_be_another():
    """Root of a user namespace cannot, who has no other users."""
    return subprocess.run([sys.executable, "-c", f"import os; os.setgroups([]); os.setuid({OTHER})"],
                          capture_output=True, check=False).returncode == 0


def how_it_ended(pid):
    """Waits; -> (CLD_KILLED or CLD_DUMPED, signal).  Leaves the status to others."""
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return info.si_code, info.si_status


@pytest.fixture
def cores(place):
    """Where a process that is aborted does leave a core, or the test proves nothing."""
    with subprocess.Popen([*THERE, str(place), "sleep", "60"], stdin=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        # The shell has become the program.
        while b"sleep\0" not in pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()[:6]:
            assert process.poll() is None, "no unlimited core size may be had here"
        process.send_signal(signal.SIGABRT)
        code, _ = how_it_ended(process.pid)
    for core in place.iterdir():
        core.unlink()
    if code != os.CLD_DUMPED:
        pytest.skip("this kernel dumps nobody's core")
    return place


@pytest.mark.parametrize("limit", ["as it sets it", "raised from outside"])
def test_sigabrt_with_unlimited_core_size_leaves_no_core(start_agent, cores, limit):
    agent = start_agent(prefix=(*THERE, cores))
    assert agent.token(AUDIENCE).status == 200
    assert resource.prlimit(agent.pid, resource.RLIMIT_CORE) == (0, 0)
    if limit != "as it sets it":
        # A pipe in core_pattern heeds no limit; then this is what keeps it shut.
        try:
            resource.prlimit(agent.pid, resource.RLIMIT_CORE, UNLIMITED)
        except PermissionError:
            agent.stop()
            pytest.skip("no right to raise a limit")
    os.kill(agent.pid, signal.SIGABRT)
    assert how_it_ended(agent.pid) == (os.CLD_KILLED, signal.SIGABRT)
    assert list(cores.iterdir()) == []
    assert agent.wait() == -signal.SIGABRT


@pytest.mark.skipif(not can_be_another(), reason="cannot be another user")
def test_its_own_user_cannot_look_into_it(start_agent):
    agent = start_agent(user=OTHER)
    assert agent.token(AUDIENCE).status == 200
    proc = pathlib.Path(f"/proc/{agent.pid}")
    assert f"Uid:\t{OTHER}\t" in (proc / "status").read_text()
    # What is not dumpable belongs to root there, so nobody else opens it.
    assert {(proc / name).stat().st_uid for name in ("mem", "environ", "maps", "fd")} == {0}
    for name in ("mem", "environ", "maps"):
        looked = subprocess.run(["head", "-c", "1", proc / name], user=OTHER, extra_groups=[],
                                capture_output=True, check=False)
        assert (looked.returncode, looked.stdout) == (1, b""), name


@pytest.mark.skipif(not can_be_another(), reason="cannot be another user")
def test_another_program_of_that_user_can_be_looked_into():
    """Else the test above would prove nothing."""
    with subprocess.Popen(["sleep", "60"], user=OTHER, extra_groups=[]) as process:
        assert pathlib.Path(f"/proc/{process.pid}/environ").stat().st_uid == OTHER
        process.kill()
