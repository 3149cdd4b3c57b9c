# SPDX-License-Identifier: Apache-2.0
"""verify = auto, claims, required: whose signature a token must carry before anybody
gets it, and what becomes of tokens while Google's keys are not to be had."""

import pytest

from conftest import wait_for
from steps import HURRY, IDENTITY, KEYS, SIGNBLOB, steps

AUDIENCE = "https://app.example.com"
FACE = "/computeMetadata/v1/instance/service-accounts/default/identity"
REQUIRED, CLAIMS = "[cache]\nverify = required\n", "[cache]\nverify = claims\n"
NOTHING_REMEMBERED = "unavailable = 0\ndenied = 0\n"
# Which service makes the token, and a configuration under which its signature counts.
MAKERS = {"token-endpoint": REQUIRED + SIGNBLOB, "metadata": "[account default]\nflows = metadata\n"}
MATCH = {"token-endpoint": "/token", "metadata": "/identity"}


def full(agent, audience=AUDIENCE, **more):
    return agent.get(f"{FACE}?audience={audience}&format=full", **more)


def refused(answer, *words):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable"), answer
    assert "eyJ" not in answer.text
    for text in words:
        assert text in answer.text
    return answer


def keys_are_there(emulator, n=1):
    wait_for(lambda: steps(emulator, keys=True).get(KEYS, 0) >= n, "the keys are fetched")


# --- which signatures count


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("kind, words", [
    ("wrong-signature", "the signature is not that of Google's key"), ("alg-none", "JWT:")])
def test_token_without_googles_signature_is_never_served(start_agent, emulator, maker, kind, words):
    agent = start_agent(MAKERS[maker] + HURRY)
    emulator.fault(maker, kind, match=MATCH[maker])
    refused(agent.token(AUDIENCE), words)
    refused(full(agent), words)
    assert agent.token(AUDIENCE, Cache_Control="only-if-cached").status == 504
    assert agent.token("https://other.example.com").status == 503


@pytest.mark.parametrize("maker", MAKERS)
def test_token_with_googles_signature_is(start_agent, emulator, maker):
    agent = start_agent(MAKERS[maker] + HURRY)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert steps(emulator, keys=True)[KEYS] == 1


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("wrong", ["aud", "iss", "no-email", "expired", "not-yet-valid"])
def test_claims_are_checked_as_well(start_agent, emulator, maker, wrong):
    agent = start_agent(MAKERS[maker] + HURRY)
    emulator.fault(maker, "claims", wrong=wrong, match=MATCH[maker])
    refused(full(agent), "ID token")


def test_auto_believes_what_came_by_tls(start_agent, emulator):
    agent = start_agent(SIGNBLOB + HURRY)
    emulator.fault("token-endpoint", "wrong-signature")
    assert agent.token(AUDIENCE).status == 200
    assert KEYS not in steps(emulator, keys=True)


def test_claims_believes_the_metadata_server(start_agent, emulator):
    agent = start_agent(CLAIMS + MAKERS["metadata"] + HURRY)
    emulator.fault("metadata", "wrong-signature", match="/identity")
    assert full(agent).status == 200
    assert KEYS not in steps(emulator, keys=True)


def test_unsigned_token_is_refused_by_claims_too(start_agent, emulator):
    agent = start_agent(CLAIMS + MAKERS["metadata"] + HURRY)
    emulator.fault("metadata", "alg-none", match="/identity")
    refused(full(agent))


# --- whose keys


@pytest.mark.parametrize("config, n", [("", 1), (REQUIRED + SIGNBLOB, 1), (CLAIMS, 0), (SIGNBLOB, 0)], ids=str)
def test_keys_that_may_be_needed_are_fetched_early(start_agent, emulator, config, n):
    agent = start_agent(config + HURRY)
    if n:
        keys_are_there(emulator)
    assert agent.token(AUDIENCE).status == 200
    assert steps(emulator, keys=True).get(KEYS, 0) == n


def test_rotated_keys_are_fetched_when_the_first_token_needs_them(start_agent, emulator):
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-refetch = 1ms\n")
    assert agent.token(AUDIENCE).status == 200
    for keep_old in (True, False):
        emulator.reset()
        emulator.rotate("google", keep_old=keep_old)
        audience = f"https://rotated-{keep_old}.example.com"
        emulator.verify(agent.token(audience).text, audience)
        assert steps(emulator, keys=True)[KEYS] == 1


