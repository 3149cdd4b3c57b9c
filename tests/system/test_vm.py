# SPDX-License-Identifier: Apache-2.0
"""A machine of Compute Engine, from its image: Debian's own kernel, a firmware that
says where it runs, a network that comes up when it does, and no configuration but the
vendor's.

One machine for the file, in the order of a machine's life: its first boot, its days,
an upgrade, a second boot, and its disk when it is off; then the same disk elsewhere."""

import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from conftest import Emulator, base_path, is_root, wait_for
from image import TESTS, Image
from vm import BOOT, METADATA, Names, Vm, emulator_options

SOCKET, SERVICE = "gce-oidc-agent.socket", "gce-oidc-agent.service"
LOCKDOWN = "gce-oidc-agent-lockdown.service"
PATH = "/run/gce-oidc-agent/agent.sock"
CLIENT = f"/{TESTS}/client"
EARLY, WARM = "https://early.example.com", "https://warm.example.com"
METADATA6 = "fd20:ce::254"
DENIED, UNAVAILABLE, NO_AGENT = 3, 7, 9

# The vendor's file beside the product's own: all else is as shipped, the addresses of
# Google, too.
VENDOR = f"""
[upstream]
ca-file = /{TESTS}/ca.pem
[cache]
warm = {WARM}
[limits]
requests-per-second = 1000

[rule payroll]
unit = payroll.service
audience = https://payroll.example.com
"""

# Who reaches the metadata server; of a container behind this machine, too.
WHO_PASSES = f"""
try() {{ name=$1; shift; if timeout 20 "$@" >/dev/null 2>&1; then echo $name; fi; }}
as() {{ setpriv --reuid=$1 --clear-groups "${{@:2}}"; }}
export -f as
for net in {METADATA} {METADATA6}; do
	try "root $net" bash -c "</dev/tcp/$net/80"
	try "agent $net" bash -c "as gce-oidc-agent bash -c '</dev/tcp/$net/80'"
	try "33 $net" bash -c "as 33 bash -c '</dev/tcp/$net/80'"
done
try "33 names" bash -c 'as 33 getent ahostsv4 oauth2.googleapis.com'
try "container {METADATA}" ip netns exec container bash -c '</dev/tcp/{METADATA}/80'
try "container names" ip netns exec container getent ahostsv4 oauth2.googleapis.com
"""
CONTAINER = f"""
set -e
ip netns add container
ip link add v0 type veth peer name v1 netns container
ip address add 192.0.2.1/24 dev v0
ip link set v0 up
ip -netns container address add 192.0.2.2/24 dev v1
ip -netns container link set v1 up
ip -netns container route add default via 192.0.2.1
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<END
table ip container {{
	chain out {{
		type nat hook postrouting priority srcnat;
		ip saddr 192.0.2.0/24 masquerade
	}}
}}
END
"""


@pytest.fixture(scope="module")
def suite():
    """Which Debian."""
    return "bookworm"


@pytest.fixture(scope="module")
def base(build_dir, suite):
    if not is_root():
        pytest.skip("not root")
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"),
                             ("mke2fs", "e2fsprogs")):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip(f"no {program} here: apt-get install {package}")
    return base_path(build_dir, suite)


@pytest.fixture(scope="module")
def google(base):
    """At the addresses that are the agent's defaults, and by name."""
    options = emulator_options()
    Names().start()
    with Emulator(*options) as google, \
            socket.create_server((METADATA6, 80), family=socket.AF_INET6, backlog=64):
        yield google


def next_version(package, directory):
    """The same package, of a later version."""
    tree, upgrade = directory / "upgrade", directory / "upgrade.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    text, changes = re.subn(r"^Version: .*$", r"\g<0>+upgrade", control.read_text(), flags=re.M)
    assert changes == 1
    control.write_text(text)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, upgrade],
                   check=True, stdout=subprocess.DEVNULL)
    return upgrade


