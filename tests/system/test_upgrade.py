# SPDX-License-Identifier: Apache-2.0
"""A package's life on machines that run: installed, upgraded under callers, removed,
purged.  Nobody is refused, nothing is restarted that need not be, what the
administrator wrote stays, and nothing else does.

The tests of one machine build on each other, in this order."""

import pathlib
import re
import subprocess
import threading

import pytest

from conftest import Emulator, wait_for
from machine import Machine, active, base_of, fresh, token
from steps import HURRY

AGENT, LIBRARY, DEVELOPMENT = "gce-oidc-agent", "libgce-oidc0", "libgce-oidc-dev"
SOCKET, SERVICE = "gce-oidc-agent.socket", "gce-oidc-agent.service"
LOCKDOWN = "gce-oidc-agent-lockdown.service"
LOOPBACK = "gce-oidc-agent-loopback.socket"
PATH = "/run/gce-oidc-agent/agent.sock"
CONFIG = "/etc/gce-oidc-agent/agent.conf"
CA = "/etc/gce-oidc-agent/ca.pem"
ROOT = "https://root.example.com"
# What an administrator may have written, and a package never touches.
WRITTEN = {
    "/etc/gce-oidc-agent/agent.conf.d/10-mine.conf":
        "[rule mine]\nuser = daemon\naudience = https://daemon.example.com\n",
    f"/etc/systemd/system/{SERVICE}.d/10-mine.conf": "[Service]\nMemoryMax=65M\n",
}
OLD = "0.0.1"
# Systemd's message of a unit that has started.
STARTED = "39f53479d3a045ac8e11786248231fbf"


@pytest.fixture(scope="module")
def google():
    with Emulator("--metadata-address=169.254.169.254", "--metadata-port=80") as google:
        yield google


@pytest.fixture(autouse=True)
def no_fault(google):
    yield
    google.unfault()


@pytest.fixture(scope="module")
def old(debs, tmp_path_factory):
    """The same packages, of an older version."""
    work = tmp_path_factory.mktemp("old")
    for name in (AGENT, LIBRARY, DEVELOPMENT):
        tree = work / name
        deb = next(debs.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        version = re.search(r"^Version: (.*)$", control.read_text(), re.M)[1]
        control.write_text(control.read_text().replace(f"Version: {version}",
                                                       f"Version: {OLD}")
                           .replace(f"(= {version})", f"(= {OLD})"))
        subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree,
                        work / f"{name}_{OLD}.deb"], check=True, stdout=subprocess.DEVNULL)
    return work


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request, google, build_dir, debs, old):
    with Machine(base_of(build_dir, request.param)) as machine:
        for path in (*debs.glob("*.deb"), *old.glob("*.deb")):
            version = "old" if path.parent == old else "new"
            file = machine.root / "packages" / version / f"{path.name.split('_')[0]}.deb"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(path.read_bytes())
        machine.write(CONFIG, google.agent_config().replace(google.ca_file, CA) + HURRY)
        machine.write(CA, pathlib.Path(google.ca_file).read_text())
        for path, text in WRITTEN.items():
            machine.write(path, text)
        machine.boot()
        wait_for(lambda: machine.call("systemctl", "is-system-running").stdout.strip() in
                 ("running", "degraded"), "it is up")
        yield machine


def dpkg(machine, action, *names):
    return machine.run("dpkg", "--force-unsafe-io", action, *names, timeout=120)


def install(machine, version, *names):
    return dpkg(machine, "--install", *(f"/packages/{version}/{name}.deb" for name in names))


def files(machine):
    """{path: what it is} of all that is on disk, but for dpkg's, ldconfig's and the
    journal's own records."""
    text = machine.run(
        "find", "/", "-xdev", "(", "-path", "/var/lib/dpkg", "-o", "-path", "/var/log",
        "-o", "-path", "/var/cache/ldconfig", "-o", "-path", "/var/tmp",
        "-o", "-path", "/packages", ")", "-prune", "-o",
        "-printf", r"%p %y %m %u %g %l\n")
    return dict(line.split(" ", 1) for line in text.splitlines())


def processes(machine):
    """{unit: main pid} of all services that stay."""
    text = machine.run("systemctl", "show", "--property=Id,MainPID,Type", "*.service")
    units = [dict(line.split("=", 1) for line in block.splitlines())
             for block in text.split("\n\n")]
    return {unit["Id"]: unit["MainPID"] for unit in units
            if unit["MainPID"] != "0" and unit["Type"] != "oneshot"}


def started(machine, unit):
    """When, and in which life."""
    return (machine.prop("InvocationID", unit),
            machine.prop("ActiveEnterTimestampMonotonic", unit))


