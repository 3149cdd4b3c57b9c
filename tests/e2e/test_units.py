# SPDX-License-Identifier: Apache-2.0
"""Rules by unit and slice: cgroups made by hand, and every way to pretend."""

import json
import os
import subprocess
import sys

import pytest

from cgroups import OLD_KERNEL, USER, Connector, cgroups, either, old_kernel  # noqa: F401
from steps import FAST
from test_policy import A, B, Rules, other_users, rule, token, under  # noqa: F401

pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")

WHOAMI = "/v1/whoami"


# --- who is who


@pytest.mark.parametrize("keys, admitted, refused", [
    ({"unit": "web.service"}, "web.service", "db.service"),
    ({"unit": "web.service"}, "web.service/worker/1", "x/web.service"),
    ({"unit": "web.service"}, "a-b.slice/web.service", "db.service/web.service"),
    ({"unit": "web@*.service"}, "web@10.0.0.1.service", "web.service"),
    ({"unit": "run-7.scope"}, "run-7.scope", "run-7.service"),
    ({"unit": "cpu.service"}, "_cpu.service", "__cpu.service"),
    ({"unit": r"a\\x2db.service"}, r"a\x2db.service", "ax2db.service"),
    ({"slice": "a-b.slice"}, "a-b.slice/web.service", "web.service"),
    ({"slice": "a-b.slice"}, "a-b.slice/a-b-c.slice/web.service", "web.service/a-b.slice"),
    ({"unit": "payroll.service"}, "payroll.service",
     f"user-{USER}.slice/user@{USER}.service/app.slice/payroll.service"),
    ({"user": USER, "unit": "web.service"}, "web.service", "db.service"),
    ({"unit": "web.service", "slice": "a-b.slice"}, "a-b.slice/web.service", "web.service"),
], ids=str)
def test_rule_admits_the_unit_it_names_and_no_other(either, cgroups, keys, admitted, refused):
    rules = either(rule("r", **keys))
    assert rules.tokens(A, uid=USER, cgroup=cgroups.make(admitted)) == [200]
    assert rules.tokens(A, uid=USER, cgroup=cgroups.make(refused)) == [403]
    assert rules.tokens(A, uid=USER) == [403]       # the root cgroup


def test_rule_of_unit_and_user_wants_both(either, cgroups):
    rules = either(rule("r", user=USER, unit="web.service"))
    assert rules.tokens(A, uid=USER + 1, cgroup=cgroups.make("web.service")) == [403]


@pytest.mark.parametrize("place, status", [
    ("web.service", 403), ("x/web.service", 403), ("x", 403), ("db.service", 200)])
def test_denied_unit_is_denied_where_it_is_unknown(either, cgroups, place, status):
    rules = either(rule("all", peer="anyone"), rule("n", unit="web.service", action="deny"))
    assert rules.tokens(A, uid=USER, cgroup=cgroups.make(place)) == [status]


# --- what is told


def test_whoami_names_unit_slice_and_cgroup(under, cgroups):
    rules = under(rule("r", user=1))
    asked = [WHOAMI]

    def seen(path):
        told = json.loads(rules.ask(*asked, uid=USER, cgroup=path and cgroups.make(path))[0][2])
        return told["unit"], told["slice"], told["cgroup"], told["host"]

    inner = f"/{cgroups.slice}/a-b.slice/web.service"
    assert seen("a-b.slice/web.service/x") == ("web.service", "a-b.slice", f"{inner}/x", "yes")
    assert seen("web.service")[1] == cgroups.slice
    assert seen(None) == (None, None, "/", "yes")
    assert seen("x/web.service")[:3] == (None, None, f"/{cgroups.slice}/x/web.service")
    assert seen("docker-01.scope") == ("docker-01.scope", cgroups.slice,
                                       f"/{cgroups.slice}/docker-01.scope", "no")
    assert seen("web.service/a\x1b[b")[2] == f"/{cgroups.slice}/web.service/a\\x1b[b"


def test_refusal_names_the_unit_and_what_is_nearly_matched(under, cgroups):
    rules = under(rule("web", unit="web.service"), rule("other", audience=B, unit="db.service"),
                  rule("payroll", audience="https://secret.example.com", user=4711))
    place = cgroups.make("db.service")
    text = rules.ask(token(A), uid=USER, cgroup=place)[0][2]
    assert ", unit db.service (nearly: web but for unit, other but for audience); gce-oidc" in text
    told = json.loads(rules.ask(f"{WHOAMI}?audience={A}", uid=USER, cgroup=place)[0][2])
    assert told["verdict"] == "deny"
    assert told["nearly"] == [{"rule": "web", "but_for": "unit"},
                              {"rule": "other", "but_for": "audience"}]
    # Whom a rule does not concern learns nothing of it.
    for answer in (text, json.dumps(told)):
        assert "payroll" not in answer and "secret" not in answer and B not in answer


def test_stanza_of_a_service_admits_the_service_alone(start_agent, build_dir, cgroups):
    before = start_agent(FAST, rules="")
    place = cgroups.make("web.service")

    def enter():
        (place / "cgroup.procs").write_text(str(os.getpid()))

    stanza = subprocess.run(
        [build_dir / "gce-oidc", "whoami", "--rule", A, f"--socket={before.socket}"],
        stdout=subprocess.PIPE, text=True, check=True, timeout=60, preexec_fn=enter).stdout
    assert "unit     = web.service\n" in stanza and "user     = root\n" in stanza
    rules = Rules(start_agent(FAST, rules=stanza))
    assert rules.tokens(A, B, cgroup=place) == [200, 403]
    assert rules.tokens(A, cgroup=cgroups.make("db.service")) == [403]
    assert rules.tokens(A, uid=USER, cgroup=place) == [403]


