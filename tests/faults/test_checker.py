# SPDX-License-Identifier: Apache-2.0
"""The checker, against agents that are none: each tells the truth while all is well
upstream, lies as soon as it is not, and has to be caught."""

import contextlib
import os
import socket
import time

import pytest

from fake_agent import FakeAgent, answer
from judge import Wrong
from matrix import CERTS_UPSTREAM, IDENTITY_UPSTREAM, SIGN_UPSTREAM, TOKEN_UPSTREAM, cases
from resources import Resources, fds_left

FLAVOR = {"Metadata_Flavor": "Google"}


def find(upstream, name):
    (case,) = [case for case in cases(upstream) if str(case) == name]
    return case


WARM = find(TOKEN_UPSTREAM, "500-warm")
NEAR = find(TOKEN_UPSTREAM, "500-near")
PASSES = find(TOKEN_UPSTREAM, "503-twice-cold")
DENIED = find(SIGN_UPSTREAM, "403-cold")
DOWN = find(TOKEN_UPSTREAM, "500-cold")
SOME = [WARM, NEAR, PASSES, DENIED, DOWN]
# The upstreams whose tokens Google's keys decide about.
FORGED = find(IDENTITY_UPSTREAM, "wrong-signature-cold")
IDENTITY_NEAR = find(IDENTITY_UPSTREAM, "500-near")
IDENTITY_DENIED = find(IDENTITY_UPSTREAM, "403-cold")
OLD_KEYS = find(CERTS_UPSTREAM, "500-near")
NO_KEY = find(CERTS_UPSTREAM, "500-unknown")
VERIFIED = [FORGED, IDENTITY_NEAR, IDENTITY_DENIED, OLD_KEYS, NO_KEY]
EVERY = SOME + VERIFIED


def relay(agent, request):
    """The real agent's answer, byte for byte."""
    with agent.connect() as sock:
        sock.sendall(request.replace("Host: ", "Connection: close\r\nHost: ", 1).encode())
        pieces = b""
        while piece := sock.recv(65536):
            pieces += piece
        return pieces


class Liar(FakeAgent):
    """lie(liar, request) -> bytes, while something is wrong upstream."""

    pid = None

    def __init__(self, agent, emulator, lie, always=False):
        self.agent = agent
        self.emulator = emulator
        self.audience = None
        self.lies = 0
        self.always = always
        super().__init__(lambda request: self.say(lie, request))

    def say(self, lie, request):
        if not self.always and not self.emulator.faults():
            return relay(self.agent, request)
        self.lies += 1
        return lie(self, request)

    def token(self, text, max_age, mark="hit"):
        return answer(200, text, Cache_Control=f"private, max-age={max_age}",
                      Gce_Oidc_Cache=mark, Gce_Oidc_Flow="signblob", **FLAVOR)

    def good(self, life=3600, audience=None, **claims):
        return self.emulator.mint(aud=audience or self.audience, exp=int(time.time()) + life,
                                  **claims)


def down(_liar, _request):
    return answer(503, "upstream is down\n", code="unavailable", Retry_After=1, **FLAVOR)


def denied(_liar, _request):
    return answer(403, "no\n", code="denied-by-google", **FLAVOR)


def expired(liar, _request):
    return liar.token(liar.good(-5), 0)


def foreign(liar, _request):
    return liar.token(liar.good(audience="https://somebody-else.example.com"), 3600)


def unsigned(liar, _request):
    return liar.token(liar.good().rpartition(".")[0] + ".", 3600)


def strange(liar, _request):
    return liar.token(liar.emulator.mint("stranger", aud=liar.audience), 3600)


def nameless(liar, _request):
    return liar.token(liar.good(email=None), 3600)


def boaster(liar, _request):
    return liar.token(liar.good(60), 3600)


def hang(_liar, _request):
    return FakeAgent.HANG


def late_error(liar, request):
    """Right, but for the time."""
    liar.done.wait(5)
    return relay(liar.agent, request)


SLOW = (hang, late_error)


def without_code(_liar, _request):
    return answer(503, "upstream is down\n", Retry_After=1, **FLAVOR)