@pytest.fixture(scope="module")
def image(base, google, package, client, tmp_path_factory):
    """-> the kernel, and the disk.  Baked, then fitted out for the tests, below /usr."""
    directory = tmp_path_factory.mktemp("image")
    image = Image(base, directory)
    image.install_package(package)
    image.connect()
    image.add_tests(client, **{"ca.pem": google.ca_file,
                               "upgrade.deb": next_version(package, directory)})
    image.write("usr/lib/gce-oidc-agent/agent.conf.d/60-test.conf", VENDOR)
    # Emulated on a busy machine it may take longer than the 30 s of a real one.
    image.write(f"usr/lib/systemd/system/{SERVICE}.d/60-test.conf",
                "[Service]\nTimeoutStartSec=5min\n")
    image.write_disk(directory / "disk")
    yield image.root / "boot/vmlinuz", directory / "disk"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def vm(image):
    vm = Vm(*image)
    try:
        vm.start(link=False)
        yield vm
    except BaseException:
        print(vm.console())
        raise
    finally:
        vm.stop()


@pytest.fixture(autouse=True)
def afterwards(request):
    """What the journal says belongs to a failure."""
    failed = request.session.testsfailed
    yield
    for vm in map(request.node.funcargs.get, ("vm", "elsewhere")):
        if vm and vm.running() and request.session.testsfailed > failed:
            print(vm.call("journalctl", "--no-pager", "--lines=60").stdout)


def token(vm, audience, *options):
    return vm.call("gce-oidc", "token", audience, *options)


def fresh(counter=iter(range(10 ** 6))):
    """An audience of root's that nobody has had."""
    return f"https://n{next(counter)}.example.com"


def serves(vm, google):
    """A token that nobody has had, from Google."""
    audience = fresh()
    done = token(vm, audience)
    assert done.returncode == 0, done.stderr
    return google.verify(done.stdout.strip(), audience)


def face(vm, audience):
    """-> the head of the answer in lower case, and the token."""
    head, _, body = vm.run(CLIENT, "get", PATH, f"/v1/token?audience={audience}").partition(
        "\r\n\r\n")
    return head.lower(), body


def face_of(vm, target):
    return vm.run(CLIENT, "get", PATH, target).partition("\r\n\r\n")[2]


def uptime(vm):
    return float(vm.run("cat", "/proc/uptime").split()[0])


def early(vm, name):
    done = vm.call("cat", f"/run/early/{name}")
    return done.stdout.strip() if done.returncode == 0 else None


# --- the first boot


def test_who_asks_before_the_network_is_up_gets_a_token_when_it_is(vm, google):
    """The first test: until here the cable is out."""
    try:
        wait_for(lambda: early(vm, "asked"), "it has asked", BOOT, 0.2)
        assert vm.run("ip", "-4", "route") == ""
        assert vm.prop("ActiveState", SOCKET) == "active"
        assert early(vm, "token") is None
    finally:
        vm.plug()
    wait_for(lambda: early(vm, "token"), "a token", BOOT, 0.2)
    google.verify(early(vm, "token"), EARLY)
    assert float(early(vm, "answered")) > float(early(vm, "asked"))


def first_caller_hits(vm, google):
    """Whom status shows has not been asked for; the asker is the first."""
    wait_for(lambda: f'"{WARM}"' in vm.call("gce-oidc", "status").stdout, "it is warm", BOOT, 0.2)
    head, found = face(vm, WARM)
    assert "\r\ngce-oidc-cache: hit\r\n" in head
    google.verify(found, WARM)


def test_first_caller_after_boot_hits_what_is_warm(vm, google):
    first_caller_hits(vm, google)


def test_firmware_alone_meets_the_condition(vm, suite):
    assert vm.run("cat", "/sys/class/dmi/id/product_name") == "Google Compute Engine"
    assert vm.run("sh", "-c", "ls -A /etc/gce-oidc-agent 2>/dev/null || :") == ""
    for unit in (SOCKET, SERVICE):
        assert vm.prop("ConditionResult", unit) == "yes"
        wait_for(lambda: vm.prop("ActiveState", unit) == "active", f"{unit} is active", BOOT, 0.2)
    assert f"VERSION_CODENAME={suite}" in vm.run("cat", "/etc/os-release")


def test_nothing_fails_at_boot_and_nothing_of_the_agent_is_complained_of(vm):
    assert vm.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    assert [entry["MESSAGE"] for entry in vm.entries(_SYSTEMD_UNIT=SERVICE)
            if int(entry.get("PRIORITY", 6)) <= 4] == []
    assert [entry["MESSAGE"] for entry in vm.entries(_PID="1")
            if "gce-oidc-agent" in entry["MESSAGE"] and int(entry.get("PRIORITY", 6)) <= 4] == []


