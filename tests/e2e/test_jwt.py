# SPDX-License-Identifier: Apache-2.0
"""/v1/jwt and /v1/sign: what the account signs for a caller."""

import base64
import contextlib
import itertools
import json
import re
import select
import time

import pytest

from conftest import wait_for
from loopback import start_loopback  # noqa: F401 # a fixture
from raw_http import Wire, request
from signing import (BYTES, EMAIL, JWT, account_verifies, ask_jwt, ask_signature, post, refused, rule)
from steps import ACCESS, ACCOUNT, HURRY, SIGNATURE, steps, warm_up
from test_shares import connect_as, two_users

HOP = "hop-sa@example-proj-123.iam.gserviceaccount.com"
BILLING = "billing@example-proj-123.iam.gserviceaccount.com"
AUDIENCE = "https://app.example.com/*"
PATTERNS = r"audience = https://app.example.com/\* https://exact.example.com/a 1234-abc.apps.googleusercontent.com"
ID = "\n[rule id]\npeer = anyone\nhost = any\naudience = **\n"
ALL = rule("jwt", PATTERNS) + rule("sign", name="storage") + rule("sign-any", name="any-bytes")
V4 = b"GOOG4-RSA-SHA256\n20260101T000000Z\n20260101/auto/storage/goog4_request\n" + b"0" * 64
SIGN_JWT = f"iam POST /v1/projects/-/serviceAccounts/{EMAIL}:signJwt"


@pytest.fixture
def agent(start_agent):
    return start_agent(HURRY, rules=ALL)


def decode_part(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def file_verifies(file, data, signature):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    key = serialization.load_pem_private_key(file["private_key"].encode(), None)
    key.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())


