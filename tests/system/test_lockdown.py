# SPDX-License-Identifier: Apache-2.0
"""What the lockdown's packet filter lets through, on three machines in a row: one
behind ours, as a container is, ours, and the metadata server's; and of one beside ours."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import pytest

from conftest import find_one, is_root, wait_for

ADDRESSES = ("169.254.169.254", "fd20:ce::254")
PORTS = (80, 443, 53)
SERVER = textwrap.dedent("""
    import select, socket
    listening = []
    for address in {addresses}:
        for port in {ports}:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            it = socket.socket(family)
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            it.bind((address, port))
            it.listen(64)
            listening.append(it)
    print("listening", flush=True)
    while True:
        for it in select.select(listening, [], [])[0]:
            it.accept()[0].close()
""")
CLIENT = textwrap.dedent("""
    import socket, sys
    address, port, patience, source = sys.argv[1:]
    with socket.create_connection((address, int(port)), float(patience), (source, 0)) as it:
        it.recv(1)
""")
EVERYBODY = "1-4294967295"


def run(*command, **more):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          check=False, **more)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Machines:
    """container -- ours -- google"""

    def __init__(self, nft, rules):
        self.nft = nft
        self.names = {}
        # The agent's user is made at installation; any other does for this.
        self.rules = rules.replace('"gce-oidc-agent" } accept', '"daemon" } accept')
        assert self.rules != rules
        self.server = None

    def on(self, name, *command, **more):
        return run("ip", "netns", "exec", self.names[name], *command, **more)

    def start(self):
        for name in ("container", "ours", "google"):
            self.add(name)
        self.link("container", "ours", 1)
        self.link("ours", "google", 2)
        for address in ADDRESSES:
            six = [] if "." in address else ["-6"]
            net, via = ("10.0.1.0/24", "10.0.2.1") if not six else ("fd00:1::/64", "fd00:2::1")
            self.ip("google", "address", "add", address, "dev", "lo")
            self.ip("google", *six, "route", "add", net, "via", via)
            self.ip("ours", *six, "route", "add", address, "via",
                    via.removesuffix("1") + "2")
            self.ip("container", *six, "route", "add", "default", "via",
                    "fd00:1::1" if six else "10.0.1.1")
        for knob in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.on("ours", "sh", "-c", f"echo 1 >/proc/sys/net/{knob}")
        self.server = subprocess.Popen(
            ["ip", "netns", "exec", self.names["google"], sys.executable, "-c",
             SERVER.format(addresses=ADDRESSES, ports=PORTS)],
            stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "listening\n"
        wait_for(lambda: self.reach("container", *ADDRESSES), "the links are up")

    def add(self, name):
        self.names[name] = f"goa-{os.getpid()}-{name}"
        run("ip", "netns", "add", self.names[name])
        self.ip(name, "link", "set", "lo", "up")

    def ip(self, name, *command):
        run("ip", "-netns", self.names[name], *command)

    def link(self, one, two, net):
        ends = f"{one[:3]}{net}", f"{two[:3]}{net}"
        run("ip", "link", "add", ends[0], "netns", self.names[one], "type", "veth", "peer",
            "name", ends[1], "netns", self.names[two])
        # The machine nearer to the container is the network's .1 towards google.
        numbers = (2, 1) if one == "container" else (1, 2)
        for name, end, number in zip((one, two), ends, numbers):
            self.ip(name, "address", "add", f"10.0.{net}.{number}/24", "dev", end)
            self.ip(name, "address", "add", f"fd00:{net}::{number}/64", "dev", end, "nodad")
            self.ip(name, "link", "set", end, "up")

    def lock(self, shut_out=EVERYBODY):
        self.on("ours", self.nft, "-D", f"shut_out={{ {shut_out} }}", "-f", "-",
                input=self.rules)

    def unlock(self, command):
        self.on("ours", self.nft, command)

    def ask(self, name, address, port=80, uid=0, patience=10, source=""):
        return subprocess.run(
            ["ip", "netns", "exec", self.names[name], "setpriv", f"--reuid={uid}",
             "--clear-groups", sys.executable, "-c", CLIENT, address, str(port), str(patience),
             source], capture_output=True, text=True, check=False)

    def reach(self, name, *addresses, **more):
        """Do all these addresses answer?  None and some are both no."""
        return all(self.ask(name, address, **more).returncode == 0 for address in addresses)

    def stop(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server.stdout.close()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True,
                           check=False)


@pytest.fixture(scope="module")
def machines(stage):
    nft = shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not nft:
        pytest.skip("no nft here: apt-get install nftables")
    if not is_root():
        pytest.skip("not root")
    machines = Machines(nft, find_one(stage, "lockdown.nft").read_text())
    try:
        machines.start()
        yield machines
    finally:
        machines.stop()


@pytest.fixture
def off(stage):
    """The command by which the service ends it."""
    text = find_one(stage, "gce-oidc-agent-lockdown.service").read_text()
    return re.search(r'^ExecStop=\S+ "(.*)"$', text, re.M)[1]


@pytest.fixture(autouse=True)
def unlocked(machines, off):
    machines.unlock(off)
    yield
    machines.unlock(off)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("port", [80, 443])
def test_only_root_and_the_agent_pass(machines, address, port):
    assert machines.reach("ours", address, port=port, uid=33)
    assert machines.reach("container", address, port=port)
    machines.lock()
    assert not machines.reach("ours", address, port=port, uid=33)
    assert not machines.reach("ours", address, port=port, uid=65534)
    assert not machines.reach("container", address, port=port)     # its root is not ours
    assert machines.reach("ours", address, port=port)
    assert machines.reach("ours", address, port=port, uid=1)       # the agent's


@pytest.mark.parametrize("address", ADDRESSES)
def test_names_are_resolved_for_all(machines, address):
    machines.lock()
    assert machines.reach("ours", address, port=53, uid=33)
    assert machines.reach("container", address, port=53)


def test_listed_users_alone_are_shut_out_and_containers(machines):
    machines.lock("www-data, 2000-2999")
    for uid, passes in ((33, False), (2500, False), (34, True), (3000, True), (0, True)):
        assert machines.reach("ours", *ADDRESSES, uid=uid) == passes, uid
    assert not machines.reach("container", ADDRESSES[0])


def test_it_may_be_loaded_and_taken_away_again_and_again(machines, off):
    for _ in range(3):
        machines.lock()
        machines.lock()
        tables = machines.on("ours", machines.nft, "list", "tables")
        assert tables == "table inet gce-oidc-agent-lockdown\n"
        assert not machines.reach("ours", ADDRESSES[0], uid=33)
        machines.unlock(off)
        machines.unlock(off)
        assert machines.on("ours", machines.nft, "list", "ruleset") == ""
        assert machines.reach("ours", *ADDRESSES, uid=33)


def test_refusal_comes_at_once(machines):
    machines.lock()
    for name, uid in (("ours", 33), ("container", 0)):
        assert "ConnectionRefusedError" in machines.ask(name, ADDRESSES[0], uid=uid).stderr


# --- a container that does not pass our IP: doc/examples/dropin-lockdown-macvlan.conf


@pytest.fixture(scope="module")
def vlan(machines):
    """It hangs on our link to google."""
    machines.add("vlan")
    done = subprocess.run(["ip", "-netns", machines.names["ours"], "link", "add", "mac2", "link",
                           "our2", "type", "macvlan", "mode", "bridge"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no macvlan here: {done.stderr}")
    machines.ip("ours", "link", "set", "mac2", "netns", machines.names["vlan"])
    machines.ip("vlan", "address", "add", "10.0.2.3/24", "dev", "mac2")
    machines.ip("vlan", "address", "add", "fd00:2::3/64", "dev", "mac2", "nodad")
    machines.ip("vlan", "link", "set", "mac2", "up")
    for six, address, via in zip(([], ["-6"]), ADDRESSES, ("10.0.2.2", "fd00:2::2")):
        machines.ip("vlan", *six, "route", "add", address, "via", via)
    wait_for(lambda: machines.reach("vlan", *ADDRESSES), "its link is up")


@pytest.fixture
def dropin(machines, stage, vlan):
    """dropin(KEY): what the drop-in's command of that name does."""
    text = find_one(stage, "dropin-lockdown-macvlan.conf").read_text()
    rules = find_one(stage, "lockdown-parent.nft").read_text()

    def call(key):
        words = shlex.split(re.search(rf"^{key}=/usr/sbin/nft (.*)$", text, re.M)[1])
        if "-f" in words:
            assert words[-1].endswith("/lockdown-parent.nft")
            words[-1] = "-"
        words = [word.replace("parent=ens4", "parent=our2") for word in words]
        machines.on("ours", machines.nft, *words, input=rules)
    call("ExecStop")
    yield call
    call("ExecStop")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("port", [80, 443])