def other_status(_liar, _request):
    return answer(502, "upstream is down\n", code="unavailable", Retry_After=1, **FLAVOR)


def without_retry_after(_liar, _request):
    return answer(503, "upstream is down\n", code="unavailable", **FLAVOR)


def blabber(liar, _request):
    return answer(503, f"upstream says {liar.good()}\n", code="unavailable", Retry_After=1,
                  **FLAVOR)


def bug(_liar, _request):
    return answer(500, "what?\n", code="internal", **FLAVOR)


def no_http(_liar, _request):
    return b"220 mail.example.com ESMTP\r\n"


def closes(_liar, _request):
    return b""


def without_hint(liar, request):
    """The right code, and nothing that mends it."""
    head, _, body = relay(liar.agent, request).partition(b"\r\n\r\n")
    short = body.partition(b"; ")[0]
    head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(short))
    return head + b"\r\n\r\n" + short


def spendthrift(liar, request):
    """The right answer, and upstream is asked needlessly."""
    for number in range(10):
        relay(liar.agent, f"GET /v1/token?audience=x{liar.lies}.{number} HTTP/1.1\r\n"
              "Host: localhost\r\nMetadata-Flavor: Google\r\n\r\n")
    return relay(liar.agent, request)


def play(stage, bench, case, lie, always=False):
    with Liar(bench.agent(case.upstream.way), stage.emulator, lie, always) as liar:
        liar.audience = stage.audience
        if lie in SLOW:
            stage.patience = None
        if lie is hang and always:
            stage.patient = 1
        stage.play_with(liar, case)


def name(value):
    return value.__name__ if callable(value) else f"{value.upstream.name}-{value}"


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_relay_that_tells_the_truth_is_not_caught(stage, bench, case):
    play(stage, bench, case, lambda liar, request: relay(liar.agent, request))


@pytest.mark.parametrize("lie", [down, expired, hang], ids=name)
@pytest.mark.parametrize("case", EVERY, ids=name)
def test_agent_that_always_does_the_same_is_caught(stage, bench, lie, case):
    with pytest.raises(Wrong):
        play(stage, bench, case, lie, always=True)


@pytest.mark.parametrize("case, lie", [
    *((case, lie) for case in SOME for lie in (
        expired, foreign, unsigned, strange, nameless, boaster, hang, late_error, without_code,
        other_status, without_retry_after, blabber, bug, no_http, closes)),
    *((case, lie) for case in VERIFIED for lie in (expired, foreign, unsigned, strange, bug)),
    # An honest answer in one case is a lie in another.
    *((case, down) for case in EVERY if case not in (DOWN, FORGED)),
    *((case, denied) for case in EVERY),
    (DENIED, without_hint), (IDENTITY_DENIED, without_hint),
    (WARM, spendthrift), (DOWN, spendthrift), (FORGED, spendthrift), (NO_KEY, spendthrift),
], ids=name)
def test_agent_that_lies_when_it_matters_is_caught(stage, bench, case, lie):
    with pytest.raises(Wrong):
        play(stage, bench, case, lie)
    assert stage.agent.lies > 0


@pytest.mark.parametrize("leak, what", [
    (lambda: open(os.devnull, "rb"), "/dev/null"),
    (socket.socket, "socket"),
], ids=["file", "socket"])
def test_descriptor_left_behind_is_seen(leak, what):
    resources = Resources(os.getpid())
    before = resources.look()
    with leak():
        assert fds_left(before, resources.look()) == [f"1 more of {what}"]
    assert fds_left(before, resources.look()) == []


def test_connections_upstream_are_counted(emulator):
    resources = Resources(os.getpid())
    address = emulator.metadata.removeprefix("http://").split(":")
    before = resources.look()
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(socket.create_connection(address))
        assert fds_left(before, resources.look()) == []
        stack.enter_context(socket.create_connection(address))
        assert fds_left(before, resources.look()) == [f"5 connections to port {address[1]}"]


def test_memory_is_seen():
    resources = Resources(os.getpid())
    before = resources.look().memory
    held = bytearray(os.urandom(1 << 20)) * 16
    assert resources.look().memory - before >= len(held) // 2
