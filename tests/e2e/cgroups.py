# SPDX-License-Identifier: Apache-2.0
"""Cgroups made by hand, named as the service manager names them, and processes in
them."""

import json
import os
import pathlib
import socket
import sys
import traceback

import pytest

from conftest import TESTS, wait_for
from steps import FAST
from test_policy import Rules

OLD_KERNEL = [sys.executable, TESTS / "e2e" / "launch.py", "--no-peerpidfd"]
USER = 1000
ROOT = pathlib.Path("/sys/fs/cgroup")


def mounts():
    """{mount point: (type, options)}"""
    found = {}
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options = line.split()[:4]
        found[point] = kind, options.split(",")
    return found


def hierarchy():
    """Where units are kept, as systemd has it; and the key of its line."""
    found = mounts()
    for place in (ROOT, ROOT / "unified", ROOT / "systemd"):
        kind, options = found.get(str(place), ("", []))
        if kind == "cgroup2":
            return place, ""
        if kind == "cgroup" and "name=systemd" in options:
            return place, "name=systemd"
    return None, None


def own_path(key):
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == key:
            return path
    return None


class Cgroups:
    """Cgroups below one slice of our own."""

    def __init__(self):
        place, key = hierarchy()
        if place is None:
            pytest.skip("no cgroup hierarchy that keeps units")
        if own_path(key) != "/":
            pytest.skip("not at the root of the cgroups: paths here have a foreign front")
        self.slice = f"goat{os.getpid()}.slice"
        self.place = place
        self.base = place / self.slice
        self.made = []
        try:
            self.base.mkdir()
        except OSError as error:
            pytest.skip(f"cannot make cgroups: {error}")

    def make(self, path):
        """One of this path below our slice; a leading slash: below the root."""
        where = self.place / path[1:] if path.startswith("/") else self.base / path
        todo = [where, *(parent for parent in where.parents if self.place in parent.parents)]
        for directory in reversed(todo):
            if not directory.exists():
                directory.mkdir()
                self.made.append(directory)
        return where

    @staticmethod
    def _removed(directory):
        try:
            directory.rmdir()
            return True
        except OSError:
            return not directory.exists()

    def finish(self):
        """Those who were in there may not be quite gone yet."""
        for directory in [*reversed(self.made), self.base]:
            wait_for(lambda d=directory: self._removed(d), f"an empty {directory}")


@pytest.fixture
def cgroups():
    made = Cgroups()
    yield made
    made.finish()


@pytest.fixture
def old_kernel(start_agent):
    """under(), before Linux 6.5."""
    return lambda *rules, config="": Rules(start_agent(
        FAST + config, rules="\n".join(rules), prefix=OLD_KERNEL))


@pytest.fixture(params=["kept by the kernel", "pinned by number"])
def either(request, under, old_kernel):
    """The one and the other."""
    return under if request.param == "kept by the kernel" else old_kernel


class Connector:
    """A process that connects from a cgroup, and what is left of it: the connection is
    ours, too, as it is any child's."""

    def __init__(self, agent, cgroup, uid=USER):
        self.agent = agent
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                with agent.connect() as connected:
                    socket.send_fds(theirs, [b"x"], [connected.fileno()])
                theirs.recv(1)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()
        self.control = ours
        _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
        self.caller = agent.connection()
        self.caller.sock = socket.socket(fileno=fd)
        self.caller.sock.settimeout(60)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.exit()
        self.caller.close()

    def _get(self, target):
        self.caller.request("GET", target, headers={"Metadata-Flavor": "Google"})
        answer = self.caller.getresponse()
        return answer.status, answer.read()

    def ask(self, target):
        """Its status."""
        return self._get(target)[0]

    def whoami(self):
        return json.loads(self._get("/v1/whoami")[1])

    def exit(self):
        if self.pid:
            self.control.send(b"x")
            os.waitpid(self.pid, 0)
            self.control.close()
            self.pid = 0
