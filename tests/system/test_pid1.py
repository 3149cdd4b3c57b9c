# SPDX-License-Identifier: Apache-2.0
"""Booted: systemd as PID 1, the units as installed, the real agent, real peers.

One machine for the file; a test that bends it puts it back.  For every "is refused"
there is the control that must succeed."""

import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

from conftest import Emulator, find_one, wait_for
from machine import Machine, active, base_of, fresh, token
from steps import HURRY

SOCKET, SERVICE = "gce-oidc-agent.socket", "gce-oidc-agent.service"
LOCKDOWN = "gce-oidc-agent-lockdown.service"
LOOPBACK = "gce-oidc-agent-loopback.socket"
PATH = "/run/gce-oidc-agent/agent.sock"
CONFIG = "/etc/gce-oidc-agent/agent.conf"
CA = "/etc/gce-oidc-agent/ca.pem"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
CLIENT = "/usr/lib/gce-oidc-test/client"
WARM = "https://warm.example.com"
ROOT, USER, GROUP = "https://root.example.com", "https://user.example.com", \
    "https://group.example.com"
PAYROLL, WEB, SHOP = "https://payroll.example.com", "https://web.example.com", \
    "https://shop.example.com"
DENIED, NO_AGENT = 3, 9

RULES = f"""
[cache]
warm = {WARM}

[rule by-user]
user = alice
audience = {USER}

[rule by-group]
group = tokens
audience = {GROUP}

[rule by-unit]
unit = payroll.service
audience = {PAYROLL}

[rule by-template]
unit = web@*.service
audience = {WEB}

[rule by-slice]
slice = shop.slice
audience = {SHOP}
"""

# Asks before anything else is there: neither network nor sysinit.target.
EARLY = f"""
[Unit]
DefaultDependencies=no
Requires={SOCKET}
After={SOCKET}
[Service]
ExecStart=/bin/sh -c 'gce-oidc token https://early.example.com >/run/early.new && mv /run/early.new /run/early'
RemainAfterExit=yes
"""


@pytest.fixture(scope="module")
def suite():
    """Which Debian."""
    return "bookworm"


@pytest.fixture(scope="module")
def google():
    """Where the default address leads."""
    with Emulator("--metadata-address=169.254.169.254", "--metadata-port=80") as google:
        yield google


@pytest.fixture(scope="module")
def machine(google, suite, build_dir, stage, client):
    with Machine(base_of(build_dir, suite), stage) as machine:
        machine.write(CONFIG, google.agent_config().replace(google.ca_file, CA) + HURRY +
                      RULES)
        machine.write(CA, pathlib.Path(google.ca_file).read_text())
        machine.add_program(client, CLIENT)
        machine.write("/usr/lib/sysusers.d/test.conf",
                      "u alice 1500\nu bob 1501\ng tokens 1600\n")
        machine.write("/usr/lib/systemd/system/early.service", EARLY)
        wants = machine.root / "usr/lib/systemd/system/sysinit.target.wants"
        (wants / "early.service").symlink_to("../early.service")
        google.fault("metadata", "refuse")      # no network yet
        machine.boot()
        yield machine


@pytest.fixture(autouse=True)
def afterwards(request, google):
    """What the journal says belongs to a failure."""
    yield
    google.unfault()
    machine = request.node.funcargs.get("machine")
    if machine:
        print(machine.call("journalctl", "--no-pager", "--lines=40").stdout)


def serves(machine):
    done = token(machine, fresh())
    assert done.returncode == 0, done.stderr
    return True


# --- boot


def test_who_asks_before_the_network_is_up_gets_a_token(machine, google):
    """The first test: until here there was no metadata server."""
    assert active(machine, SOCKET)
    assert machine.prop("ActiveState", "early.service") == "active"
    assert machine.call("test", "-e", "/run/early").returncode != 0
    google.unfault()
    wait_for(lambda: machine.call("test", "-e", "/run/early").returncode == 0, "a token", 60)
    google.verify(machine.run("cat", "/run/early"), "https://early.example.com")
    wait_for(lambda: EMAIL in machine.prop("StatusText"), "the status")


