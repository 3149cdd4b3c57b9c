# SPDX-License-Identifier: Apache-2.0
"""Access tokens: the metadata server's passed on and kept, other accounts' made by IAM
with the scopes that are asked for; each given only by a rule of its own kind."""

import concurrent.futures
import json
import re

import pytest

from conftest import wait_for
from loopback import start_loopback  # noqa: F401
from steps import ACCESS, ACCOUNT, HURRY, steps

OWN = "app-sa@example-proj-123.iam.gserviceaccount.com"
BILLING = "billing@example-proj-123.iam.gserviceaccount.com"
ROOT = "/computeMetadata/v1/instance/service-accounts/"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
READ = "https://www.googleapis.com/auth/devstorage.read_only"
WRITE = "https://www.googleapis.com/auth/devstorage.read_write"
GENERATE = f"iam POST /v1/projects/-/serviceAccounts/{BILLING}:generateAccessToken"

ACCOUNTS = f"""
[account billing]
email = {BILLING}
"""
ACCESS_TO_ALL = """
[rule access]
peer = anyone
host = any
kind = access
account = default billing
"""


def rule(account, scope=None):
    return (f"[rule {account}]\npeer = anyone\nhost = any\nkind = access\naccount = {account}\n"
            + (f"scope = {scope}\n" if scope else ""))


@pytest.fixture(autouse=True)
def accounts(emulator):
    emulator.set(accounts=[BILLING])


@pytest.fixture
def agent(start_agent):
    return start_agent(HURRY + ACCOUNTS, ACCESS_TO_ALL)


def ask(agent, account="default", query="", **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return agent.get(f"{ROOT}{account}/token{query}", fields)


def read(answer):
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    found = json.loads(answer.text)
    assert list(found) == ["access_token", "expires_in", "token_type"]
    assert type(found["expires_in"]) is int and found["expires_in"] > 0
    assert found["token_type"] == "Bearer"
    return found


def scopes_asked(emulator):
    return [json.loads(request["body"])["scope"] for request in emulator.requests("iam")]


def refused(answer, status, *words):
    assert answer.status == status, answer
    for text in words:
        assert text in answer.text


# --- the machine's own


def test_token_of_the_metadata_server_is_passed_on_and_kept(agent, emulator):
    first, second = ask(agent), ask(agent)
    assert read(first)["access_token"] == read(second)["access_token"]
    assert emulator.secrets()[read(first)["access_token"]] == "access token"
    assert 3500 < read(first)["expires_in"] <= 3600
    assert first.headers["Gce-Oidc-Flow"] == "metadata"
    assert [answer.headers["Gce-Oidc-Cache"] for answer in (first, second)] == ["miss", "hit"]
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1}


def test_token_is_the_one_that_the_agent_itself_uses(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ACCESS_TO_ALL + "[rule id]\npeer = anyone\nhost = any\n"
                        "account = *\naudience = **\n")
    assert agent.get("/v1/token?account=billing&audience=https://x.example.com").status == 200
    assert read(ask(agent))["access_token"]
    assert steps(emulator)[ACCESS] == 1


def test_unknown_account_is_told(agent):
    for name in ("nobody", "nobody@example-proj-123.iam.gserviceaccount.com"):
        refused(ask(agent, name), 404, "no account ")


def test_hundred_who_ask_cause_one_request(agent, emulator):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: read(ask(agent))["access_token"], range(100)))
    assert len(set(answers)) == 1
    assert steps(emulator)[ACCESS] == 1


@pytest.mark.parametrize("account", ["default", OWN])
@pytest.mark.parametrize("query", ["", f"?scopes={READ}", "?scopes=&x=y", "?alt=json",
                                   "?recursive=true"])
def test_scopes_of_the_machines_own_are_ignored_as_compute_engine_does(agent, account, query):
    assert read(ask(agent, account, query))["access_token"] == read(ask(agent))["access_token"]


def test_text(agent):
    answer = ask(agent, query="?alt=text")
    assert answer.headers["Content-Type"] == "application/text"
    assert re.fullmatch(r"access_token \S+\nexpires_in [1-9][0-9]*\ntoken_type Bearer\n", answer.text)
    refused(ask(agent, query="?alt=xml"), 400, "alt is json or text")


def test_token_near_its_end_is_replaced(start_agent, emulator):
    """One that the metadata server has nothing better than is served, and not asked for in a loop."""
    agent = start_agent(HURRY + "brand-new = 0\n", ACCESS_TO_ALL)
    emulator.set(access_token_life=200, refresh_at=100)
    assert read(ask(agent))["expires_in"] <= 200
    emulator.set(access_token_life=3600, refresh_at=300)
    assert read(ask(agent))["expires_in"] > 3500


