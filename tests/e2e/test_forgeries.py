# SPDX-License-Identifier: Apache-2.0
"""What is signed for a caller under a narrow rule is never worth more than the rule says: each file of a corpus of
forgeries is refused, or taken for nothing by the most gullible token endpoint (emulator/gullible.py)."""

import base64
import json
import pathlib

import pytest

from conftest import TESTS
from signing import (EMAIL, ask_jwt, ask_signature, b64url, call_google, is_worth_more, method_url,
                     refused, rule)
from steps import HURRY, SIGNATURE, steps

CORPUS = pathlib.Path(TESTS) / "fuzz" / "corpus" / "claims"
FORGERIES = sorted(CORPUS.glob("forgery-*"))
GOOD = sorted(CORPUS.glob("good-*"))

# The policy is to refuse nothing here: that is the claims' affair.
EVERY_AUDIENCE = rule("jwt", r"audience = ** **\*** **\***\***")
HEADER = b'{"alg":"RS256","typ":"JWT"}'

# None of these is a V4 string of Cloud Storage.
OTHER_BYTES = {
    "a JWT": b64url(HEADER).encode() + b"." + b64url(b'{"aud":"x"}').encode(),
    "nothing behind": b"GOOG4-RSA-SHA256",
    "carriage return": b"GOOG4-RSA-SHA256\r\n20260101T000000Z\n",
    "space in front": b" GOOG4-RSA-SHA256\n",
    "newline in front": b"\nGOOG4-RSA-SHA256\n",
    "space behind": b"GOOG4-RSA-SHA256 \n",
    "NUL": b"GOOG4-RSA-SHA256\0\n",
    "small letters": b"goog4-rsa-sha256\n",
    "another algorithm": b"GOOG4-ECDSA-P256-SHA256\n",
    "HMAC": b"GOOG4-HMAC-SHA256\n",
    "version 2": b"GET\n\n\n1767225600\n/bucket/object",
    "byte order mark": b"\xef\xbb\xbfGOOG4-RSA-SHA256\n",
    "UTF-16": "GOOG4-RSA-SHA256\n".encode("utf-16-le"),
    "a policy document": base64.b64encode(b'{"expiration":"2026-01-01T00:00:00Z","conditions":[]}'),
    "the JWT first": b64url(HEADER).encode() + b".e30\nGOOG4-RSA-SHA256\n",
}


@pytest.fixture
def gullible(emulator):
    emulator.set(gullible=True)
    return emulator


@pytest.fixture
def agent(start_agent):
    return start_agent(HURRY, rules=EVERY_AUDIENCE)


def forge(emulator, bearer, claims):
    """These bytes as the claims of a JWT that the account has signed."""
    signed = f"{b64url(HEADER)}.{b64url(claims)}"
    status, answer = call_google(emulator, method_url(emulator, "signBlob"), json.dumps(
        {"payload": base64.b64encode(signed.encode()).decode()}).encode(), "application/json", bearer)
    assert status == 200, answer
    return f"{signed}.{b64url(base64.b64decode(answer['signedBlob']))}"


def access_token(emulator):
    import urllib.request
    request = urllib.request.Request(
        f"{emulator.metadata}/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)["access_token"]


def test_each_forgery_is_refused_or_harmless(agent, gullible):
    assert len(FORGERIES) > 150
    signed = []
    for path in FORGERIES:
        answer = ask_jwt(agent, path.read_bytes())
        if answer.status == 200:
            signed.append(path.name)
            assert not is_worth_more(gullible, json.loads(answer.body)["signedJwt"]), path.name
        else:
            refused(answer, 400, "bad-request")
    # Harmless in another way than by being refused: each is looked at by a person once.
    assert signed == []


def test_refused_claims_ask_nothing_upstream(agent, gullible):
    for path in FORGERIES:
        if not path.name.startswith(("forgery-iss", "forgery-sub", "forgery-exp", "forgery-iat")):
            ask_jwt(agent, path.read_bytes())
    assert "iam" not in {record["service"] for record in gullible.requests()}


def test_the_oracle_takes_what_is_forged_without_the_agent(gullible):
    """Else the tests above could not fail."""
    bearer = access_token(gullible)
    taken = [path.name for path in FORGERIES
             if is_worth_more(gullible, forge(gullible, bearer, path.read_bytes()))]
    for name in ("aud-endpoint", "aud-v4", "aud-accounts", "aud-upper", "aud-dot", "aud-port", "aud-userinfo",
                 "aud-space-end", "aud-newline", "aud-zwsp", "aud-percent-twice", "aud-fullwidth", "aud-ideographic-dot",
                 "aud-array", "aud-array-both", "aud-nul-end", "aud-backslash", "aud-relative", "aud-star",
                 "twice-first", "twice-last", "twice-escaped", "twice-case", "asks-scope", "asks-Scope",
                 "asks-targetAudience", "asks-xu0073cope", "sub-person", "iss-other", "text-nul", "two-objects"):
        assert f"forgery-{name}" in taken, name
    assert len(taken) > 90, len(taken)


def test_what_is_no_forgery_is_signed_and_harmless(agent, gullible):
    assert len(GOOD) > 5
    for path in GOOD:
        answer = ask_jwt(agent, path.read_bytes())
        assert answer.status == 200, (path.name, answer)
        assert not is_worth_more(gullible, json.loads(answer.body)["signedJwt"]), path.name


@pytest.mark.parametrize("name", OTHER_BYTES)
def test_what_only_looks_like_a_storage_string_is_any_bytes(start_agent, emulator, name):
    agent = start_agent(HURRY, rules=rule("sign"))
    text = refused(ask_signature(agent, OTHER_BYTES[name]), 403, "denied-by-policy")
    assert "sign-any" in text
    assert SIGNATURE not in steps(emulator)


def test_a_storage_string_is_no_jwt_to_anybody(start_agent, gullible):
    agent = start_agent(HURRY, rules=rule("sign"))
    claims = b64url(json.dumps({"iss": EMAIL, "aud": "https://oauth2.googleapis.com/token",
                                "iat": 1, "exp": 4102444800, "scope": "x"}).encode())
    for inner in (f"{b64url(HEADER)}.{claims}", f"\n{b64url(HEADER)}.{claims}", f".{claims}", f"\0.{claims}"):
        data = b"GOOG4-RSA-SHA256\n" + inner.encode()
        answer = ask_signature(agent, data)
        assert answer.status == 200, answer
        signature = b64url(base64.b64decode(json.loads(answer.body)["signedBlob"]))
        for jwt in (data.decode() + "." + signature, inner.strip() + "." + signature):
            assert not is_worth_more(gullible, jwt), inner
