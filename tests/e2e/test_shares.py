# SPDX-License-Identifier: Apache-2.0
"""What one peer can take of the agent, and all of them of Google."""

import contextlib
import os
import pathlib
import time
import urllib.parse

import pytest

from conftest import wait_for
from raw_http import Wire, answered, request
from steps import ACCESS, ACCOUNT, COLD, ID_TOKEN, SIGNATURE, SIGNBLOB, steps

GREEDY, OTHER = 12345, 23456
SANITIZERS = os.environ.get("SANITIZERS", "no") not in ("", "no")

# Nothing but the shares stands in the way.
SHARES = SIGNBLOB + """
[limits]
requests-per-second = 10000
[timing]
google-backoff = 1ms
google-backoff-max = 2ms
unavailable = 0
unavailable-max = 0
"""


def can_be_another():
    """Root of a user namespace cannot, who has no other users."""
    try:
        os.seteuid(GREEDY)
    except OSError:
        return False
    os.seteuid(0)
    return True


two_users = pytest.mark.skipif(not can_be_another(), reason="cannot be another user")


def connect_as(agent, uid):
    """A connection that counts for this user: credentials are those of connect time."""
    if uid == os.geteuid():
        return Wire(agent.connect())
    os.seteuid(uid)
    try:
        return Wire(agent.connect())
    finally:
        os.seteuid(0)


def ask_for(audience, *fields):
    return request("/v1/token?" + urllib.parse.urlencode({"audience": audience}), *fields)


def token(agent, uid, audience, *fields):
    with connect_as(agent, uid) as it:
        it.send(ask_for(audience, *fields))
        return it.answer()


def greedy(i):
    return f"https://greedy-{i}.example.com"


@contextlib.contextmanager
def flood(agent, number, *fields, uid=GREEDY):
    """So many connections of one peer, each of which wants another audience."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connect_as(agent, uid)) for _ in range(number)]
        for i, it in enumerate(wires):
            it.send(ask_for(greedy(i), *fields))
        yield wires


def codes(answers):
    return {(it.status, it["Gce-Oidc-Error"]) for it in answers}


# --- flights and waiters


@two_users
def test_peer_that_floods_a_hanging_google_delays_nobody_else(start_agent, emulator):
    agent = start_agent(SHARES + "google-try = 10min\nwait = 5min\nwait-max = 5min\n"
                        "[limits]\nwaiters = 160\n")      # 40 for one
    warm = "https://warm.example.com"
    assert token(agent, OTHER, warm).status == 200
    emulator.reset()
    # Whatever the greedy one has asked there hangs: it has one connection of four.
    emulator.fault("token-endpoint", "hang", times=1)
    with flood(agent, 60) as wires:
        refused = wait_for(lambda: (r := answered(wires)) and len(r) >= 20 and r, "refusals")
        # Four flights run, 36 wait, and the rest is told so.
        answers = [it.answer() for it in refused]
        assert len(answers) == 20 and codes(answers) == {(429, "busy")}
        assert all(it["Retry-After"] and "peer-share of waiters" in it.text for it in answers)
        wait_for(lambda: steps(emulator) == {SIGNATURE: 4, ID_TOKEN: 1}, "four flights")

        cold = token(agent, OTHER, "https://cold.example.com")
        assert (cold.status, cold["Gce-Oidc-Cache"]) == (200, "miss")
        hits = [token(agent, OTHER, warm) for _ in range(20)]
        assert {(it.status, it["Gce-Oidc-Cache"]) for it in hits} == {(200, "hit")}
        assert steps(emulator) == {SIGNATURE: 5, ID_TOKEN: 2}
        # Who joins what the greedy one has queued gets it going.
        shared = token(agent, OTHER, greedy(39))
        assert (shared.status, shared["Gce-Oidc-Cache"]) == (200, "shared")
        assert steps(emulator) == {SIGNATURE: 6, ID_TOKEN: 3}

        emulator.unfault()          # ends the exchanges that hang
        rest = [it for it in wires if it not in refused]
        assert {it.answer().status for it in rest} == {200}
    # 40 of the one, one of the other, and nothing twice.
    assert steps(emulator) == {SIGNATURE: 41, ID_TOKEN: 41}


# --- the budget


@two_users
def test_peer_gets_its_share_of_requests_and_not_one_more(start_agent, emulator):
    # 15 for one, one more in 4 s; 54 for all peers.
    agent = start_agent(SHARES + "[upstream]\nrequests-per-minute = 60\n")
    assert token(agent, OTHER, "https://warm.example.com").status == 200
    emulator.reset()
    began = time.monotonic()
    with flood(agent, 30, "Prefer: wait=5") as wires:
        answers = [it.answer() for it in wires]
    took = time.monotonic() - began
    good = [it for it in answers if it.status == 200]
    bad = [it for it in answers if it.status != 200]
    assert codes(bad) == {(429, "busy")}
    assert all(int(it["Retry-After"]) >= 1 and "peer-share" in it.text for it in bad)
    more = int(took / 4) + 1
    # Two for a token, and of four at a time some stop half-way.
    assert 5 <= len(good) <= 7 + more
    assert 15 <= sum(steps(emulator).values()) <= 15 + more

    # Another one has a share of its own, and the greedy one what it was given.
    assert token(agent, OTHER, "https://other.example.com").status == 200
    served = greedy(answers.index(good[0]))
    assert token(agent, OTHER, served)["Gce-Oidc-Cache"] == "hit"
    assert token(agent, GREEDY, served)["Gce-Oidc-Cache"] == "hit"
    late = token(agent, GREEDY, greedy(99), "Prefer: wait=1")
    assert (late.status, late["Gce-Oidc-Error"]) == (429, "busy")


@pytest.mark.parametrize("status", [429, 503])
def test_storm_of_refusals_never_exceeds_the_budget(start_agent, emulator, status):
    """Retries without pauses, callers without mercy."""
    agent = start_agent(SHARES + """
