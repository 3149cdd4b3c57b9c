# SPDX-License-Identifier: Apache-2.0
"""How much, how long and how many: the limits of doc/protocol.md, each at its
last good value and one past it, over the real socket."""

import contextlib
import json
import os
import resource
import select

import pytest

from conftest import wait_for
from raw_http import Wire, answered, request, wire

LINE = 8 * 1024
HEAD = 16 * 1024
FIELDS = 64
BODY = 64 * 1024
AUDIENCE = 2048
WHOAMI = "/v1/whoami?audience="


def line_of(size):
    """A request whose first line is this long, without its CR LF."""
    return request("/" + "a" * (size - len("GET / HTTP/1.1")))


def head_of(size):
    empty = len(request("/", "A: "))
    return request("/", "A: " + "a" * (size - empty))


def fields_of(number):
    """Host and the flavor are two of them."""
    return request("/", *["A: b"] * (number - 2))


def body_of(size):
    return request("/", method="POST", body=b"b" * size)


# How much.

@pytest.mark.parametrize("data, status", [
    (line_of(LINE), 404), (head_of(HEAD), 200), (fields_of(FIELDS), 200),
    (body_of(0), 405), (body_of(BODY), 405)],
    ids=["line", "head", "fields", "no body", "body"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_largest_request_is_answered(agent, data, status, pieces):
    with wire(agent) as it:
        step = len(data) // pieces + 1
        for at in range(0, len(data), step):
            it.send(data[at:at + step])
        assert it.answer().status == status
        assert it.ask("/").status == 200


@pytest.mark.parametrize("data, status", [
    (line_of(LINE + 1), 414), (line_of(LINE + 2), 414), (line_of(HEAD * 2), 414),
    (head_of(HEAD + 1), 431), (head_of(HEAD * 4), 431), (fields_of(FIELDS + 1), 431),
    (fields_of(1000), 431), (body_of(BODY + 1), 413),
    (request("/", "Content-Length: 99999999999999999999999", method="POST"), 413),
    (request("/", "Content-Length: 18446744073709551616", method="POST"), 413)],
    ids=["line", "line by two", "long line", "head", "long head", "fields",
         "many fields", "body", "number over 64 bits", "number that wraps to 0"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_one_past_the_limit_is_refused_and_closed(agent, data, status, pieces):
    with wire(agent) as it:
        step = len(data) // pieces + 1
        for at in range(0, len(data), step):
            it.send(data[at:at + step])
        assert it.refused(status)["Gce-Oidc-Error"] == "bad-request"


@pytest.mark.parametrize("data, status", [
    (b"GET /" + b"a" * LINE, 414), (b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD, 431),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (FIELDS + 1), 431)],
    ids=["line", "head", "fields"])
def test_refusal_does_not_wait_for_the_end(agent, data, status):
    with wire(agent) as it:
        it.send(data)
        assert it.answer().status == status


@pytest.mark.parametrize("audience, encoded", [
    ("a" * AUDIENCE, "a" * AUDIENCE), ("a" * AUDIENCE, "%61" * AUDIENCE),
    ("ü" * (AUDIENCE // 2), "%C3%BC" * (AUDIENCE // 2))],
    ids=["raw", "encoded", "UTF-8"])
def test_longest_audience_is_taken_and_one_byte_more_is_not(agent, audience, encoded):
    with wire(agent) as it:
        answer = it.ask(WHOAMI + encoded)
        assert answer.status == 200
        assert json.loads(answer.body)["audience"] == audience
        longer = it.ask(WHOAMI + encoded + "a")
        assert (longer.status, longer["Gce-Oidc-Error"]) == (400, "bad-request")
        assert str(AUDIENCE) in longer.text
        assert it.ask("/").status == 200


def test_token_for_the_longest_audience(agent, emulator):
    with wire(agent) as it:
        answer = it.ask("/v1/token?audience=" + "a" * AUDIENCE)
    emulator.verify(answer.text, "a" * AUDIENCE)


# How long.

@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n",
                                  b"GET / HTTP/1.1\r\nHost: x\r\n\r"], ids=repr)
def test_slow_head_is_told_so_and_closed(start_agent, data):
    agent = start_agent("[timing]\nhead = 100ms")
    with wire(agent) as it:
        it.send(data)
        assert "head" in it.refused(408).text


def test_head_that_drips_has_no_more_time_than_one_that_stops(start_agent):
    agent = start_agent("[timing]\nhead = 200ms")
    with wire(agent) as it:
        it.send(b"GET / HTTP/1.1\r\nA: ")

        def dripped():
            it.send(b"a")
            return select.select([it.sock], [], [], 0.01)[0]
        wait_for(dripped, "408 while the head drips")
        it.refused(408)


def test_slow_body_is_told_so_and_closed(start_agent):
    agent = start_agent("[timing]\nbody = 100ms")
    with wire(agent) as it:
        it.send(body_of(100)[:-1])
        assert "body" in it.refused(408).text


def test_second_request_has_a_head_time_of_its_own(start_agent):
    agent = start_agent("[timing]\nhead = 100ms")
    with wire(agent) as it:
        assert it.ask("/").status == 200
        it.send(b"GET")
        it.refused(408)


@pytest.mark.parametrize("first", [False, True])
def test_idle_connection_is_closed_without_a_word(start_agent, first):
    agent = start_agent("[timing]\nidle = 2s")       # time enough to ask
    with wire(agent) as it:
        if first:
            assert it.ask("/")["Connection"] is None
        assert it.rest() == b""


def test_waiting_for_a_token_is_not_idle(start_agent, emulator):
    emulator.fault("iam", "delay", seconds=3)
    agent = start_agent("[timing]\nidle = 2s\nhead = 2s\nbody = 2s\nwrite = 2s")
    assert agent.token("slow").status == 200


def test_old_connection_is_closed_behind_an_answer(start_agent):
    agent = start_agent("[timing]\nconnection-lifetime = 1ms")
    with wire(agent) as it:
        wait_for(lambda: it.ask("/")["Connection"] == "close", "an old connection")
        assert it.rest() == b""


def hung_up(it):
    poll = select.poll()
    poll.register(it.sock, 0)
    return lambda: poll.poll(0) and poll.poll(0)[0][1] & select.POLLHUP


def stuff(it):
    """Asks until nothing more is taken, and reads nothing."""
    it.sock.setblocking(False)
    data, poll = request("/v1/whoami") * 100, select.poll()
    poll.register(it.sock, select.POLLOUT)
    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
        while poll.poll(200):
            it.sock.send(data)


def test_client_that_never_reads_is_closed_and_others_live(start_agent):
    agent = start_agent("[timing]\nwrite = 300ms")
    with wire(agent) as it:
        stuff(it)
        assert agent.get("/").status == 200
        wait_for(hung_up(it), "the end of a client that never reads")
    assert agent.get("/").status == 200


# How many.

def connections(agent):
    """Connected sockets of a name that the agent holds: not its socket pairs."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
        rows = [line.split() for line in table]
    connected = {f"socket:[{row[6]}]" for row in rows
                 if row[5] == "03" and len(row) > 7}
    number, fds = 0, f"/proc/{agent.pid}/fd"
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):    # closed while we look
            number += os.readlink(f"{fds}/{fd}") in connected
    return number


def limited(start_agent, config):
    """An agent that holds no connection any more, not even the fixture's."""
    agent = start_agent(config)
    with wire(agent) as it:
        it.ask("/")
        assert connections(agent) > 0
    wait_for(lambda: connections(agent) == 0, "nobody connected")
    return agent


def test_connection_above_the_limit_is_told_that_all_are_busy(start_agent):
    agent = limited(start_agent, "[limits]\nconnections = 8\npeer-share = 100%")
    with contextlib.ExitStack() as stack:
        eight = [stack.enter_context(wire(agent)) for _ in range(8)]
        assert [it.ask("/").status for it in eight] == [200] * 8
        ninth = stack.enter_context(wire(agent))
        ninth.send(request("/"))
        answer = ninth.refused(429)
        assert answer["Gce-Oidc-Error"] == "busy"
        assert int(answer["Retry-After"]) >= 1
        assert [it.ask("/").status for it in eight] == [200] * 8

        eight[0].close()
        wait_for(lambda: agent.get("/").status == 200, "room for another")


def test_peer_has_its_share_of_connections(start_agent):
    agent = limited(start_agent, "[limits]\nconnections-per-peer = 3")
    with contextlib.ExitStack() as stack:
        three = [stack.enter_context(wire(agent)) for _ in range(3)]
        assert [it.ask("/").status for it in three] == [200] * 3
        fourth = stack.enter_context(wire(agent))
        fourth.send(request("/"))
        answer = fourth.refused(429)
        assert answer["Gce-Oidc-Error"] == "busy"
        assert answer["Retry-After"] and "connections-per-peer" in answer.text
        assert three[0].ask("/").status == 200

        three[0].close()
        wait_for(lambda: agent.get("/").status == 200, "room for another")


def can_be_another():
    """Root of a user namespace cannot, who has no other users."""
    try:
        os.seteuid(12345)
    except OSError:
        return False
    os.seteuid(0)
    return True


@contextlib.contextmanager
def another(uid):
    """Who connects meanwhile is this user."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not can_be_another(), reason="cannot be another user")
def test_one_peer_cannot_take_the_connections_of_another(start_agent):
    agent = limited(start_agent, "[limits]\nconnections-per-peer = 2")
    with wire(agent) as one, wire(agent) as two:
        assert [it.ask("/").status for it in (one, two)] == [200] * 2
        with another(12345):
            other = wire(agent)
        with other:
            assert other.ask("/").status == 200


def test_agent_out_of_descriptors_answers_those_it_has(start_agent):
    agent = start_agent()
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(wire(agent))
        assert old.ask("/").status == 200
        used = len(os.listdir(f"/proc/{agent.pid}/fd"))
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (used + 4, used + 4))

        more = [stack.enter_context(wire(agent)) for _ in range(30)]
        for it in more:
            it.send(request("/"))
        answers = []
        for it in more:
            with contextlib.suppress(AssertionError, ConnectionResetError):
                answers.append(it.answer().status)
        assert set(answers) == {200, 429}
        assert len(answers) == len(more)    # nobody is told by silence
        assert old.ask("/").status == 200
        assert old.ask("/v1/whoami").status == 200
        for it in more:
            it.close()
        wait_for(lambda: agent.get("/").status == 200, "a descriptor for a new one")
    assert "clients are turned away" in agent.log()


def raise_limit(need):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))


def test_two_thousand_idle_connections_are_held(start_agent):
    number = 2000
    raise_limit(number + 200)
    agent = start_agent("[limits]\nconnections-per-peer = 4096")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(wire(agent)) for _ in range(number)]
        for it in idle:
            it.send(request("/"))
        assert {it.answer().status for it in idle} == {200}
        assert agent.token("beside-them").status == 200
        assert {it.ask("/").status for it in idle[::100]} == {200}
    assert agent.get("/").status == 200


def unfinished(stack, agent, number):
    """So many connections that have sent a body but for its last byte."""
    wires = [stack.enter_context(wire(agent)) for _ in range(number)]
    for it in wires:
        it.send(body_of(BODY)[:-1])
    return wires


def in_time(wires, total):
    """Whose body is whole, after as many were refused as do not fit."""
    too_many = (len(wires) * BODY - total) // BODY
    refused = []
    if too_many > 0:
        refused = wait_for(lambda: (r := answered(wires)) and
                           len(r) >= too_many and r, "refusals")
        assert {it.answer().status for it in refused} == {429}
    rest = [it for it in wires if it not in refused]
    for it in rest:
        it.send(b"b")
    statuses = [it.answer().status for it in rest]
    assert set(statuses) <= {405, 429}
    return statuses.count(405)


PATIENT = "[timing]\nhead = 5min\nbody = 5min\n"


def test_unfinished_input_of_one_peer_is_bounded(start_agent):
    agent = start_agent(PATIENT)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(wire(agent))
        assert old.ask("/").status == 200
        # Room for 16 bodies without their heads.
        with contextlib.ExitStack() as first:
            assert in_time(unfinished(first, agent, 40), 1024 * 1024) == 15
        assert old.ask("/").status == 200
        wait_for(lambda: connections(agent) == 1, "the others to be gone")
        assert in_time(unfinished(stack, agent, 15), 1024 * 1024) == 15


@pytest.mark.skipif(not can_be_another(), reason="cannot be another user")
def test_unfinished_input_of_all_together_is_bounded(start_agent):
    agent = start_agent(PATIENT)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(wire(agent))
        assert old.ask("/").status == 200
        many = []
        for uid in range(20000, 20020):
            with another(uid):
                many += unfinished(stack, agent, 15)
        assert 200 < in_time(many, 16 * 1024 * 1024) <= 256
        assert old.ask("/").status == 200


def test_client_that_leaves_at_once_costs_nothing(agent):
    for data in (b"", b"G", request("/")[:-1], request("/"), body_of(10)[:-1],
                 request("/v1/token?audience=left")) * 20:
        sock = agent.connect()
        sock.sendall(data)
        sock.close()
    with Wire(agent.connect()) as it:
        assert it.ask("/").status == 200
    wait_for(lambda: connections(agent) == 0, "all gone")