def test_short_token_makes_no_loop(agent, emulator):
    emulator.set(access_token_life=200, refresh_at=100)
    for _ in range(20):
        assert read(ask(agent))["expires_in"] <= 200
    assert steps(emulator)[ACCESS] == 1


def test_token_that_is_still_good_is_served_while_nothing_better_comes(start_agent, emulator):
    agent = start_agent(HURRY + "brand-new = 0\nunavailable = 0\n", ACCESS_TO_ALL)
    emulator.set(access_token_life=200, refresh_at=100)
    first = read(ask(agent))
    emulator.fault("metadata", "status", status=503, match="/token")
    assert read(ask(agent))["access_token"] == first["access_token"]


def test_freshness_is_demanded_as_of_id_tokens(agent, emulator):
    emulator.set(access_token_life=1000)
    refused(ask(agent, Cache_Control="only-if-cached"), 504)
    read(ask(agent))
    read(ask(agent, Cache_Control="only-if-cached"))
    refused(ask(agent, Cache_Control="min-fresh=2000"), 503)
    refused(ask(agent, Cache_Control="min-fresh=9999"), 400)


def test_machine_without_an_account_says_so_as_the_metadata_server_does(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent(HURRY + ACCOUNTS, ACCESS_TO_ALL)
    agent.wait_log("this VM has no service account")
    answer = ask(agent)
    refused(answer, 404, "Service account not enabled on this instance")
    assert answer.headers["Content-Type"] == "application/json"


def test_new_account_of_the_machine_gets_no_token_of_the_old(start_agent, emulator):
    agent = start_agent(HURRY + "no-account = 1ms\n", ACCESS_TO_ALL)
    first = read(ask(agent))["access_token"]
    assert first == read(ask(agent))["access_token"]


# --- other accounts'


def test_token_of_another_account_is_made_by_iam(agent, emulator):
    first, second = ask(agent, "billing"), ask(agent, BILLING)
    assert read(first)["access_token"] == read(second)["access_token"]
    assert first.headers["Gce-Oidc-Flow"] == "generate"
    assert 3500 < read(first)["expires_in"] <= 3600
    assert scopes_asked(emulator) == [[CLOUD]]
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, GENERATE: 1}


def test_scopes_narrow_and_their_order_does_not_matter(agent, emulator):
    tokens = [read(ask(agent, "billing", f"?scopes={scopes}"))["access_token"]
              for scopes in (f"{READ},{WRITE}", f"{WRITE},{READ}", f"{WRITE}%2C{READ},,{READ}",
                             f"{READ}%20{WRITE}")]
    assert len(set(tokens)) == 1
    assert scopes_asked(emulator) == [[READ, WRITE]]
    assert read(ask(agent, "billing", f"?scopes={READ}"))["access_token"] != tokens[0]
    assert read(ask(agent, "billing"))["access_token"] != tokens[0]
    assert scopes_asked(emulator) == [[READ, WRITE], [READ], [CLOUD]]


@pytest.mark.parametrize("scopes, words", [
    ("a%22b", "is no scope"), ("a%5Cb", "is no scope"), ("a%0Ab", "is no scope"),
    ("a%00b", "broken % escape"), ("a%C3%A9", "is no scope"), ("x" * 513, "is no scope"),
    (",".join(f"s{i}" for i in range(33)), "more than 32 scopes"),
    ("a&scopes=b", "scopes")])
def test_bad_scopes_are_told(agent, emulator, scopes, words):
    refused(ask(agent, "billing", f"?scopes={scopes}"), 400, words)
    assert emulator.requests("iam") == []


def test_delegates_stand_between(start_agent, emulator):
    hop = "hop-sa@example-proj-123.iam.gserviceaccount.com"
    emulator.set(grants={hop: [OWN], BILLING: [hop]})
    agent = start_agent(HURRY + ACCOUNTS + f"delegates = {hop}\n", ACCESS_TO_ALL)
    read(ask(agent, "billing"))
    [request] = emulator.requests("iam")
    assert json.loads(request["body"])["delegates"] == [f"projects/-/serviceAccounts/{hop}"]