def test_macvlan_is_shut_out_by_the_drop_in_alone(machines, dropin, address, port):
    machines.lock()
    assert machines.reach("vlan", address, port=port)
    dropin("ExecStart")
    assert not machines.reach("vlan", address, port=port, patience=1)
    assert machines.reach("vlan", address, port=53)
    assert machines.reach("ours", address, port=port)
    assert machines.reach("ours", address, port=port, uid=1)       # the agent's
    assert not machines.reach("ours", address, port=port, uid=33)
    dropin("ExecStop")
    assert machines.reach("vlan", address, port=port)


def test_drop_in_may_be_loaded_and_taken_away_again_and_again(machines, dropin):
    for _ in range(3):
        dropin("ExecStart")
        dropin("ExecReload")
        assert machines.on("ours", machines.nft, "list", "tables") == \
            "table netdev gce-oidc-agent-lockdown\n"
        dropin("ExecStop")
        dropin("ExecStop")
        assert machines.on("ours", machines.nft, "list", "ruleset") == ""


SEEN = """
table ip seen {
	chain input {
		type filter hook input priority filter;
		ip saddr 10.0.2.1 tcp dport 80 tcp flags & (syn | ack) == syn counter
	}
}
"""


def test_macvlan_with_our_own_address_is_shut_out_too(machines, dropin):
    """Answers go to us; but an ipvlan's would come to who has the address."""
    def count(name, *table):
        rules = machines.on(name, machines.nft, "list", "table", *table)
        return int(re.search(r"syn.* counter packets (\d+)", rules)[1])

    def after_asking(name, *table):
        machines.reach("vlan", ADDRESSES[0], source="10.0.2.1", patience=1)
        return count(name, *table) > 0
    machines.lock()
    machines.on("google", machines.nft, "-f", "-", input=SEEN)
    machines.ip("vlan", "address", "add", "10.0.2.1/32", "dev", "lo")
    try:
        wait_for(lambda: after_asking("google", "ip", "seen"), "it comes there")
        dropin("ExecStart")
        before = count("google", "ip", "seen")
        wait_for(lambda: after_asking("ours", "netdev", "gce-oidc-agent-lockdown"),
                 "it is dropped")
        assert count("google", "ip", "seen") == before
    finally:
        machines.ip("vlan", "address", "delete", "10.0.2.1/32", "dev", "lo")
        machines.on("google", machines.nft, "delete", "table", "ip", "seen")
