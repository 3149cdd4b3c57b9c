# SPDX-License-Identifier: Apache-2.0
"""The agent's socket, bound into a container: systemd-nspawn's, booted, with the host's
numbers of users and with numbers of its own.  Who is root in there, or any other user
of a rule, is nobody to the rules that mean the host's; the host's own are, by the same
rules, the control."""

import json
import os
import subprocess

import pytest

from conftest import Agent, Emulator, wait_for
from machine import Machine, base_of
from steps import HURRY

DEFAULT, INSIDE = "/run/gce-oidc-agent/agent.sock", "/run/agent/agent.sock"
CLIENT = "/usr/lib/gce-oidc-test/client"
SHIFT = 10 * 65536                      # of user namespaces' numbers
ALICE, TOKENS = 1500, 1600
DENIED, NO_AGENT = 3, 9
SLICE = f"goa{os.getpid()}.slice"
UNIT = f"goa-{os.getpid()}.service"     # where the host has the container


def audience(name):
    return f"https://{name}.example.com"


def rule(name, **keys):
    return "\n".join([f"[rule {name}]", *(f"{key} = {value}" for key, value in keys.items()),
                      f"audience = {audience(name)}", ""])


RULES = "\n".join([
    rule("root", user="root"), rule("user", user=ALICE), rule("group", group=TOKENS),
    # Numbers as the host has them, wherever their process is.
    rule("any-root", user="root", host="any"), rule("any-user", user=ALICE, host="any"),
    rule("any-group", group=TOKENS, host="any"),
    rule("no-root", user="root", host="no"), rule("no-user", user=ALICE, host="no"),
    rule("shifted", user=SHIFT + ALICE, host="any"),
    rule("shifted-group", group=SHIFT + TOKENS, host="any"),
    rule("shifted-host", user=SHIFT + ALICE),
    # What the host's service manager calls the container, and what it calls itself.
    rule("outer-unit", unit=UNIT, host="no"), rule("outer-slice", slice=SLICE, host="no"),
    rule("host-unit", unit=UNIT, host="yes"),
    rule("inner-unit", unit="payroll.service", host="any"),
    rule("inner-slice", slice="system.slice", host="any"),
    # A deny rule wants to know.
    rule("anyone", peer="anyone", host="any"),
    rule("not-cron", peer="anyone", host="any"),
    rule("cron", unit="cron.service", host="any", action="deny").replace(
        audience("cron"), audience("not-cron")),
])


@pytest.fixture(scope="module")
def google():
    with Emulator() as google:
        os.chmod(os.path.dirname(google.ca_file), 0o755)
        yield google


@pytest.fixture(scope="module")
def agent(google, build_dir):
    """On the host, in its cgroup's root."""
    agent = Agent(build_dir / "gce-oidc-agent", google.agent_config() + HURRY + RULES)
    try:
        agent.wait_ready()
        yield agent
    finally:
        wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


class Container(Machine):
    """Its processes ask over the socket that is bound in."""

    def ask(self, to, **properties):
        """-> the exit status, and the token."""
        done = self.peer("gce-oidc", "token", f"--socket={INSIDE}", audience(to),
                         **properties)
        return done.returncode, done.stdout.strip()

    def whoami(self, **properties):
        done = self.peer(CLIENT, "get", INSIDE, "/v1/whoami", **properties)
        return json.loads(done.stdout.partition("\n\n")[2])


def boot(build_dir, stage, client, agent, suite, *options):
    machine = Container(base_of(build_dir, suite), stage, cgroup=f"{SLICE}/{UNIT}", options=[
        *(f"--bind={agent.run}:{os.path.dirname(path)}" for path in (DEFAULT, INSIDE)),
        *options])
    try:
        machine.write("/usr/lib/sysusers.d/test.conf",
                      f"u alice {ALICE}\nu bob 1501\ng tokens {TOKENS}\n")
        machine.add_program(client, CLIENT)
        machine.boot()
        wait_for(lambda: machine.prop("ActiveState", "multi-user.target") == "active",
                 "it is up", 120)
    except BaseException:
        print(machine.console())
        machine.stop()
        raise
    return machine


@pytest.fixture(scope="module", params=["the host's users", "users of its own"])
def container(request, build_dir, stage, client, agent):
    suite, options = {
        "the host's users": ("bookworm", ["--private-users=no"]),
        "users of its own": ("trixie", [f"--private-users={SHIFT}:65536",
                                        "--private-users-ownership=chown"]),
    }[request.param]
    machine = boot(build_dir, stage, client, agent, suite, *options)
    machine.shift = SHIFT if "own" in request.param else 0
    yield machine
    machine.stop()


def host_asks(agent, build_dir, name, uid=0, groups=()):
    """The same question, from the host."""
    done = subprocess.run(
        [build_dir / "gce-oidc", "token", f"--socket={agent.socket}", audience(name)],
        capture_output=True, text=True, check=False, user=uid, group=uid, extra_groups=groups)
    return done.returncode, done.stdout.strip()


REFUSED = (DENIED, "")


# --- rules that mean the host


def test_root_of_a_container_is_refused_what_the_hosts_root_is_given(
        container, agent, build_dir, google):
    status, token = host_asks(agent, build_dir, "root")
    assert status == 0
    google.verify(token, audience("root"))
    assert container.ask("root") == REFUSED
    # Nor by way of a shell that somebody on the host opened in there.
    done = container.call("gce-oidc", "token", f"--socket={INSIDE}", audience("root"))
    assert (done.returncode, done.stdout) == REFUSED


