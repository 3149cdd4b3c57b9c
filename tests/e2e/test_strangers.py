# SPDX-License-Identifier: Apache-2.0
"""Peers whom no rule could admit share a little of everything; whoever has many
uids takes nothing from a peer that a rule names."""

import contextlib
import os
import pathlib
import resource
import select

import pytest

from conftest import wait_for
from raw_http import Wire, answered, request, wire
from steps import ACCOUNT as LOOKED_FOR, COLD, SIGNBLOB, steps
from test_http_limits import another, body_of, can_be_another, connections, raise_limit

STRANGERS = 256
KEPT = 64           # descriptors
REFUSED = 64        # are held to be told so
BODY = 4096
KNOWN, OTHER = 1000, 1001           # whom rules name
STRANGER = 30000                    # the first of many whom none does
FACE = "/computeMetadata/v1/"
ACCOUNT = FACE + "instance/service-accounts/default/"
VALUES = ["project/project-id", "project/numeric-project-id", "instance/id",
          "instance/zone", "instance/name", "instance/hostname",
          "universe/universe-domain"]
OPEN = ["/", "/healthz", "/v1/whoami", "/v1/whoami?audience=a", FACE,
        FACE + "instance/service-accounts/?recursive=true", ACCOUNT + "email",
        ACCOUNT + "scopes", ACCOUNT + "aliases"]

RULES = f"""
[rule host-root]
user = root
kind = id monitor admin
audience = **
[rule known]
user = {KNOWN} {OTHER}
audience = https://**
"""

pytestmark = pytest.mark.skipif(not can_be_another(), reason="cannot be another user")


@contextlib.contextmanager
def wire_as(agent, uid):
    with another(uid):
        it = wire(agent)
    with it:
        yield it


def ask_as(agent, uid, *args, **kwargs):
    with wire_as(agent, uid) as it:
        return it.ask(*args, **kwargs)


def token(audience):
    return "/v1/token?audience=https://" + audience


@pytest.fixture
def strict(start_agent, emulator):
    """strict(config="", **options): an agent that knows root and two others, with
    one token for each of them in its cache."""
    def start(config="", **options):
        agent = start_agent(SIGNBLOB + config, rules=RULES, **options)
        assert ask_as(agent, KNOWN, token("known")).status == 200
        assert ask_as(agent, OTHER, token("other")).status == 200
        # The fixture's own connection, too.
        wait_for(lambda: connections(agent) == 0, "nobody connected")
        return agent
    return start


# How much one gets.

def test_one_stranger_more_takes_the_place_of_the_one_that_is_idle_for_longest(strict):
    agent = strict()
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(wire_as(agent, KNOWN))
        assert known.ask(token("known")).status == 200
        many = [stack.enter_context(wire_as(agent, STRANGER + i % 40))
                for i in range(STRANGERS)]
        assert {it.ask("/").status for it in many} == {200}
        assert many[0].ask("/").status == 200       # now the second is the oldest
        assert connections(agent) == STRANGERS + 1

        one_more = stack.enter_context(wire_as(agent, STRANGER + 99))
        assert one_more.ask("/").status == 200
        assert many[1].rest() == b""
        assert connections(agent) == STRANGERS + 1
        del many[1]
        assert {it.ask("/").status for it in many} == {200}
        assert known.ask(token("known"))["Gce-Oidc-Cache"] == "hit"
        assert ask_as(agent, OTHER, token("other")).status == 200


def test_strangers_that_are_busy_are_not_closed_and_newcomers_are_told(strict):
    agent = strict()
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(wire_as(agent, STRANGER))
                for i in range(STRANGERS)]
        for it in many:     # what comes with an answered request has been read
            it.send(request("/") + request(ACCOUNT + "email?wait_for_change=true") + b"GET")
        assert {it.answer().status for it in many} == {200}
        wait_for(lambda: connections(agent) == STRANGERS, "all of them")
        with wire_as(agent, STRANGER + 1) as it:
            it.send(request("/"))
            answer = it.refused(429)
        assert (answer["Gce-Oidc-Error"], answer["Retry-After"]) == ("busy", "1")
        assert ask_as(agent, KNOWN, token("known"))["Gce-Oidc-Cache"] == "hit"
        assert ask_as(agent, 0, "/healthz").status == 200
        assert connections(agent) >= STRANGERS