def test_missing_role_is_told_and_remembered(agent, emulator):
    emulator.set(grants={})
    refused(ask(agent, "billing"), 403, f"{OWN} may not make access tokens of it",
            "--role=roles/iam.serviceAccountTokenCreator")
    # It may be throttling in disguise: it is asked about twice, and then remembered.
    assert len(emulator.requests("iam")) == 2
    refused(ask(agent, "billing"), 403, f"{OWN} may not make access tokens of it")
    assert len(emulator.requests("iam")) == 2


def test_missing_role_that_was_throttling_passes(agent, emulator):
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED", times=1)
    read(ask(agent, "billing"))
    assert steps(emulator)[GENERATE] == 2


@pytest.mark.parametrize("body", ["{}", "[]", '{"accessToken":"x"}', '{"accessToken":"x","expireTime":"soon"}',
                                  '{"accessToken":"x","expireTime":"2001-01-01T00:00:00Z"}'])
def test_answer_that_is_no_token_is_none(agent, emulator, body):
    emulator.fault("iam", "status", status=200, body=body)
    answer = ask(agent, "billing")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")


# --- who gets it


def test_nobody_gets_one_by_a_rule_for_id_tokens(start_agent, emulator):
    agent = start_agent(HURRY)
    refused(ask(agent), 403, "no rule admits kind access")
    assert ACCESS not in steps(emulator)


def test_rule_names_the_account(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, rule("billing"))
    read(ask(agent, BILLING))
    refused(ask(agent), 403, "no rule admits kind access")
    refused(ask(agent, OWN), 403, "no rule admits kind access")


def test_scope_of_a_rule_is_a_limit(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, rule("billing", f"{READ} {WRITE}"))
    read(ask(agent, "billing", f"?scopes={READ}"))
    read(ask(agent, "billing", f"?scopes={WRITE},{READ}"))
    for query in ("", f"?scopes={CLOUD}", f"?scopes={READ},{CLOUD}", f"?scopes={READ}x"):
        refused(ask(agent, "billing", query), 403, "no rule admits kind access of account billing")
    assert sorted(scopes_asked(emulator)) == [[READ], [READ, WRITE]]


def test_what_cannot_be_narrowed_to_a_rules_scope_is_refused_and_not_widened(start_agent, emulator):
    agent = start_agent(HURRY, rule("default", READ))
    for query in ("", f"?scopes={READ}"):
        refused(ask(agent, query=query), 403, "no rule admits kind access")
    assert ACCESS not in steps(emulator)


def test_deny_rule_for_a_scope(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ACCESS_TO_ALL + "[rule no]\npeer = anyone\nhost = any\n"
                        f"kind = access\naccount = *\nscope = {WRITE}\naction = deny\n")
    read(ask(agent, "billing", f"?scopes={READ}"))
    # Some hold all others, and no scopes at all are one of these.
    for query in (f"?scopes={WRITE}", f"?scopes={READ},{WRITE}", "", f"?scopes={CLOUD}",
                  f"?scopes={READ}%20{CLOUD}", "?scopes=https://www.googleapis.com/auth/iam"):
        refused(ask(agent, "billing", query), 403, "rule no denies kind access")
    # All scopes are in it.
    refused(ask(agent), 403, "rule no denies kind access")


def test_every_grant_has_its_line(agent, emulator):
    for _ in range(40):
        read(ask(agent))
    wait_for(lambda: agent.log().count("granted access of default") == 40, "a line for each grant")


def test_no_token_is_in_the_log(start_agent, emulator):
    agent = start_agent("[agent]\nlog-level = debug\n" + HURRY + ACCOUNTS, ACCESS_TO_ALL)
    tokens = [read(ask(agent))["access_token"], read(ask(agent, "billing"))["access_token"]]
    agent.stop()
    assert not [text for text in tokens if text in agent.log()]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_make_no_token(agent, emulator, method):
    body = {"body": b"{}", "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
    assert agent.get(ROOT + "default/token", method=method, **body).status == 405
    assert ACCESS not in steps(emulator)


@pytest.mark.parametrize("tcp, status", [("no", 403), ("yes", 200)])
def test_over_tcp_a_rule_has_to_say_so(start_loopback, tcp, status):
    rules = "".join(rule(account) + f"tcp = {tcp}\n" for account in ("default", "billing"))
    it = start_loopback(ACCOUNTS, rules)
    for account in ("default", "billing"):
        assert ask(it, account).status == status
        assert ask(it.agent, account).status == 200
    listed = it.get(ROOT).text.splitlines()
    assert ("billing/" in listed) == (status == 200)
    assert "billing/" in it.agent.get(ROOT).text.splitlines()