def test_first_caller_after_boot_hits_what_is_warm(machine, google):
    """Whom status shows has not been asked for; the asker is the first."""
    wait_for(lambda: f'"{WARM}"' in machine.call("gce-oidc", "status").stdout, "it is warm", 60)
    head, _, found = machine.run(CLIENT, "get", PATH, f"/v1/token?audience={WARM}") \
        .partition("\n\n")
    assert "gce-oidc-cache: hit" in head.lower()
    google.verify(found, WARM)


def test_first_boot_makes_the_user_and_enables_socket_and_service(machine):
    assert machine.run("systemctl", "is-enabled", SOCKET, SERVICE).split() == ["enabled"] * 2
    for unit in (LOCKDOWN, LOOPBACK):
        assert machine.call("systemctl", "is-enabled", unit).stdout.strip() == "disabled"
    assert machine.run("getent", "passwd", "gce-oidc-agent").split(":")[5:] == [
        "/", "/usr/sbin/nologin"]
    wait_for(lambda: active(machine, SERVICE), "the service is active")


def test_condition_is_met_by_configuration_or_firmware_only(machine):
    """This firmware is not Google's, so the file decides."""
    assert machine.prop("ConditionResult", SOCKET) == "yes"
    try:
        machine.run("mv", CONFIG, CONFIG + ".away")
        machine.run("systemctl", "stop", SOCKET, SERVICE)
        machine.run("systemctl", "start", SOCKET)       # skipped, not failed
        assert machine.prop("ConditionResult", SOCKET) == "no"
        assert not active(machine, SOCKET)
    finally:
        machine.run("mv", CONFIG + ".away", CONFIG)
        machine.run("systemctl", "start", SERVICE)
    assert serves(machine)


def test_nothing_of_the_agent_is_complained_of(machine):
    """Neither by systemd about the units, nor by the agent about its sandbox."""
    for unit in (SOCKET, SERVICE, LOCKDOWN, LOOPBACK):
        assert machine.prop("LoadState", unit) == "loaded"
    own = [entry["MESSAGE"] for entry in machine.entries(_SYSTEMD_UNIT=SERVICE)
           if int(entry["PRIORITY"]) <= 4]
    assert [text for text in own if "TEST ENDPOINTS" not in text] == []
    about = [entry["MESSAGE"] for entry in machine.entries(_PID="1")
             if "gce-oidc" in entry["MESSAGE"] and int(entry["PRIORITY"]) <= 4]
    assert about == []


# --- policy by who the kernel says they are


@pytest.mark.parametrize("audience, properties, allowed", [
    (ROOT, {}, True),
    (USER, {"User": "alice"}, True), (GROUP, {"User": "alice"}, False),
    (USER, {"User": "bob"}, False), (ROOT, {"User": "alice"}, False),
    (GROUP, {"User": "bob", "SupplementaryGroups": "tokens"}, True),
    (GROUP, {"User": "bob", "Group": "tokens"}, True),
    (GROUP, {"User": "bob"}, False),
    (GROUP, {"DynamicUser": "yes", "SupplementaryGroups": "tokens"}, True),
    (GROUP, {"DynamicUser": "yes"}, False), (USER, {"DynamicUser": "yes"}, False),
    (PAYROLL, {"name": "payroll", "User": "bob"}, True),
    (PAYROLL, {"name": "payroll", "DynamicUser": "yes"}, True),
    (PAYROLL, {"name": "payroll2", "User": "bob"}, False),
    (PAYROLL, {"User": "alice"}, False),
    (WEB, {"name": "web@10.0.0.1", "User": "bob"}, True),
    (WEB, {"name": "web", "User": "bob"}, False),
    (SHOP, {"Slice": "shop.slice", "User": "bob"}, True),
    (SHOP, {"Slice": "shop-front.slice", "User": "bob"}, True),
    (SHOP, {"Slice": "shops.slice", "User": "bob"}, False),
    # Root of a user namespace is not root of the host, nor is anybody else there.
    (ROOT, {"PrivateUsers": "yes"}, False),
    (USER, {"PrivateUsers": "yes", "User": "alice"}, False),
    # Nor of a pid namespace: unshare's child.
    (ROOT, {"pid": "own"}, False),
], ids=str)
def test_policy_binds_units_by_user_group_unit_and_slice(machine, google, audience, properties, allowed):
    inside = ["unshare", "--pid", "--fork"] if properties.get("pid") else []
    done = machine.peer(*inside, "gce-oidc", "token", audience,
                        **{k: v for k, v in properties.items() if k != "pid"})
    if allowed:
        google.verify(done.stdout.strip(), audience)
    else:
        assert (done.returncode, done.stdout) == (DENIED, ""), done.stderr