def jwt_of(answer, emulator, email=EMAIL):
    """Header and claims of a JWT that the account has really signed."""
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == JWT and answer.headers["Cache-Control"] == "no-store"
    value = json.loads(answer.body)
    assert set(value) == {"keyId", "signedJwt"}
    header, claims, signature = value["signedJwt"].split(".")

    def decode(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    kid = account_verifies(emulator, f"{header}.{claims}".encode(), decode(signature), email)
    assert json.loads(decode(header)) == {"alg": "RS256", "typ": "JWT", "kid": kid}
    assert value["keyId"] == kid
    return json.loads(decode(claims))


def signature_of(answer, data, emulator, email=EMAIL):
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == JWT and answer.headers["Cache-Control"] == "no-store"
    value = json.loads(answer.body)
    assert set(value) == {"keyId", "signedBlob"}
    signature = base64.b64decode(value["signedBlob"], validate=True)
    assert value["keyId"] == account_verifies(emulator, data, signature, email)


# --- /v1/jwt


def test_jwt_is_the_accounts_with_all_it_needs(agent, emulator):
    claims = jwt_of(ask_jwt(agent, {"aud": AUDIENCE, "nonce": "ü\n"}), emulator)
    now = time.time()
    assert now - 60 < claims["iat"] <= now
    assert claims == {"iss": EMAIL, "sub": EMAIL, "aud": AUDIENCE, "iat": claims["iat"],
                      "exp": claims["iat"] + 3600, "nonce": "ü\n"}


def test_jwt_has_the_times_that_were_asked_for(agent, emulator):
    now = int(time.time())
    asked = {"iss": EMAIL, "sub": EMAIL, "aud": "https://exact.example.com/a", "iat": now - 5, "exp": now + 43000}
    assert jwt_of(ask_jwt(agent, asked), emulator) == asked


def test_jwt_costs_one_request_and_is_not_kept(agent, emulator):
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == 200
    emulator.reset()
    for _ in range(2):
        assert ask_jwt(agent, {"aud": AUDIENCE}).status == 200
    assert steps(emulator) == {SIGN_JWT: 2}


@pytest.mark.parametrize("claims, words", [
    (b"", "not one JSON value"),
    (b"{", "not one JSON value"),
    (b'["https://app.example.com/*"]', "not a JSON object"),
    (b'{"aud":"https://app.example.com/*","aud":"x"}', "twice"),
    (b'{"aud":["https://app.example.com/*"]}', "one string"),
    ({}, "aud has to be there"),
    ({"aud": AUDIENCE, "iss": HOP}, f"the account that signs is {EMAIL}; leave iss out"),
    ({"aud": AUDIENCE, "sub": "admin@example.com"}, "leave sub out"),
    ({"aud": AUDIENCE, "exp": 1}, "is past"),
    ({"aud": AUDIENCE, "exp": 4102444800}, "more than 12 hours"),
    ({"aud": AUDIENCE, "scope": "x"}, "another token"),
    ({"aud": "https://oauth2.googleapis.com/token"}, "Google's own services"),
], ids=str)
def test_claims_that_make_no_sense_say_which(agent, emulator, claims, words):
    assert words in refused(ask_jwt(agent, claims), 400, "bad-request")
    assert SIGN_JWT not in steps(emulator)


def test_twelve_hours_ahead_are_the_most(agent):
    now = int(time.time())
    assert ask_jwt(agent, {"aud": AUDIENCE, "exp": now + 12 * 3600 - 60}).status == 200
    refused(ask_jwt(agent, {"aud": AUDIENCE, "exp": now + 12 * 3600 + 60}), 400, "bad-request")


@pytest.mark.parametrize("aud, status", [
    (AUDIENCE, 200), ("https://exact.example.com/a", 200), ("1234-abc.apps.googleusercontent.com", 200),
    ("https://app.example.com/x", 403), ("https://app.example.com/**", 403), ("https://exact.example.com/A", 403),
    ("https://exact.example.com/a/", 403), ("https://exact.example.com/*", 403), ("https://exact.example.com/%61", 403),
])
def test_audience_is_matched_byte_for_byte(agent, aud, status):
    answer = ask_jwt(agent, {"aud": aud})
    assert answer.status == status, answer
    if status == 403:
        assert "kind jwt" in refused(answer, 403, "denied-by-policy")


def test_star_is_matched_by_an_escaped_star_alone(start_agent):
    agent = start_agent(HURRY, rules=rule("jwt", "audience = **"))
    refused(ask_jwt(agent, {"aud": AUDIENCE}), 403, "denied-by-policy")
    assert ask_jwt(agent, {"aud": "https://app.example.com/"}).status == 200


# --- /v1/sign


def test_signature_is_over_the_very_bytes(agent, emulator):
    for data in (V4, b"\0", bytes(range(256)), b"x" * 65536):
        signature_of(ask_signature(agent, data), data, emulator)


def test_signature_costs_one_request_and_is_not_kept(agent, emulator):
    assert ask_signature(agent, V4).status == 200
    emulator.reset()
    for _ in range(2):
        assert ask_signature(agent, V4).status == 200
    assert steps(emulator) == {SIGNATURE: 2}


def test_any_bytes_need_the_stronger_kind_and_storage_its_own(start_agent):
    storage = start_agent(HURRY, rules=rule("sign"))
    assert ask_signature(storage, V4).status == 200
    refused(ask_signature(storage, b"x"), 403, "denied-by-policy")
    any_bytes = start_agent(HURRY, rules=rule("sign-any"))
    assert ask_signature(any_bytes, b"x").status == 200
    refused(ask_signature(any_bytes, V4), 403, "denied-by-policy")


def test_nothing_is_nothing_to_sign(agent):
    assert "nothing to sign" in refused(ask_signature(agent, b""), 400, "bad-request")


# --- both


@pytest.mark.parametrize("path, body, kind", [("/v1/jwt", b'{"aud":"https://exact.example.com/a"}', "jwt"),
                                              ("/v1/sign", V4, "sign"), ("/v1/sign", b"x", "sign-any")])
def test_other_kinds_do_not_admit(start_agent, emulator, path, body, kind):
    others = [other for other in ("jwt", "sign", "sign-any", "access") if other != kind]
    rules = ID + "".join(rule(other, PATTERNS if other == "jwt" else "", name=other) for other in others)
    agent = start_agent(HURRY, rules=rules)
    warm_up(agent, emulator)
    answer = post(agent, path, body, JWT if path == "/v1/jwt" else BYTES)
    assert f"kind {kind} " in refused(answer, 403, "denied-by-policy")
    assert steps(emulator) == {}


@pytest.mark.parametrize("path, right", [("/v1/jwt", JWT), ("/v1/sign", BYTES)])
def test_body_is_read_as_its_type_only(agent, emulator, path, right):
    for wrong in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                  BYTES if right == JWT else JWT, right + "x", "x" + right, ";" + right):
        assert right in refused(post(agent, path, b"{}", wrong), 415, "bad-request")
    assert agent.get(path, method="GET").status == 405
    assert agent.get(path).headers["Allow"] == "POST"
    emulator.reset()
    for fine in (right + "; charset=utf-8", right.upper(), right + " ;x=y"):
        assert post(agent, path, b'{"aud":"https://exact.example.com/a"}', fine).status == 200


