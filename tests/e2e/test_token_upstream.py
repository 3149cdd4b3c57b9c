# SPDX-License-Identifier: Apache-2.0
"""The bearer, the signature and the ID token that come from upstream: renewed where
they have died, and believed only where they are what was asked for."""

import pytest

from conftest import wait_for
from steps import ACCESS, COLD, FAST, ID_TOKEN, SIGNATURE, steps, warm_up

AUDIENCE = "https://app.example.com"


@pytest.fixture
def agent(start_agent):
    return start_agent(FAST)


def unavailable(answer):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable"), answer
    assert int(answer.headers["Retry-After"]) >= 1
    assert "eyJ" not in answer.text
    return answer.text


# --- the bearer


def test_access_token_near_its_end_is_fetched_anew(agent, emulator):
    emulator.set(access_token_life=224, refresh_at=0)
    warm_up(agent, emulator)
    assert agent.token(AUDIENCE).status == 200
    assert steps(emulator) == {ACCESS: 1, **COLD}


def test_access_token_with_time_left_is_kept(agent, emulator):
    emulator.set(access_token_life=400, refresh_at=0)
    warm_up(agent, emulator)
    assert agent.token(AUDIENCE).status == 200
    assert steps(emulator) == COLD


def test_refused_bearer_is_replaced_once(agent, emulator):
    warm_up(agent, emulator)
    emulator.revoke()
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert steps(emulator) == {ACCESS: 1, SIGNATURE: 2, ID_TOKEN: 1}


def test_bearer_refused_twice_is_unavailable(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", reason="ACCESS_TOKEN_EXPIRED")
    assert "the access token is taken no more" in unavailable(agent.token(AUDIENCE))
    assert steps(emulator) == {ACCESS: 1, SIGNATURE: 2}


def test_many_flights_replace_a_refused_bearer_once(agent, emulator):
    warm_up(agent, emulator)
    emulator.revoke()
    callers = [agent.connection() for _ in range(10)]
    for i, caller in enumerate(callers):
        caller.request("GET", f"/v1/token?audience=a{i}", headers={"Metadata-Flavor": "Google"})
    assert {caller.getresponse().status for caller in callers} == {200}
    for caller in callers:
        caller.close()
    assert steps(emulator)[ACCESS] == 1


# --- the signature


def test_signature_refused_once_is_made_anew(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "status", reason="signature", times=1)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert steps(emulator) == {SIGNATURE: 2, ID_TOKEN: 2}


def test_key_rotated_between_the_steps_costs_one_more_signature(agent, emulator):
    warm_up(agent, emulator)
    hang = emulator.fault("token-endpoint", "hang")
    caller = agent.connection()
    caller.request("GET", f"/v1/token?audience={AUDIENCE}", headers={"Metadata-Flavor": "Google"})
    wait_for(lambda: steps(emulator).get(ID_TOKEN), "the exchange is asked for")
    emulator.rotate("account")
    emulator.unfault(id=hang)
    emulator.verify(caller.getresponse().read().decode(), AUDIENCE)
    caller.close()
    assert steps(emulator) == {SIGNATURE: 2, ID_TOKEN: 2}


def test_signature_refused_twice_is_unavailable(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "status", reason="signature")
    assert "the signature is not believed" in unavailable(agent.token(AUDIENCE))
    assert steps(emulator) == {SIGNATURE: 2, ID_TOKEN: 2}


# --- the ID token


@pytest.mark.parametrize("wrong, words", [
    ("aud", "ID token: aud is https://somebody-else.example.com, expected " + AUDIENCE),
    ("aud-array", "aud"),
    ("iss", "ID token: iss is https://accounts.example.com"),
    ("no-email", "ID token: no email"),
    ("email", "ID token: email is somebody-else@"),
    ("email-unverified", "ID token: email_verified is not true"),
    ("expired", "is past"),
    ("not-yet-valid", "lies ahead of now"),
    ("no-exp", "ID token: no exp"),
    ("life", "ID token: exp"),
    ("three-megabyte", "too large"),
])
def test_token_with_a_wrong_claim_is_never_served(agent, emulator, wrong, words):
    emulator.fault("token-endpoint", "claims", wrong=wrong)
    assert words in unavailable(agent.token(AUDIENCE))
    # Nor is it in the cache.
    assert agent.token(AUDIENCE, Cache_Control="only-if-cached").status == 504
    identity = agent.get("/computeMetadata/v1/instance/service-accounts/default/identity"
                         f"?audience={AUDIENCE}")
    unavailable(identity)


@pytest.mark.parametrize("claims", [
    {"aud": AUDIENCE + "/"}, {"aud": AUDIENCE.upper()}, {"aud": ""}, {"aud": None},
    {"iss": "http://accounts.google.com"}, {"iss": "https://accounts.google.com/"}, {"iss": None},
    {"email": "APP-SA@example-proj-123.iam.gserviceaccount.com"},
    {"email_verified": "true"}, {"exp": "4102444800"}, {"exp": 1e300}, {"iat": None},
    {"aud": AUDIENCE + "\0.evil.com"},
], ids=str)
def test_claims_are_compared_byte_for_byte(agent, emulator, claims):
    emulator.fault("token-endpoint", "claims", claims=claims)
    unavailable(agent.token(AUDIENCE))


@pytest.mark.parametrize("claims", [{"iss": "accounts.google.com"}, {"extra": {"a": [1]}}], ids=str)
def test_googles_other_spellings_are_good(agent, emulator, claims):
    emulator.fault("token-endpoint", "claims", claims=claims)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_unsigned_token_is_never_served(agent, emulator):
    emulator.fault("token-endpoint", "alg-none")
    assert "the token endpoint's ID token: JWT:" in unavailable(agent.token(AUDIENCE))


@pytest.mark.parametrize("body", [
    '{"id_token": "a.b.c"}', '{"id_token": "abc"}', '{"id_token": ""}', '{"id_token": null}',
    '{"id_token": ["eyJhbGciOiJSUzI1NiJ9.e30.AAAA"]}', '{"access_token": "ya29.x"}', "[]", "null",
    '{"id_token": "eyJhbGciOiJSUzI1NiJ9.e30.AAAA\\r\\nX: y"}'], ids=str)
def test_what_is_no_token_is_never_served(agent, emulator, body):
    emulator.fault("token-endpoint", "not-json", body=body)
    unavailable(agent.token(AUDIENCE))