@pytest.mark.parametrize("uid, size, status", [
    (STRANGER, BODY, 405), (STRANGER, BODY + 1, 413), (KNOWN, BODY + 1, 405),
    (KNOWN, 64 * 1024, 405)])
def test_largest_body_of_a_stranger(strict, uid, size, status):
    with wire_as(strict(), uid) as it:
        it.send(body_of(size))
        assert it.answer().status == status


def test_refusal_of_a_stranger_does_not_wait_for_the_body(strict):
    with wire_as(strict(), STRANGER) as it:
        it.send(body_of(BODY + 1)[:-BODY - 1])
        answer = it.refused(413)
    assert "no rule admits" in answer.text and str(BODY) in answer.text


# Nothing is asked upstream for them.

def test_stranger_causes_no_request_upstream(strict, emulator):
    agent = strict()
    before = steps(emulator, keys=True)
    with wire_as(agent, STRANGER) as it:
        for target in (token("new"), token("known"),
                       ACCOUNT + "identity?audience=https://new",
                       f"/v1/token?audience=https://new&account={emulator.email}"):
            for _ in range(3):
                answer = it.ask(target)
                assert (answer.status, answer["Gce-Oidc-Error"]) == (
                    403, "denied-by-policy")
        for target in OPEN:
            assert it.ask(target).status == 200
    assert steps(emulator, keys=True) == before


def test_strangers_are_told_at_once_while_the_account_is_sought(start_agent, emulator):
    emulator.fault("metadata", "hang")
    agent = start_agent(rules=RULES)
    with wire_as(agent, STRANGER) as it:
        assert it.ask(token("a")).status == 403
        assert it.ask("/v1/token?audience=https://a&account=x@y").status == 403
        assert it.ask(ACCOUNT + "identity?audience=https://a").status == 403


def asked(emulator, value):
    return sum(record["target"].partition("?")[0].endswith(value)
               for record in emulator.requests("metadata"))


def test_value_is_fetched_once_for_all_strangers(strict, emulator):
    agent = strict()
    # What the agent asks for itself comes first, the universe before the account.
    wait_for(lambda: LOOKED_FOR in steps(emulator), "a look for the account")
    emulator.reset()
    for value in VALUES:
        with contextlib.ExitStack() as stack:
            many = [stack.enter_context(wire_as(agent, STRANGER + i)) for i in range(9)]
            for it in many:
                it.send(request(FACE + value))
            assert {it.answer().status for it in many} == {200}
        assert asked(emulator, value) == 1


def test_value_that_fails_is_not_asked_for_by_strangers_again(strict, emulator):
    value = VALUES[0]
    emulator.fault("metadata", "status", status=503, match=value)
    agent = strict("[timing]\nmetadata-tries = 1\nvalue-retry = 1h")
    for i in range(20):
        assert ask_as(agent, STRANGER + i, FACE + value).status == 503
    assert asked(emulator, value) == 1
    # Whom a rule knows may try again, and what comes of it is everybody's.
    assert ask_as(agent, KNOWN, FACE + value).status == 503
    assert asked(emulator, value) == 2
    emulator.unfault()
    assert ask_as(agent, STRANGER, FACE + value).status == 503
    assert ask_as(agent, KNOWN, FACE + value).status == 200
    assert ask_as(agent, STRANGER, FACE + value).status == 200
    assert asked(emulator, value) == 3


# Descriptors.

def descriptors(agent):
    return {int(fd) for fd in os.listdir(f"/proc/{agent.pid}/fd")}


def fill_as(agent, uid, stack):
    """As many connections as are served; the last one, which is not."""
    held = []
    while True:
        it = stack.enter_context(wire_as(agent, uid))
        answer = it.ask("/")
        if answer.status != 200:
            assert answer.status == 429
            assert it.rest() == b""
            return held
        held.append(it)


def test_last_descriptors_are_kept_for_root_and_upstream(strict, emulator):
    limit = 220
    agent = strict("[limits]\nrequests-per-second = 10000",
                   prefix=["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh"])
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(wire_as(agent, STRANGER)) for _ in range(10)]
        assert {it.ask("/").status for it in strangers} == {200}
        held = fill_as(agent, KNOWN, stack)
        # All strangers have made room, one by one.
        assert {it.rest() for it in strangers} == {b""}
        wait_for(lambda: descriptors(agent) == set(range(limit - KEPT)), "all but the kept ones")
        assert ask_as(agent, STRANGER, "/").status == 429
        assert ask_as(agent, OTHER, "/").status == 429

        # Upstream has some, and root: each token needs connections of its own here.
        emulator.fault("iam", "reset", times=1)
        assert held[0].ask(token("cold")).status == 200
        roots = [stack.enter_context(wire_as(agent, 0)) for _ in range(20)]
        assert {it.ask(token("root")).status for it in roots} == {200}
        assert max(descriptors(agent)) >= limit - KEPT
        assert ask_as(agent, OTHER, "/").status == 429

        held[0].close()
        wait_for(lambda: ask_as(agent, OTHER, "/").status == 200, "room for another")
    assert "clients are turned away" in agent.log()