def test_body_over_the_limit_is_refused_before_it_has_come(agent):
    with Wire(agent.connect()) as wire:
        wire.send(request("/v1/sign", f"Content-Type: {BYTES}", "Content-Length: 65537", method="POST"))
        assert wire.answer().status == 413
    refused(ask_signature(agent, b"x" * 65537), 413, "bad-request")


@pytest.mark.parametrize("query, status, code", [
    ("?account=default", 200, None), (f"?account={EMAIL}", 200, None),
    ("?account=nobody", 404, "not-found"), ("?account=nobody@example.com", 404, "not-found"),
    ("?account=a&account=b", 400, "bad-request"), ("?account=%zz", 400, "bad-request"),
])
def test_account_is_by_name_or_email(agent, query, status, code):
    for answer in (ask_jwt(agent, {"aud": AUDIENCE}, query), ask_signature(agent, V4, query)):
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (status, code), answer


@pytest.mark.parametrize("delegates", [[], [HOP]], ids=["directly", "by a delegate"])
def test_named_account_signs_by_impersonation(start_agent, emulator, delegates):
    config = f"[account billing]\nemail = {BILLING}\ndelegates = {' '.join(delegates)}\n"
    emulator.set(accounts=[BILLING])
    agent = start_agent(HURRY + config, rules=rule("jwt", PATTERNS, account="billing") +
                        rule("sign-any", account="billing", name="bytes"))
    for name in ("billing", BILLING):
        claims = jwt_of(ask_jwt(agent, {"aud": AUDIENCE}, f"?account={name}"), emulator, BILLING)
        assert claims["iss"] == claims["sub"] == BILLING
        signature_of(ask_signature(agent, b"x", f"?account={name}"), b"x", emulator, BILLING)
    bodies = [json.loads(record["body"]) for record in emulator.requests("iam") if ":sign" in record["target"]]
    assert [body.get("delegates", []) for body in bodies] == [
        [f"projects/-/serviceAccounts/{email}" for email in delegates]] * 4
    refused(ask_jwt(agent, {"aud": AUDIENCE, "iss": EMAIL}, "?account=billing"), 400, "bad-request")
    # What one account's rule gives is nothing of another's.
    refused(ask_jwt(agent, {"aud": AUDIENCE}), 403, "denied-by-policy")
    refused(ask_signature(agent, b"x", "?account=default"), 403, "denied-by-policy")


def test_the_first_request_finds_the_account_itself(agent, emulator):
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == 200
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, SIGN_JWT: 1}


def both(agent):
    return ask_jwt(agent, {"aud": AUDIENCE}), ask_signature(agent, V4)


def test_dead_bearer_is_replaced_once(agent, emulator):
    assert ask_signature(agent, V4).status == 200
    emulator.reset()
    emulator.revoke()
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == 200
    assert steps(emulator) == {SIGN_JWT: 2, ACCESS: 1}
    emulator.revoke(renew=False)
    refused(ask_signature(agent, V4), 503, "unavailable")


def test_missing_role_is_denied_with_the_command_that_mends_it(agent, emulator):
    emulator.set(role=False)
    for answer, permission in zip(both(agent), ("signJwt", "signBlob")):
        text = refused(answer, 403, "denied-by-google")
        assert f"iam.serviceAccounts.{permission}" in text
        assert "gcloud iam service-accounts add-iam-policy-binding" in text


def test_missing_role_that_was_throttling_passes(agent, emulator):
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED", status=403, times=1)
    assert ask_signature(agent, V4).status == 200
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED", status=403, times=1)
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == 200