def starts(machine):
    return len(machine.entries(UNIT=SERVICE, MESSAGE_ID=STARTED))


def inode(machine):
    return machine.run("stat", "--format=%i", PATH)


def written(machine):
    return {path: machine.run("stat", "--format=%i %Y %a %U", path) + machine.run("cat", path)
            for path in (CONFIG, *WRITTEN)}


@pytest.fixture(scope="module")
def before(machine):
    """What was there before the package."""
    return files(machine), processes(machine), written(machine)


# --- installed


def test_installation_starts_socket_and_service_and_nothing_else(machine, before):
    install(machine, "old", AGENT)
    assert active(machine, SOCKET)
    assert active(machine, SERVICE)
    assert not active(machine, LOCKDOWN)
    assert machine.run("systemctl", "is-enabled", SOCKET, SERVICE).split() == ["enabled"] * 2
    assert machine.call("systemctl", "is-enabled", LOCKDOWN).stdout.strip() == "disabled"
    done = token(machine, ROOT)
    assert done.returncode == 0, done.stderr
    now = processes(machine)
    now.pop(SERVICE)
    assert now == before[1]


def test_installed_files_are_the_packages_and_its_links_alone(machine, before):
    listed = set(machine.run("dpkg", "--listfiles", AGENT).splitlines())
    new = set(files(machine)) - set(before[0]) - listed
    # /lib is a link: dpkg lists what it unpacked.
    new -= {"/usr" + path for path in listed}
    links = {f"/etc/systemd/system/sockets.target.wants/{SOCKET}",
             f"/etc/systemd/system/multi-user.target.wants/{SERVICE}"}
    assert links <= new
    assert {path for path in new - links
            if not path.startswith("/var/lib/systemd/deb-systemd-helper-enabled/")} == set()


def test_library_is_installed_and_nothing_restarted(machine):
    running = processes(machine)
    lives = started(machine, SERVICE), started(machine, SOCKET)
    install(machine, "old", LIBRARY, DEVELOPMENT)
    assert processes(machine) == running
    assert (started(machine, SERVICE), started(machine, SOCKET)) == lives


# --- upgraded


class Callers:
    """Ask in a loop, each time on a new connection; count who is not answered."""

    LOOP = (f"until [ -e /run/stop ]; do gce-oidc token {ROOT} >/dev/null && "
            "echo answered; done 2>&1")

    def __init__(self, machine, number):
        machine.run("rm", "-f", "/run/stop")
        self.machine = machine
        self.said = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        self.said.append(self.machine.peer("sh", "-c", self.LOOP).stdout.splitlines())

    def end(self):
        """What else than answers they got."""
        self.machine.run("touch", "/run/stop")
        for thread in self.threads:
            thread.join()
        assert all("answered" in said for said in self.said)
        return {line for said in self.said for line in said if line != "answered"}


def test_upgrade_restarts_the_service_once_and_nobody_is_refused(machine):
    running, kept = processes(machine), written(machine)
    socket = started(machine, SOCKET), inode(machine)
    before = starts(machine)
    callers = Callers(machine, 3)
    try:
        install(machine, "new", AGENT)
    finally:
        lost = callers.end()
    assert lost == set()
    # The socket is what it was, and the service started once: of the new program.
    assert (started(machine, SOCKET), inode(machine)) == socket
    assert starts(machine) == before + 1
    assert machine.prop("NRestarts") == "0"
    assert not machine.run("readlink", f"/proc/{machine.prop('MainPID')}/exe"
                           ).endswith("(deleted)")
    now = processes(machine)
    assert now.pop(SERVICE) != running.pop(SERVICE)
    assert now == running
    assert written(machine) == kept


def test_library_is_upgraded_and_nothing_restarted(machine):
    running = processes(machine)
    lives = started(machine, SERVICE), started(machine, SOCKET)
    install(machine, "new", LIBRARY, DEVELOPMENT)
    assert processes(machine) == running
    assert (started(machine, SERVICE), started(machine, SOCKET)) == lives


