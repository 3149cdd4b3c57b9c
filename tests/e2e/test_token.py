# SPDX-License-Identifier: Apache-2.0
"""The main job: an ID token for an audience, fetched once and handed to many."""

import os
import re
import threading
import time

import pytest

from conftest import wait_for
from steps import COLD, FAST, FIRST, ID_TOKEN, SIGNATURE, steps, warm_up

AUDIENCE = "https://app.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
DEFAULT = "/computeMetadata/v1/instance/service-accounts/default"
# Tokens may be fetched anew as soon as somebody asks for it.
NOT_NEW = "[timing]\nbrand-new = 0\n"


@pytest.fixture
def agent(start_agent):
    return start_agent(FAST)


def cache_of(answer):
    assert answer.status == 200, answer
    return answer.headers["Gce-Oidc-Cache"]


def refused(answer, status, code):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (status, code), answer
    assert "eyJ" not in answer.text
    return answer.text


# --- what is asked upstream, counted


def test_the_very_first_request_asks_four_things(agent, emulator):
    assert agent.token(AUDIENCE).status == 200
    assert steps(emulator) == FIRST


def test_cold_request_is_signature_and_exchange(agent, emulator):
    warm_up(agent, emulator)
    assert cache_of(agent.token(AUDIENCE)) == "miss"
    assert steps(emulator) == COLD


def test_warm_request_asks_nothing(agent, emulator):
    first = agent.token(AUDIENCE)
    emulator.reset()
    second = agent.token(AUDIENCE)
    assert cache_of(second) == "hit"
    assert second.body == first.body
    assert steps(emulator) == {}


def test_both_faces_share_one_token(agent, emulator):
    first = agent.token(AUDIENCE)
    emulator.reset()
    second = agent.get(f"{DEFAULT}/identity?audience={AUDIENCE}&format=full")
    assert cache_of(second) == "hit"
    assert second.body == first.body
    assert steps(emulator) == {}


def test_200_callers_share_one_chain(agent, emulator):
    warm_up(agent, emulator)
    hang = emulator.fault("iam", "hang")
    callers = [agent.connection() for _ in range(200)]
    for caller in callers:
        caller.request("GET", f"/v1/token?audience={AUDIENCE}",
                       headers={"Metadata-Flavor": "Google"})
    wait_for(lambda: steps(emulator), "the signature is asked for")
    emulator.unfault(id=hang)
    answers = [caller.getresponse() for caller in callers]
    bodies = {answer.read() for answer in answers}
    sources = [answer.headers["Gce-Oidc-Cache"] for answer in answers]
    for caller in callers:
        caller.close()

    assert {answer.status for answer in answers} == {200}
    assert len(bodies) == 1
    assert sources.count("miss") == 1 and sources.count("shared") > 0
    assert steps(emulator) == COLD


def test_50_audiences_at_once_get_each_their_own(agent, emulator):
    warm_up(agent, emulator)
    audiences = [f"https://app-{i}.example.com" for i in range(50)]
    callers = [agent.connection() for _ in audiences]
    for caller, audience in zip(callers, audiences):
        caller.request("GET", f"/v1/token?audience={audience}",
                       headers={"Metadata-Flavor": "Google"})
    for caller, audience in zip(callers, audiences):
        emulator.verify(caller.getresponse().read().decode(), audience)
        caller.close()
    assert steps(emulator) == {SIGNATURE: 50, ID_TOKEN: 50}


# --- the token


@pytest.mark.parametrize("audience", [
    "1234-abc.apps.googleusercontent.com",
    AUDIENCE,
    AUDIENCE + "/",
    AUDIENCE.upper(),
    AUDIENCE + ":8443/a/b?c=d&e=f#g",
    "/projects/123/global/backendServices/456",
    "with space+plus%25percent&amp;=equals",
    "\"quoted\" \\back\\slashed' </script>",
    "münchen–東京-🔑",
    "e\u0301 is not \u00e9",
    "{\"aud\":\"nested\"}",
    "x" * 2048,
    "ü" * 1024,
], ids=lambda audience: ascii(audience[:24]))
def test_audience_is_passed_on_byte_for_byte(agent, emulator, audience):
    answer = agent.token(audience)
    assert answer.status == 200, answer
    claims = emulator.verify(answer.text, audience)
    assert claims["email"] == EMAIL and claims["email_verified"] is True


@pytest.mark.parametrize("written, audience", [
    ("https://a.example.com/b?c=d@e", "https://a.example.com/b?c=d@e"),
    ("https%3a%2F%2Fa.example.com", "https://a.example.com"),
    ("a+b%2Bc%20d", "a b+c d"),
    ("100%2525", "100%25"),
    ("a%26b%3Dc", "a&b=c"),
])
def test_escapes_are_undone_exactly_once(agent, emulator, written, audience):
    answer = agent.get(f"/v1/token?audience={written}&ignored=x")
    emulator.verify(answer.text, audience)


