# SPDX-License-Identifier: Apache-2.0
"""Who gets what: rules, judged by what the kernel says of the process that connected."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import traceback
import urllib.parse

import pytest

from conftest import TESTS
from steps import ACCOUNT, FAST, steps

A, B = "https://a.example.com", "https://b.example.com"


def other_users():
    """Can this test become somebody else?  Not where root is the only user mapped."""
    try:
        return os.geteuid() == 0 and len(pathlib.Path("/proc/self/uid_map").read_text().split()) == 3 \
            and int(pathlib.Path("/proc/self/uid_map").read_text().split()[2]) > 65536
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")


class Rules:
    """What one process is told on one connection."""

    def __init__(self, agent):
        self.agent = agent

    def ask(self, *targets, uid=0, gid=0, groups=(), headers=None, cgroup=None):
        """[(status, code, text), ...] for a child with these ids, in that cgroup."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if cgroup:
                    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                answers = self._answers(targets, headers)
                os.write(writer, json.dumps(answers).encode())
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writer)
        with open(reader, "rb") as pipe:
            answers = json.loads(pipe.read())
        assert os.waitpid(pid, 0)[1] == 0
        return answers

    def _answers(self, targets, headers):
        connection = self.agent.connection()
        answers = []
        for target in targets:
            connection.request("GET", target, headers={"Metadata-Flavor": "Google", **(headers or {})})
            answer = connection.getresponse()
            answers.append((answer.status, answer.headers["Gce-Oidc-Error"], answer.read().decode()))
        return answers

    def tokens(self, *audiences, **who):
        """Their statuses."""
        return [answer[0] for answer in self.ask(*map(token, audiences), **who)]


def token(audience):
    return "/v1/token?" + urllib.parse.urlencode({"audience": audience})


def rule(name, audience=A, **keys):
    return "\n".join([f"[rule {name}]", f"audience = {audience}" if audience else "",
                      *(f"{key} = {value}" for key, value in keys.items()), ""])


@pytest.fixture
def under(start_agent):
    """under(rules) -> Rules of an agent with these."""
    return lambda *rules, config="": Rules(start_agent(FAST + config, rules="\n".join(rules)))


# --- who


@pytest.mark.parametrize("keys, admitted, refused", [
    ({"user": "1000"}, {"uid": 1000}, {"uid": 1001}),
    ({"user": "1000"}, {"uid": 1000}, {"uid": 0}),
    ({"user": "1000 1002"}, {"uid": 1002}, {"uid": 1001}),
    ({"user": "daemon"}, {"uid": 1}, {"uid": 2}),
    ({"user": "root"}, {"uid": 0}, {"uid": 1000, "gid": 0}),
    ({"group": "2000"}, {"uid": 1000, "gid": 2000}, {"uid": 2000, "gid": 1000}),
    ({"group": "2000"}, {"uid": 1000, "gid": 1, "groups": [5, 2000]},
     {"uid": 1000, "gid": 1, "groups": [5, 2001]}),
    ({"group": "daemon"}, {"uid": 1000, "groups": [1]}, {"uid": 1, "groups": [2]}),
    ({"user": "1000", "group": "2000"}, {"uid": 1000, "gid": 2000}, {"uid": 1000}),
    ({"user": "1000", "group": "2000"}, {"uid": 1000, "groups": [2000]}, {"uid": 1001, "gid": 2000}),
    ({"user": "100000"}, {"uid": 100000}, {"uid": 100001}),
    ({"group": "2000"}, {"uid": 1000, "groups": list(range(3000, 3500)) + [2000]},
     {"uid": 1000, "groups": list(range(3000, 3500))}),
    ({"peer": "anyone"}, {"uid": 65534, "gid": 65534}, None),
], ids=str)
def test_rule_admits_whom_it_names_and_nobody_else(under, keys, admitted, refused):
    rules = under(rule("r", **keys))
    assert rules.tokens(A, **admitted) == [200]
    if refused:
        assert rules.tokens(A, **refused) == [403]


