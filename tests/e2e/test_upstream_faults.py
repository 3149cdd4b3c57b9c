# SPDX-License-Identifier: Apache-2.0
"""Upstream is not trusted: whom the agent believes, where it goes, how much it reads,
and what it never lets out."""

import pathlib
import re

import pytest

from conftest import wait_for
from steps import FAST, SIGNATURE, Listener, steps, warm_up

AUDIENCE = "https://app.example.com"
STEPS = {"metadata": "/token", "iam": ":signBlob", "token-endpoint": "/token"}
HASTE = FAST + "wait = 400ms\nmetadata-try = 200ms\ngoogle-try = 200ms\n"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def agent(start_agent):
    return start_agent(FAST)


def failed(answer, statuses=(503,)):
    """Somebody was told, and got nothing that looks like a token."""
    assert answer.status in statuses, answer
    assert answer.headers["Gce-Oidc-Error"] in ("unavailable", "timeout")
    assert "eyJ" not in answer.text and "ya29." not in answer.text
    return answer.text


# --- certificates


@pytest.mark.parametrize("service", ["iam", "token-endpoint"])
@pytest.mark.parametrize("certificate, words", [
    ("wrong-host", "name"), ("expired", "expired"), ("unknown-ca", "certificate")])
def test_no_request_goes_to_a_server_with_a_bad_certificate(
        agent, emulator, service, certificate, words):
    warm_up(agent, emulator)
    emulator.fault(service, "tls", certificate=certificate)
    text = failed(agent.token(AUDIENCE))
    assert "localhost:" in text and "no trusted TLS connection" in text
    assert words in text
    assert steps(emulator) == ({} if service == "iam" else {SIGNATURE: 1})


def test_nobody_is_trusted_by_default_who_is_not_the_systems(start_agent, emulator):
    own = emulator.agent_config().replace(f"ca-file = {emulator.ca_file}\n", "")
    agent = start_agent(FAST, upstream=own)
    assert "no trusted TLS connection" in failed(agent.token(AUDIENCE))
    assert SIGNATURE not in steps(emulator)


# --- where it goes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("service", STEPS)
def test_redirect_is_never_followed(agent, emulator, service, status):
    warm_up(agent, emulator)
    if service == "metadata":
        emulator.fault("iam", "status", reason="ACCESS_TOKEN_EXPIRED", times=1)
    with Listener() as elsewhere:
        emulator.fault(service, "redirect", status=status, match=STEPS[service],
                       location=f"http://{elsewhere.address}/")
        assert f"HTTP {status}" in failed(agent.token(AUDIENCE))
        assert elsewhere.seen == []


def test_redirect_of_the_account_is_never_followed(start_agent, emulator):
    with Listener() as elsewhere:
        emulator.fault("metadata", "redirect", location=f"http://{elsewhere.address}/")
        agent = start_agent(HASTE)
        wait_for(lambda: "HTTP 302" in failed(agent.token(AUDIENCE)), "the redirect is told")
        assert elsewhere.seen == []


def test_proxies_of_the_environment_are_not_asked(start_agent, emulator):
    with Listener() as proxy:
        agent = start_agent(FAST, env={name: f"http://{proxy.address}" for name in PROXIES})
        emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
        assert proxy.seen == []


@pytest.mark.parametrize("by_environment", [False, True])
def test_proxy_is_asked_for_https_only_and_only_where_configured(
        start_agent, emulator, by_environment):
    with Listener() as proxy:
        url = f"http://{proxy.address}"
        env = {name: url for name in PROXIES} if by_environment else {}
        config = f"proxy = {'environment' if by_environment else url}\n"
        agent = start_agent(config + FAST, env=env)
        failed(agent.token(AUDIENCE))
        assert proxy.seen
        assert all(seen.startswith(b"CONNECT localhost:") for seen in proxy.seen)
        assert not any(b"ya29." in seen for seen in proxy.seen)


# --- what it reads


@pytest.mark.parametrize("service", STEPS)
@pytest.mark.parametrize("kind, options", [
    ("huge", {"framing": "length"}),
    ("huge", {"framing": "chunked"}),
    ("truncate", {}),
    ("garbage", {}),
    ("garbage", {"text": "HTTP/1.1 200 OK\r\nX: y"}),
    ("garbage", {"text": "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nX: " + "y" * 65536}),
    ("not-json", {}),
    ("not-json", {"body": "[" * 100000}),
    ("not-json", {"body": '{"signedBlob":"\\u0000","id_token":"\\ud800","access_token":1e999}'}),
    ("wrong-type", {}),
    ("empty", {}),
    ("reset", {}),
    ("close", {}),
    ("hang", {}),
    ("drip", {"interval": 0.05}),
], ids=lambda value: str(value)[:40])
def test_what_is_no_answer_is_told_and_forgotten(start_agent, emulator, service, kind, options):
    agent = start_agent(HASTE + "unavailable = 0\n")
    if service != "metadata":
        warm_up(agent, emulator)
    emulator.fault(service, kind, match=STEPS[service], **options)
    failed(agent.token(AUDIENCE), (503, 504))
    emulator.unfault()
    # Again: on a busy machine what is well may take longer than these tries.
    answer = wait_for(lambda: (a := agent.token(AUDIENCE, Prefer="wait=30")).status == 200 and a,
                      "a token")
    emulator.verify(answer.text, AUDIENCE)