def test_who_waits_during_an_upgrade_is_answered(machine, google):
    """One whose request is upstream when the service is told to stop; one who comes
    while it stops, and whom the new one finds in the socket's queue."""
    assert token(machine, fresh()).returncode == 0
    sent = google.counts()["iam"]["total"]
    google.fault("iam", "hang")
    answers = {}

    def ask(name):
        answers[name] = token(machine, fresh())

    first, second = (threading.Thread(target=ask, args=(name,)) for name in ("old", "new"))
    pid = machine.prop("MainPID")
    first.start()
    wait_for(lambda: google.counts()["iam"]["total"] > sent, "it is upstream")
    upgrade = threading.Thread(target=install, args=(machine, "new", AGENT))
    upgrade.start()
    wait_for(lambda: machine.prop("ActiveState") == "deactivating", "the old one stops")
    second.start()
    wait_for(lambda: waiting(machine), "another is connected")
    google.unfault()
    for thread in (first, second, upgrade):
        thread.join()
    for name in ("old", "new"):
        assert answers[name].returncode == 0, answers[name].stderr
    assert machine.prop("MainPID") != pid


def waiting(machine):
    """Somebody is connected, and not accepted yet: systemd's socket has him."""
    queue = machine.run("ss", "--no-header", "--listening", "--unix", "src", PATH).split()
    return queue and int(queue[2]) > 0


@pytest.mark.parametrize("stopped", ["service", "both"])
def test_what_an_administrator_disabled_stays_so(machine, stopped):
    units = [SERVICE] if stopped == "service" else [SERVICE, SOCKET]
    machine.run("systemctl", "disable", "--now", SERVICE, SOCKET)
    machine.run("systemctl", "stop", SERVICE, SOCKET)
    if stopped == "service":
        machine.run("systemctl", "enable", "--now", SOCKET)
    install(machine, "new", AGENT)
    for unit in units:
        assert machine.call("systemctl", "is-enabled", unit).stdout.strip() == "disabled"
        assert not active(machine, unit)
    machine.run("systemctl", "enable", "--now", SOCKET, SERVICE)
    assert token(machine, ROOT).returncode == 0


def reaches(machine):
    return machine.peer("/bin/bash", "-c", "</dev/tcp/169.254.169.254/80",
                        User="www-data").returncode == 0


def test_lockdown_and_loopback_port_stay_through_an_upgrade(machine):
    machine.run("systemctl", "stop", SERVICE)
    machine.run("systemctl", "start", LOCKDOWN, LOOPBACK, SERVICE)
    assert not reaches(machine)
    lives = [started(machine, unit) for unit in (LOCKDOWN, LOOPBACK)]
    install(machine, "new", AGENT)
    assert active(machine, LOCKDOWN) and active(machine, LOOPBACK)
    assert [started(machine, unit) for unit in (LOCKDOWN, LOOPBACK)] == lives
    assert not reaches(machine)


# --- removed


def test_removal_stops_all_and_lifts_the_lockdown(machine):
    assert active(machine, LOCKDOWN) and active(machine, LOOPBACK)
    dpkg(machine, "--remove", AGENT, DEVELOPMENT, LIBRARY)
    for unit in (SOCKET, SERVICE, LOCKDOWN, LOOPBACK):
        assert machine.prop("ActiveState", unit) in ("inactive", "failed"), unit
        assert machine.prop("LoadState", unit) == "not-found"
    assert machine.call("test", "-e", PATH).returncode != 0
    assert machine.call("pidof", "gce-oidc-agent").returncode != 0
    assert "gce-oidc" not in machine.run("nft", "list", "tables")
    assert reaches(machine)


def test_removed_package_comes_back_as_it_was(machine):
    install(machine, "new", AGENT)
    assert active(machine, SOCKET) and active(machine, SERVICE)
    assert token(machine, ROOT).returncode == 0
    dpkg(machine, "--remove", AGENT)


def test_purge_leaves_the_administrators_files_and_the_user(machine, before):
    """A uid is never given to another: so the user stays, and nothing else."""
    dpkg(machine, "--purge", AGENT, LIBRARY, DEVELOPMENT)
    now = files(machine)
    assert {path: what for path, what in now.items() if before[0].get(path) != what} == {}
    assert set(before[0]) - set(now) == set()
    assert written(machine) == before[2]
    assert machine.run("getent", "passwd", "gce-oidc-agent")
    assert processes(machine) == before[1]
    assert AGENT not in machine.run("dpkg-query", "--show")
    assert "gce-oidc" not in machine.run("systemctl", "list-units", "--all", "gce-oidc*")


def test_installation_on_another_machine_starts_nothing(machine):
    """Without a configuration, and with firmware that is not Google's."""
    machine.run("mv", CONFIG, CONFIG + ".away")
    said = install(machine, "new", AGENT)
    assert "failed" not in said.lower()
    for unit in (SOCKET, SERVICE):
        assert machine.prop("ActiveState", unit) == "inactive"
        assert machine.prop("ConditionResult", unit) == "no"
        assert machine.run("systemctl", "is-enabled", unit) == "enabled"
    dpkg(machine, "--purge", AGENT)
