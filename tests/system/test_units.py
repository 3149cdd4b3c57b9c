# SPDX-License-Identifier: Apache-2.0
"""The unit files as installed, by systemd's own tools, without booting anything.

Each promise of the units is a line in PROMISES: what must be there, in which unit.
What systemd-analyze judges, and what it cannot, are both complaints(); so that a
unit that lost a directive cannot pass, each loss is tried."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import TESTS, find_one

SOCKET, SERVICE = "gce-oidc-agent.socket", "gce-oidc-agent.service"
LOCKDOWN = "gce-oidc-agent-lockdown.service"
LOOPBACK = "gce-oidc-agent-loopback.socket"
UNITS = (SOCKET, SERVICE, LOCKDOWN, LOOPBACK)
PORT = 254

# Tenths of systemd-analyze's exposure: to be lowered, never raised.
EXPOSURE = {SERVICE: 15, LOCKDOWN: 14}

# What is open because it is needed; small ones are lost in the sum's rounding.
NEEDED = {
    SERVICE: {
        "PrivateNetwork", "IPAddressDeny",      # Google and the metadata server
        "RestrictAddressFamilies=~AF_(INET|INET6)", "RestrictAddressFamilies=~AF_UNIX",
        "RestrictAddressFamilies=~AF_NETLINK",  # the resolver, sock_diag
        "PrivateUsers", "ProtectProc",          # who the peers are
        "RootDirectory=/RootImage",
        "DeviceAllow"},                         # an artefact of ProtectClock=
    LOCKDOWN: {
        "CapabilityBoundingSet=~CAP_NET_ADMIN", "PrivateNetwork",   # its business
        "User=/DynamicUser", "PrivateUsers",
        "RestrictAddressFamilies=~AF_NETLINK", "RestrictAddressFamilies=~AF_UNIX",
        "RootDirectory=/RootImage", "DeviceAllow"},
}

# What verify and security do not see, and only boots, attacks and failures show.
PROMISES = {
    SOCKET: [
        "ListenStream=/run/gce-oidc-agent/agent.sock", "SocketUser=root",
        "SocketGroup=root", "SocketMode=0666", "DirectoryMode=0755", "RemoveOnStop=yes",
        "Backlog=256", "TriggerLimitIntervalSec=0", "FileDescriptorName=agent",
        "WantedBy=sockets.target"],
    SERVICE: [
        "Requires=gce-oidc-agent.socket", "After=gce-oidc-agent.socket",
        "StartLimitIntervalSec=0", "Type=notify", "NotifyAccess=main",
        "Restart=on-failure", "RestartSec=500ms", "TimeoutStartSec=30s",
        "TimeoutStopSec=10s", "WatchdogSec=30s", "User=gce-oidc-agent", "LimitCORE=0",
        "LimitNOFILE=16384", "TasksMax=16", "MemoryMax=64M", "MemorySwapMax=0",
        "KeyringMode=private", "NoExecPaths=/ /run", "ReadOnlyPaths=/run", "ProtectProc=default",
        "InaccessiblePaths=-/boot -/efi -/mnt -/media -/srv -/opt -/var/log -/var/lib",
        "WantedBy=multi-user.target", "Also=gce-oidc-agent.socket"],
    LOCKDOWN: [
        "DefaultDependencies=no", "PartOf=nftables.service", "RemainAfterExit=yes",
        "ReloadPropagatedFrom=nftables.service",
        "RuntimeDirectory=gce-oidc-agent-lockdown", "WantedBy=sysinit.target"],
    LOOPBACK: [
        f"ListenStream=127.0.0.1:{PORT}", f"ListenStream=[::1]:{PORT}", "FreeBind=yes",
        "FileDescriptorName=loopback", "Service=gce-oidc-agent.service", "Backlog=256",
        "TriggerLimitIntervalSec=0", "WantedBy=sockets.target gce-oidc-agent.service"],
}
# And what must never be: each was tried, and breaks what stands behind it.
BANNED = {
    SOCKET: [
        (r"Before=.*cloud-init", "an ordering cycle: systemd drops cloud-init's job"),
        (r"(DefaultDependencies|Accept)=", "the socket is an ordinary one")],
    SERVICE: [
        (r"RuntimeDirectory=gce-oidc-agent$", "takes the socket's directory over"),
        (r"(State|Cache|Logs)Directory=", "nothing is kept on disk"),
        (r"PrivateUsers=yes", "peers' uids become 65534"),
        (r"ProtectProc=(invisible|noaccess|ptraceable)", "peers cannot be looked at"),
        (r"RestartPreventExitStatus=", "with a waiting client: 360 starts a second"),
        (r"IPAddressDeny=", "Google's endpoints are anywhere"),
        (r"(After|Wants|Requires|Before)=.*(network|cloud-init|google)",
         "callers would wait for what the agent itself waits for"),
        (r"StartLimit(Burst|Action)=", "the socket is lost with the service"),
        (r"ExecReload=/bin/kill", "not on minimal systems, nor in this sandbox")],
    LOCKDOWN: [],
    LOOPBACK: [
        (r"ListenStream=(?!127\.0\.0\.1:|\[::1\]:)", "nobody could say who asks there"),
        (r"(DefaultDependencies|Accept|ReusePort)=", "the socket is an ordinary one")],
}


@pytest.fixture
def analyze(tool):
    return tool("systemd-analyze", "systemd")


@pytest.fixture
def root(stage, place):
    """A system's tree: systemd's own units, and what was installed."""
    tree = place / "root"
    for units in {pathlib.Path(place, "systemd/system").resolve()
                  for place in ("/lib", "/usr/lib")}:
        if units.is_dir():
            shutil.copytree(units, tree / "usr/lib/systemd/system", symlinks=True,
                            dirs_exist_ok=True)
    (tree / "lib").symlink_to("usr/lib")
    shutil.copytree(stage, tree, symlinks=True, dirs_exist_ok=True)
    # What the units call that is not ours.
    nft = tree / "usr/sbin/nft"
    nft.parent.mkdir(exist_ok=True)
    nft.write_text("#!/bin/sh\n")
    nft.chmod(0o755)
    return tree


def call(*command, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          check=False, env={**os.environ, "SYSTEMD_COLORS": "0"}, **more)


def directives(text):
    return [line for line in text.splitlines() if line and line[0] not in "#;["]


def section_of(text, directive):
    """The section that a directive stands in."""
    return re.findall(r"^\[(\w+)\]$", text.partition("\n" + directive + "\n")[0], re.M)[-1]


def complaints(root, analyze):
    """Everything that is wrong with the units in a tree."""
    wrong = []
    verify = call(analyze, "verify", "--man=no", f"--root={root}", *UNITS)
    if verify.returncode or verify.stderr:
        wrong.append(f"verify: {verify.stderr}")
    for unit, limit in EXPOSURE.items():
        security = call(analyze, "security", "--offline=yes", f"--threshold={limit}",
                        "--json=short", f"--root={root}", unit)
        if security.returncode:
            wrong.append(f"security: exposure of {unit} is over {limit / 10}")
        exposed = {item["name"].removesuffix("=") for item in json.loads(security.stdout)
                   if item["exposure"]}
        wrong += [f"security: {unit}: {name}" for name in exposed - NEEDED[unit]]
    for unit in UNITS:
        lines = directives(find_one(root, unit).read_text())
        wrong += [f"{unit}: no {line}" for line in PROMISES[unit] if line not in lines]
        wrong += [f"{unit}: {line}: {why}" for pattern, why in BANNED[unit]
                  for line in lines if re.match(pattern, line)]
    return wrong


def test_units_are_as_promised(root, analyze):
    assert complaints(root, analyze) == []


LOSSES = [
    (SOCKET, "SocketMode"), (SOCKET, "TriggerLimitIntervalSec"), (SERVICE, "Requires"),
    (SERVICE, "StartLimitIntervalSec"), (SERVICE, "WatchdogSec"), (SERVICE, "User"),
    (SERVICE, "NoExecPaths"), (SERVICE, "CapabilityBoundingSet"),
    (SERVICE, "SystemCallFilter"), (SERVICE, "RestrictNamespaces"),
    (SERVICE, "ProtectSystem"), (SERVICE, "PrivateDevices"),
    (SERVICE, "MemoryDenyWriteExecute"), (SERVICE, "LockPersonality"),
    (LOCKDOWN, "CapabilityBoundingSet"), (LOCKDOWN, "PartOf"),
    (LOOPBACK, "ListenStream"), (LOOPBACK, "Service")]


def without(root, unit, key):
    path = find_one(root, unit)
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(key + "=")]
    assert len(kept) < len(lines), f"{unit} has no {key}="
    path.write_text("".join(kept))


@pytest.mark.parametrize("unit, key", LOSSES, ids=lambda x: x.removesuffix(".service"))
def test_lost_directive_is_noticed(root, analyze, unit, key):
    without(root, unit, key)
    assert complaints(root, analyze)


def test_seven_lost_directives_are_noticed(root, analyze):
    """One complaint at least for each: none hides another."""
    for unit, key in LOSSES[:7]:
        without(root, unit, key)
    assert len(complaints(root, analyze)) >= 7


@pytest.mark.parametrize("unit, line", [
    (SERVICE, "RuntimeDirectory=gce-oidc-agent"), (SERVICE, "PrivateUsers=yes"),
    (SERVICE, "After=network-online.target"), (SERVICE, "RestartPreventExitStatus=78"),
    (SERVICE, "ProtectProc=invisible"), (SERVICE, "NoSuchDirective=yes"),
    (SOCKET, "Before=cloud-init.service"), (LOOPBACK, "ListenStream=254"),
    (LOOPBACK, "ListenStream=0.0.0.0:254")])
def test_harmful_directive_is_noticed(root, analyze, unit, line):
    path = find_one(root, unit)
    text = path.read_text()
    before = next(x for x in PROMISES[unit] if section_of(text, x) != "Unit")
    if line.startswith(("After", "Before")):
        before = next(x for x in text.splitlines() if x.startswith("Description="))
    path.write_text(text.replace(before + "\n", f"{before}\n{line}\n"))
    assert complaints(root, analyze)


# --- order at boot: with the units of those who share it

# Names and orderings of cloud-init 22.4 and 25.1, as Debian has them, and of
# Google's guest agent; nothing else of them matters here.
OTHERS = {
    "cloud-init-local.service": """
        DefaultDependencies=no
        Wants=network-pre.target
        After=systemd-remount-fs.service
        Before=NetworkManager.service network-pre.target shutdown.target sysinit.target
        Conflicts=shutdown.target
        RequiresMountsFor=/var/lib/cloud""",
    "cloud-init.service": """
        DefaultDependencies=no
        Wants=cloud-init-local.service sshd-keygen.service sshd.service
        After=cloud-init-local.service systemd-networkd-wait-online.service
        After=networking.service
        Before=network-online.target sshd-keygen.service sshd.service
        Before=systemd-user-sessions.service sysinit.target shutdown.target
        Conflicts=shutdown.target""",
    "cloud-config.service": """
        After=network-online.target cloud-config.target snapd.seeded.service
        Before=systemd-user-sessions.service
        Wants=network-online.target cloud-config.target""",
    "cloud-final.service": """
        After=network-online.target time-sync.target cloud-config.service
        After=rc-local.service multi-user.target
        Before=apt-daily.service
        Wants=network-online.target cloud-config.service""",
    "google-guest-agent.service": """
        After=network-online.target syslog.service network.service networking.service
        After=NetworkManager.service systemd-networkd.service
        Before=sshd.service ssh.service
        Wants=network-online.target
        PartOf=network.service networking.service systemd-networkd.service""",
    "google-guest-agent-manager.service": """
        After=network-online.target syslog.service network.service networking.service
        Before=sshd.service ssh.service""",
    "google-startup-scripts.service": """
        After=network-online.target rsyslog.service google-guest-agent.service
        Wants=network-online.target
        Before=apt-daily.service""",
    "nftables.service": """
        DefaultDependencies=no
        Wants=network-pre.target
        Before=network-pre.target shutdown.target
        Conflicts=shutdown.target""",
}
BY_SYSINIT = {"nftables.service", LOCKDOWN}


@pytest.fixture
def boot(root):
    """A tree where everything is enabled, the others' units included."""
    units = root / "etc/systemd/system"
    for name, text in OTHERS.items():
        wanted = "cloud-init.target" if name.startswith("cloud") else "multi-user.target"
        (root / "usr/lib/systemd/system" / name).write_text(
            "[Unit]\n" + re.sub(r"^ +", "", text, flags=re.M) +
            "\n[Service]\nType=oneshot\nExecStart=/usr/sbin/nft\n")
        wants = units / f"{'sysinit.target' if name in BY_SYSINIT else wanted}.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / name).symlink_to(f"/usr/lib/systemd/system/{name}")
    (root / "usr/lib/systemd/system/cloud-init.target").write_text(
        "[Unit]\nAfter=multi-user.target\n")
    (root / "usr/lib/systemd/system/cloud-config.target").write_text(
        "[Unit]\nAfter=cloud-init-local.service cloud-init.service\n")
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "cloud-init.target").symlink_to("/usr/lib/systemd/system/cloud-init.target")
    for unit in UNITS:
        assert call("systemctl", f"--root={root}", "enable", unit).returncode == 0
    for unit in ("systemd-networkd.service", "systemd-networkd-wait-online.service"):
        call("systemctl", f"--root={root}", "enable", unit)
    return root


