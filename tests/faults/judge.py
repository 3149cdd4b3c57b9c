# SPDX-License-Identifier: Apache-2.0
"""The invariant, of every answer whatever happens upstream: a token that verifies and
is good for as long as was asked, or an error of the table; within the deadline."""

import http.client
import pathlib
import re
import select
import time
import urllib.parse

from e2e.conftest import DEADLINE, Response
from emulator.client import verify
from timing import WAIT, WAIT_MAX
from unix_http import UnixConnection

# protocol.md, "Errors".  internal is missing: it is always a bug.
TABLE = {"bad-request": 400, "denied-by-policy": 403, "not-found": 404, "busy": 429,
         "denied-by-google": 403, "unavailable": 503, "timeout": 504}
RETRY_AFTER = ("busy", "unavailable")
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
LATE = 1.0              # sanitizers, and much to do at once
TRANSIT = 0.3           # from the agent's last look at the clock to ours
SECRET = re.compile(r"eyJ[A-Za-z0-9_-]{8}|ya29\.")


class Wrong(AssertionError):
    """An answer that no agent may give."""


def must(condition, text):
    if not condition:
        raise Wrong(text)


def starved(agent):
    """For how long it, and we, have had to wait for a processor so far: what other suites
    on the machine cost is not what the agent is late by."""
    seconds = 0.0
    for process in ("thread-self", (agent if agent.pid else agent.agent).pid):
        try:
            fields = pathlib.Path(f"/proc/{process}/schedstat").read_text().split()
        except OSError:             # it has exited, or this kernel does not count
            continue
        seconds += int(fields[1]) / 1e9
    return seconds


class Asked:
    """A request, its answer, and when."""

    # Its format=full is the one that only the metadata server makes.
    FACE = "/computeMetadata/v1/instance/service-accounts/default/identity?"

    def __init__(self, agent, audience, wait=None, min_fresh=None, directive=None, full=False,
                 other=None):
        """other: what is asked for instead of an ID token, see test_signing.py."""
        self.audience = audience
        self.other = other
        self.min_fresh = min_fresh
        self.deadline = WAIT if wait is None else min(wait, WAIT_MAX)
        fields = {"Metadata-Flavor": "Google"}
        if wait is not None:
            fields["Prefer"] = f"wait={wait}"
        if min_fresh is not None:
            directive = f"min-fresh={min_fresh}"
        if directive:
            fields["Cache-Control"] = directive
        target = "/v1/token?" + urllib.parse.urlencode({"audience": audience})
        if full:
            target = self.FACE + urllib.parse.urlencode({"audience": audience, "format": "full"})
        method, body = "GET", None
        if other:
            method, target, body = other.method, other.target(audience), other.body(audience)
            fields.update(other.fields)
        self._agent, self._starved, self._began = agent, starved(agent), time.monotonic()
        connection = UnixConnection(agent.socket, DEADLINE)
        try:
            connection.request(method, target, body=body, headers=fields)
            while not select.select([connection.sock], [], [], 0.2)[0]:
                must(self.in_time(), f"no answer {LATE:g} s after the deadline of {self.deadline:g} s")
            self.answer = Response(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise Wrong(f"no answer: {error!r}") from error
        finally:
            connection.close()
        self.received = time.time()
        self.elapsed = time.monotonic() - self._began
        self.punctual = self.in_time()
        self.transit = TRANSIT + self._waited()

    def _waited(self):
        return max(0, starved(self._agent) - self._starved)

    def in_time(self):
        return time.monotonic() - self._began <= self.deadline + LATE + self._waited()

    @property
    def code(self):
        """The error's name, or None where there is a token."""
        return self.answer.headers["Gce-Oidc-Error"]

    @property
    def mark(self):
        return self.answer.headers["Gce-Oidc-Cache"]

    @property
    def text(self):
        return self.answer.body.decode(errors="replace")

    def __repr__(self):
        return f"{self.answer} after {self.elapsed:.3f} s"


def judge(asked, email, jwks):
    """The claims, or None where it is an error; Wrong says what is."""
    try:
        return _judge(asked, email, jwks)
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong(f"{error!r} of {asked}") from error


def _judge(asked, email, jwks):
    must(asked.punctual, f"past the deadline: {asked}")
    must(asked.answer.headers["Metadata-Flavor"] == "Google", f"not of an agent: {asked}")
    if asked.answer.status == 200 and asked.other:
        must(asked.code is None, f"an answer and an error: {asked}")
        return asked.other.judge(asked, email)
    if asked.answer.status == 200:
        return _judge_token(asked, email, jwks)
    _judge_error(asked)
    return None


def _judge_token(asked, email, jwks):
    headers = asked.answer.headers
    try:
        claims = verify(asked.text, asked.audience, jwks)
    except Exception as error:
        raise Wrong(f"no token that verifies: {error!r}: {asked}") from error
    must(claims["iss"] in ISSUERS and claims["email"] == email
         and claims["email_verified"] is True, f"not who was asked for: {claims}")
    must(claims["iat"] <= asked.received + TRANSIT, f"not valid yet: {claims}")
    left = claims["exp"] - asked.received
    must(left > -asked.transit, f"expired {-left:.1f} s ago")
    must(left >= (asked.min_fresh or 0) - asked.transit,
         f"good for {left:.1f} s, not for the {asked.min_fresh} s asked for")
    age = re.fullmatch(r"private, max-age=(\d+)", headers["Cache-Control"] or "")
    must(age and left - 2 - LATE <= int(age[1]) <= left + asked.transit
         and int(age[1]) >= (asked.min_fresh or 0),
         f"{headers['Cache-Control']} of a token good for {left:.1f} s")
    must(asked.mark in ("hit", "miss", "shared"), f"Gce-Oidc-Cache: {asked.mark}")
    must(asked.code is None, f"a token and an error: {asked}")
    return claims


def _judge_error(asked):
    headers = asked.answer.headers
    must(TABLE.get(asked.code) == asked.answer.status, f"not in the table: {asked.code} {asked}")
    must(re.fullmatch(r"[ -~]+\n?", asked.text), f"no line of words: {asked}")
    must(not SECRET.search(asked.text + str(headers)), f"a secret in an error: {asked}")
    must((headers["Retry-After"] is not None) == (asked.code in RETRY_AFTER),
         f"Retry-After: {headers['Retry-After']} of {asked.code}")
    must(int(headers["Retry-After"] or 1) >= 1, f"Retry-After: {headers['Retry-After']}")