def test_policy_by_unit_holds_whether_or_not_the_kernel_has_peerpidfd(vm, google):
    release = tuple(map(int, vm.run("uname", "-r").split(".")[:2]))
    assert vm.run(CLIENT, "peerpidfd", PATH) == ("yes" if release >= (6, 5) else "no")
    audience = "https://payroll.example.com"
    done = vm.peer("gce-oidc", "token", audience, name="payroll", User="nobody")
    assert done.returncode == 0, done.stderr
    google.verify(done.stdout.strip(), audience)
    done = vm.peer("gce-oidc", "token", audience, name="other", User="nobody")
    assert (done.returncode, done.stdout) == (DENIED, "")


# --- lockdown


class Passes:
    """Who does: before, with and after lockdown."""

    def __init__(self, vm):
        vm.run("bash", "-c", CONTAINER)
        self.before = self.now(vm)
        vm.run("systemctl", "start", LOCKDOWN)
        self.locked = self.now(vm)
        self.token = token(vm, fresh())
        vm.run("systemctl", "stop", LOCKDOWN)
        self.after = self.now(vm)
        vm.run("ip", "netns", "delete", "container")

    @staticmethod
    def now(vm):
        return set(vm.run("bash", "-c", WHO_PASSES).splitlines())

    def __call__(self, who):
        return who in self.before, who in self.locked, who in self.after


@pytest.fixture(scope="module")
def passes(vm):
    return Passes(vm)


@pytest.mark.parametrize("address", [METADATA, METADATA6])
def test_lockdown_shuts_out_users(passes, address):
    assert passes(f"33 {address}") == (True, False, True)


@pytest.mark.parametrize("address", [METADATA, METADATA6])
def test_lockdown_lets_root_and_the_agent_pass(passes, address):
    assert passes(f"root {address}") == (True, True, True)
    assert passes(f"agent {address}") == (True, True, True)
    assert passes.token.returncode == 0, passes.token.stderr


def test_lockdown_leaves_the_name_service_to_all(passes):
    assert passes("33 names") == (True, True, True)
    assert passes("container names") == (True, True, True)


def test_lockdown_shuts_out_forwarded_packets(passes):
    assert passes(f"container {METADATA}") == (True, False, True)


# --- a clock that is wrong


@pytest.fixture
def clock(vm):
    """clock(OFFSET): the machine's, so far from this one's; right again afterwards."""
    def set_to(offset):
        vm.run("date", "--set", f"@{time.time() + offset:.3f}")
    yield set_to
    set_to(0)


def max_age(head):
    return int(re.search(r"max-age=(\d+)", head)[1])


def test_clock_five_minutes_slow_at_start_costs_nobody_a_token(vm, google, clock):
    vm.run("systemctl", "stop", SERVICE)
    clock(-300)
    for _ in range(2):
        serves(vm, google)


def test_clock_twenty_minutes_slow_at_start_is_named_until_it_is_set(vm, google, clock):
    vm.run("systemctl", "stop", SERVICE)
    clock(-1200)
    wait_for(lambda: "s behind Google's" in token(vm, fresh()).stderr, "the clock is named",
             BOOT, 0.2)
    done = token(vm, fresh())
    assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
    clock(0)
    wait_for(lambda: token(vm, fresh()).returncode == 0, "a token", BOOT, 0.2)


def test_step_of_the_clock_makes_cached_tokens_older(vm, google, clock):
    audience = fresh()
    for _ in range(2):          # two answers, and the offset is known
        serves(vm, google)
    face(vm, audience)
    head, first = face(vm, audience)
    assert "gce-oidc-cache: hit" in head and max_age(head) > 3300
    clock(300)
    head, again = face(vm, audience)
    assert 2900 < max_age(head) <= 3300
    google.verify(again, audience)