[upstream]
requests-per-minute = 60
[limits]
peer-share = 100%
[timing]
google-tries = 20
""")
    assert agent.token("https://warm.example.com").status == 200
    emulator.fault("iam", "status", status=status)
    began = time.monotonic()
    with flood(agent, 60, "Prefer: wait=1", uid=os.geteuid()) as wires:
        answers = [it.answer() for it in wires]
    assert {it.status for it in answers} <= {429, 503, 504}

    def spent():
        return sum(steps(emulator, keys=True).values())

    # The last tenth is not for peers; one comes in a second.
    wait_for(lambda: spent() >= 54, "all of it is spent")
    assert spent() <= 54 + (time.monotonic() - began) + 1, steps(emulator)
    # The agent is well, and so are those who need nothing of Google.
    assert agent.token("https://warm.example.com").headers["Gce-Oidc-Cache"] == "hit"


def test_what_nobody_asked_for_is_not_starved_by_peers(start_agent, emulator):
    """A token in use is refreshed whatever peers have spent."""
    agent = start_agent(SHARES + """
[upstream]
requests-per-minute = 60
[limits]
peer-share = 100%
[cache]
refresh-ahead = 8s
[timing]
refresh-jitter = 0
brand-new = 0
wish = 0
""")
    warm = "https://warm.example.com"
    emulator.set(id_token_life=16)
    first = agent.token(warm)
    emulator.set(id_token_life=3600)
    with flood(agent, 60, "Prefer: wait=1", uid=os.geteuid()) as wires:
        bad = [it for it in (it.answer() for it in wires) if it.status != 200]
        assert codes(bad) <= {(429, "busy"), (503, "unavailable"), (504, "timeout")}
        emulator.reset()
        for i, it in enumerate(wires):
            it.send(ask_for(greedy(100 + i)))       # and they do not stop
        second = wait_for(lambda: (a := agent.token(warm)).body != first.body and a,
                          "the next token")
    assert (second.status, second.headers["Gce-Oidc-Cache"]) == (200, "hit")


# --- many audiences

MANY = 5000
LIMITS = """
[upstream]
requests-per-minute = 1000000
[limits]
peer-share = 100%
requests-per-second = 100000
"""


def many(i):
    return f"https://service-{i}.example.com/of-some-length"


def all_of_them(agent, numbers, in_flight=32):
    """Asks for one after the other on some connections at a time; what the cache has
    said, and how often."""
    marks = {}
    numbers = list(numbers)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(agent.connect())) for _ in range(in_flight)]
        for first in range(0, len(numbers), in_flight):
            part = list(zip(wires, numbers[first:first + in_flight]))
            for it, i in part:
                it.send(ask_for(many(i)))
            for it, _ in part:
                answer = it.answer()
                assert answer.status == 200, answer.text
                mark = answer["Gce-Oidc-Cache"]
                marks[mark] = marks.get(mark, 0) + 1
    return marks


def memory(agent):
    """Of its own, resident."""
    text = pathlib.Path(f"/proc/{agent.pid}/status").read_text()
    (line,) = [it for it in text.splitlines() if it.startswith("RssAnon:")]
    return int(line.split()[1]) << 10


def test_five_thousand_audiences_are_served_and_kept(start_agent, emulator):
    agent = start_agent(SIGNBLOB + LIMITS + f"[cache]\nentries = {MANY}\nper-peer = {MANY}\n")
    assert all_of_them(agent, range(MANY)) == {"miss": MANY}
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, **{k: MANY for k in COLD}}
    assert all_of_them(agent, range(MANY)) == {"hit": MANY}
    assert steps(emulator)[SIGNATURE] == MANY
    grown = memory(agent)
    # A token and its key are about 1.5 KiB; what libraries keep is less than 16 MiB.
    assert SANITIZERS or grown < MANY * 4096 + (16 << 20), f"{grown >> 10} KiB"


@two_users
def test_five_thousand_audiences_in_a_small_cache_leave_no_trace(start_agent):
    agent = start_agent(SIGNBLOB + LIMITS + "[cache]\nentries = 512\nper-peer = 256\n")
    mine = [f"https://mine-{i}.example.com" for i in range(20)]
    for audience in mine:
        assert token(agent, OTHER, audience).status == 200
    assert all_of_them(agent, range(1000)) == {"miss": 1000}
    before = memory(agent)
    assert all_of_them(agent, range(1000, MANY)) == {"miss": MANY - 1000}
    grown = memory(agent) - before
    # 4,000 tokens that were kept would be 6 MiB; what the allocator has not yet
    # given back is a part of one.
    assert SANITIZERS or grown < (1 << 20), f"{grown >> 10} KiB more"
    # The last ones are there, the first ones are not, another's all are.
    assert all_of_them(agent, range(MANY - 256, MANY)) == {"hit": 256}
    assert all_of_them(agent, range(32)) == {"miss": 32}
    assert {token(agent, OTHER, it)["Gce-Oidc-Cache"] for it in mine} == {"hit"}
    print(f"{grown >> 10} KiB more after {MANY - 1000} evictions")