@pytest.mark.parametrize("service", STEPS)
@pytest.mark.parametrize("kind, options", [
    ("drip", {"interval": 0}), ("hang-up", {}), ("close", {"times": 1}), ("reset", {"times": 1}),
    ("truncate", {"times": 1}), ("delay", {"seconds": 0.05})], ids=str)
def test_slow_and_flaky_upstream_is_good_enough(agent, emulator, service, kind, options):
    emulator.fault(service, kind, match=STEPS[service], **options)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


# --- what it never lets out


def secrets_of(emulator):
    """Pieces of all that was secret on the wire."""
    for record in emulator.requests():
        text = "\n".join([record["body"], *(value for _, value in record["headers"])])
        for word in re.findall(r"[A-Za-z0-9_.+/%-]{40,}", text):
            # A header without secrets is the same in every JWT.
            for part in re.split(r"[.]", word):
                if len(part) >= 40 and part != "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9":
                    yield from (part[:24], part[-24:], part[len(part) // 2 - 12:][:24])


def test_secrets_are_found_where_they_are(agent, emulator):
    """The search below would find them."""
    agent.token(AUDIENCE)
    found = list(secrets_of(emulator))
    wire = str(emulator.requests())
    assert len(found) >= 12 and [piece for piece in found if piece not in wire] == []


@pytest.mark.parametrize("service, kind, options", [
    ("iam", "status", {"reason": reason}) for reason in (
        "IAM_PERMISSION_DENIED", "ACCESS_TOKEN_EXPIRED", "RATE_LIMIT_EXCEEDED", "INTERNAL")] + [
    ("token-endpoint", "status", {"reason": reason}) for reason in (
        "time", "signature", "account", "scope", "malformed", "internal_failure")] + [
    (service, kind, {}) for service in ("iam", "token-endpoint")
    for kind in ("truncate", "garbage", "not-json", "wrong-type", "reset")] + [
    ("token-endpoint", "claims", {"wrong": "aud"}), ("token-endpoint", "alg-none", {})], ids=str)
def test_no_secret_is_in_log_or_answer(start_agent, emulator, service, kind, options):
    agent = start_agent("[agent]\nlog-level = debug\n" + FAST)
    good = agent.token("https://good.example.com").text
    emulator.fault(service, kind, **options)
    plain = agent.token(AUDIENCE)
    told = agent.token(AUDIENCE, Accept="application/json")
    assert plain.status >= 400 and told.status >= 400
    assert agent.stop() == 0
    told = agent.log() + plain.text + told.text + str(told.headers)
    pieces = [*secrets_of(emulator), good[-24:], good[200:224]]
    assert [piece for piece in pieces if piece in told] == []
    assert "eyJ" not in told and "ya29." not in told


@pytest.mark.parametrize("body", [
    '{"error":"x","error_description":"eyJhbGciOiJSUzI1NiJ9.eyJhIjoiYiJ9.c2lnbmF0dXJl is bad"}',
    '{"error":"x","error_description":"bearer ya29.c.b0AXv0zTPI-secret_part"}',
    '"eyJhbGciOiJSUzI1NiJ9.eyJhIjoiYiJ9.c2lnbmF0dXJl"',
    "ya29.c.b0AXv0zTPI-secret_part"])
def test_what_looks_like_a_secret_is_masked(agent, emulator, body):
    emulator.fault("token-endpoint", "status", status=400, body=body)
    answer = agent.token(AUDIENCE)
    assert answer.status in (403, 503) and "[masked]" in answer.text
    for piece in ("eyJ", "c2lnbm", "ya29.", "b0AX", "secret_part"):
        assert piece not in answer.text + agent.log()


def test_text_from_outside_is_shown_as_printable_ascii(agent, emulator):
    emulator.fault("token-endpoint", "status", status=400,
                   body='{"error":"x","error_description":"a\\r\\nX: y\\u001b[31mü"}')
    answer = agent.token(AUDIENCE)
    assert "a\\x0d\\x0aX: y\\x1b[31m\\xc3\\xbc" in answer.text
    assert answer.headers["X"] is None
    assert "\x1b" not in agent.log()


def test_nothing_secret_is_in_the_process_list(agent):
    agent.token(AUDIENCE)
    for name in ("cmdline", "environ"):
        text = pathlib.Path(f"/proc/{agent.pid}/{name}").read_bytes()
        assert b"ya29." not in text and b"eyJ" not in text