# Connections.

def test_root_is_let_in_where_others_hold_all_connections(start_agent):
    users = range(1000, 1004)
    agent = start_agent("[limits]\nconnections = 20",      # five for one
                        rules=RULES.replace("1000 1001", " ".join(map(str, users))))
    wait_for(lambda: connections(agent) == 0, "nobody connected")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(wire_as(agent, uid)) for uid in users
                for _ in range(5)]
        assert {it.ask("/").status for it in held} == {200}
        answer = ask_as(agent, KNOWN, "/")
        assert answer.status == 429 and "peer-share of connections" in answer.text
        assert ask_as(agent, STRANGER, "/").status == 429

        roots = [stack.enter_context(wire_as(agent, 0)) for _ in range(5)]
        assert {it.ask("/").status for it in roots} == {200}
        assert ask_as(agent, 0, "/").status == 429      # its share is one, too
        assert {it.ask("/").status for it in held} == {200}


# Many uids at once.

UIDS, EACH = 40, 512
HANGING = 16
# The limits are the ordinary ones; a try lasts as long as the test.
ATTACK = "[timing]\ngoogle-try = 10min\nwait-max = 1h"


def resident(agent):
    text = pathlib.Path(f"/proc/{agent.pid}/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


def alive(wires):
    """Those that the agent has not closed."""
    poll = select.poll()
    for it in wires:
        poll.register(it.sock, 0)
    gone = {fd for fd, _ in poll.poll(0)}
    return [it for it in wires if it.sock.fileno() not in gone]


def attack(agent, uid):
    """Connections of this uid that have sent a body of 60 KiB but for its last
    byte, whether the agent wants to hear it or not."""
    data, wires = body_of(60 * 1024)[:-1], []
    with another(uid):
        for _ in range(EACH):
            it = Wire(agent.connect())
            it.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError, BrokenPipeError,
                                     ConnectionResetError):
                it.sock.send(data)
            wires.append(it)
    return wires


def test_forty_uids_and_hanging_audiences_affect_nobody_else(strict, emulator):
    raise_limit(2000)
    agent = strict(ATTACK)
    before = resident(agent)
    with contextlib.ExitStack() as stack:
        victim = stack.enter_context(wire_as(agent, OTHER))
        assert victim.ask(token("other"))["Gce-Oidc-Cache"] == "hit"

        # Of the connections to a host it has one, of flights four.
        emulator.fault("iam", "hang", times=1)
        hanging = [stack.enter_context(wire_as(agent, KNOWN)) for _ in range(HANGING)]
        for number, it in enumerate(hanging):
            it.send(request(token(f"hanging-{number}"), "Prefer: wait=600"))
        attackers = []
        for i in range(UIDS):
            attackers += attack(agent, STRANGER + i)
            assert victim.ask(token("other"))["Gce-Oidc-Cache"] == "hit"
            # By then those that came before it are through.
            fresh = ask_as(agent, OTHER, token("other"))
            assert fresh["Gce-Oidc-Cache"] == "hit"
            assert connections(agent) <= STRANGERS + REFUSED + HANGING + 2
            left = alive(attackers)
            for it in set(attackers) - set(left):
                it.close()
            attackers = left
        for it in attackers:
            stack.enter_context(it)

        before_cold = steps(emulator)
        cold = victim.ask(token("cold"))
        assert (cold.status, cold["Gce-Oidc-Cache"]) == (200, "miss")
        emulator.verify(cold.text, "https://cold")
        after = steps(emulator)
        assert {name: after[name] - before_cold.get(name, 0) for name in COLD} == COLD
        assert answered(hanging) == []
        assert resident(agent) - before < 32 * 1024 * 1024
    assert agent.running()
    wait_for(lambda: connections(agent) == 0, "all gone")
    assert ask_as(agent, KNOWN, token("known"))["Gce-Oidc-Cache"] == "hit"
