# SPDX-License-Identifier: Apache-2.0
"""Other accounts than the VM's own: named in the configuration, had by impersonation,
given to whom a rule gives them."""

import json
import os
import subprocess

import pytest

from conftest import wait_for
from steps import ACCESS, ACCOUNT, GENERATED, HURRY, steps

OWN = "app-sa@example-proj-123.iam.gserviceaccount.com"
HOP = "hop-sa@example-proj-123.iam.gserviceaccount.com"
BILLING = "billing@example-proj-123.iam.gserviceaccount.com"
REPORTS = "reports@other-proj-456.iam.gserviceaccount.com"
AUDIENCE = "https://app.example.com"
ROOT = "/computeMetadata/v1/instance/service-accounts/"

ACCOUNTS = f"""
[account billing]
email = {BILLING}
[account reports]
email = {REPORTS}
"""
ALL = """
[rule all]
peer = anyone
host = any
kind = id
account = *
audience = **
"""
ONE_FLOW = ACCOUNTS.replace("[account reports]", "flows = %s\n[account reports]")


@pytest.fixture(autouse=True)
def accounts(emulator):
    emulator.set(accounts=[BILLING, REPORTS])


def token(agent, account, audience=AUDIENCE):
    return agent.get(f"/v1/token?audience={audience}&account={account}")


def claims(emulator, answer, audience=AUDIENCE):
    assert answer.status == 200, answer
    return emulator.verify(answer.text, audience)


def refused(answer, status, *words):
    assert answer.status == status, answer
    for text in words:
        assert text in answer.text


# --- whose token it is


@pytest.mark.parametrize("flow", ["generate", "signblob"])
@pytest.mark.parametrize("name", ["billing", BILLING])
def test_token_of_another_account_by_name_and_by_email(start_agent, emulator, name, flow):
    agent = start_agent(HURRY + ONE_FLOW % flow, ALL)
    answer = token(agent, name)
    found = claims(emulator, answer)
    assert (found["email"], found["email_verified"]) == (BILLING, True)
    assert answer.headers["Gce-Oidc-Flow"] == flow
    assert answer.headers["Gce-Oidc-Cache"] == "miss"