@pytest.mark.parametrize("written, words", [
    ("x" * 2049, "longer than 2048 bytes"),
    ("%C3%BC" * 1024 + "x", "longer than 2048 bytes"),
    ("", "non-empty audience parameter required"),
    ("a%00b", "parameter audience"),
    ("a%0d%0aX-Injected:%20yes", "control characters"),
    ("a%7f", "control characters"),
    ("a%C2%85", "control characters"),
    ("%E2%80%A8", "control characters"),
    ("%E2%80%AE", "control characters"),
    ("%EF%BB%BF", "control characters"),
    ("%FF%FE", "not UTF-8"),
    ("%C0%AF", "not UTF-8"),
    ("a%2", "%"),
    ("a%zz", "%"),
    ("a&audience=b", "audience"),
], ids=lambda text: ascii(text[:24]))
def test_impossible_audience_is_refused_before_anything_is_asked(
        agent, emulator, written, words):
    warm_up(agent, emulator)
    assert words in refused(agent.get(f"/v1/token?audience={written}"), 400, "bad-request")
    assert steps(emulator) == {}


def test_answer_says_how_and_how_long(agent):
    answer = agent.token(AUDIENCE)
    age = re.fullmatch(r"private, max-age=(\d+)", answer.headers["Cache-Control"])
    assert 3580 <= int(age[1]) <= 3600
    assert answer.headers["Gce-Oidc-Flow"] == "signblob"
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Metadata-Flavor"] == "Google"
    assert not answer.body.endswith(b"\n")


@pytest.mark.parametrize("account", ["default", EMAIL, EMAIL.replace("@", "%40")])
@pytest.mark.parametrize("form", [None, "standard", "full"])
def test_identity_path_answers_as_the_metadata_server(agent, emulator, account, form):
    path = DEFAULT.replace("default", account)
    more = f"&format={form}" if form else ""
    answer = agent.get(f"{path}/identity?audience={AUDIENCE}{more}")
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Gce-Oidc-Format"] == ("standard" if form == "full" else None)
    claims = emulator.verify(answer.text, AUDIENCE)
    assert claims["email"] == EMAIL and "google" not in claims


@pytest.mark.parametrize("query, words", [
    ("", "non-empty audience parameter required"),
    ("audience=", "non-empty audience parameter required"),
    ("audience=x&format=FULL", "format is standard or full"),
])
def test_identity_path_refuses_as_the_metadata_server(agent, query, words):
    assert words in refused(agent.get(f"{DEFAULT}/identity?{query}"), 400, "bad-request")


@pytest.mark.parametrize("target", [
    DEFAULT.replace("default", "other") + "/identity?audience=x",
    "/v1/token?audience=x&account=other",
    "/v1/token?audience=x&account=somebody@example-proj-123.iam.gserviceaccount.com",
])
def test_other_accounts_are_not_found(agent, emulator, target):
    warm_up(agent, emulator)
    refused(agent.get(target), 404, "not-found")
    assert steps(emulator) == {}


# --- freshness


def test_min_fresh_is_a_demand(start_agent, emulator):
    agent = start_agent(FAST + NOT_NEW)
    emulator.set(id_token_life=600)
    assert cache_of(agent.token(AUDIENCE, Cache_Control="min-fresh=590")) == "miss"
    assert cache_of(agent.token(AUDIENCE, Cache_Control="min-fresh=500")) == "hit"
    words = refused(agent.token(AUDIENCE, Cache_Control="min-fresh=601"),
                    503, "unavailable")
    assert "601 s" in words
    emulator.set(id_token_life=3600)
    answer = agent.token(AUDIENCE, Cache_Control="min-fresh=3000")
    assert cache_of(answer) == "miss"
    assert cache_of(agent.token(AUDIENCE, Cache_Control="min-fresh=3000")) == "hit"


def test_new_token_is_not_fetched_anew_for_min_fresh(agent, emulator):
    emulator.set(id_token_life=600)
    assert agent.token(AUDIENCE).status == 200
    emulator.reset()
    answer = agent.token(AUDIENCE, Cache_Control="min-fresh=700")
    refused(answer, 503, "unavailable")
    assert 50 <= int(answer.headers["Retry-After"]) <= 60
    assert steps(emulator) == {}


@pytest.mark.parametrize("value", [
    "min-fresh=3001", "min-fresh=99999999999999999999", "min-fresh=-1", "min-fresh=x",
    "min-fresh", "min-fresh=1, min-fresh=2"])
def test_impossible_min_fresh_is_refused(agent, value):
    assert "min-fresh takes whole seconds, once, at most 3000" in refused(
        agent.token(AUDIENCE, Cache_Control=value), 400, "bad-request")


def test_no_cache_gets_a_new_token(start_agent, emulator):
    agent = start_agent(FAST + NOT_NEW)
    warm_up(agent, emulator, AUDIENCE)
    assert cache_of(agent.token(AUDIENCE, Cache_Control="no-cache")) == "miss"
    assert steps(emulator) == COLD


def test_no_cache_gets_the_token_that_is_new_already(agent, emulator):
    warm_up(agent, emulator, AUDIENCE)
    assert cache_of(agent.token(AUDIENCE, Cache_Control="no-cache")) == "hit"
    assert steps(emulator) == {}


