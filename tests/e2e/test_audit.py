# SPDX-License-Identifier: Apache-2.0
"""The audit: a line for who was granted or denied what, in the journal and on standard
error; never a token in it, and nobody's line lost to somebody else's flood."""

import contextlib
import re
import socket
import sys
import urllib.parse

import pytest

from conftest import TESTS
from raw_http import wire
from test_policy import Rules, other_users

RULES = """
[rule root]
user = root
host = any
kind = id monitor admin
audience = https://root.example.com/**

[rule web]
user = 1000
host = any
audience = https://web.example.com
"""
WEB = "/v1/token?audience=https://web.example.com"
OTHER = "/v1/token?audience=https://other.example.com"

pytestmark = pytest.mark.skipif(not other_users(), reason="no other users here")


def root_token(name):
    return "/v1/token?audience=" + urllib.parse.quote("https://root.example.com/" + name)


class Journal:
    def __init__(self, place):
        place.chmod(0o755)
        self.directory = place / "journal"
        self.directory.mkdir(mode=0o755)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind(str(self.directory / "socket"))
        self.seen = []

    def read(self, event):
        """The fields of each line about this kind of event, so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self.sock.recv(65536).decode()
                self.seen.append(dict(line.split("=", 1) for line in text.splitlines()))
        return [entry for entry in self.seen if entry.get("GCE_OIDC_EVENT") == event]


@pytest.fixture
def journal(place):
    journal = Journal(place)
    yield journal
    journal.sock.close()


@pytest.fixture
def start(start_agent, journal):
    def start(audit="", rules=RULES):
        return start_agent(f"[agent]\nlog-level = err\n{audit}\n", rules, prefix=(
            sys.executable, TESTS / "faults" / "journal.py", journal.directory))
    return start


def test_grant_has_its_words_and_fields_once(start, journal):
    agent = start()
    assert [a[0] for a in Rules(agent).ask(*[WEB] * 5, uid=1000, gid=7)] == [200] * 5
    line, = journal.read("grant")
    pid = line["PEER_PID"]
    assert line["MESSAGE"] == ("granted id for https://web.example.com of default to uid"
                               f" 1000 pid {pid} by rule web")
    assert line["MESSAGE_ID"] == "8ad351c416ea4bf4881612f69bc2af04"
    assert (line["KIND"], line["ACCOUNT"], line["AUDIENCE"], line["RULE"], line["COUNT"]) == (
        "id", "default", "https://web.example.com", "web", "1")
    assert (line["PEER_UID"], line["PEER_GID"], line["PRIORITY"]) == ("1000", "7", "6")
    # What was counted since is said at the end.
    assert agent.stop() == 0
    _, last = journal.read("grant")
    assert last["COUNT"] == "4"
    assert last["MESSAGE"].endswith(" by rule web, 4 times since it was last said")


def test_line_comes_again_with_the_next_grant_after_a_while(start, journal):
    agent = start("[timing]\naudit-repeat = 0")
    assert Rules(agent).ask(WEB, WEB, WEB, uid=1000)[2][0] == 200
    assert [line["COUNT"] for line in journal.read("grant")] == ["1"] * 3


def test_denial_has_its_words_and_fields(start, journal):
    agent = start()
    assert Rules(agent).ask(OTHER, uid=1000)[0][0] == 403
    line, = journal.read("deny")
    assert line["MESSAGE_ID"] == "aad8904aef1447aaaa7aa6617a5fd7cc"
    assert re.fullmatch(r"denied id for https://other\.example\.com of default to uid 1000"
                        r" pid \d+: no rule admits kind id to uid 1000 .*", line["MESSAGE"])
    assert "RULE" not in line and line["PRIORITY"] == "5"


@pytest.mark.parametrize("mode, lines", [("none", (0, 0)), ("denied", (0, 1)),
                                         ("new", (1, 1)), ("all", (2, 1))])
def test_modes(start, journal, mode, lines):
    agent = start(f"audit = {mode}")
    Rules(agent).ask(WEB, WEB, OTHER, uid=1000)
    assert (len(journal.read("grant")), len(journal.read("deny"))) == lines


@pytest.mark.parametrize("mode", ["none", "new"])
def test_flush_is_always_logged_with_who_did_it(start, journal, mode):
    agent = start(f"audit = {mode}")
    fields = {"Content-Type": "text/plain"}
    assert agent.get("/v1/flush", fields, method="POST").status == 204
    assert agent.get("/v1/flush?audience=%C3%A9", fields, method="POST").status == 204
    one, other = journal.read("admin")
    assert re.fullmatch(r"all tokens flushed, as told by uid 0 pid \d+", one["MESSAGE"])
    assert other["MESSAGE"].startswith("tokens for \\xc3\\xa9 flushed, as told by uid 0 ")
    assert (one["RULE"], one["PEER_UID"]) == ("root", "0")


def test_flood_takes_neither_admin_grants_nor_other_peers_lines(start, journal):
    agent = start()
    with wire(agent) as it:
        for _ in range(100):
            assert it.ask(OTHER).status == 403
            journal.read("deny")
        flood = len(journal.read("deny"))
        assert 32 <= flood < 100
    assert agent.get("/v1/flush", {"Content-Type": "text/plain"},
                     method="POST").status == 204
    line, = [e for e in journal.read("grant") if e["KIND"] == "admin"]
    assert line["RULE"] == "root"
    left = sum(int(e.get("LEFT_OUT", 0)) for e in journal.read("deny")) + int(
        line.get("LEFT_OUT", 0))
    assert len(journal.read("deny")) + left == 100
    assert [a[0] for a in Rules(agent).ask(WEB, OTHER, uid=1000)] == [200, 403]
    assert [e["RULE"] for e in journal.read("grant") if e["PEER_UID"] == "1000"] == ["web"]
    assert len([e for e in journal.read("deny") if e["PEER_UID"] == "1000"]) == 1


def test_foreign_text_is_escaped_masked_and_cut(start, journal):
    agent = start()
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
    for name in ("\u00e9\u4e2d", jwt, "x" * 1500):
        assert agent.get(root_token(name)).status == 200
    shown = [e["AUDIENCE"] for e in journal.read("grant")]
    assert shown[0] == "https://root.example.com/\\xc3\\xa9\\xe4\\xb8\\xad"
    assert jwt not in shown[1] and "eyJzdWI" not in shown[1]
    assert len(shown[2]) == 203 and shown[2].endswith("x...")


def test_token_is_in_no_line(start, journal):
    agent = start("audit = all")
    tokens = [agent.get(root_token(name)).text for name in ("a", "b", "a")]
    assert agent.stop() == 0
    assert len(journal.read("grant")) == 3
    for token in tokens:
        for part in token.split("."):
            assert part and not any(part in value for entry in journal.seen
                                    for value in entry.values())


def test_standard_error_has_the_same_words(start_agent):
    agent = start_agent(rules=RULES)
    Rules(agent).ask(WEB, OTHER, uid=1000)
    log = agent.wait_log("denied id for https://other.example.com of default to uid 1000")
    assert re.search(r"granted id for https://web\.example\.com of default to uid 1000 pid"
                     r" \d+ by rule web$", log, re.M)