def test_identity_path_is_judged_by_the_same_rules(under):
    rules = under(rule("r", user=1000))
    path = f"/computeMetadata/v1/instance/service-accounts/default/identity?audience={A}"
    assert rules.ask(path, uid=1000)[0][0] == 200
    assert rules.ask(path, uid=1001)[0][:2] == [403, "denied-by-policy"]


@pytest.mark.parametrize("target", [
    "/", "/computeMetadata/v1/", "/computeMetadata/v1/instance/service-accounts/",
    "/computeMetadata/v1/instance/service-accounts/default/email",
    "/computeMetadata/v1/project/project-id", "/v1/whoami", "/healthz"])
def test_what_is_no_secret_is_open_to_everybody(under, target):
    rules = under(rule("r", user=1000))
    rules.tokens(A, uid=1000)       # by now the account is known
    assert rules.ask(target, uid=4711)[0][0] == 200


# --- what


def test_verdict_never_leaks_from_one_audience_to_another(under):
    rules = under(rule("r", user=1000))
    assert rules.tokens(A, B, A, A + "/", A, B, uid=1000) == [200, 403, 200, 403, 200, 403]


def test_verdict_never_leaks_from_a_cached_token(under):
    rules = under(rule("r", audience="**", user=1000))
    assert rules.tokens(A, uid=1000) == [200]
    assert rules.tokens(A, B, A, uid=1001) == [403, 403, 403]


def test_refused_question_asks_nothing_upstream(under, emulator):
    rules = under(rule("r", user=1000))
    assert rules.tokens(B, B, uid=1000) == [403, 403]
    assert rules.tokens(A, uid=1001) == [403]
    assert set(steps(emulator)) <= {ACCOUNT}


@pytest.mark.parametrize("pattern, admitted, refused", [
    ("https://*.example.com", A, "https://a.b.example.com"),
    ("https://**.example.com", "https://a.b.example.com", "https://example.com"),
    (A + "/*", A + "/x", A + "/x/y"),
    (A + "/**", A + "/x/y", A),
    (A, A, A.upper()),
    (r"a\*b", "a*b", "axb"),
    (r"a\ b", "a b", "ab"),
    (f"{A} {B}", B, "https://c.example.com"),
])
def test_audiences_match_by_their_pattern(under, pattern, admitted, refused):
    rules = under(rule("r", audience=pattern, user=1000))
    assert rules.tokens(admitted, refused, uid=1000) == [200, 403]


def test_other_kinds_than_id_admit_to_no_token(under):
    rules = under(rule("looks", audience=None, user=1000, kind="monitor admin"),
                  rule("signs", audience=None, user=1000, kind="access sign", account="default"))
    assert rules.tokens(A, uid=1000) == [403]


@pytest.mark.parametrize("order", [1, -1])
def test_deny_wins_in_any_order(under, order):
    rules = under(*[rule("all", audience="**", user="1000 1001"),
                    rule("not-b", audience=B, user=1000, action="deny"),
                    rule("again", audience="**", user=1000)][::order])
    assert rules.tokens(A, B, uid=1000) == [200, 403]
    assert rules.tokens(A, B, uid=1001) == [200, 200]
    assert "rule not-b denies kind id" in rules.ask(token(B), uid=1000)[0][2]


def test_cleared_list_matches_nobody(under):
    rules = under(rule("r", user="1000\nuser ="))
    assert rules.tokens(A, uid=1000) == [403]
    assert rules.tokens(A, uid=0) == [403]


def test_vendors_default_serves_root_alone(under):
    text = (TESTS.parent / "units" / "50-default.conf").read_text()
    rules = under(text)
    assert rules.tokens(A, B) == [200, 200]
    assert rules.tokens(A, uid=1000, gid=0, groups=[0]) == [403]


def test_no_rule_admits_nobody(under):
    rules = under()
    assert rules.tokens(A) == [403]


# --- what is told


def test_refusal_says_who_was_seen_and_how_to_be_admitted(under):
    status, code, text = under(rule("r", user=1)).ask(
        token(A), uid=1000, gid=100, groups=[2000, 2001])[0]
    assert (status, code) == (403, "denied-by-policy")
    assert text.startswith("no rule admits kind id to uid 1000 gid 100")
    assert text.endswith(f"; gce-oidc whoami --rule {A}\n")