def test_unknown_key_is_asked_for_once_in_a_while(start_agent, emulator):
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-refetch = 10min\n" + NOTHING_REMEMBERED)
    assert agent.token(AUDIENCE).status == 200
    emulator.rotate("google", keep_old=False)
    for i in range(5):
        answer = refused(agent.token(f"https://new-{i}.example.com"), "none of Google's current ones")
        assert int(answer.headers["Retry-After"]) > 500
    assert steps(emulator, keys=True)[KEYS] == 1
    # Whoever has a token keeps it.
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Cache"] == "hit"


def test_key_that_google_no_longer_publishes_signs_nothing(start_agent, emulator):
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-refetch = 1ms\n" + NOTHING_REMEMBERED)
    stolen = emulator.mint(aud=AUDIENCE)
    emulator.rotate("google", keep_old=False)
    assert agent.token("https://other.example.com").status == 200
    emulator.fault("token-endpoint", "wrong-type", value={"id_token": stolen})
    refused(agent.token(AUDIENCE), "none of Google's current ones")


# --- no keys


@pytest.mark.parametrize("kind, options", [
    ("refuse", {}), ("status", {"status": 404}), ("status", {"status": 503}), ("reset", {}),
    ("not-json", {}), ("empty", {}), ("truncate", {}), ("huge", {"megabytes": 3}),
    ("wrong-type", {"value": {"keys": [{"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"}]}}),
    ("tls", {"certificate": "unknown-ca"})], ids=str)
def test_no_keys_no_token(start_agent, emulator, kind, options):
    emulator.fault("certs", kind, **options)
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-refetch = 1ms\n" + NOTHING_REMEMBERED)
    refused(agent.token(AUDIENCE), "Google's public keys: ", "verify = claims")
    emulator.unfault()
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_hanging_keys_are_waited_for_as_long_as_the_caller_does(start_agent, emulator):
    emulator.fault("certs", "hang")
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "wait = 200ms\n")
    agent.wait_log(" found")
    assert agent.token(AUDIENCE).status == 504
    emulator.unfault()
    answer = agent.token(AUDIENCE, Prefer="wait=60")
    emulator.verify(answer.text, AUDIENCE)


def test_many_tokens_without_keys_do_not_ask_once_each(start_agent, emulator):
    emulator.fault("certs", "status", status=404)
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-retry = 10min\ncerts-refetch = 10min\n")
    keys_are_there(emulator)
    for i in range(10):
        refused(agent.token(f"https://app-{i}.example.com"), "HTTP 404")
    assert steps(emulator, keys=True)[KEYS] == 1


def test_old_keys_stay_good_while_new_ones_are_not_to_be_had(start_agent, emulator):
    emulator.set(certs_max_age=0, certs_age=0)
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-life-min = 0\ncerts-refetch = 1ms\n")
    assert agent.token(AUDIENCE).status == 200
    emulator.fault("certs", "status", status=404)
    for i in range(5):
        assert agent.token(f"https://app-{i}.example.com").status == 200
    keys_are_there(emulator, 2)


def test_keys_are_fetched_anew_when_their_time_is_up(start_agent, emulator):
    emulator.set(certs_max_age=3600, certs_age=0)
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-refetch = 1ms\n")
    for i in range(5):
        assert agent.token(f"https://app-{i}.example.com").status == 200
    assert steps(emulator, keys=True)[KEYS] == 1
    agent = start_agent(REQUIRED + SIGNBLOB + HURRY + "certs-life-max = 1ms\ncerts-refetch = 1ms\n")
    emulator.reset()
    for i in range(5):
        assert agent.token(f"https://app-{i}.example.com").status == 200
    keys_are_there(emulator, 2)


def test_cached_token_is_served_whatever_becomes_of_the_keys(start_agent, emulator):
    agent = start_agent(HURRY)
    first = full(agent)
    assert first.status == 200, first
    emulator.fault("certs", "hang")
    emulator.fault("metadata", "hang", match="/identity")
    assert full(agent).headers["Gce-Oidc-Cache"] == "hit"
    assert steps(emulator)[IDENTITY] == 1