# --- containers


CLIENT = """
import json, os, sys
from unix_http import UnixConnection
if sys.argv[3]:
    os.setgroups([int(sys.argv[3])])
answers = []
for target in sys.argv[4:]:
    connection = UnixConnection(sys.argv[1], 30)
    connection.request("GET", target, headers={"Metadata-Flavor": "Google"})
    answer = connection.getresponse()
    answers.append([answer.status, answer.read().decode()])
print(json.dumps(answers))
"""

def contained(agent, namespaces, group, *targets, cgroup=None):
    """What root in there is told, in this group ("": as it is)."""
    inside = agent.dir / "inside"
    inside.mkdir(exist_ok=True)
    (inside / "agent.sock").touch()
    # The socket's directory bound in, as "docker run --volume" does it.
    command = ["unshare", "--mount", *namespaces, "--", "sh", "-ec",
               'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh", agent.run, inside,
               sys.executable, "-c", CLIENT, inside / "agent.sock", "-", group, *targets]

    def enter():
        if cgroup:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True, timeout=60,
                            preexec_fn=enter)
    return json.loads(result.stdout)


CONTAINERS = {
    "pid": ["--pid", "--fork", "--mount-proc"],
    "pid and cgroup": ["--pid", "--fork", "--mount-proc", "--cgroup"],
    "pid, net, ipc, uts": ["--pid", "--fork", "--mount-proc", "--net", "--ipc", "--uts"],
}


@pytest.mark.parametrize("namespaces", CONTAINERS.values(), ids=CONTAINERS)
def test_root_and_ruled_groups_in_a_container_are_strangers(under, cgroups, namespaces):
    rules = under(rule("host-root", user="root"), rule("ruled", audience=B, group=2000))
    place = cgroups.make("docker-01.scope")
    for cgroup in (None, place):
        root, group = contained(rules.agent, namespaces, 2000, token(A), token(B), cgroup=cgroup)
        assert (root[0], group[0]) == (403, 403)
        assert "in a container" in root[1] and "host-root but for host" in root[1]
    # The control: the same from the host.
    assert rules.tokens(A, B, groups=[2000]) == [200, 200]


def test_user_namespace_is_a_container(under):
    rules = under(rule("host-root", user="root"), rule("ruled", audience=B, group=0))
    namespace = ["--user", "--map-root-user"]
    if subprocess.run(["unshare", *namespace, "true"], check=False).returncode != 0:
        pytest.skip("no user namespaces")
    for more in ([], ["--pid", "--fork"]):
        root, group = contained(rules.agent, [*namespace, *more], "", token(A), token(B))
        assert (root[0], group[0]) == (403, 403)
        assert "in a container" in root[1]
    assert rules.tokens(A, B) == [200, 200]


def test_container_without_namespaces_of_its_own_is_told_by_its_cgroup(under, cgroups):
    """docker run --pid=host"""
    rules = under(rule("host-root", user="root"),
                  rule("c", audience=B, unit="docker-*.scope", slice=cgroups.slice, host="no"))
    place = cgroups.make("docker-0123.scope")
    assert rules.tokens(A, B, cgroup=place) == [403, 200]
    assert rules.tokens(A, B, cgroup=cgroups.make("web.service")) == [200, 403]


# --- notes


def test_old_kernel_is_noted_at_unit_rules_without_a_user(build_dir, place):
    config = place / "agent.conf"
    config.write_text(rule("r", unit="web.service") + rule("s", unit="web.service", user="root"))
    config.chmod(0o644)
    check = [build_dir / "gce-oidc-agent", f"--config={config}", "--check-config"]
    old = subprocess.run([*OLD_KERNEL, *check], capture_output=True, text=True, check=True,
                         timeout=60)
    assert old.stderr.count("\n") == 1
    assert f"{config}:1: rule r: unit without user, on a kernel before 6.5" in old.stderr


# --- whom it counts for


def test_connections_count_for_the_unit_that_a_rule_names(under, cgroups):
    rules = under(rule("r", user=USER, unit="*.service"),
                  config="[limits]\nconnections-per-peer = 3\n")
    web, db = cgroups.make("web.service"), cgroups.make("db.service")
    held = [Connector(rules.agent, web) for _ in range(3)]
    assert [one.ask(token(A)) for one in held] == [200] * 3
    status, code, text = rules.ask(token(A), uid=USER, cgroup=web)[0]
    assert (status, code) == (429, "busy")
    assert "unit web.service holds 3 connections already" in text
    # The same uid in another unit, and in none, has a share of its own.
    assert rules.tokens(A, uid=USER, cgroup=db) == [200]
    assert rules.tokens(A, uid=USER) == [403]
    for one in held:
        one.__exit__()


def test_flights_count_for_the_unit_that_a_rule_names(start_agent, cgroups):
    agent = start_agent(FAST.replace("requests-per-second = 10000", "requests-per-second = 0.001"),
                        rules=rule("r", audience="**", user=USER, unit="*.service"))
    rules = Rules(agent)
    web, db = cgroups.make("web.service"), cgroups.make("db.service")
    answers = rules.ask(*(token(f"a{i}") for i in range(65)), uid=USER, cgroup=web)
    assert [answer[0] for answer in answers] == [200] * 64 + [429]
    assert "too many new tokens asked for by unit web.service" in answers[-1][2]
    assert rules.tokens("b", uid=USER, cgroup=db) == [200]