def test_dynamic_user_is_known_by_a_number_of_the_moment(machine):
    done = machine.peer("gce-oidc", "whoami", DynamicUser="yes")
    assert "uid" in done.stdout and done.returncode == 0, done.stderr
    assert any(61184 <= int(word) <= 65519 for word in
               "".join(c if c.isdigit() else " " for c in done.stdout).split())


# --- the socket outlives the service


def owners(machine):
    return machine.run("stat", "--format=%U:%G %a", os.path.dirname(PATH), PATH).split("\n")


def test_socket_and_its_directory_are_roots_whatever_the_service_does(machine):
    expected = ["root:root 755", "root:root 666"]
    assert owners(machine) == expected
    inode = machine.run("stat", "--format=%i", PATH)
    machine.run("systemctl", "restart", SERVICE)
    machine.run("systemctl", "stop", SERVICE)
    assert owners(machine) == expected
    assert machine.run("stat", "--format=%i", PATH) == inode
    assert serves(machine)      # started by the one who asks
    assert active(machine, SERVICE)


def test_socket_may_be_a_groups_alone(machine):
    """doc/examples/dropin-socket-group.conf, put in force as its comment says."""
    example = find_one(machine.root / "usr", "dropin-socket-group.conf").read_text()
    commands = [line.split() for line in re.findall(r"^#\t(systemctl .*)$", example, re.M)]
    directory = f"/etc/systemd/system/{SOCKET}.d"
    assert token(machine, USER, User="alice").returncode == 0
    try:
        machine.run("mkdir", "-p", directory)
        machine.run("sh", "-c", 'printf %s "$0" >"$1"/group.conf', example, directory)
        for command in commands:
            machine.run(*command)
        assert owners(machine) == ["root:root 755", "root:tokens 660"]
        done = token(machine, USER, User="alice")
        assert (done.returncode, done.stdout) == (NO_AGENT, "")
        assert "Permission denied" in done.stderr
        done = token(machine, GROUP, User="bob", SupplementaryGroups="tokens")
        assert done.returncode == 0, done.stderr
        # To connect is not to have.
        assert token(machine, USER, User="bob", SupplementaryGroups="tokens").returncode == DENIED
        assert serves(machine)
    finally:
        machine.run("rm", "-rf", directory)
        for command in commands:
            machine.run(*command)
    assert token(machine, USER, User="alice").returncode == 0


def test_killed_service_is_back_before_a_caller_notices(machine):
    assert serves(machine)
    restarts = int(machine.prop("NRestarts"))
    os.kill(machine.pid(), signal.SIGKILL)
    assert serves(machine)
    wait_for(lambda: int(machine.prop("NRestarts")) > restarts or active(machine, SERVICE),
             "it is back")


CRASHING = "[Service]\nExecStart=\nExecStart={agent} --no-such-option\nRestartSec=10ms\n"
LIMITED = "[Unit]\nStartLimitIntervalSec=1min\nStartLimitBurst=3\n"


