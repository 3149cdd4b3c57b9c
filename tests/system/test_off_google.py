# SPDX-License-Identifier: Apache-2.0
"""A machine off Google's cloud, set up by the files of doc/examples as they are, each
where its comment says, and booted: a service account's key by LoadCredential=, an
audience kept warm, and a service that waits for its token.

Google's names lead to the emulator; there is no metadata server.  The tests of one
machine build on each other, in this order."""

import json
import pathlib
import re

import pytest

from conftest import Emulator, find_one, wait_for
from machine import Machine, base_of, fresh, token
from steps import HURRY
from vm import PLACES, emulator_options

SERVICE, WEB = "gce-oidc-agent.service", "web.service"
PATH = "/run/gce-oidc-agent/agent.sock"
CLIENT = "/usr/lib/gce-oidc-test/client"
KEY = "/etc/gce-oidc-agent/key.json"
CREDENTIAL = "/run/credentials/gce-oidc-agent.service/key.json"
CA = "/etc/gce-oidc-agent/ca.pem"
MINE = "/etc/gce-oidc-agent/agent.conf.d/mine.conf"
BILLING, LEDGER = "https://billing.example.com", "https://ledger.example.com"
EXAMPLES = ("off-google.conf", "dropin-credentials.conf", "dropin-wait.conf", "warm.conf")
DENIED = 3

# The reader's own, which dropin-wait.conf is for: it keeps what it was told.
WEB_UNIT = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{CLIENT} get {PATH} /v1/token?audience={BILLING} >/run/web'
[Install]
WantedBy=multi-user.target
"""


class Example:
    """One of doc/examples, and what its comment says of it."""

    def __init__(self, machine, name):
        self.text = find_one(machine.root / "usr", name).read_text()
        place = re.search(r"^# For (/[\w/.-]*\w/?)", self.text, re.M)[1]
        self.place = place + name if place.endswith("/") else place
        self.commands = [line.split() for line in re.findall(r"^#\t(ch\w+ .*)$", self.text, re.M)]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def suite(request):
    return request.param


@pytest.fixture(scope="module")
def google(suite):
    with Emulator(*emulator_options()) as google:
        google.fault("metadata", "refuse")
        yield google


def set_up(machine, google, client):
    for name in EXAMPLES:
        example = Example(machine, name)
        machine.write(example.place, example.text)
    machine.write(KEY, json.dumps(google.key_file()), 0o644)
    for command in Example(machine, "dropin-credentials.conf").commands:
        machine.chroot(*command)
    machine.write(MINE, HURRY + f"[upstream]\nca-file = {CA}\n")
    machine.write(CA, pathlib.Path(google.ca_file).read_text())
    machine.write("/etc/hosts", "127.0.0.1 localhost\n" + "".join(
        f"{address} {name}\n" for name, (_, address) in PLACES.items()))
    machine.write(f"/etc/systemd/system/{WEB}", WEB_UNIT)
    machine.chroot("systemctl", "--quiet", "enable", WEB)
    machine.add_program(client, CLIENT)
    machine.write("/usr/lib/sysusers.d/test.conf", "u alice 1500\n")


@pytest.fixture(scope="module")
def machine(suite, google, build_dir, stage, client):
    with Machine(base_of(build_dir, suite), stage) as machine:
        set_up(machine, google, client)
        google.fault("token-endpoint", "refuse")        # until the first test
        machine.boot()
        yield machine


@pytest.fixture(autouse=True)
def afterwards(request, google):
    yield
    google.unfault(service="token-endpoint")
    machine = request.node.funcargs.get("machine")
    if machine:
        print(machine.call("journalctl", "--no-pager", "--lines=40").stdout)


def face(machine, audience):
    """-> the head of root's answer in lower case, and the token."""
    head, _, body = machine.run(CLIENT, "get", PATH, f"/v1/token?audience={audience}") \
        .partition("\n\n")
    return head.lower(), body


def state(machine, unit=WEB):
    return machine.prop("ActiveState", unit)


# --- the boot


def test_service_with_the_example_waits_at_boot_until_a_token_can_be_had(machine, google):
    """The first test: until here the token endpoint is away."""
    wait_for(lambda: machine.prop("ControlPID", WEB) != "0", "gce-oidc wait runs")
    wait_for(lambda: machine.prop("ActiveState", SERVICE) == "active", "the agent serves")
    assert state(machine) == "activating"
    assert machine.call("test", "-e", "/run/web").returncode
    google.unfault(service="token-endpoint")
    wait_for(lambda: state(machine) == "active", "the service has started", 120)
    head, _, body = machine.run("cat", "/run/web").partition("\n\n")
    assert "gce-oidc-cache: hit" in head.lower()
    google.verify(body.strip(), BILLING)


def test_example_alone_starts_the_units_off_google(machine):
    assert machine.prop("ConditionResult", SERVICE) == "yes"
    failed = machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    assert failed == ""
    assert [entry["MESSAGE"] for entry in machine.entries(_SYSTEMD_UNIT=SERVICE)
            if int(entry["PRIORITY"]) <= 3] == []


# --- the key


