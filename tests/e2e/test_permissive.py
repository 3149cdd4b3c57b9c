# SPDX-License-Identifier: Apache-2.0
"""[agent] policy = permissive, for rolling rules out: ID tokens are served where no
rule admits, and what would have been is told everywhere."""

import contextlib
import json
import subprocess

import pytest

from conftest import wait_for
from raw_http import answered, wire
from steps import ACCESS, ACCOUNT, COLD, FAST, steps
from test_audit import journal, start  # noqa: F401: fixtures
from test_boot import NotifySocket
from test_policy import Rules, other_users, rule, token
from test_reload import reload
from test_shares import SHARES, ask_for, codes, connect_as, greedy
from test_shares import token as token_as

A, B, C = (f"https://{name}.example.com" for name in "abc")
PERMISSIVE = "[agent]\npolicy = permissive\n"
WEB = rule("web", A, user=1000, host="any")
ROOT = rule("root", "https://root.example.com", user="root", host="any", kind="id monitor")
STRANGER = 3000

pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")


@pytest.fixture
def permissive(start_agent):
    def start(*rules, config="", **options):
        return Rules(start_agent(FAST + PERMISSIVE + config,
                                 "\n".join(rules or (WEB, ROOT)), **options))
    return start


def test_id_is_served_where_no_rule_admits(permissive, emulator):
    rules = permissive()
    assert rules.tokens(A, B, B, uid=1000) == [200, 200, 200]
    assert rules.tokens(A, B, C, uid=STRANGER) == [200, 200, 200]
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, **{step: 3 * n for step, n in COLD.items()}}


def test_identity_path_is_permissive_too(permissive):
    path = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=" + B
    assert permissive().ask(path, uid=STRANGER)[0][0] == 200


def test_deny_rules_hold_and_unknown_facts_are_denied(permissive):
    deny = rule("no-b", B, peer="anyone", host="any", action="deny")
    unit = rule("no-unit", C, unit="secret.service", host="any", action="deny")
    rules = permissive(WEB, deny, unit)
    answers = rules.ask(token(A), token(B), token(C), uid=STRANGER)
    assert [answer[0] for answer in answers] == [200, 403, 403]
    assert "rule no-b denies" in answers[1][2] and "rule no-unit denies" in answers[2][2]


def test_deny_holds_for_what_is_cached(permissive):
    rules = permissive(WEB, rule("no-a", A, user=STRANGER, host="any", action="deny"))
    assert rules.tokens(A, uid=1000) == [200]
    assert rules.tokens(A, uid=STRANGER) == [403]


@pytest.mark.parametrize("path", ["/v1/status", "/metrics"])
def test_other_kinds_are_refused_as_ever(permissive, path):
    rules = permissive()
    assert rules.ask(path, uid=STRANGER)[0][:2] == [403, "denied-by-policy"]
    assert rules.ask(path, uid=0)[0][0] == 200


def test_flush_is_refused_as_ever(permissive):
    with wire(permissive().agent) as it:
        answer = it.ask("/v1/flush", "Content-Type: text/plain", method="POST", body=b"")
    assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "denied-by-policy")


def test_each_is_audited_as_would_deny(start, journal):  # noqa: F811
    agent = start("policy = permissive\n", "\n".join((WEB, ROOT)))
    rules = Rules(agent)
    assert rules.tokens(A, uid=1000) == [200]
    assert journal.read("would-deny") == []
    assert rules.tokens(B, B, uid=1000, gid=7) == [200, 200]
    first, again = journal.read("would-deny")
    assert first["MESSAGE"].startswith(
        "would be denied, but is served (policy = permissive): id for https://b.example.com of"
        f" default to uid 1000 pid {first['PEER_PID']}: no rule admits kind id to uid 1000 gid 7")
    assert "nearly: web but for audience" in first["MESSAGE"]
    assert first["MESSAGE_ID"] == "aa543cc41e424562b71143865a28c786"
    assert (first["AUDIENCE"], again["AUDIENCE"], "RULE" in first) == (B, B, False)
    assert {line["AUDIENCE"] for line in journal.read("grant")} == {A}
    assert journal.read("deny") == []


def test_what_fails_upstream_is_no_would_deny(start, journal, emulator):  # noqa: F811
    agent = start("policy = permissive\n" + FAST + "google-tries = 1\n", WEB)
    emulator.fault("token-endpoint", "status", status=503)
    assert Rules(agent).tokens(B, uid=1000) != [200]
    assert journal.read("would-deny") == []


def test_would_denials_of_strangers_share_a_bucket(start, journal):  # noqa: F811
    rules = Rules(start("policy = permissive\n", WEB))
    for i in range(20):         # a socket holds few lines at a time
        assert set(rules.tokens(*[B] * 5, uid=STRANGER + i % 2)) == {200}
        journal.read("would-deny")
    assert rules.tokens(B, uid=1000) == [200]
    lines = journal.read("would-deny")
    assert len([line for line in lines if line["PEER_UID"] != "1000"]) < 90
    assert len([line for line in lines if line["PEER_UID"] == "1000"]) == 1
    rules.agent.stop()
    assert any("that would be denied" in line["MESSAGE"] for line in journal.read("sum"))


