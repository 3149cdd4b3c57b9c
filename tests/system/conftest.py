# SPDX-License-Identifier: Apache-2.0
"""The agent as a service: what make install put into a tree of its own, judged by
systemd's tools, by a service manager written here, and by systemd itself.

"make check-system" prepares that tree, the packages and the systems that are booted."""

import atexit
import os
import pathlib
import re
import shutil
import tempfile

import pytest

from e2e.conftest import *  # noqa: F401,F403 (the fixtures)
from launch import call, own_mounts

# What a file's systems and builds need at the most, and as much again for another file.
ROOM = 6 << 30
MNT_DETACH = 2


@pytest.fixture(scope="session")
def stage(build_dir):
    """What make install put there."""
    tree = build_dir / "build-check-system" / "stage"
    assert tree.is_dir(), "run by make check-system"
    return tree


@pytest.fixture(scope="session")
def tool():
    """tool(NAME, PACKAGE): where it is, or the test is skipped, for want of it."""
    def find(name, package):
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not path:
            pytest.skip(f"no {name} here: apt-get install {package}")
        return path
    return find


def base_path(build_dir, name):
    """What tests/system/base made of that name; or the test is skipped."""
    path = build_dir / "build-check-system" / f"{name}.path"
    assert path.exists(), "run by make check-system"
    if not path.read_text().strip():
        pytest.skip(path.with_suffix(".why").read_text()[-300:] or f"no base {name}")
    return pathlib.Path(path.read_text().strip())


@pytest.fixture(scope="session")
def debs(build_dir):
    """The directory with Debian's packages of this build."""
    if os.environ.get("SANITIZERS", "no") not in ("", "no"):
        pytest.skip("packages are not built with sanitizers")
    for program in ("dpkg-buildpackage", "dh"):
        if not shutil.which(program):
            pytest.skip(f"no {program} here: apt-get install dpkg-dev debhelper")
    directory = build_dir / "build-check-system/deb"
    log = build_dir / "build-check-system/deb.log"
    assert list(directory.glob("*.deb")), log.exists() and log.read_text()[-3000:]
    return directory


@pytest.fixture(scope="session")
def package(debs):
    """The agent's."""
    found, = debs.glob("gce-oidc-agent_*.deb")
    return found


@pytest.fixture(scope="session")
def client(build_dir):
    """What asks for tokens in a machine that has neither curl nor Python."""
    return build_dir / "tests/system/guest/client"


def is_root():
    """Of the machine, and not of a user namespace only."""
    ids = pathlib.Path("/proc/self/uid_map").read_text().split()
    return os.geteuid() == 0 and ids == ["0", "0", "4294967295"]


def find_one(tree, name):
    """The only file of that name in the tree."""
    found = [path for path in pathlib.Path(tree).rglob(name) if path.is_file()]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def in_memory(directory):
    """What is there from here on, for us and ours only; gone with us, however we end."""
    own_mounts()
    call("mount", b"none", os.fsencode(directory), b"tmpfs", 0, b"mode=755")
    atexit.register(call, "umount2", os.fsencode(directory), MNT_DETACH)


def scratch():
    """Where whole systems are unpacked and deleted: in memory, where there is room."""
    directory = tempfile.mkdtemp(prefix="goa-", dir="/tmp")
    os.chmod(directory, 0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    available = re.search(r"^MemAvailable: *(\d+) kB$",
                          pathlib.Path("/proc/meminfo").read_text(), re.M)
    if is_root() and available and int(available[1]) * 1024 > ROOM:
        try:
            in_memory(directory)
        except OSError as error:
            print(f"on disk, for want of mounts of one's own: {error}")
    return directory


# pytest's own directories are there, too.
SCRATCH = tempfile.tempdir = scratch()