@pytest.mark.parametrize("limited", [False, True], ids=["as-installed", "control"])
def test_crash_loop_does_not_lose_the_socket(machine, limited):
    """The control is systemd's default, by which the socket goes down, too."""
    text = CRASHING.format(agent=machine.agent)
    machine.drop_in((LIMITED if limited else "") + text, restart=False)
    machine.run("systemctl", "stop", SERVICE)
    restarts = int(machine.prop("NRestarts"))
    answers = []
    caller = threading.Thread(target=lambda: answers.append(token(machine, ROOT)))
    try:
        caller.start()
        if limited:
            wait_for(lambda: machine.prop("Result", SOCKET) == "service-start-limit-hit",
                     "the socket is lost")
            return
        wait_for(lambda: int(machine.prop("NRestarts")) > restarts + 10, "ten failures")
        assert active(machine, SOCKET)
    finally:
        machine.undrop()
        machine.call("systemctl", "reset-failed", SOCKET)
        machine.run("systemctl", "start", SOCKET)
        caller.join()
    # Who asked during the loop is answered after it.
    assert answers[0].returncode == 0, answers[0].stderr


def test_stuck_service_is_killed_by_the_watchdog_and_restarted(machine, google):
    """A pipe in place of the certificates holds up the loop as soon as it needs
    them."""
    assert machine.prop("WatchdogUSec") == "30s"
    conf = machine.run("cat", CONFIG)
    try:
        machine.run("mkfifo", "/etc/gce-oidc-agent/pipe")
        machine.write_in(CONFIG, conf.replace(CA, "/etc/gce-oidc-agent/pipe"))
        machine.drop_in("[Service]\nWatchdogSec=2s\n")
        restarts = int(machine.prop("NRestarts"))
        caller = threading.Thread(target=lambda: token(machine, fresh()))
        caller.start()
        wait_for(lambda: int(machine.prop("NRestarts")) > restarts, "it is restarted", 60)
        caller.join()
        assert "Watchdog timeout" in machine.journal()
        # The control: it is not the watchdog's time alone that kills.
        machine.write_in(CONFIG, conf)
        machine.run("systemctl", "restart", SERVICE)
        restarts = int(machine.prop("NRestarts"))
        assert serves(machine)
        machine.run("sleep", "5")
        assert int(machine.prop("NRestarts")) == restarts
    finally:
        machine.run("rm", "-f", "/etc/gce-oidc-agent/pipe")
        machine.write_in(CONFIG, conf)
        machine.undrop()
    assert serves(machine)


def test_reload_is_told_its_verdict_and_keeps_the_process(machine):
    conf, pid = machine.run("cat", CONFIG) + "\n", machine.prop("MainPID")
    new = "https://new.example.com"
    assert token(machine, new, User="bob").returncode == DENIED
    try:
        machine.write_in(CONFIG, conf + f"[rule new]\nuser = bob\naudience = {new}\n")
        machine.run("systemctl", "reload", SERVICE)
        assert token(machine, new, User="bob").returncode == 0
        machine.write_in(CONFIG, conf + "[no such section]\n")
        assert machine.call("systemctl", "reload", SERVICE).returncode != 0
        assert token(machine, new, User="bob").returncode == 0
    finally:
        machine.write_in(CONFIG, conf)
        machine.run("systemctl", "reload", SERVICE)
    assert token(machine, new, User="bob").returncode == DENIED
    assert machine.prop("MainPID") == pid


def test_bad_configuration_under_callers_makes_no_restart_loop(machine):
    """Twenty of them: each is told where the mistake is; a reload mends it."""
    conf = machine.run("cat", CONFIG) + "\n"
    # Each line by one write, or those of others come between.
    loop = ("for i in $(seq 20); do for j in $(seq 5); do "
            f"said=$(gce-oidc token {ROOT} 2>&1); echo \"$said\"; done & done; wait")
    try:
        machine.write_in(CONFIG, conf + "[no such section]\n")
        machine.run("systemctl", "restart", SERVICE)
        life = machine.prop("MainPID"), machine.prop("NRestarts")
        said = machine.peer("sh", "-c", loop).stdout.splitlines()
        assert len(said) == 100
        mistake = f"{CONFIG}:{conf.count(chr(10)) + 1}: "
        assert {line for line in said if mistake not in line} == set()
        assert (machine.prop("MainPID"), machine.prop("NRestarts")) == life
        assert active(machine, SOCKET) and active(machine, SERVICE)
        machine.write_in(CONFIG, conf)
        machine.run("systemctl", "reload", SERVICE)
        assert machine.prop("MainPID") == life[0]
        assert serves(machine)
    finally:
        machine.write_in(CONFIG, conf)
        machine.run("systemctl", "restart", SERVICE)