def test_chatty_stranger_leaves_lines_to_other_strangers(start, journal):  # noqa: F811
    rules = Rules(start("policy = permissive\n", WEB))
    for _ in range(20):         # a socket holds few lines at a time
        assert set(rules.tokens(*[B] * 5, uid=STRANGER)) == {200}
        journal.read("would-deny")
    assert rules.tokens(B, uid=STRANGER + 1) == [200]
    assert [line["PEER_UID"] for line in journal.read("would-deny")][-1:] == [str(STRANGER + 1)]


def test_whoami_and_explain_say_would_be_denied(permissive, build_dir):
    rules = permissive()
    me = json.loads(rules.ask(f"/v1/whoami?audience={B}", uid=1000)[0][2])
    assert (me["verdict"], "rule" in me) == ("would be denied", False)
    assert "no rule admits kind id to uid 1000" in me["reason"]
    assert me["nearly"] == [{"rule": "web", "but_for": "audience"}]
    assert json.loads(rules.ask(f"/v1/whoami?audience={A}", uid=1000)[0][2])["verdict"] == "allow"
    other = json.loads(rules.ask("/v1/whoami?kind=monitor", uid=1000)[0][2])
    assert other["verdict"] == "deny"

    def explain(*facts):
        return subprocess.run([build_dir / "gce-oidc-agent", f"--config={rules.agent.config}",
                               "--explain", *facts], capture_output=True, text=True, check=False)
    no = explain("user=1000", f"audience={B}")
    assert (no.returncode, no.stderr) == (3, "")
    assert no.stdout.startswith("would be denied, but is served (policy = permissive): no rule")
    assert explain("user=1000", f"audience={A}").returncode == 0
    assert explain("user=1000", "kind=monitor").stdout.startswith("denied: ")


def test_rule_for_whom_would_be_denied_is_printed(permissive, build_dir):
    rules = permissive()
    stanza = subprocess.run([build_dir / "gce-oidc", "whoami", "--socket", rules.agent.socket,
                             "--rule", B], capture_output=True, text=True, check=True)
    assert "Not needed" not in stanza.stdout and f"audience = {B}" in stanza.stdout


def test_log_status_and_service_manager_say_so_loudly(permissive, place, build_dir):
    with NotifySocket(place) as manager:
        agent = permissive(env={"NOTIFY_SOCKET": manager.path}).agent
        manager.wait("STATUS=PERMISSIVE, rules are not enforced: ")
        assert "POLICY IS PERMISSIVE" in agent.wait_log("POLICY IS PERMISSIVE")
        assert json.loads(agent.get("/v1/status").text)["policy"]["mode"] == "permissive"
        shown = subprocess.run([build_dir / "gce-oidc", "status", "--socket", agent.socket],
                               capture_output=True, text=True, check=False)
        assert "policy    PERMISSIVE: ID tokens are served where no rule admits\n" in shown.stdout


def test_enforced_policy_says_nothing_of_it(start_agent, build_dir):
    agent = start_agent(FAST + "[agent]\npolicy = enforce\n", "\n".join((WEB, ROOT)))
    shown = subprocess.run([build_dir / "gce-oidc", "status", "--socket", agent.socket],
                           capture_output=True, text=True, check=False)
    assert "ermissive" not in (shown.stdout + agent.log()).lower()
    assert json.loads(agent.get("/v1/status").text)["policy"]["mode"] == "enforce"


def test_reload_switches_it_both_ways_for_those_who_are_connected(permissive, emulator):
    agent = permissive(WEB).agent
    connection = agent.connection()

    def ask(audience):
        connection.request("GET", token(audience), headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def write(config):
        agent.configure("\n".join((emulator.agent_config(), FAST + config, WEB)))
        assert reload(agent).status == 204

    assert ask(B) == 200
    write("")
    assert [ask(B), ask(C)] == [403, 403]       # what is cached, too
    write(PERMISSIVE)
    assert [ask(B), ask(C)] == [200, 200]
    assert agent.log().count("POLICY IS PERMISSIVE") == 2
    write("[agent]\npolicy = enforce\n")
    assert ask(B) == 403
    connection.close()


def test_strangers_share_one_peers_part_of_what_goes_upstream(start_agent, emulator):
    agent = start_agent(SHARES + PERMISSIVE + "[limits]\nwaiters = 40\n", WEB)   # 10 for one
    assert token_as(agent, 1000, A).status == 200
    emulator.reset()
    emulator.fault("token-endpoint", "hang", times=1)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connect_as(agent, STRANGER + i)) for i in range(30)]
        for i, it in enumerate(wires):
            it.send(ask_for(greedy(i)))
        refused = wait_for(lambda: (r := answered(wires)) and len(r) >= 20 and r, "refusals")
        answers = [it.answer() for it in refused]
        assert len(answers) == 20 and codes(answers) == {(429, "busy")}
        cold = token_as(agent, 1000, C)
        assert (cold.status, cold["Gce-Oidc-Cache"]) == (200, "miss")
        emulator.unfault()
