# SPDX-License-Identifier: Apache-2.0
"""Loopback TCP: limits, time-outs and stopping are those of the Unix socket, and a
peer is one peer by either way."""

import contextlib
import os

import pytest

from conftest import Response, wait_for
from loopback import FAMILIES, LISTEN, Loopback, start_loopback  # noqa: F401
from raw_http import request, wire
from steps import SIGNBLOB, steps
from test_http_limits import body_of, can_be_another
from test_metadata_face import DEFAULT, FLAVOR, PATIENT, WAITING
from test_strangers import (BODY, KEPT, KNOWN, OPEN, OTHER, STRANGER, STRANGERS, ask_as,
                            descriptors, token, wire_as)

RULES = f"""
[rule root]
user = root
host = any
audience = **
[rule known]
user = {KNOWN} {OTHER}
host = any
audience = https://**
"""

as_others = pytest.mark.skipif(not can_be_another(), reason="cannot be another user")


def tcp_connections(it):
    """Those that the agent has accepted on its port and not closed."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    ours = f":{it.port:04X}"
    sockets = {f"socket:[{row[9]}]" for row in rows
               if row[1].endswith(ours) and row[3] != "0A"}
    held, fds = 0, f"/proc/{it.agent.pid}/fd"
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):
            held += os.readlink(f"{fds}/{fd}") in sockets
    return held


@pytest.fixture
def strict(start_agent):
    """One that knows root and two others, with a token for one of them."""
    def start(config="", **more):
        it = Loopback(start_agent(SIGNBLOB + config, rules=RULES, args=LISTEN, **more))
        assert ask_as(it, KNOWN, token("known")).status == 200
        wait_for(lambda: tcp_connections(it) == 0, "nobody connected")
        return it
    return start


# --- how much one gets


@as_others
def test_connections_count_for_the_uid_by_whatever_way_they_came(strict):
    it = strict("[limits]\nconnections-per-peer = 3\n")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(wire_as(way, KNOWN)) for way in (it, it.agent, it)]
        assert {one.ask(token("known")).status for one in held} == {200}
        for way in (it, it.agent):
            answer = ask_as(way, KNOWN, "/")
            assert (answer.status, answer["Gce-Oidc-Error"]) == (429, "busy")
            assert f"uid {KNOWN} holds 3 connections already" in answer.text
        assert ask_as(it, OTHER, token("known")).status == 200
        held[1].close()
        wait_for(lambda: ask_as(it, KNOWN, "/").status == 200, "room for one")


@as_others
def test_strangers_over_tcp_share_what_strangers_have(strict):
    it = strict()
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(wire_as(way, STRANGER + i % 40))
                for i in range(STRANGERS // 2) for way in (it, it.agent)]
        assert {one.ask("/").status for one in many} == {200}
        assert many[0].ask("/").status == 200       # now the second is the oldest
        one_more = stack.enter_context(wire_as(it, STRANGER + 99))
        assert one_more.ask("/").status == 200
        assert many[1].rest() == b""
        assert many[2].ask("/").status == many[0].ask("/").status == 200
        assert ask_as(it, KNOWN, token("known"))["Gce-Oidc-Cache"] == "hit"


@as_others
def test_stranger_over_tcp_causes_no_request_upstream(strict, emulator):
    it = strict()
    before = steps(emulator, keys=True)
    with wire_as(it, STRANGER) as one:
        for target in (token("new"), token("known"),
                       DEFAULT + "identity?audience=https://new"):
            answer = one.ask(target)
            assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "denied-by-policy")
        for target in OPEN:
            assert one.ask(target).status == 200
    assert steps(emulator, keys=True) == before


@as_others
@pytest.mark.parametrize("uid, size, status", [
    (STRANGER, BODY, 405), (STRANGER, BODY + 1, 413), (KNOWN, BODY + 1, 405)])
def test_largest_body_of_a_stranger_over_tcp(strict, uid, size, status):
    with wire_as(strict(), uid) as one:
        one.send(body_of(size).replace(b"Host: localhost", b"Host: 127.0.0.1"))
        assert one.answer().status == status


@as_others
def test_rule_that_gives_nothing_over_tcp_makes_no_one_known_there(start_agent):
    """Its only kind takes tcp = yes."""
    it = Loopback(start_agent(args=LISTEN, rules=f"""
[rule looks]
user = {KNOWN}
host = any
kind = monitor
"""))
    for way, status in ((it, 413), (it.agent, 405)):
        with wire_as(way, KNOWN) as one:
            one.send(body_of(BODY + 1))
            assert one.answer().status == status


@as_others
def test_last_descriptors_are_not_for_root_over_tcp(strict):
    """A uid alone does not tell the host's root from a container's."""
    limit = 180
    it = strict("[limits]\nconnections-per-peer = 1000\npeer-share = 100%\n",
                prefix=["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh"])
    with contextlib.ExitStack() as stack:
        while True:
            one = stack.enter_context(wire_as(it, KNOWN))
            if one.ask("/").status != 200:
                break
        # That one has been answered, and may not be closed yet.
        wait_for(lambda: max(descriptors(it.agent)) == limit - KEPT - 1, "the others' descriptors")
        assert ask_as(it, 0, "/").status == 429
        assert ask_as(it.agent, 0, "/").status == 200


# --- how long


def test_old_connection_over_tcp_is_closed_behind_an_answer(start_loopback):
    it = start_loopback("connection-lifetime = 1ms\n")
    with wire(it) as one:
        wait_for(lambda: one.ask("/")["Connection"] == "close", "an old connection")
        assert one.rest() == b""


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("form", WAITING)
def test_held_answers_are_given_over_tcp_when_the_agent_stops(start_agent, name, form):
    it = Loopback(start_agent(PATIENT, args=LISTEN), name)
    plain = it.get(DEFAULT + form.replace("wait_for_change", "x"))
    held = it.connection()
    held.request("GET", DEFAULT + form, headers=FLAVOR)
    # Come after it, so answered after it has been read.
    assert it.get("/").status == 200
    assert it.agent.stop() == 0
    answer = Response(held.getresponse())
    held.close()
    assert (answer.status, answer.text) == (200, plain.text)
    assert answer.headers["Connection"] == "close"


def test_unfinished_head_over_tcp_is_told_and_closed(start_loopback):
    it = start_loopback("head = 100ms\n")
    with wire(it) as one:
        one.send(request("/")[:-2])
        one.refused(408)
