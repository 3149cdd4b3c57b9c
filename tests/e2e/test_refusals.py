# SPDX-License-Identifier: Apache-2.0
"""Each refusal of Google's ends in an answer that names the cause, and the command
that mends it where there is one."""

import json

import pytest

from conftest import wait_for
from steps import ACCESS, COLD, FAST, ID_TOKEN, SIGNATURE, steps, warm_up

AUDIENCE = "https://app.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
DENIED, UNAVAILABLE = (403, "denied-by-google"), (503, "unavailable")

ROLE = ["lacks the permission iam.serviceAccounts.signBlob",
        f"gcloud iam service-accounts add-iam-policy-binding {EMAIL} "
        f"--member=serviceAccount:{EMAIL} --role=roles/iam.serviceAccountTokenCreator"]
SCOPES = ["the VM's access scopes do not allow calls to iamcredentials.googleapis.com",
          "gcloud compute instances set-service-account INSTANCE --scopes=cloud-platform"]
API = ["iamcredentials.googleapis.com is not enabled",
       "gcloud services enable iamcredentials.googleapis.com --project=123456789012"]
STATE = [EMAIL, "is disabled or deleted", f"gcloud iam service-accounts enable {EMAIL}"]
BILLING = "gcloud billing projects describe 123456789012"
GONE = [EMAIL, f"gcloud iam service-accounts describe {EMAIL}"]
CLOCK = ["the time of the assertion is not believed", "timedatectl status"]


def rpc(code, message):
    return json.dumps({"error": {"code": code, "message": message, "status": "ANY"}})


def oauth(error, description):
    return json.dumps({"error": error, "error_description": description})


@pytest.fixture
def agent(start_agent):
    return start_agent(FAST)


def check(answer, expected, words):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == expected, answer
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Metadata-Flavor"] == "Google"
    assert (answer.headers["Retry-After"] is not None) == (answer.status == 503)
    assert answer.text.endswith("\n") and answer.text.count("\n") == 1
    for text in words:
        assert text in answer.text


# --- IAM Credentials


@pytest.mark.parametrize("reason, expected, words", [
    ("IAM_PERMISSION_DENIED", DENIED, ROLE),
    ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", DENIED, SCOPES),
    ("SERVICE_DISABLED", DENIED, API),
    ("ACCOUNT_STATE_INVALID", DENIED, STATE),
    ("CREDENTIALS_MISSING", DENIED, ["no access token arrived at the API"]),
    ("ACCESS_TOKEN_TYPE_UNSUPPORTED", DENIED, ["takes no access tokens of this type"]),
    ("BILLING_DISABLED", DENIED, ["billing is disabled for the project", BILLING]),
    ("CONSUMER_SUSPENDED", DENIED, ["the project is suspended", BILLING]),
    ("CONSUMER_INVALID", DENIED, ["the project is not valid", BILLING]),
    ("USER_PROJECT_DENIED", DENIED, ["may not use the project"]),
    ("SECURITY_POLICY_VIOLATED", DENIED, ["VPC Service Controls", "administrators"]),
    ("NOT_FOUND", DENIED, ["there is no such account", *GONE]),
])
def test_denial_of_iam_is_told_once_with_its_remedy(agent, emulator, reason, expected, words):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", reason=reason)
    check(agent.token(AUDIENCE), expected, words)
    # A missing role may be throttling in disguise: it is believed the second time.
    assert steps(emulator) == {SIGNATURE: 2 if reason == "IAM_PERMISSION_DENIED" else 1}


@pytest.mark.parametrize("status, body, expected, words", [
    (400, rpc(400, "Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed for \"AAAA\""),
     DENIED, ["was not understood (HTTP 400)"]),
    (400, rpc(400, "Invalid JSON payload received. Unexpected token."), DENIED,
     ["was not understood (HTTP 400)"]),
    (403, rpc(403, "A reason of next year"), DENIED, ["denied: A reason of next year"]),
    (401, rpc(401, "Request had invalid authentication credentials."), UNAVAILABLE,
     ["the access token is taken no more"]),
    (400, "<html>", UNAVAILABLE, ["HTTP 400, and not from the API itself"]),
    (403, "<html>", UNAVAILABLE, ["HTTP 403, and not from the API itself"]),
    (404, "<html>", UNAVAILABLE, ["HTTP 404, and not from the API itself"]),
    (407, "<html>", UNAVAILABLE, ["HTTP 407, and not from the API itself"]),
    (204, "", UNAVAILABLE, ["HTTP 204"]),
], ids=str)
def test_odd_answer_of_iam_is_what_its_status_says(agent, emulator, status, body, expected, words):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", status=status, body=body)
    check(agent.token(AUDIENCE), expected, words)
    assert ID_TOKEN not in steps(emulator)