def test_token_is_signed_here_with_the_key_that_systemd_hands_over(machine, google):
    audience = fresh()
    head, body = face(machine, audience)
    assert "gce-oidc-flow: keyfile" in head
    assert google.verify(body, audience)["email"] == google.email
    assert google.counts().get("iam", {}).get("total", 0) == 0


def test_key_is_readable_by_root_and_the_agent_alone(machine):
    """On disk by root; as a credential by the agent, too."""
    def reads(path, **properties):
        done = machine.peer("cat", path, **properties)
        return done.returncode == 0 and "PRIVATE KEY" in done.stdout

    assert machine.run("stat", "--format=%U %a", KEY) == "root 600"
    assert reads(KEY) and reads(CREDENTIAL)
    for user in ("alice", "www-data", "nobody"):
        assert not reads(KEY, User=user)
        assert not reads(CREDENTIAL, User=user)
    assert not reads(CREDENTIAL, DynamicUser="yes")
    assert not reads(KEY, User="gce-oidc-agent")
    assert reads(CREDENTIAL, User="gce-oidc-agent")     # the control: it is there


def test_key_is_neither_logged_nor_in_the_environment(machine, google):
    piece = json.loads(machine.run("cat", KEY))["private_key"].splitlines()[5]
    said = machine.run("journalctl", "--no-pager", "--output=export")
    assert piece not in said and "PRIVATE KEY" not in said
    pid = machine.pid()
    for name in ("environ", "cmdline"):
        assert piece.encode() not in pathlib.Path(f"/proc/{pid}/{name}").read_bytes()


def test_reload_works_with_a_credential(machine, google):
    pid = machine.prop("MainPID")
    assert token(machine, LEDGER, User="alice").returncode == DENIED
    mine = machine.run("cat", MINE) + "\n"
    machine.write_in(MINE, mine + f"[rule alice]\nuser = alice\naudience = {LEDGER}\n")
    machine.run("systemctl", "reload", SERVICE)
    done = token(machine, LEDGER, User="alice")
    assert done.returncode == 0, done.stderr
    google.verify(done.stdout.strip(), LEDGER)
    machine.write_in(MINE, mine + "[no such section]\n")
    assert machine.call("systemctl", "reload", SERVICE).returncode != 0
    machine.write_in(MINE, mine)
    machine.run("systemctl", "reload", SERVICE)
    assert token(machine, LEDGER, User="alice").returncode == DENIED
    assert token(machine, fresh()).returncode == 0
    assert machine.prop("MainPID") == pid


def test_new_key_takes_a_restart_as_the_example_says(machine, google):
    old = json.loads(machine.run("cat", KEY))["private_key_id"]
    machine.write_in(KEY, json.dumps(google.key_file()))
    google.delete_key(old)
    machine.run("systemctl", "reload", SERVICE)
    done = token(machine, fresh())
    assert done.returncode and done.stdout == ""
    machine.run("systemctl", "restart", SERVICE)
    audience = fresh()
    google.verify(token(machine, audience).stdout.strip(), audience)
    assert machine.run("stat", "--format=%U %a", KEY) == "root 600"


# --- waiting


def test_service_does_not_start_where_no_token_comes_and_says_why(machine, google):
    """By the example's line, with a shorter time than its 60 s."""
    line = re.search(r"^ExecStartPre=gce-oidc wait (.*)$",
                     Example(machine, "dropin-wait.conf").text, re.M)[1]
    google.fault("token-endpoint", "refuse")
    machine.run("systemctl", "restart", SERVICE)        # nothing is cached
    machine.run("systemctl", "stop", WEB)
    machine.run("rm", "/run/web")
    machine.drop_in("[Service]\nExecStartPre=\n"
                    f"ExecStartPre=gce-oidc wait --timeout=2 {line}\n", WEB, restart=False)
    try:
        assert machine.call("systemctl", "start", WEB).returncode
        assert (state(machine), machine.prop("Result", WEB)) == ("failed", "exit-code")
        assert machine.call("test", "-e", "/run/web").returncode
        said, = (line for line in machine.journal(WEB).splitlines() if "not within" in line)
        assert said.startswith("gce-oidc: not within 2 s: ")
        assert "oauth2.googleapis.com" in said
    finally:
        machine.run("rm", "-rf", f"/run/systemd/system/{WEB}.d")
        machine.run("systemctl", "daemon-reload")
    google.unfault(service="token-endpoint")
    machine.run("systemctl", "start", WEB)
    assert state(machine) == "active"
    assert "gce-oidc-cache: hit" in machine.run("cat", "/run/web").lower()


def test_service_that_is_denied_its_token_is_told_at_once(machine):
    """What will not pass is not waited for; it is another unit than the rule's."""
    machine.write_in("/run/systemd/system/shop.service.d/wait.conf",
                     Example(machine, "dropin-wait.conf").text)
    machine.write_in("/run/systemd/system/shop.service",
                     "[Service]\nType=oneshot\nUser=www-data\nExecStart=true\n")
    machine.run("systemctl", "daemon-reload")
    assert machine.call("systemctl", "start", "shop.service").returncode
    said = machine.journal("shop.service")
    assert "gce-oidc: no rule admits kind id" in said and "not within" not in said