def test_what_else_google_denies_says_why(agent, emulator):
    for reason, words in (("SERVICE_DISABLED", "gcloud services enable"),
                          ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "--scopes=cloud-platform")):
        fault = emulator.fault("iam", "status", reason=reason, status=403)
        for answer in both(agent):
            assert words in refused(answer, 403, "denied-by-google")
        emulator.unfault(id=fault)
    for answer in both(agent):
        assert answer.status == 200


def test_trouble_passes_or_is_unavailable(agent, emulator):
    emulator.fault("iam", "status", status=503, times=2)
    for answer in both(agent):
        assert answer.status == 200
    emulator.fault("iam", "status", status=503)
    for answer in both(agent):
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]


def test_nobody_waits_past_the_deadline(agent, emulator):
    assert ask_signature(agent, V4).status == 200
    emulator.fault("iam", "hang")
    for answer in (ask_jwt(agent, {"aud": AUDIENCE}, headers={"Prefer": "wait=1"}),
                   ask_signature(agent, V4, headers={"Prefer": "wait=1"})):
        refused(answer, 504, "timeout")


@pytest.mark.parametrize("kind", ["not-json", "wrong-type", "empty", "truncate", "huge"])
def test_answer_that_makes_no_sense_is_unavailable(agent, emulator, kind):
    emulator.fault("iam", kind)
    for answer in both(agent):
        refused(answer, 503, "unavailable")


def test_reload_during_the_wait_takes_the_signature_away(start_agent, emulator):
    admin = "\n[rule admin]\npeer = anyone\nhost = any\nkind = admin\n"
    agent = start_agent(HURRY, rules=ALL + admin)
    assert ask_signature(agent, V4).status == 200
    emulator.reset()
    hang = emulator.fault("iam", "hang")
    waiting = [agent.connection() for _ in range(2)]
    waiting[0].request("POST", "/v1/sign", body=V4, headers={"Metadata-Flavor": "Google", "Content-Type": BYTES})
    waiting[1].request("POST", "/v1/jwt", body=json.dumps({"aud": AUDIENCE}),
                       headers={"Metadata-Flavor": "Google", "Content-Type": JWT})
    wait_for(lambda: len(emulator.requests("iam")) >= 2, "both are asked for")
    agent.configure(agent.config.read_text().replace("kind = sign\n", "kind = monitor\n")
                    .replace("kind = jwt\n", "kind = id\n").replace("account = default\naudience", "audience"))
    assert post(agent, "/v1/reload", b"", "text/plain").status in (200, 204)
    emulator.unfault(id=hang)
    for connection in waiting:
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-policy"), answer.read()
        connection.close()


def test_client_that_leaves_leaves_nothing_behind(agent, emulator):
    hang = emulator.fault("iam", "hang")
    for _ in range(20):         # more than its buffers would hold at once
        before = len(emulator.requests("iam"))
        with Wire(agent.connect()) as wire:
            wire.send(request("/v1/sign", f"Content-Type: {BYTES}", method="POST", body=b"x" * 60000))
            wait_for(lambda: len(emulator.requests("iam")) > before, "it has been asked for")
    emulator.unfault(id=hang)
    assert ask_signature(agent, b"x" * 60000).status == 200


def test_one_peer_has_a_share_of_what_is_held_for_signatures(agent, emulator):
    assert ask_signature(agent, V4).status == 200
    hang = emulator.fault("iam", "hang")
    waiting = []
    for _ in range(8):
        connection = agent.connection()
        connection.request("POST", "/v1/sign", body=b"x" * 60000,
                           headers={"Metadata-Flavor": "Google", "Content-Type": BYTES})
        waiting.append(connection)
    wait_for(lambda: select.select([one.sock for one in waiting], [], [], 0)[0], "no more room")
    assert "1 MiB" in refused(ask_signature(agent, b"x" * 60000), 429, "busy")
    emulator.unfault(id=hang)
    statuses = [connection.getresponse().status for connection in waiting]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 3
    for connection in waiting:
        connection.close()
    assert ask_signature(agent, b"x" * 60000).status == 200


@pytest.mark.parametrize("rules", [
    rule("sign"), rule("jwt", PATTERNS, account="billing"), rule("jwt", PATTERNS + "\nunit = other.service") + ID,
    ALL + rule("jwt", "audience = **\naction = deny", name="no")], ids=["kind", "account", "unit", "deny"])