@pytest.mark.parametrize("audience", ["a b", "$(reboot)", "a;b", "-x", "ü", "a`b`", "'"])
def test_refusal_has_no_command_that_a_shell_would_misread(under, audience):
    text = under(rule("r", user=1)).ask(token(audience), uid=1000)[0][2]
    assert text.endswith("; gce-oidc whoami --rule AUDIENCE\n")
    assert "$(" not in text and "`" not in text


def test_refusal_as_json(under):
    answer = under(rule("r", user=1)).ask(token(A), uid=1000,
                                          headers={"Accept": "application/json"})[0]
    told = json.loads(answer[2])
    assert told["error"] == "denied-by-policy"
    assert told["hint"] == f"gce-oidc whoami --rule {A}"


def test_whoami_is_what_the_kernel_says(under):
    rules = under(rule("r", user=1000))
    asked = urllib.parse.urlencode({"audience": A})
    plain, allowed, denied, kind = (json.loads(answer[2]) for answer in rules.ask(
        "/v1/whoami", f"/v1/whoami?{asked}", f"/v1/whoami?audience={B}",
        f"/v1/whoami?{asked}&kind=jwt&account=default", uid=1000, gid=100, groups=[2000, 2001]))
    who = {"uid": 1000, "gid": 100, "groups": [2000, 2001], "host": "yes"}
    assert {key: plain[key] for key in who} == who and plain["pid"] > 1
    assert "verdict" not in plain
    assert (allowed["verdict"], allowed["rule"], allowed["audience"]) == ("allow", "r", A)
    assert (denied["verdict"], denied["kind"]) == ("deny", "id")
    assert denied["reason"].startswith("no rule admits kind id")
    assert (kind["verdict"], kind["kind"]) == ("deny", "jwt")


# --- host or container


CLIENT = """
import json, sys
from unix_http import UnixConnection
connection = UnixConnection(sys.argv[1], 30)
connection.request("GET", sys.argv[2], headers={"Metadata-Flavor": "Google"})
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""

CONTAINERS = {
    "pid namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "user namespace": ["unshare", "--user", "--map-root-user"],
    "both": ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"],
}


def contained(agent, container, target):
    result = subprocess.run([*container, sys.executable, "-c", CLIENT, agent.socket, target],
                            stdout=subprocess.PIPE, check=True, timeout=60)
    return json.loads(result.stdout)


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_root_in_a_container_is_not_root(under, container):
    rules = under(rule("host-root", user="root"), rule("anyone-here", peer="anyone"))
    status, text = contained(rules.agent, container, token(A))
    assert status == 403 and "uid 0" in text and "in a container" in text
    assert json.loads(contained(rules.agent, container, "/v1/whoami")[1])["host"] == "no"
    assert rules.tokens(A) == [200]


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_container_is_admitted_by_rules_that_say_so(under, container):
    rules = under(rule("wherever", user="root", host="any"), rule("inside", audience=B, user="root", host="no"))
    assert contained(rules.agent, container, token(A))[0] == 200
    assert contained(rules.agent, container, token(B))[0] == 200
    assert rules.tokens(A, B) == [200, 403]


@pytest.mark.parametrize("host, status", [("yes", 403), ("any", 200)])
def test_who_has_exited_is_on_the_host_no_more(under, host, status):
    """A connection may be handed on: rules about its process hold as long as that lives."""
    rules = under(rule("r", audience="**", user=1000, host=host))
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        os.setresuid(1000, 1000, 1000)
        with rules.agent.connect() as connected:
            socket.send_fds(theirs, [b"x"], [connected.fileno()])
        os._exit(0)
    _, (inherited,), _, _ = socket.recv_fds(ours, 1, 1)
    assert os.waitpid(pid, 0)[1] == 0
    caller = rules.agent.connection()
    caller.sock = socket.socket(fileno=inherited)
    caller.sock.settimeout(60)
    caller.request("GET", token(A), headers={"Metadata-Flavor": "Google"})
    assert caller.getresponse().status == status
    for end in (caller, ours, theirs):
        end.close()