def test_ruled_user_in_a_container_is_refused_what_the_hosts_is_given(
        container, agent, build_dir):
    assert host_asks(agent, build_dir, "user", ALICE)[0] == 0
    assert container.ask("user", User="alice") == REFUSED
    assert container.ask("user") == REFUSED


def test_ruled_group_in_a_container_is_refused_what_the_hosts_is_given(
        container, agent, build_dir):
    """A container's root gives itself any number."""
    assert host_asks(agent, build_dir, "group", 1501, [TOKENS])[0] == 0
    assert container.ask("group", User="bob", SupplementaryGroups="tokens") == REFUSED
    assert container.ask("group", User="bob", Group="tokens") == REFUSED
    assert container.ask("group", SupplementaryGroups="tokens") == REFUSED


def test_number_of_the_hosts_is_not_meant_by_a_container_that_uses_it(container):
    """A rule for the very number that the kernel tells."""
    user = {"User": "alice"}
    assert container.ask("shifted-host", **user) == REFUSED
    assert container.ask("shifted", **user)[0] == (0 if container.shift else DENIED)


# --- rules that say otherwise


def test_host_any_admits_the_numbers_that_the_kernel_tells(container, agent, build_dir):
    """Without numbers of its own a container's root is the host's number 0; with them
    it is not."""
    shared = 0 if not container.shift else DENIED
    assert container.ask("any-root")[0] == shared
    assert container.ask("any-user", User="alice")[0] == shared
    group = {"User": "bob", "SupplementaryGroups": "tokens"}
    assert container.ask("any-group", **group)[0] == shared
    assert container.ask("any-user", User="bob") == REFUSED
    assert host_asks(agent, build_dir, "any-root")[0] == 0
    assert host_asks(agent, build_dir, "any-user", ALICE)[0] == 0
    if container.shift:
        assert container.ask("shifted-group", **group)[0] == 0


def test_host_no_admits_containers_alone(container, agent, build_dir):
    shared = 0 if not container.shift else DENIED
    assert container.ask("no-root")[0] == shared
    assert container.ask("no-user", User="alice")[0] == shared
    assert host_asks(agent, build_dir, "no-root") == REFUSED
    assert host_asks(agent, build_dir, "no-user", ALICE) == REFUSED


# --- unit and slice


def test_units_of_a_container_are_the_hosts_unit_that_it_is_in(container):
    """What is inside may call itself as it likes."""
    inner = {"name": "payroll", "User": "alice"}
    assert container.ask("outer-unit", **inner)[0] == 0
    assert container.ask("outer-slice", **inner)[0] == 0
    assert container.ask("outer-unit", Slice="shop.slice")[0] == 0
    assert container.ask("inner-unit", **inner) == REFUSED
    assert container.ask("inner-slice", **inner) == REFUSED
    # The unit is known to be no other one.
    assert container.ask("not-cron", **inner)[0] == 0
    assert container.ask("not-cron", name="cron", User="alice")[0] == 0


def test_host_yes_beside_a_unit_shuts_its_container_out(container):
    assert container.ask("host-unit") == REFUSED


def test_whoami_tells_a_container_how_the_host_sees_it(container):
    told = container.whoami(name="payroll", User="alice", SupplementaryGroups="tokens")
    assert (told["host"], told["uid"]) == ("no", container.shift + ALICE)
    assert container.shift + TOKENS in told["groups"]
    assert (told["unit"], told["slice"]) == (UNIT, SLICE)
    assert told["cgroup"].startswith(f"/{SLICE}/{UNIT}/")
    assert told["cgroup"].endswith("/payroll.service")


@pytest.mark.parametrize("path", ["lxc.payload.c1/system.slice/payroll.service",
                                  "docker/4f5e6d7c/payroll.service"])
def test_unit_below_what_is_no_slice_is_unknown(container, path):
    """As other container managers have it."""
    tops = container.cgroup.tops
    made = [top / SLICE / path for top in tops]

    def enter():
        for directory in made:
            (directory / "cgroup.procs").write_text(str(os.getpid()))

    def ask(name):
        done = container.call("gce-oidc", "token", f"--socket={INSIDE}", audience(name),
                              preexec_fn=enter)
        return done.returncode, done.stdout.strip()

    for directory in made:
        directory.mkdir(parents=True)
    for name in ("inner-unit", "inner-slice", "outer-unit", "root"):
        assert ask(name) == REFUSED, name
    assert ask("not-cron") == REFUSED       # it may be cron
    assert ask("anyone")[0] == 0            # the control
    told = container.call(CLIENT, "get", INSIDE, "/v1/whoami", preexec_fn=enter).stdout
    told = json.loads(told.partition("\n\n")[2])
    assert (told["host"], told["unit"]) == ("no", None)


# --- the way in


def test_users_of_its_own_leave_the_directory_to_nobody(container):
    """So the client does not trust the default path, and says what to do."""
    done = container.peer("gce-oidc", "token", audience("anyone"))
    if not container.shift:
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stdout) == (NO_AGENT, "")
    assert "neither root's nor yours" in done.stderr and "GCE_OIDC_SOCKET" in done.stderr
    done = container.peer("gce-oidc", "token", audience("anyone"),
                          Environment=f"GCE_OIDC_SOCKET={INSIDE}")
    assert done.returncode == 0, done.stderr
