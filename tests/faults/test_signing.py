# SPDX-License-Identifier: Apache-2.0
"""IAM, asked for what is no ID token: to sign a JWT, and for another account's access
token.  One invariant with all others: what was asked for and is good, or an error of the
table, within the deadline."""

import base64
import json
import time
import urllib.parse

import pytest

from e2e.conftest import wait_for
from emulator.client import verify
from judge import Asked, judge, must
from matrix import BILLING, GENERATE_ACCESS_UPSTREAM, SIGN_JWT_UPSTREAM, SIGNBLOB, cases
from signing import rule
from steps import Listener, step
from timing import TRY

OTHERS = f"[account billing]\nemail = {BILLING}\n" + rule("jwt", "audience = **", name="jwt") + \
    rule("access", name="access", account="billing")
PATIENT = 5             # seconds
BESIDE = 3              # requests of an answer, beside those to the method that fails
CASES = [case for upstream in (SIGN_JWT_UPSTREAM, GENERATE_ACCESS_UPSTREAM)
         for case in cases(upstream)]


class Jwt:
    """POST /v1/jwt: signed by the account, and the claims are the caller's."""

    method, fields = "POST", {"Content-Type": "application/json"}

    def __init__(self, emulator):
        self._keys = emulator.keys()["account"]["keys"]

    @staticmethod
    def target(_audience):
        return "/v1/jwt"

    @staticmethod
    def body(audience):
        return json.dumps({"aud": audience})

    def judge(self, asked, email):
        claims = verify(json.loads(asked.text)["signedJwt"], asked.audience, self._keys)
        must(claims["iss"] == claims["sub"] == email, f"not who was asked for: {claims}")
        return claims


class Access:
    """An access token of the account's that IAM has made, with life in it."""

    method, fields = "GET", {}

    def __init__(self, emulator):
        self._emulator = emulator

    @staticmethod
    def target(audience):
        scope = "https://www.googleapis.com/auth/" + base64.b16encode(audience.encode()).decode()
        return ("/computeMetadata/v1/instance/service-accounts/billing/token?"
                + urllib.parse.urlencode({"scopes": scope}))

    @staticmethod
    def body(_audience):
        return None

    def judge(self, asked, _email):
        found = json.loads(asked.text)
        must(self._emulator.secrets().get(found["access_token"]) == "access token",
             f"not a token of Google's: {asked}")
        must(0 < found["expires_in"] <= 3600 and found["token_type"] == "Bearer", f"{asked}")
        return found


@pytest.fixture(scope="module")
def agent(bench):
    agent = bench.start(OTHERS, way=SIGNBLOB)
    yield agent
    wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.upstream.name}-{case}")
def test_caller_gets_what_is_good_or_an_honest_error(agent, emulator, stage, case):
    emulator.set(accounts=[BILLING])
    other = (Jwt if case.upstream is SIGN_JWT_UPSTREAM else Access)(emulator)

    def ask(audience=stage.audience, **demands):
        asked = Asked(agent, audience, other=other, **demands)
        judge(asked, emulator.email, stage.jwks)
        return asked

    # The account and its own token are known; what a case before has denied is forgotten.
    wait_for(lambda: ask(stage.audience + "/other", wait=PATIENT).code is None, "a first one")
    known = ask(wait=PATIENT).text if case.state == "warm" else None
    with Listener() as elsewhere:
        options = dict(case.fault.options)
        if case.fault.kind == "redirect":
            options["location"] = f"http://{elsewhere.address}/"
        if case.fault.kind not in ("refuse", "tls"):
            options["match"] = case.upstream.match
        mark, began = len(emulator.requests()), time.monotonic()
        emulator.fault("iam", case.fault.kind, **options)
        asked = ask(wait=None if case.waits else PATIENT)
        spun_out = int((time.monotonic() - began) / TRY)
        steps = [step(record) for record in emulator.requests()[mark:]]
        if known:
            must(steps == [], f"not from the cache: {steps}")
            must(json.loads(asked.text)["access_token"] == json.loads(known)["access_token"],
                 f"not the cached one: {asked}")
        else:
            must(asked.code == case.expect.code, f"not {case.expect.code}: {asked}")
            must(all(words in asked.text for words in case.expect.words), f"{asked.text}")
            must(steps.count(case.upstream.step) <= case.asks + spun_out
                 and len(steps) <= case.asks + BESIDE + spun_out, f"over the budget: {steps}")
            must(not case.fault.counted or emulator.faults()[0]["hits"] > 0, f"not met: {steps}")
        must(elsewhere.seen == [], f"a redirect was followed: {elsewhere.seen}")
    emulator.unfault()
    # The same once more: a flight that nobody waits for any more would go on asking, and
    # be seen by the next case.
    wait_for(lambda: ask(wait=PATIENT).code is None, "it recovers")