def test_quota_of_iam_passes(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", reason="RATE_LIMIT_EXCEEDED")
    check(agent.token(AUDIENCE), UNAVAILABLE, ["a quota is used up"])
    assert steps(emulator) == {SIGNATURE: 4}


def test_upstreams_retry_after_is_passed_on(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", status=503, headers={"Retry-After": "77"})
    answer = agent.token(AUDIENCE)
    check(answer, UNAVAILABLE, ["HTTP 503"])
    assert answer.headers["Retry-After"] == "77"
    again = agent.token(AUDIENCE)
    assert again.status == 503 and 50 <= int(again.headers["Retry-After"]) <= 60
    assert steps(emulator) == {SIGNATURE: 1}    # longer than we would wait


@pytest.mark.parametrize("service, step", [("iam", SIGNATURE), ("token-endpoint", ID_TOKEN)])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again_and_then_told(agent, emulator, service, step, status):
    warm_up(agent, emulator)
    emulator.fault(service, "status", status=status)
    check(agent.token(AUDIENCE), UNAVAILABLE, [f"HTTP {status}"])
    assert steps(emulator)[step] == 4


@pytest.mark.parametrize("service", ["iam", "token-endpoint", "metadata"])
def test_trouble_that_passes_is_not_told(agent, emulator, service):
    emulator.fault(service, "status", status=503, times=2)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


# --- the token endpoint


@pytest.mark.parametrize("reason, expected, words", [
    ("time", UNAVAILABLE, [*CLOCK, "though this machine's clock agrees with Google's"]),
    ("signature", UNAVAILABLE, ["the signature is not believed"]),
    ("audience", DENIED, ["Failed audience check", "[upstream] token-endpoint"]),
    ("account", DENIED, [*GONE, f"gcloud iam service-accounts enable {EMAIL}"]),
    ("scope", DENIED, [AUDIENCE, "this audience is not accepted", "OAuth client id"]),
    ("malformed", DENIED, ["invalid_request", "Bad Request"]),
    ("unauthorized", DENIED, ["unauthorized_client", "Client is unauthorized"]),
    ("client", DENIED, ["invalid_client", "The OAuth client was not found."]),
    ("revoked", DENIED, ["invalid_grant", "Token has been expired or revoked."]),
    ("internal_failure", UNAVAILABLE, ["HTTP 500", "Backend Error"]),
    ("temporarily_unavailable", UNAVAILABLE, ["HTTP 503", "Please try again later."]),
])
def test_refusal_of_the_token_endpoint_names_its_cause(agent, emulator, reason, expected, words):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "status", reason=reason)
    check(agent.token(AUDIENCE), expected, words)


@pytest.mark.parametrize("status, body, expected, words", [
    (400, oauth("unsupported_grant_type", "Invalid grant_type: x"), DENIED,
     ["unsupported_grant_type", "Invalid grant_type: x"]),
    (400, oauth("invalid_grant", "Account not found"), DENIED, GONE),
    (400, oauth("invalid_grant", "Invalid JWT: Failed audience check. The right audience is U"),
     DENIED, ["The right audience is U"]),
    (400, oauth("server_error", "?"), UNAVAILABLE, ["HTTP 400"]),
    (400, oauth("invalid_grant", "internal_failure"), UNAVAILABLE, ["HTTP 400"]),
    (403, oauth("temporarily_unavailable", "?"), UNAVAILABLE, ["HTTP 403"]),
    (400, '"bare string"', UNAVAILABLE, ["HTTP 400: bare string"]),
    (400, "bare words", UNAVAILABLE, ["HTTP 400: bare words"]),
    (400, "<!DOCTYPE html><p>captive", UNAVAILABLE, ["HTTP 400"]),
    (200, "{}", UNAVAILABLE, ["the answer holds no ID token"]),
], ids=str)
def test_odd_answer_of_the_token_endpoint_is_read_all_the_same(
        agent, emulator, status, body, expected, words):
    emulator.fault("token-endpoint", "status", status=status, body=body)
    check(agent.token(AUDIENCE), expected, words)


@pytest.mark.parametrize("offset, words", [
    (7200, "s behind Google's"), (-7200, "s ahead of Google's")])
def test_skewed_clock_is_named_with_its_error(agent, emulator, offset, words):
    emulator.set(clock_offset=offset)
    answer = agent.token(AUDIENCE)
    check(answer, UNAVAILABLE, [*CLOCK, words])
    assert any(f"clock is {seconds} s" in answer.text for seconds in range(7190, 7211))


# --- the metadata server


def test_missing_scope_is_told_before_anything_is_signed(start_agent, emulator):
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    agent = start_agent(FAST)
    check(agent.token(AUDIENCE), DENIED, SCOPES)
    assert {SIGNATURE, ID_TOKEN, ACCESS}.isdisjoint(steps(emulator))
    agent.wait_log(SCOPES[0])


def test_answer_without_flavor_is_somebody_elses(start_agent, emulator):
    emulator.set(flavor=False)
    agent = start_agent(FAST + "wait = 300ms\n")
    # A busy machine may have no answer yet.
    answer = wait_for(lambda: "lacks" in (a := agent.token(AUDIENCE)).text and a, "that answer")
    check(answer, UNAVAILABLE, ["the answer lacks Metadata-Flavor: Google", "look for a proxy"])


@pytest.mark.parametrize("options, expected, words", [
    ({"status": 403}, DENIED, ["access token: denied (HTTP 403)", "--scopes=cloud-platform"]),
    ({"status": 500}, UNAVAILABLE, ["access token: HTTP 500"]),
    ({"status": 200, "body": "{}"}, UNAVAILABLE, ["holds no usable token"]),
    ({"status": 200, "body": '{"access_token":"a","expires_in":0}'}, UNAVAILABLE, ["no life time"]),
    ({"status": 200, "body": '{"access_token":"a\\r\\nX: y","expires_in":9}'}, UNAVAILABLE,
     ["holds no usable token"]),
], ids=str)
def test_access_token_that_is_not_to_be_had_is_told(agent, emulator, options, expected, words):
    emulator.fault("metadata", "status", match="/token", **options)
    check(agent.token(AUDIENCE), expected, words)
    assert SIGNATURE not in steps(emulator)


# --- forms, memory


def test_json_where_it_is_accepted(agent, emulator):
    emulator.set(role=False)
    answer = agent.token(AUDIENCE, Accept="text/html, application/json;q=0.9")
    assert answer.headers["Content-Type"] == "application/json"
    told = json.loads(answer.body)
    assert set(told) == {"error", "error_description", "hint"}
    assert told["error"] == answer.headers["Gce-Oidc-Error"] == "denied-by-google"
    assert ROLE[0] in told["error_description"] and ROLE[1] in told["hint"]


def test_denied_audience_costs_one_request_for_20_callers(agent, emulator):
    warm_up(agent, emulator)
    emulator.set(role=False)
    answers = [agent.token(AUDIENCE) for _ in range(20)]
    assert {answer.status for answer in answers} == {403}
    assert len({answer.body for answer in answers}) == 1
    assert steps(emulator)[SIGNATURE] == 2      # a missing role is believed the second time


def test_trouble_is_remembered_for_a_while_only(start_agent, emulator):
    agent = start_agent(FAST + "unavailable = 200ms\ndenied = 200ms\ndenied-flow = 200ms\n")
    warm_up(agent, emulator)
    for setting in ({"role": False}, {"account_state": "disabled"}):
        emulator.set(**setting)
        assert agent.token(str(setting)).status == 403
        emulator.set(role=True, account_state="ok")
        wait_for(lambda name=str(setting): agent.token(name).status == 200, "the denial is forgotten")
    emulator.fault("iam", "status", status=503, times=4)
    assert agent.token(AUDIENCE).status == 503
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "the trouble is forgotten")


def test_one_denied_audience_is_nobody_elses(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "status", reason="scope", times=1)
    assert agent.token("bad").status == 403
    assert agent.token(AUDIENCE).status == 200
    assert agent.token("bad").status == 403
    assert steps(emulator) == {name: 2 for name in COLD}