def test_step_past_a_tokens_end_takes_it_from_the_cache_and_back_again_serves(vm, google, clock):
    audience = fresh()
    _, first = face(vm, audience)
    clock(7200)
    head, body = face(vm, audience)
    assert first not in body and " 200 " not in head.splitlines()[0], head
    wait_for(lambda: "s ahead of Google's" in token(vm, fresh()).stderr, "the clock is named",
             BOOT, 0.2)
    clock(0)
    wait_for(lambda: token(vm, audience).returncode == 0, "a token", BOOT, 0.2)
    google.verify(token(vm, audience).stdout.strip(), audience)


# --- sleep


def ahead(vm):
    """Of Google's clock, as the agent knows it."""
    return json.loads(face_of(vm, "/v1/status"))["clock"]["google_ahead"]


def test_sleep_counts_in_a_tokens_time_and_changes_no_clock(vm, google, record_property):
    """Suspended to RAM, as Compute Engine does it; nothing can be fetched meanwhile."""
    for _ in range(2):          # two answers, and the offset is known
        serves(vm, google)
    audience, short = fresh(), fresh()
    google.set(id_token_life=12)
    _, ended = face(vm, short)
    end = google.verify(ended, short)["exp"] + 1
    google.set(id_token_life=3600)
    head, _ = face(vm, audience)
    left, offset = max_age(head), ahead(vm)
    google.fault("token-endpoint", "refuse")
    fell_asleep = time.time()
    slept = vm.suspend(lambda: time.time() > max(end, fell_asleep + 5))
    record_property("slept", f"{slept:.1f} s")
    assert slept > 3
    head, again = face(vm, audience)
    assert "gce-oidc-cache: hit" in head and max_age(head) <= left - slept + 1
    google.verify(again, audience)
    assert abs(ahead(vm) - offset) < slept / 2
    # Nobody looked while its end came.
    head, body = face(vm, short)
    assert " 503 " in head.splitlines()[0] and ended not in body, head
    google.unfault()
    wait_for(lambda: token(vm, short).returncode == 0, "a token", BOOT, 0.2)
    anew = token(vm, short).stdout.strip()
    assert anew != ended
    google.verify(anew, short)
    serves(vm, google)


# --- days

LISTING = ("find / -xdev -path /var/log/journal -prune -o ! -type d "
           "-printf '%p %m %u %s %T@ %l\\n' | LC_ALL=C sort")


def test_a_days_requests_leave_nothing_on_disk(vm, google, record_property):
    assert vm.run("findmnt", "-no", "FSTYPE", "/") == "ext4"
    vm.run("bash", "-c", f"{LISTING} >/run/gce-oidc-test/before")
    began = uptime(vm)
    assert vm.run(CLIENT, "day", PATH, 2000, 40, timeout=300) == "2000"
    record_property("2,000 requests took, in the machine", f"{uptime(vm) - began:.1f} s")
    vm.run("touch", "/var/lib/control")
    changed = vm.call("bash", "-c", f"sync; {LISTING} | diff /run/gce-oidc-test/before -").stdout
    vm.run("rm", "/var/lib/control")
    # The control, which shows that it would be seen, and nothing else.
    assert re.fullmatch(r"\d+a\d+\n> /var/lib/control [^\n]*\n", changed), changed


def test_journal_has_no_token(vm, google):
    """It compresses what is long, so that the disk would not show it."""
    counts = vm.run("bash", "-c", """
        journalctl --no-pager --output=export >/run/gce-oidc-test/journal
        grep -c MESSAGE= /run/gce-oidc-test/journal
        grep -c -e eyJ -e ya29 /run/gce-oidc-test/journal
        rm /run/gce-oidc-test/journal""").split()
    assert counts[0] != "0" and counts[1:] == ["0"]


def test_upgrade_keeps_the_socket_and_those_who_ask(vm, google):
    version = vm.run("dpkg-query", "-W", "-f", "${Version}", "gce-oidc-agent")
    before = [vm.prop("ActiveEnterTimestampMonotonic", SOCKET), vm.run("stat", "-c", "%i", PATH)]
    pid = vm.prop("MainPID")
    done = vm.run("bash", "-c", f"""
        (while ! test -e /run/gce-oidc-test/upgraded; do
            gce-oidc token https://root.example.com >/dev/null && echo answered || echo lost
            sleep 0.3       # so that dpkg has some of the processor, too
        done) &
        dpkg --install /{TESTS}/upgrade.deb >/dev/null || echo failed
        touch /run/gce-oidc-test/upgraded
        wait""", timeout=240)
    assert set(done.splitlines()) == {"answered"}
    assert vm.run("dpkg-query", "-W", "-f", "${Version}", "gce-oidc-agent") == version + "+upgrade"
    assert vm.prop("MainPID") != pid
    assert [vm.prop("ActiveEnterTimestampMonotonic", SOCKET),
            vm.run("stat", "-c", "%i", PATH)] == before
    serves(vm, google)