def cycles(analyze, root):
    words = call(analyze, "verify", "--man=no", f"--root={root}", "default.target",
                 "multi-user.target", *UNITS).stderr
    return [line for line in words.splitlines() if "ordering cycle" in line]


def test_no_ordering_cycle_with_clouds_units(boot, analyze):
    assert cycles(analyze, boot) == []


@pytest.mark.parametrize("unit, line", [
    (SOCKET, "Before=cloud-init.service"), (LOCKDOWN, "DefaultDependencies=yes")])
def test_ordering_cycle_would_be_seen(boot, analyze, unit, line):
    path = find_one(boot, unit)
    path.write_text(path.read_text().replace("[Unit]\n", f"[Unit]\n{line}\n").replace(
        "DefaultDependencies=no\n", ""))
    assert cycles(analyze, boot)


# --- users, presets, catalog, directories


def test_sysusers_makes_one_user_and_no_other_group(root, tool):
    sysusers = tool("systemd-sysusers", "systemd")
    (root / "etc").mkdir(exist_ok=True)
    assert call(sysusers, f"--root={root}", find_one(root, "gce-oidc-agent.conf")
                ).returncode == 0
    ours = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    assert [(u[0], u[5], u[6]) for u in ours] == [("gce-oidc-agent", "/",
                                                   "/usr/sbin/nologin")]
    groups = (root / "etc/group").read_text().splitlines()
    assert [group.split(":")[0] for group in groups] == ["gce-oidc-agent"]