@pytest.mark.parametrize("query", ["", f"?account={EMAIL}", "?account=nobody@example.com"], ids=["", "email", "nobody"])
def test_claims_of_whom_no_rule_lets_are_not_even_read(start_agent, emulator, rules, query):
    emulator.set(accounts=[BILLING])
    agent = start_agent(HURRY + f"[account billing]\nemail = {BILLING}\n", rules=rules)
    for body in (b"", b"{", b"[" * 60000, b'{"aud":"https://app.example.com/*","scope":"x"}'):
        text = refused(ask_jwt(agent, body, query), 403, "denied-by-policy")
        assert ("rule no denies kind jwt to" in text) == ("[rule no]" in rules)
        assert ("nearly: signs but for unit" in text) == ("other.service" in rules)
    assert emulator.requests("iam") == []


@two_users
def test_all_peers_have_a_total_of_what_is_held_for_signatures(start_agent, emulator):
    agent = start_agent(HURRY, rules=ALL + rule("monitor", name="sees"))
    assert ask_signature(agent, V4).status == 200
    hang = emulator.fault("iam", "hang")
    with contextlib.ExitStack() as stack:
        # Four each, of a quarter of a MiB: more peers than the 16 MiB have room for.
        wires = [stack.enter_context(connect_as(agent, 12000 + i // 4)) for i in range(4 * 18)]
        for it in wires:
            it.send(request("/v1/sign", f"Content-Type: {BYTES}", "Prefer: wait=120", method="POST",
                            body=b"x" * 60000))
        first = wait_for(lambda: select.select([it.sock for it in wires], [], [], 0)[0], "no more room")[0]
        answer = next(it for it in wires if it.sock is first).answer()
        assert (answer.status, answer["Gce-Oidc-Error"]) == (429, "busy"), answer.body
        assert b"all peers together" in answer.body or b"all connections together" in answer.body
        [held] = re.findall(r"^gce_oidc_agent_buffers_bytes (\d+)$", agent.get("/metrics").text, re.MULTILINE)
        assert 15 << 20 < int(held) <= 16 << 20
        assert ask_signature(agent, b"x" * 60000).status == 429
    emulator.unfault(id=hang)
    wait_for(lambda: ask_signature(agent, b"x" * 60000).status == 200, "there is room again")


def test_signatures_count_for_the_rate_of_their_peer(start_agent):
    agent = start_agent("[limits]\nrequests-per-second = 0.001\n", rules=ALL)
    answers = [ask_signature(agent, V4) for _ in range(66)]
    assert [answer.status for answer in answers[:64]] == [200] * 64
    assert "requests-per-second" in refused(answers[-1], 429, "busy")
    assert answers[-1].headers["Retry-After"]
    refused(ask_jwt(agent, {"aud": AUDIENCE}), 429, "busy")


def test_each_grant_has_its_line_in_the_audit_and_no_signature(start_agent):
    agent = start_agent(HURRY + "[agent]\naudit = new\n", rules=ALL)
    secrets = []
    for _ in range(3):
        secrets.append(json.loads(ask_jwt(agent, {"aud": AUDIENCE}).body)["signedJwt"])
        secrets.append(json.loads(ask_signature(agent, V4).body)["signedBlob"])
        secrets.append(json.loads(ask_signature(agent, b"x").body)["signedBlob"])
    refused(ask_jwt(agent, {"aud": "https://other.example.com"}), 403, "denied-by-policy")
    log = agent.wait_log("denied jwt for https://other.example.com of default")
    assert log.count(f"granted jwt for {AUDIENCE} of default") == 3
    assert log.count("granted sign of default") == 3
    assert log.count("granted sign-any of default") == 3
    assert not [secret for secret in secrets if secret[:16] in log or secret[-20:] in log]


def test_requests_are_counted(start_agent):
    agent = start_agent(HURRY, rules=ALL + rule("monitor", name="sees"))
    both(agent)
    refused(ask_signature(agent, b""), 400, "bad-request")
    text = agent.get("/metrics").text
    assert 'route="/v1/jwt",code="ok"} 1' in text
    assert 'route="/v1/sign",code="ok"} 1' in text
    assert 'route="/v1/sign",code="bad-request"} 1' in text


@pytest.mark.parametrize("tcp, status", [("no", 403), ("yes", 200)])
def test_over_tcp_it_takes_tcp_yes(start_loopback, tcp, status):
    more = f"tcp = {tcp}"
    it = start_loopback(HURRY, rules=rule("jwt", f"{PATTERNS}\n{more}") + rule("sign", more, name="storage") +
                        rule("sign-any", more, name="any-bytes"))
    for answer in (*both(it), ask_signature(it, b"x")):
        assert answer.status == status, answer
        assert status == 200 or "but for tcp" in refused(answer, 403, "denied-by-policy")
    assert [answer.status for answer in both(it.agent)] == [200, 200]


# --- keys in files


def test_key_of_a_file_signs_here(start_agent, emulator, place):
    file = emulator.key_file()
    path = place / "key.json"
    path.write_text(json.dumps(file))
    path.chmod(0o600)
    agent = start_agent(HURRY + f"[account default]\ncredentials = {path}\n", rules=ALL)
    now = int(time.time())
    jwt = json.loads(ask_jwt(agent, {"aud": AUDIENCE, "exp": now + 600}).body)
    blob = json.loads(ask_signature(agent, V4).body)
    assert jwt["keyId"] == blob["keyId"] == file["private_key_id"]
    header, claims, signature = jwt["signedJwt"].split(".")
    assert decode_part(header) == {"alg": "RS256", "typ": "JWT", "kid": file["private_key_id"]}
    assert decode_part(claims)["iss"] == EMAIL and decode_part(claims)["exp"] == now + 600
    file_verifies(file, f"{header}.{claims}".encode(), base64.urlsafe_b64decode(signature + "=="))
    file_verifies(file, V4, base64.b64decode(blob["signedBlob"]))
    refused(ask_jwt(agent, {"aud": AUDIENCE, "iss": HOP}), 400, "bad-request")
    refused(ask_jwt(agent, {"aud": "https://other.example.com"}), 403, "denied-by-policy")
    assert emulator.counts()["iam"]["total"] == 0


def test_key_of_a_file_signs_when_nothing_more_may_be_asked_upstream(start_agent, emulator, place):
    """It asks nobody, so what others have asked in this minute is no matter."""
    path = place / "key.json"
    path.write_text(json.dumps(emulator.key_file()))
    path.chmod(0o600)
    agent = start_agent(HURRY + f"[account default]\ncredentials = {path}\n"
                        "[upstream]\nrequests-per-minute = 10\n", rules=ALL + ID)
    names, hurry = itertools.count(), {"Prefer": "wait=1"}
    wait_for(lambda: "requests-per-minute" in agent.token(f"https://app-{next(names)}.example.com", **hurry).text,
             "the budget is spent")
    for answer in (ask_jwt(agent, {"aud": AUDIENCE}, headers=hurry), ask_signature(agent, V4, headers=hurry)):
        assert answer.status == 200, answer


def test_account_that_a_key_file_may_act_as_signs_by_iam(start_agent, emulator, place):
    path = place / "key.json"
    path.write_text(json.dumps(emulator.key_file()))
    path.chmod(0o600)
    emulator.set(accounts=[BILLING])
    agent = start_agent(HURRY + f"[account default]\ncredentials = {path}\n[account billing]\nemail = {BILLING}\n",
                        rules=rule("sign", account="billing"))
    signature_of(ask_signature(agent, V4, "?account=billing"), V4, emulator, BILLING)


def test_a_person_signs_nothing(start_agent, emulator, place):
    path = place / "user.json"
    path.write_text(json.dumps({
        "type": "authorized_user", "client_id": "123456789012-desktopclient.apps.googleusercontent.com",
        "client_secret": "EXAMPLE-CLIENT-SECRET", "refresh_token": "EXAMPLE/REFRESH-TOKEN"}))
    path.chmod(0o600)
    agent = start_agent(HURRY + f"[account default]\ncredentials = {path}\n", rules=ALL)
    for answer in both(agent):
        assert "a person's" in refused(answer, 400, "bad-request")
    assert emulator.counts()["iam"]["total"] == 0