def test_name_and_email_are_one_account(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    first = token(agent, "billing")
    second = token(agent, BILLING)
    assert (second.text, second.headers["Gce-Oidc-Cache"]) == (first.text, "hit")


def test_accounts_are_entries_of_their_own(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    emails = [claims(emulator, token(agent, name))["email"]
              for name in ("default", "billing", "reports") for _ in range(2)]
    assert emails == [OWN, OWN, BILLING, BILLING, REPORTS, REPORTS]


def test_one_chain_for_all_who_ask(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    for _ in range(20):
        assert token(agent, "billing").status == 200
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, GENERATED: 1}


def test_token_is_asked_for_by_the_access_token_of_default(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    claims(emulator, token(agent, "billing"))
    [request] = emulator.requests("iam")
    body = json.loads(request["body"])
    assert body == {"audience": AUDIENCE, "includeEmail": True}
    bearer = dict(request["headers"])["Authorization"].removeprefix("Bearer ")
    assert emulator.secrets()[bearer] == "access token"


def test_refused_access_token_is_replaced_once(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    claims(emulator, token(agent, "billing"))
    emulator.revoke()
    assert claims(emulator, token(agent, "reports"))["email"] == REPORTS


@pytest.mark.parametrize("flow", ["generate", "signblob"])
def test_delegates_stand_between(start_agent, emulator, flow):
    emulator.set(grants={HOP: [OWN], BILLING: [HOP]})
    agent = start_agent(HURRY + (ONE_FLOW % flow).replace(
        f"email = {BILLING}", f"email = {BILLING}\ndelegates = {HOP}"), ALL)
    assert claims(emulator, token(agent, "billing"))["email"] == BILLING


@pytest.mark.parametrize("grants", [{BILLING: [HOP]}, {HOP: [OWN]}, {HOP: [OWN], BILLING: [OWN]}])
def test_chain_with_a_missing_link_names_all(start_agent, emulator, grants):
    emulator.set(grants=grants)
    agent = start_agent(HURRY + ACCOUNTS.replace(
        f"email = {BILLING}", f"email = {BILLING}\ndelegates = {HOP}"), ALL)
    refused(token(agent, "billing"), 403, f"{OWN}, {HOP}, {BILLING}",
            "roles/iam.serviceAccountTokenCreator")


def test_missing_role_names_both_and_the_command(start_agent, emulator):
    emulator.set(grants={OWN: [OWN], REPORTS: [OWN]})
    agent = start_agent(HURRY + ONE_FLOW % "generate", ALL)
    answer = token(agent, "billing")
    refused(answer, 403, f"{OWN} may not make ID tokens of it",
            f"gcloud iam service-accounts add-iam-policy-binding {BILLING} "
            f"--member=serviceAccount:{OWN} --role=roles/iam.serviceAccountTokenCreator")
    assert answer.headers["Gce-Oidc-Error"] == "denied-by-google"


def test_denial_of_one_account_is_not_anothers(start_agent, emulator):
    emulator.set(grants={OWN: [OWN], REPORTS: [OWN]})
    agent = start_agent(HURRY + ACCOUNTS + "[timing]\ndenied-flow = 1h\n", ALL)
    assert token(agent, "billing").status == 403
    assert claims(emulator, token(agent, "reports"))["email"] == REPORTS
    assert claims(emulator, token(agent, "default"))["email"] == OWN
    assert "account billing: flow generate is denied" in agent.log()


def test_account_that_does_not_exist_is_told(start_agent, emulator):
    emulator.set(accounts=[REPORTS])
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    refused(token(agent, "billing"), 403, BILLING, "there is no such account")


def test_machine_without_the_scope_asks_nobody(start_agent, emulator):
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    agent.wait_log("found")
    refused(token(agent, "billing"), 403, "access scopes do not allow")
    assert emulator.requests("iam") == []


def test_machine_without_an_account_has_no_other(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    agent.wait_log("this VM has no service account")
    refused(token(agent, "billing"), 404, "no service account")


def test_account_is_waited_for_while_the_machine_boots(start_agent, emulator):
    emulator.fault("metadata", "status", status=503, times=3)
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    assert claims(emulator, token(agent, "billing"))["email"] == BILLING



# --- who gets it


RULES = """
[rule own]
peer = anyone
host = any
audience = **
[rule billing]
peer = anyone
host = any
account = billing
audience = https://app.example.com
"""


def test_policy_is_asked_with_the_resolved_name(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, RULES)
    assert claims(emulator, token(agent, "default"))["email"] == OWN
    assert claims(emulator, token(agent, BILLING))["email"] == BILLING
    refused(token(agent, BILLING, "https://other.example.com"), 403,
            "no rule admits kind id of account billing")
    for name in ("reports", REPORTS):
        refused(token(agent, name), 403, "no rule admits kind id of account reports")


def test_rule_for_an_email_gives_nothing(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL.replace("account = *", f"account = {BILLING}"))
    refused(token(agent, BILLING), 403, "no rule admits kind id of account billing")


@pytest.mark.parametrize("name", ["nobody", "nobody@example-proj-123.iam.gserviceaccount.com",
                                  "Billing", "billing%20", "default/", ""])
def test_unknown_account_is_told(start_agent, emulator, name):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    agent.wait_log("found")
    refused(token(agent, name), 404, "no account ")


def test_whoami_judges_by_account(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, RULES)

    def verdict(account):
        answer = agent.get(f"/v1/whoami?audience={AUDIENCE}&account={account}")
        return json.loads(answer.text)

    assert (verdict(BILLING)["verdict"], verdict(BILLING)["account"]) == ("allow", "billing")
    assert verdict("reports")["verdict"] == "deny"
    assert agent.get(f"/v1/whoami?audience={AUDIENCE}&account=nobody").status == 404


# --- the metadata server's paths


def face(agent, path, **more):
    return agent.get(ROOT + path, **more)


@pytest.mark.parametrize("name", ["billing", BILLING, BILLING.replace("@", "%40")])
def test_paths_of_another_account(start_agent, emulator, name):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    cloud = "https://www.googleapis.com/auth/cloud-platform"
    assert face(agent, f"{name}/email").text == BILLING
    assert face(agent, f"{name}/aliases").text == "billing\n"
    assert face(agent, f"{name}/scopes").text == cloud + "\n"
    assert face(agent, f"{name}/").text == "aliases\nemail\nidentity\nscopes\ntoken\n"
    assert face(agent, name).headers["Location"].endswith(f"/{name}/")
    assert json.loads(face(agent, f"{name}/?recursive=true").text) == {
        "aliases": ["billing"], "email": BILLING, "scopes": [cloud]}
    answer = face(agent, f"{name}/identity?audience={AUDIENCE}&format=full")
    assert claims(emulator, answer)["email"] == BILLING
    assert (answer.headers["Content-Type"], answer.headers["Gce-Oidc-Format"]) == \
        ("text/html", "standard")


def test_paths_of_an_unknown_account(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    for path in ("nobody/", "nobody/email", f"nobody/identity?audience={AUDIENCE}"):
        assert face(agent, path).status == 404, path


def test_configured_account_is_there_before_the_machines_own(start_agent, emulator):
    emulator.fault("metadata", "status", status=503)
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    assert face(agent, "billing/email").text == BILLING


LISTED = """
[rule default]
peer = anyone
host = any
audience = **
[rule reports]
peer = anyone
host = any
kind = access
account = reports
scope = https://www.googleapis.com/auth/devstorage.read_only
"""


@pytest.mark.parametrize("rules, names", [
    (RULES, ["billing"]), (LISTED, ["reports"]), (ALL, ["billing", "reports"]), ("", []),
    (ALL + "[rule no]\npeer = anyone\nhost = any\naction = deny\naccount = billing\n"
     "audience = **\n", ["reports"]),
    (ALL + "[rule no]\npeer = anyone\nhost = any\naction = deny\naccount = billing\n"
     "audience = https://x.example.com\n", ["billing", "reports"])])
def test_listing_has_default_and_what_the_policy_lets_the_caller_use(
        start_agent, emulator, rules, names):
    agent = start_agent(HURRY + ACCOUNTS, rules or "[rule m]\nuser = root\nhost = any\n"
                        "kind = monitor\n")
    emails = {"billing": BILLING, "reports": REPORTS}
    expected = [OWN, "default"] + [text for name in names for text in (emails[name], name)]
    assert face(agent, "").text.splitlines() == [text + "/" for text in expected]
    assert list(json.loads(face(agent, "?recursive=true").text)) == expected
    lines = face(agent, "?recursive=true&alt=text").text.splitlines()
    assert [line.partition("/")[0] for line in lines if "/email " in line] == expected


def test_listing_without_an_account_of_the_machine(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    agent.wait_log("this VM has no service account")
    assert face(agent, "").text == f"{BILLING}/\nbilling/\n{REPORTS}/\nreports/\n"


def test_configured_email_is_the_configured_account_even_if_default_has_it(start_agent, emulator):
    agent = start_agent(HURRY + f"[account self]\nemail = {OWN}\nflows = generate\n", ALL)
    answer = token(agent, OWN)
    assert (answer.status, answer.headers["Gce-Oidc-Flow"]) == (200, "generate")
    assert face(agent, "").text == f"default/\n{OWN}/\nself/\n"


# --- what is told


MONITOR = """
[rule monitor]
peer = anyone
host = any
kind = monitor
"""


def test_status_has_every_account_with_its_flows(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL + MONITOR)
    wait_for(lambda: token(agent, "default").status == 200, "a token")
    found = {account["account"]: account
             for account in json.loads(agent.get("/v1/status").text)["accounts"]}
    assert list(found) == ["default", "billing", "reports"]
    assert found["billing"]["email"] == BILLING
    assert [flow["flow"] for flow in found["billing"]["flows"]] == ["generate", "signblob"]




def test_command_asks_for_an_account_and_shows_all(start_agent, emulator, build_dir):
    agent = start_agent(HURRY + ACCOUNTS, ALL + MONITOR + """
[rule access]
peer = anyone
host = any
kind = access
account = billing
""")

    def run(*args):
        return subprocess.run([build_dir / "gce-oidc", *args], text=True, capture_output=True,
                              check=True, env={**os.environ, "GCE_OIDC_SOCKET": agent.socket}).stdout

    text = run("token", "--account=billing", AUDIENCE).strip()
    assert emulator.verify(text, AUDIENCE)["email"] == BILLING
    assert face(agent, "billing/token").status == 200
    lines = run("status").splitlines()
    assert [line.split(None, 1)[1] for line in lines if line.startswith("account  ")][1:] == [
        f"billing: {BILLING}", f"reports: {REPORTS}"]
    assert any("account billing" in line and AUDIENCE in line for line in lines)
    assert any("account billing, access, scopes" in line for line in lines)


# --- reload


def reload(agent, config):
    agent.configure(config)
    answer = agent.get("/v1/reload", method="POST", body=b"",
                       headers={"Content-Type": "application/json"})
    assert answer.status == 204, answer


def test_reload_adds_changes_and_removes_accounts(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    config = agent.config.read_text()
    assert claims(emulator, token(agent, "billing"))["email"] == BILLING

    reload(agent, config.replace("[account reports]", "[account others]"))
    refused(token(agent, "reports"), 404, "no account reports")
    assert claims(emulator, token(agent, "others"))["email"] == REPORTS

    reload(agent, config.replace(f"[account reports]\nemail = {REPORTS}\n", "")
           .replace(BILLING, REPORTS))
    assert claims(emulator, token(agent, "billing"))["email"] == REPORTS
    refused(token(agent, "others"), 404, "no account others")
    assert face(agent, "").text.splitlines()[2:] == [f"{REPORTS}/", "billing/"]


def test_tokens_of_other_accounts_stay_cached_over_a_reload_that_leaves_them(start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    first = token(agent, "billing").text
    reload(agent, agent.config.read_text() + "\n[rule more]\nuser = root\nkind = monitor\n")
    answer = token(agent, "billing")
    assert (answer.text, answer.headers["Gce-Oidc-Cache"]) == (first, "hit")


def test_one_who_waits_for_an_account_that_a_reload_takes_away_loses_nothing_else(
        start_agent, emulator):
    agent = start_agent(HURRY + ACCOUNTS, ALL)
    wait_for(lambda: token(agent, "default").status == 200, "a token")
    emulator.fault("iam", "hang", match=f"{BILLING}:generateIdToken", times=1)
    connection = agent.connection()
    connection.request("GET", f"/v1/token?audience={AUDIENCE}&account=billing",
                       headers={"Metadata-Flavor": "Google", "Prefer": "wait=1"})
    wait_for(lambda: emulator.requests("iam"), "the question to IAM")
    reload(agent, agent.config.read_text().replace(f"[account billing]\nemail = {BILLING}\n", ""))
    assert connection.getresponse().status in (403, 404, 504)
    assert claims(emulator, token(agent, "reports"))["email"] == REPORTS