def test_preset_enables_socket_and_service_and_nothing_else(root, tool):
    systemctl = tool("systemctl", "systemd")
    assert call(systemctl, f"--root={root}", "preset", *UNITS).returncode == 0
    links = root / "etc/systemd/system"
    assert (links / "sockets.target.wants" / SOCKET).is_symlink()
    assert (links / "multi-user.target.wants" / SERVICE).is_symlink()
    assert not list(links.rglob(LOCKDOWN)) and not list(links.rglob(LOOPBACK))
    # The control: they can be enabled.
    assert call(systemctl, f"--root={root}", "enable", LOCKDOWN, LOOPBACK).returncode == 0
    assert (links / "sysinit.target.wants" / LOCKDOWN).is_symlink()
    assert (links / "sockets.target.wants" / LOOPBACK).is_symlink()
    assert (links / f"{SERVICE}.wants" / LOOPBACK).is_symlink()


def test_port_is_roots_and_the_documented_one(root):
    units = directives(find_one(root, LOOPBACK).read_text())
    ports = {line.rpartition(":")[2] for line in units if line.startswith("ListenStream=")}
    assert ports == {str(PORT)} and PORT < 1024
    for page in ("README.md", "doc/gce-oidc-agent.8"):
        text = (TESTS.parent / page).read_text()
        assert f"127.0.0.1:{PORT}" in text and f"localhost:{PORT}" not in text