# --- the second boot


def test_second_boot_serves_as_the_first_and_is_locked_down_when_that_is_enabled(
        vm, google, record_property):
    vm.run("systemctl", "enable", LOCKDOWN)
    machine = vm.run("cat", "/etc/machine-id")
    assert re.fullmatch("[0-9a-f]{32}", machine)
    vm.reboot()
    wait_for(lambda: early(vm, "token"), "a token", BOOT, 0.2)
    google.verify(early(vm, "token"), EARLY)
    record_property("from the kernel's start to the first token printed",
                    f"{early(vm, 'answered')} s; asked for at {early(vm, 'asked')} s")
    assert vm.run("cat", "/etc/machine-id") == machine
    assert vm.prop("ActiveState", LOCKDOWN) == "active"
    passing = Passes.now(vm)
    assert f"root {METADATA}" in passing and f"agent {METADATA}" in passing
    assert f"33 {METADATA}" not in passing
    assert "advisory" not in vm.prop("StatusText")


def test_first_caller_after_the_second_boot_hits_too(vm, google):
    first_caller_hits(vm, google)


def found_on(disk, pieces):
    """Which of them; by one look at it, for there are hundreds."""
    done = subprocess.run(["grep", "--null-data", "--text", "--only-matching",
                           "--fixed-strings", "--file=-", disk], input="\n".join(pieces),
                          env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True,
                          check=False)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.split("\0")) - {""}


def test_disk_of_a_machine_that_is_off_holds_no_token(vm, image, google):
    """Nor what they are made of.  All tokens of one key begin alike."""
    if vm.running():
        vm.power_off()
    issued = google.secrets()
    pieces = {value[:60] for value in issued if len(value) > 100}
    assert any(piece.startswith("eyJ") for piece in pieces)
    assert any(piece.startswith("ya29.") for piece in pieces)
    control = f"warm = {WARM}"
    assert f"\n{control}\n" in VENDOR
    assert found_on(image[1], pieces | {control}) == {control}


# --- the same disk where the firmware is somebody else's


@pytest.fixture(scope="module")
def elsewhere(vm, image):
    if vm.running():
        vm.power_off()
    vm = Vm(*image, product="Standard PC")
    try:
        vm.start()
        yield vm
    except BaseException:
        print(vm.console())
        raise
    finally:
        vm.stop()


def is_silent(vm):
    """Nothing of the agent runs, and who asks is told so at once."""
    wait_for(lambda: vm.prop("ActiveState", "multi-user.target") == "active", "it is up", BOOT, 0.2)
    for unit in (SOCKET, SERVICE):
        assert vm.prop("ConditionResult", unit) == "no", unit
        assert vm.prop("ActiveState", unit) == "inactive", unit
    assert vm.call("test", "-e", PATH).returncode
    assert token(vm, fresh()).returncode == NO_AGENT


def test_on_a_machine_that_is_not_googles_nothing_starts_and_nothing_fails(elsewhere):
    is_silent(elsewhere)
    failed = elsewhere.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    # The tests' own has nobody to ask.
    assert [line.split()[0] for line in failed.splitlines()] == ["gce-oidc-test-early.service"]


def test_units_without_their_condition_would_not_pass_that(elsewhere, google):
    """The control: the same machine, with the one line away."""
    for unit in (SOCKET, SERVICE):
        elsewhere.write_in(f"/run/systemd/system/{unit}.d/test.conf", "[Unit]\nConditionFirmware=\n"
                           "ConditionPathExists=\n")
    elsewhere.run("systemctl", "daemon-reload")
    elsewhere.run("systemctl", "start", SERVICE)
    serves(elsewhere, google)
    with pytest.raises(AssertionError):
        is_silent(elsewhere)
