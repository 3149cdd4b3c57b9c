# SPDX-License-Identifier: Apache-2.0
"""Built for arm64 by a cross-compiler, and run by qemu-user on this kernel: the unit
tests, and the service manager's protocol.

Not the sandbox and not the peers: what the kernel says of a process is said of qemu."""

import os
import pathlib
import re
import subprocess

import pytest

from conftest import TESTS, base_path
from test_notify import *  # noqa: F401,F403 (the tests and their fixtures)

UNIT_TESTS = re.findall(r"^\ttests/unit/(test-[a-z0-9-]+)", (
    TESTS.parent / "Makefile.am").read_text(), re.M)


@pytest.fixture(scope="session")
def build_dir(arm64):
    """The tests of test_notify.py start the agent that is there."""
    return arm64[0]


@pytest.fixture(scope="session")
def arm64(request):
    """The build, and what runs its programs."""
    here = pathlib.Path(os.environ["abs_builddir"])
    tree = base_path(here, "arm64")
    for program in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        request.getfixturevalue("tool")(program, "gcc-aarch64-linux-gnu qemu-user")
    build = here / "build-check-system/arm64"
    log = here / "build-check-system/arm64.log"
    assert (build / "gce-oidc-agent.arm64").exists(), log.exists() and log.read_text()[-3000:]
    return build, ["qemu-aarch64", "-L", tree]


def test_programs_are_arm64s(arm64):
    for name in ("gce-oidc-agent.arm64", "gce-oidc", ".libs/libgce-oidc.so.0"):
        head = (arm64[0] / name).read_bytes()[:20]
        assert head[:4] == b"\x7fELF" and head[18:20] == b"\xb7\0", name


# What qemu-user cannot: program, or program::test, and why.
CANNOT = {
    "test-memory": "the address space that it limits is qemu's",
    "test-peer-tcp": "qemu-user makes no sock_diag sockets",
    "test-peer::more_groups_than_expected": "qemu 7.2 knows no SO_PEERGROUPS",
    "test-peer::a_few_groups_are_kept": "qemu 7.2 knows no SO_PEERGROUPS",
}


@pytest.mark.parametrize("name", UNIT_TESTS)
def test_unit_tests_pass(arm64, name):
    if name in CANNOT:
        pytest.skip(CANNOT[name])
    build, run = arm64
    done = subprocess.run([*run, build / "tests/unit" / name], capture_output=True, text=True,
                          timeout=300, check=False,
                          env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
    said = done.stdout[-3000:] + done.stderr[-2000:]
    failed = re.findall(r"^not ok \d+ - (\w+)", done.stdout, re.M)
    assert [test for test in failed if f"{name}::{test}" not in CANNOT] == [], said
    assert re.search(r"^ok \d+ - ", done.stdout, re.M) and done.returncode == len(failed), said