def test_no_caller_notices_a_restart(machine):
    """systemctl restart, five times, under callers who each connect anew."""
    loop = ("for i in $(seq 40); do gce-oidc token https://root.example.com "
            ">/dev/null || echo lost; done; echo done")
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(machine.peer("sh", "-c", loop)))
               for _ in range(2)]
    for caller in callers:
        caller.start()
    for _ in range(5):
        machine.run("systemctl", "restart", SERVICE)
    for caller in callers:
        caller.join()
    assert [answer.stdout for answer in answers] == ["done\n"] * 2


def test_request_in_flight_survives_a_stop(machine, google):
    assert serves(machine)
    sent = google.counts()["iam"]["total"]
    google.fault("iam", "hang")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(token(machine, fresh())))
    caller.start()
    wait_for(lambda: google.counts()["iam"]["total"] > sent, "it is upstream")
    stopper = threading.Thread(target=lambda: machine.run("systemctl", "stop", SERVICE))
    stopper.start()
    wait_for(lambda: machine.prop("ActiveState") == "deactivating", "it stops")
    google.unfault()
    caller.join()
    stopper.join()
    assert answers[0].returncode == 0, answers[0].stderr
    machine.run("systemctl", "start", SERVICE)


# --- the sandbox


def proc_status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
def unconfined(machine):
    """A service of systemd's plain defaults: the control of each refusal."""
    machine.run("systemd-run", "--quiet", "--unit=plain", "sleep", "infinity")
    yield machine.pid("plain.service")
    machine.run("systemctl", "stop", "plain.service")


def test_agent_has_no_capability_and_can_get_none(machine, unconfined):
    plain, agent = proc_status(unconfined), proc_status(machine.pid())
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"):
        assert int(agent[name], 16) == 0, name
    assert int(plain["CapEff"], 16) and int(plain["CapBnd"], 16)
    assert (agent["NoNewPrivs"], plain["NoNewPrivs"]) == ("1", "0")
    assert agent["Seccomp"] == "2"
    assert int(agent["Seccomp_filters"]) > int(plain["Seccomp_filters"])
    user = machine.run("id", "--user", "gce-oidc-agent")
    assert agent["Uid"].split() == [user] * 4
    assert agent["Groups"].split() == [machine.run("id", "--group", "gce-oidc-agent")]
    assert plain["Uid"].split() == ["0"] * 4


