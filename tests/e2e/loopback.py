# SPDX-License-Identifier: Apache-2.0
"""An agent on loopback TCP, beside its Unix socket."""

import contextlib
import ctypes
import http.client
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from conftest import DEADLINE, Askable, wait_for
from raw_http import Wire
from steps import FAST

FAMILIES = {"127.0.0.1": socket.AF_INET, "[::1]": socket.AF_INET6}
LISTEN = tuple(f"--listen={name}:0" for name in FAMILIES)

ANY_TCP = """
[rule anyone]
peer = anyone
host = any
audience = **
"""


class Loopback(Askable):
    """One address of an agent.  Where others connect to an agent, they may to this."""

    def __init__(self, agent, name="127.0.0.1"):
        pattern = re.compile(rf"listening on {re.escape(name)}:(\d+)$", re.M)
        self.port = int(wait_for(lambda: pattern.search(agent.log()), "a port")[1])
        self.agent = agent
        self.name, self.family = name, FAMILIES[name]
        self.host = f"{name}:{self.port}"
        self.address = (name.strip("[]"), self.port)

    def connect(self, timeout=DEADLINE, source=None):
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if source:
            sock.bind(source)
        sock.connect(self.address)
        return sock

    def connection(self, timeout=DEADLINE):
        return http.client.HTTPConnection(*self.address, timeout=timeout)


@pytest.fixture
def start_loopback(start_agent):
    """start_loopback(config="", rules=ANY_TCP, name="127.0.0.1") -> Loopback."""
    def start(config="", rules=ANY_TCP, name="127.0.0.1", **more):
        return Loopback(start_agent(FAST + config, rules=rules, args=LISTEN, **more), name)
    return start


@pytest.fixture(params=FAMILIES)
def loopback(request, start_loopback):
    """One that gives anyone anything, by each of its addresses."""
    return start_loopback(name=request.param)


# --- from another machine

HERE, THERE = "10.254.0.1", "10.254.0.2"
NEWNET = 0x40000000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def redirect(port):
    """What comes to HERE is for 127.0.0.1, as an administrator might have it."""
    pathlib.Path("/proc/sys/net/ipv4/conf/here/route_localnet").write_text("1")
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
table ip elsewhere {{
    chain in {{
        type nat hook prerouting priority -100;
        ip daddr {HERE} tcp dport {port} dnat to 127.0.0.1:{port}
    }}
}}""")


def connect_there(port, go, back):
    """In a network of its own, which gets its end of the cable when we say so."""
    if ctypes.CDLL(None).unshare(NEWNET) < 0:
        os._exit(77)
    back.send(b"x")
    go.recv(1)
    ip("addr", "add", f"{THERE}/24", "dev", "there")
    ip("link", "set", "there", "up")
    with socket.create_connection((HERE, port), timeout=DEADLINE) as sock:
        socket.send_fds(back, [b"x"], [sock.fileno()])


@contextlib.contextmanager
def elsewhere(it):
    """A Wire to the agent from another machine, by way of a redirection."""
    if not shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        pytest.skip("no nft here")
    go, child_go = socket.socketpair()
    back, child_back = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            connect_there(it.port, child_go, child_back)
        finally:
            os._exit(1)
    child_back.close()
    if back.recv(1) != b"x":
        pytest.skip("no network namespaces")
    ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(pid))
    try:
        ip("addr", "add", f"{HERE}/24", "dev", "here")
        ip("link", "set", "here", "up")
        redirect(it.port)
        go.send(b"x")
        _, (fd,), _, _ = socket.recv_fds(back, 1, 1)
        sock = socket.socket(fileno=fd)
        sock.settimeout(DEADLINE)       # the child's made it non-blocking for both
        with Wire(sock) as wire:
            yield wire
    finally:
        os.waitpid(pid, 0)
        # The kernel takes both ends away with the child's namespace, in its own time.
        subprocess.run(["ip", "link", "del", "here"], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["nft", "delete", "table", "ip", "elsewhere"], check=False)
        for one in (go, child_go, back):
            one.close()