def test_catalog_explains_each_message_id_of_the_sources(root, tool):
    journalctl = tool("journalctl", "systemd")
    agent = TESTS.parent / "agent"
    used = {found for path in agent.rglob("*.c")
            for found in re.findall(r'"([0-9a-f]{32})"', path.read_text())}
    catalog = find_one(root, "gce-oidc-agent.catalog")
    explained = set(re.findall(r"^-- ([0-9a-f]{32})$", catalog.read_text(), re.M))
    assert used == explained != set()
    (root / "var/lib/systemd/catalog").mkdir(parents=True)
    update = call(journalctl, f"--root={root}", "--update-catalog")
    assert (update.returncode, update.stderr) == (0, "")
    assert (root / "var/lib/systemd/catalog/database").stat().st_size > 0


def test_conditions_are_for_systems_that_understand_them(build_dir, stage):
    """252 and newer; an older one would never start the agent."""
    version = re.search(r"UNIT_SED = (.*)", (build_dir / "Makefile").read_text())[1]
    for unit in (SOCKET, SERVICE, LOOPBACK):
        text = find_one(stage, unit).read_text()
        assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", text)
        has = [line for line in directives(text) if line.startswith("Condition")]
        assert len(has) == (2 if "s/^@SINCE_252@//" in version else 0)
        assert all("=|" in line for line in has)    # either will do