def within(pid, *command):
    """In a process's view of the file system, as root."""
    return subprocess.run(["nsenter", f"--target={pid}", "--mount", *command],
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize("directory", ["/", "/usr", "/etc", "/var", "/run",
                                       "/run/gce-oidc-agent"])
def test_tree_is_read_only_to_the_agent(machine, unconfined, directory):
    name = f"{directory}/touched"
    root = pathlib.Path(f"/proc/{machine.pid()}/root")
    with pytest.raises(OSError, match="Read-only"):
        (root / name.lstrip("/")).touch()
    control = pathlib.Path(f"/proc/{unconfined}/root") / name.lstrip("/")
    control.touch()
    control.unlink()


@pytest.mark.parametrize("directory", ["/root", "/home", "/var/lib", "/var/log", "/srv"])
def test_data_of_others_is_out_of_the_agents_sight(machine, unconfined, directory):
    visible = pathlib.Path(f"/proc/{unconfined}/root{directory}")
    hidden = pathlib.Path(f"/proc/{machine.pid()}/root{directory}")
    inodes = visible.stat().st_ino, hidden.stat().st_ino
    assert inodes[0] != inodes[1]
    assert hidden.stat().st_mode & 0o777 == 0 or not list(hidden.iterdir())


def test_nothing_but_the_agent_can_be_executed_by_it(machine, unconfined):
    for program in ("/bin/true", "/usr/bin/env", "/bin/sh"):
        refused = within(machine.pid(), program, *(["-c", "true"] if "sh" in program else []))
        assert refused.returncode == 126 and "Permission denied" in refused.stderr
    assert within(unconfined, "/bin/true").returncode == 0
    assert within(machine.pid(), machine.agent, "--version").returncode == 0


# By "client try": what the agent needs, and what its sandbox keeps from it.
MADE = {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
REFUSED = {"AF_PACKET": "Address family not supported by protocol", **dict.fromkeys(
    ("set-user-id", "personality", "trace", "user-namespace"), "Operation not permitted")}
# By a filter, or by the kernel itself (systemd 253 and newer).
CODE = "writable-code"
NO_CODE = {"Operation not permitted", "Permission denied"}


def test_kernel_refuses_the_agent_what_it_does_not_need(machine, stage):
    """Tried by another program in a service of the same directives."""
    def tried(output):
        return dict(line.split(None, 1) for line in output.splitlines())
    text = find_one(stage, SERVICE).read_text()
    sandbox = re.sub(r"^(Type|NotifyAccess|ExecStart|ExecReload|WatchdogSec)=.*\n", "",
                     text.partition("[Service]\n")[2].partition("[Install]")[0], flags=re.M)
    machine.write_in("/run/systemd/system/try.service", "[Service]\nType=oneshot\n"
                     f"ExecStart={CLIENT} try\nStandardOutput=truncate:/run/try\n{sandbox}")
    machine.run("systemctl", "daemon-reload")
    try:
        machine.run("systemctl", "start", "try.service")
        agents = tried(machine.run("cat", "/run/try"))
    finally:
        machine.run("rm", "-f", "/run/systemd/system/try.service", "/run/try")
        machine.run("systemctl", "daemon-reload")
    assert agents.pop(CODE) in NO_CODE
    assert agents == {**dict.fromkeys(MADE, "Success"), **REFUSED}
    control = tried(machine.peer(CLIENT, "try").stdout)
    assert control == dict.fromkeys([*MADE, *REFUSED, CODE], "Success")


def test_limits_are_the_units(machine):
    limits = pathlib.Path(f"/proc/{machine.pid()}/limits").read_text().splitlines()
    soft = {line[:25].strip(): line[25:].split()[:2] for line in limits[1:]}
    assert soft["Max open files"] == ["16384", "16384"]
    assert soft["Max core file size"] == ["0", "0"]
    assert machine.prop("TasksMax") == "16"
    assert machine.prop("MemoryMax") == str(64 * 1024 * 1024)
    assert machine.prop("MemorySwapMax") == "0"
    assert machine.prop("OOMScoreAdjust") == "-500"


def test_online_exposure_is_the_ratchets(machine):
    machine.run("systemd-analyze", "security", "--threshold=15", SERVICE)
    assert machine.call("systemd-analyze", "security", "--threshold=1", SERVICE).returncode


def test_nothing_is_left_on_disk(machine):
    assert serves(machine)
    found = machine.run("find", "/etc", "/var", "/home", "/root", "/srv", "/opt", "-xdev",
                        "-user", "gce-oidc-agent", "-o", "-xdev", "-iname", "*oidc*",
                        "!", "-path", "*.wants/*", "!", "-path", "/etc/gce-oidc-agent*",
                        "!", "-path", "/var/tmp/systemd-private-*")
    assert found == ""


# --- loopback TCP

OVER_TCP = "https://tcp.example.com"
TCP_RULE = f"""
[rule by-user-over-tcp]
user = alice
host = any
audience = {OVER_TCP}
"""
TCP_RULES = "/etc/gce-oidc-agent/agent.conf.d/loopback.conf"
# HOST, as bash connects to it: prints the answer.
ASK_TCP = """
exec 3<>"/dev/tcp/$0/254" || exit 9
printf 'GET /computeMetadata/v1/instance/service-accounts/default/identity?audience=%s HTTP/1.0\\r
Host: 127.0.0.1\\r\\nMetadata-Flavor: Google\\r\\n\\r\\n' "$1" >&3
cat <&3
"""


def ask_tcp(machine, host, user):
    """Status and body; None: nobody listens."""
    done = machine.peer("bash", "-c", ASK_TCP, host, OVER_TCP, User=user)
    if done.returncode == 9:
        return None, ""
    head, _, body = done.stdout.partition("\n\n")
    return int(head.split()[1]), body


@pytest.fixture
def over_tcp(machine):
    """As an administrator switches it on, while the service runs; and off."""
    assert ask_tcp(machine, "127.0.0.1", "alice")[0] is None
    try:
        machine.write_in(TCP_RULES, TCP_RULE)
        machine.run("systemctl", "enable", LOOPBACK)
        machine.run("systemctl", "restart", SERVICE)
        yield machine
    finally:
        machine.run("rm", "-f", TCP_RULES)
        machine.run("systemctl", "disable", LOOPBACK)
        machine.run("systemctl", "stop", LOOPBACK)
        machine.run("systemctl", "restart", SERVICE)
    assert ask_tcp(machine, "127.0.0.1", "alice")[0] is None
    assert serves(machine)


def test_loopback_socket_is_off_until_it_is_enabled(machine):
    assert machine.call("systemctl", "is-enabled", LOOPBACK).stdout.strip() == "disabled"
    assert not active(machine, LOOPBACK)


def test_loopback_socket_serves_after_enable_and_restart(over_tcp, google):
    assert active(over_tcp, LOOPBACK)
    for host in ("127.0.0.1", "::1"):
        status, body = ask_tcp(over_tcp, host, "alice")
        assert status == 200
        google.verify(body, OVER_TCP)
        assert ask_tcp(over_tcp, host, "bob")[0] == 403
        assert ask_tcp(over_tcp, host, "root")[0] == 403
    assert serves(over_tcp)         # the Unix socket, as before


def test_loopback_port_is_held_while_the_service_restarts(over_tcp):
    over_tcp.run("systemctl", "restart", SERVICE)
    assert ask_tcp(over_tcp, "127.0.0.1", "alice")[0] == 200
    over_tcp.run("systemctl", "kill", "--signal=KILL", SERVICE)
    assert ask_tcp(over_tcp, "127.0.0.1", "alice")[0] == 200    # by the next one


# --- lockdown


def reaches(machine, port=80, **properties):
    """Does a process reach the metadata server?"""
    return machine.peer("/bin/bash", "-c", f"</dev/tcp/169.254.169.254/{port}",
                        **properties).returncode == 0


@pytest.fixture
def locked_down(machine):
    machine.run("systemctl", "start", LOCKDOWN)
    yield
    machine.run("systemctl", "stop", LOCKDOWN)


def test_lockdown_shuts_out_all_but_root_and_the_agent(machine, google):
    www = {"User": "www-data"}
    assert reaches(machine, **www) and reaches(machine)
    assert "policy is advisory" in machine.prop("StatusText")
    machine.run("systemctl", "start", LOCKDOWN)
    try:
        assert not reaches(machine, **www)
        assert not reaches(machine, DynamicUser="yes")
        assert reaches(machine)
        assert reaches(machine, User="gce-oidc-agent")
        assert serves(machine)
        wait_for(lambda: machine.prop("StatusText") == f"serving {EMAIL}", "no remark")
        machine.run("systemctl", "restart", SERVICE)
        wait_for(lambda: machine.prop("StatusText") == f"serving {EMAIL}", "the account")
        # As often as one likes.
        machine.run("systemctl", "reload", LOCKDOWN)
        machine.run("systemctl", "restart", LOCKDOWN)
        assert not reaches(machine, **www)
        assert machine.run("nft", "list", "tables").count("gce-oidc-agent-lockdown") == 1
    finally:
        machine.run("systemctl", "stop", LOCKDOWN)
    assert reaches(machine, **www)
    assert "gce-oidc" not in machine.run("nft", "list", "tables")
    wait_for(lambda: "policy is advisory" in machine.prop("StatusText"), "the remark")


def test_advice_is_one_line_with_words_in_the_catalog(machine):
    machine.run("journalctl", "--update-catalog")
    machine.run("systemctl", "restart", SERVICE)
    wait_for(lambda: "policy is advisory" in machine.prop("StatusText"), "the remark")
    invocation = machine.prop("InvocationID")
    said = [entry for entry in machine.entries(_SYSTEMD_INVOCATION_ID=invocation)
            if "policy is advisory" in entry["MESSAGE"]]
    assert len(said) == 1
    words = machine.run("journalctl", "--no-pager", "--catalog",
                        f"MESSAGE_ID={said[0]['MESSAGE_ID']}")
    assert "Subject: Policy is advisory" in words


def test_lockdown_leaves_name_service_and_time_open(machine, locked_down):
    """Asked by the user whom it shuts out: port 53 refuses, as nobody is there; a
    packet that is filtered would be refused, too, so somebody must be there."""
    import socket
    with socket.create_server(("169.254.169.254", 53)):
        assert reaches(machine, User="www-data", port=53)
    assert not reaches(machine, User="www-data")


def test_lockdown_of_listed_users_leaves_the_others(machine):
    """As where OS Login is used."""
    machine.drop_in('[Service]\nEnvironment="SHUT_OUT=www-data, 1501"\n', LOCKDOWN)
    try:
        assert not reaches(machine, User="www-data")
        assert not reaches(machine, User="bob")
        assert reaches(machine, User="alice") and reaches(machine)
        assert serves(machine)
    finally:
        machine.run("rm", "-rf", f"/run/systemd/system/{LOCKDOWN}.d")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "stop", LOCKDOWN)


def test_drop_in_for_macvlans_is_loaded_with_the_lockdown(machine):
    """doc/examples/dropin-lockdown-macvlan.conf, but for the device: there is no udev here."""
    def tables():
        return machine.run("nft", "list", "tables").count(" gce-oidc-agent-lockdown")
    example = find_one(machine.root / "usr", "dropin-lockdown-macvlan.conf").read_text()
    rules = find_one(machine.root / "usr", "lockdown-parent.nft").relative_to(machine.root)
    service = re.sub(r"/usr/\S*/lockdown-parent\.nft", f"/{rules}",
                     example.partition("[Service]")[2].replace("parent=ens4", "parent=lo"))
    machine.drop_in(f"[Service]{service}", LOCKDOWN)
    try:
        assert tables() == 2
        machine.run("systemctl", "reload", LOCKDOWN)
        assert tables() == 2
        assert reaches(machine) and not reaches(machine, User="www-data")
        assert serves(machine)
        machine.run("systemctl", "stop", LOCKDOWN)
        assert tables() == 0
    finally:
        machine.run("systemctl", "stop", LOCKDOWN)
        machine.run("rm", "-rf", f"/run/systemd/system/{LOCKDOWN}.d")
        machine.run("systemctl", "daemon-reload")


def test_lockdown_that_fails_is_not_said_to_be_in_force(machine):
    machine.drop_in('[Service]\nEnvironment="SHUT_OUT=no-such-user"\n', LOCKDOWN,
                    restart=False)
    try:
        assert machine.call("systemctl", "start", LOCKDOWN).returncode != 0
        wait_for(lambda: "policy is advisory" in machine.prop("StatusText"), "the remark")
        assert reaches(machine, User="www-data")
    finally:
        machine.run("rm", "-rf", f"/run/systemd/system/{LOCKDOWN}.d")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "reset-failed", LOCKDOWN)


def test_lockdown_comes_back_when_nftables_flushes(machine, locked_down):
    """Debian's nftables.service begins with flush ruleset."""
    machine.run("systemctl", "start", "nftables.service")
    machine.run("nft", "flush", "ruleset")
    assert reaches(machine, User="www-data")
    machine.run("systemctl", "restart", "nftables.service")
    wait_for(lambda: active(machine, LOCKDOWN), "it is in force again")
    assert not reaches(machine, User="www-data")
    # And what is stopped with it does not claim to be in force.
    machine.run("systemctl", "stop", "nftables.service")
    wait_for(lambda: "policy is advisory" in machine.prop("StatusText"), "the remark")