def test_only_if_cached_asks_nothing(agent, emulator):
    warm_up(agent, emulator)
    words = refused(agent.token(AUDIENCE, Cache_Control="only-if-cached"), 504, "timeout")
    assert "only-if-cached" in words
    assert steps(emulator) == {}
    assert cache_of(agent.token(AUDIENCE)) == "miss"
    assert cache_of(agent.token(AUDIENCE, Cache_Control="only-if-cached")) == "hit"


def test_short_lived_token_is_served_where_nothing_better_is_to_be_had(
        start_agent, emulator):
    agent = start_agent(FAST + NOT_NEW)
    emulator.set(id_token_life=30)
    assert cache_of(agent.token(AUDIENCE)) == "miss"
    assert cache_of(agent.token(AUDIENCE)) == "miss"    # there might be a better one
    emulator.fault("iam", "status", status=503)
    assert cache_of(agent.token(AUDIENCE)) == "hit"


def test_expired_token_is_never_served(agent, emulator):
    # Lives are cut to whole seconds, and a busy machine may be late for such a token.
    emulator.set(id_token_life=2)
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token that is in time")
    emulator.fault("iam", "status", status=503)

    def expired():
        asked = time.time()
        answer = agent.token(AUDIENCE)
        if answer.status != 200:
            return answer
        assert emulator.verify(answer.text, AUDIENCE)["exp"] > asked
        return None

    refused(wait_for(expired, "the token expires"), 503, "unavailable")


# --- waiting


@pytest.mark.parametrize("prefer", ["wait=0", "wait=1", "respond-async, wait=1"])
def test_prefer_wait_says_how_long(agent, emulator, prefer):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "hang")
    began = time.monotonic()
    refused(agent.token(AUDIENCE, Prefer=prefer), 504, "timeout")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("prefer", ["wait=x", "wait=-1", "wait=1, wait=2", "wait"])
def test_impossible_wait_is_refused(agent, prefer):
    assert "Prefer: wait= takes whole seconds, once" in refused(
        agent.token(AUDIENCE, Prefer=prefer), 400, "bad-request")


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=120"}], ids=["default", "most"])
def test_deadline_is_504_and_the_flight_goes_on(start_agent, emulator, headers):
    agent = start_agent(FAST + "wait = 100ms\nwait-max = 200ms\n")
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "hang")
    words = refused(agent.token(AUDIENCE, **headers), 504, "timeout")
    assert "still being asked" in words
    emulator.unfault()
    answer = wait_for(lambda: (a := agent.token(AUDIENCE)).status == 200 and a,
                      "the token of that flight")
    assert cache_of(answer) in ("shared", "hit")
    assert steps(emulator) == COLD


def test_flight_goes_on_when_its_client_leaves(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("iam", "hang")
    caller = agent.connection()
    caller.request("GET", f"/v1/token?audience={AUDIENCE}",
                   headers={"Metadata-Flavor": "Google"})
    wait_for(lambda: steps(emulator), "the signature is asked for")
    caller.close()
    emulator.unfault()
    wait_for(lambda: agent.token(AUDIENCE, Cache_Control="only-if-cached").status == 200,
             "the token in the cache")
    assert steps(emulator) == COLD


# --- the end


def refuses(agent):
    try:
        agent.connect().close()
    except (FileNotFoundError, ConnectionRefusedError):
        return True
    return False


def test_sigterm_in_flight_is_answered(agent, emulator):
    emulator.fault("iam", "hang")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(agent.token(AUDIENCE)))
    caller.start()
    wait_for(lambda: SIGNATURE in steps(emulator), "the signature is asked for")
    os.kill(agent.pid, 15)
    agent.wait_log("stopping on signal 15")
    wait_for(lambda: refuses(agent), "nobody new is let in")
    emulator.unfault()
    caller.join()
    emulator.verify(answers[0].text, AUDIENCE)
    assert agent.wait() == 0


def test_sigterm_while_idle_ends_at_once(start_agent):
    agent = start_agent(FAST + "drain = 10min\n")
    idle = [agent.connection() for _ in range(5)]
    for caller in idle:
        caller.request("GET", f"/v1/token?audience={AUDIENCE}",
                       headers={"Metadata-Flavor": "Google"})
        assert caller.getresponse().read()
    assert agent.stop() == 0
    assert all(caller.sock.recv(1) == b"" for caller in idle)


def test_what_hangs_does_not_hold_up_the_end(start_agent, emulator):
    agent = start_agent(FAST + "drain = 50ms\n")
    emulator.fault("iam", "hang")
    with agent.connect() as caller:
        caller.sendall(b"GET /v1/token?audience=x HTTP/1.1\r\nHost: x\r\n"
                       b"Metadata-Flavor: Google\r\n\r\n")
        wait_for(lambda: SIGNATURE in steps(emulator), "the signature is asked for")
        assert agent.stop() == 0
    assert "stopping with requests unanswered" in agent.log()