def test_restarts_slow_down_on_systems_that_understand_it(build_dir, stage):
    """254 and newer; elsewhere each is after RestartSec=."""
    steps = ["RestartSteps=5", "RestartMaxDelaySec=10s"]
    source = (TESTS.parent / "units" / f"{SERVICE}.in").read_text()
    assert all(f"\n@SINCE_254@{line}\n" in source for line in steps)
    version = re.search(r"UNIT_SED = (.*)", (build_dir / "Makefile").read_text())[1]
    has = [line for line in directives(find_one(stage, SERVICE).read_text()) if line in steps]
    assert has == (steps if "s/^@SINCE_254@//" in version else [])


def test_everything_is_installed_inside_the_prefix(stage, build_dir):
    prefix = re.search(r"^prefix = (.*)$", (build_dir / "Makefile").read_text(), re.M)[1]
    inside = stage / prefix.lstrip("/")
    outside = [path for path in stage.rglob("*") if path.is_file() and
               inside not in path.parents]
    # systemd's own directories, where systemd.pc names them.
    if prefix == "/usr":
        outside = [path for path in outside if not path.is_relative_to(stage / "lib")]
    assert outside == []


# --- doc/examples

DROPINS = [("dropin-socket-group.conf", SOCKET, "SocketMode=0660"),
           ("dropin-credentials.conf", SERVICE, "LoadCredential=key.json"),
           ("dropin-lockdown-macvlan.conf", LOCKDOWN, "ExecStart=/usr/sbin/nft -D parent=ens4"),
           ("dropin-wait.conf", "web.service", "ExecStartPre=gce-oidc wait")]


@pytest.mark.parametrize("name, unit, directive", DROPINS)
def test_example_drop_in_is_understood_where_it_says(root, analyze, name, unit, directive):
    text = find_one(root, name).read_text()
    assert f"# For /etc/systemd/system/{unit}.d/" in text and f"\n{directive}" in text
    etc = root / "etc/systemd/system"
    (etc / f"{unit}.d").mkdir(parents=True)
    (etc / f"{unit}.d" / name).write_text(text)
    if unit == "web.service":
        (etc / unit).write_text("[Service]\nExecStart=gce-oidc-agent\n")
    done = call(analyze, "verify", "--man=no", f"--root={root}", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (etc / f"{unit}.d" / name).write_text(text + "NoSuchDirective=yes\n")
    assert "NoSuchDirective" in call(analyze, "verify", "--man=no", f"--root={root}", unit).stderr


def test_all_drop_ins_are_tried(root):
    assert {path.name for path in root.rglob("examples/dropin-*")} == {
        name for name, _, _ in DROPINS}
