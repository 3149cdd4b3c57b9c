# SPDX-License-Identifier: Apache-2.0
"""The grammar of doc/protocol.md, in bytes over the real socket.  How much, how
long and how many: test_http_limits.py."""

import json
import re

import pytest

from raw_http import TOKEN, request, wire
from steps import HURRY, SIGNBLOB, spoil

ROUTES = ["/", "/healthz", "/v1/token?audience=a", "/v1/whoami",
          "/computeMetadata/", "/computeMetadata/v1/project/project-id",
          "/computeMetadata/v1/instance/service-accounts/default/identity?audience=a"]
GUARDED = [route for route in ROUTES if route not in ("/", "/healthz")]
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"

# What is not a request of this protocol: answered, then closed.
BAD = {
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "NUL in a value": (HEAD + b"A: b\0c\r\n\r\n", 400),
    "NUL in a name": (HEAD + b"A\0: b\r\n\r\n", 400),
    "control byte in a value": (HEAD + b"A: \x1b[0m\r\n\r\n", 400),
    "DEL in a value": (HEAD + b"A: \x7f\r\n\r\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "bare LF at the end": (HEAD + b"\n", 400),
    "bare CR in a value": (HEAD + b"A: b\rc\r\n\r\n", 400),
    "obs-fold": (HEAD + b"A: b\r\n c\r\n\r\n", 400),
    "obs-fold by tab": (HEAD + b"A: b\r\n\tc\r\n\r\n", 400),
    "two Hosts": (HEAD + b"Host: y\r\n\r\n", 400),
    "the same Host twice": (HEAD + b"host: x\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "absolute-form": (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "authority-form": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two spaces before the target": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two spaces behind the target": (b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space at the end of the line": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tabs in the request line": (b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "line without a colon": (HEAD + b"A\r\n\r\n", 400),
    "empty name": (HEAD + b": b\r\n\r\n", 400),
    "empty line first": (b"\r\n" + HEAD + b"\r\n", 400),
    "byte over 126 in the target": (b"GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "raw CR LF in the audience":
        (b"GET /v1/token?audience=a\r\nX: b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "version in small letters": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "GET with a body": (HEAD + b"Content-Length: 2\r\n\r\n{}", 400),
    "POST without a length": (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                    b"Content-Length: 1\r\n\r\na", 400),
    "Expect": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
               b"Expect: 100-continue\r\n\r\n", 400),
    "two flavors": (HEAD + b"Metadata-Flavor: Google\r\n"
                    b"Metadata-Flavor: Google\r\n\r\n", 400),
}


def refused(agent, data, status):
    with wire(agent) as it:
        it.send(data)
        answer = it.refused(status)
    assert answer["Gce-Oidc-Error"] == "bad-request"
    assert answer["Content-Type"] == "text/plain"
    assert answer.text.endswith("\n") and answer.text.count("\n") == 1
    return answer


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_request_is_refused_and_closed(agent, name):
    refused(agent, *BAD[name])


@pytest.mark.parametrize("coding", ["chunked", "identity", "gzip, chunked", ""])
def test_transfer_codings_are_not_implemented(agent, coding):
    refused(agent, request("/", f"Transfer-Encoding: {coding}", "Content-Length: 4",
                           method="POST") + b"0\r\n\r\n", 501)


@pytest.mark.parametrize("length", ["", "-1", "+1", "1,1", "1 1", "0x1", "1.0", "a"])
def test_length_is_digits(agent, length):
    refused(agent, request("/", f"Content-Length: {length}", method="POST"), 400)


@pytest.mark.parametrize("cut", [1, 4, 15, 30, -3, -1])
def test_request_that_ends_in_the_middle_is_refused(agent, cut):
    with wire(agent) as it:
        it.send(request("/")[:cut])
        it.sock.shutdown(1)
        it.refused(400)


# What is unusual and right.

@pytest.mark.parametrize("fields", [
    ["Host:"], ["Host: "], ["Host: %2Frun%2Fgce-oidc-agent%2Fagent.sock"],
    ["Host: [::1]:80"], ["X: 1", "Host: last"], ["hOsT: x"], ["Host:x"],
    ["Host:  \t x \t "], ["Host: x", "A: tab\tinside"], ["Host: x", "A: \xe4\xff"],
    ["Host: x", "A:"], ["Host: x", "Content-Length: 0"]], ids=repr)
def test_unusual_heads_are_accepted(agent, fields):
    with wire(agent) as it:
        answer = it.ask("/v1/whoami", *fields, host=None)
        assert (answer.status, answer["Connection"]) == (200, None)


@pytest.mark.parametrize("name", ["Metadata-Flavor", "metadata-flavor",
                                  "METADATA-FLAVOR", "mEtAdAtA-fLaVoR"])
def test_names_of_fields_come_in_any_case(agent, name):
    with wire(agent) as it:
        assert it.ask("/v1/whoami", f"{name}: Google", flavor=False).status == 200


def test_request_may_come_byte_by_byte(agent):
    with wire(agent) as it:
        for byte in request("/v1/whoami", "A: b") + request("/"):
            it.send(bytes([byte]))
        assert it.answer().status == 200
        assert it.answer().text == "computeMetadata/\n"


def test_body_may_come_byte_by_byte(agent):
    with wire(agent) as it:
        for byte in request("/", method="POST", body=b"x" * 300):
            it.send(bytes([byte]))
        assert it.answer().status == 405
        assert it.ask("/").status == 200


def test_http_1_0_is_answered_and_closed(agent):
    for data in (b"GET / HTTP/1.0\r\n\r\n",
                 b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2):
        with wire(agent) as it:
            it.send(data)
            answer = it.answer()
            assert (answer.version, answer.status) == ("HTTP/1.0", 200)
            assert answer["Connection"] == "close"
            assert it.rest() == b""


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
def test_connection_is_closed_where_asked(agent, value):
    with wire(agent) as it:
        it.send(request("/", f"Connection: {value}") + request("/"))
        assert it.answer()["Connection"] == "close"
        assert it.rest() == b""


def test_connection_is_kept_for_a_hundred_requests(agent):
    with wire(agent) as it:
        answers = [it.ask() for _ in range(100)]
    assert {a.status for a in answers} == {200}
    assert {a["Connection"] for a in answers} == {None}
    assert len({a.body for a in answers}) == 1


def test_half_closed_connection_is_still_answered(agent):
    with wire(agent) as it:
        it.send(request("/v1/token?audience=half-closed"))
        it.sock.shutdown(1)
        answer = it.answer()
        assert (answer.status, answer["Gce-Oidc-Cache"]) == (200, "miss")
        assert it.rest() == b""


def test_pipelined_requests_are_answered_in_order(agent):
    asked = [("/", 200), (TOKEN, 200), ("/nope", 404), (TOKEN, 200),
             ("/v1/token?audience=", 400), ("/v1/token?audience=b", 200),
             ("/healthz", 200), ("/v1/token?audience=c&account=x", 404),
             ("/computeMetadata/v1/instance/id", 200), ("/v1/whoami", 200)]
    with wire(agent) as it:
        it.send(b"".join(request(target) for target, _ in asked))
        answers = [it.answer() for _ in asked]
        assert [a.status for a in answers] == [status for _, status in asked]
        assert answers[1].body == answers[3].body != answers[5].body
        assert [answers[i]["Gce-Oidc-Cache"] for i in (1, 3, 5)] == [
            "miss", "hit", "miss"]
        assert answers[8].text.isdecimal()
        assert it.ask("/").status == 200


def test_nothing_behind_a_bad_request_is_answered(agent):
    with wire(agent) as it:
        it.send(request("/") + b"BAD\r\n\r\n" + request("/"))
        assert it.answer().status == 200
        it.refused(400)


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_whoever_sends_garbage_reads_the_answer_not_a_reset(agent, size):
    with wire(agent) as it:
        it.send(b"garbage " * (size // 8))
        it.refused(414)
    assert agent.get("/").status == 200


# HEAD, methods, paths, the header that must be there and the one that must not.

@pytest.mark.parametrize("target", ROUTES + ["/nope", "/computeMetadata/v1"])
def test_head_is_get_without_the_body(agent, target):
    def fields(answer):
        return [(n, re.sub(r"\d+$", "", v) if n in ("Cache-Control", "Date") else v)
                for n, v in answer.fields if n != "Date"]

    with wire(agent) as it:
        it.ask(FACE + "email")      # the account is known then
        it.ask(target)              # and the value or token in the cache
        get, head = it.ask(target), it.ask(target, method="HEAD")
        assert head.status == get.status
        assert fields(head) == fields(get)
        assert int(head["Content-Length"]) == len(get.body) > 0
        assert it.ask("/").text == "computeMetadata/\n"     # no body came


@pytest.mark.parametrize("target", ROUTES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS",
                                    "TRACE", "get", "Head"])
def test_every_route_names_its_methods(agent, target, method):
    body = b"" if method == "POST" else None
    with wire(agent) as it:
        answer = it.ask(target, method=method, body=body)
        assert answer.status == 405
        assert answer["Allow"] == "GET, HEAD"
        assert answer["Gce-Oidc-Error"] == "bad-request"
        assert it.ask("/").status == 200


@pytest.mark.parametrize("target", [
    "/nope", "/v1", "/v1/", "/v1/token/", "/V1/token", "/v1//token", "/v1/%74oken",
    "/computemetadata/v1/", "/computeMetadataX", "/healthz/", "/.", "/../", "//"])
def test_unknown_paths_are_not_found(agent, target):
    answer = agent.get(target)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found")


@pytest.mark.parametrize("target", GUARDED + ["/nope", "/v1/flush"])
def test_request_without_flavor_is_refused(agent, emulator, target):
    before = emulator.counts()["iam"]["total"]
    answer = agent.get(target, flavor=False)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "bad-request")
    assert answer.text == "Missing Metadata-Flavor:Google header.\n"
    assert emulator.counts()["iam"]["total"] == before


@pytest.mark.parametrize("flavor", ["google", "GOOGLE", "", "Google, Google",
                                    "Google;x", '"Google"', "Amazon"])
def test_wrong_flavor_is_refused(agent, flavor):
    with wire(agent) as it:
        answer = it.ask(TOKEN, f"Metadata-Flavor: {flavor}", flavor=False)
        assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "bad-request")


@pytest.mark.parametrize("target", GUARDED)
@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-for"])
def test_forwarded_request_is_refused(agent, target, name):
    for value in ("10.0.0.1", ""):
        with wire(agent) as it:
            answer = it.ask(target, f"{name}: {value}")
            assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "bad-request")


@pytest.mark.parametrize("target", ["/", "/healthz"])
@pytest.mark.parametrize("flavor", [None, "Google", "google"])
def test_detection_and_health_need_no_flavor(agent, target, flavor):
    agent.token("a")        # the account is known then
    fields = {"Metadata-Flavor": flavor} if flavor else {}
    assert agent.get(target, fields, flavor=False).status == 200


# Queries.

@pytest.mark.parametrize("raw, audience", [
    ("a+b", "a b"), ("a%2Bb", "a+b"), ("a%252Bb", "a%2Bb"), ("a%20b", "a b"),
    ("https://x.example:8443/p?q=1@y", "https://x.example:8443/p?q=1@y"),
    ("https%3A%2F%2fx", "https://x"), ("%c3%BC", "ü"), ("a%26b%3Dc", "a&b=c"),
    ("a&audiencex=b", "a"), ("a&x=1&x=2&y=%zz&=&&z", "a"), ("a;b,c'\"<>", "a;b,c'\"<>"),
    ("A%41", "AA"), ("%e2%84%a6", "\u2126"), ("a%23frag", "a#frag")])
def test_audience_is_decoded_once_and_kept_byte_for_byte(agent, raw, audience):
    with wire(agent) as it:
        answer = it.ask(f"/v1/whoami?audience={raw}")
        assert answer.status == 200, answer
        assert json.loads(answer.body)["audience"] == audience


def test_token_is_for_the_decoded_audience(agent, emulator):
    with wire(agent) as it:
        token = it.ask("/v1/token?audience=https://x/+%2b%c3%bc?y=1@z").text
    emulator.verify(token, "https://x/ +ü?y=1@z")


@pytest.mark.parametrize("query", [
    "", "?", "?audience", "?audience=", "?x=1", "?audiences=a", "?Audience=a",
    "?audience=a&audience=a", "?audience=a&audience", "?audience=%", "?audience=a%4",
    "?audience=%zz", "?audience=%00", "?audience=a%0D%0Ab", "?audience=%0a",
    "?audience=%09", "?audience=%7f", "?audience=%c2%85", "?audience=%e2%80%a8",
    "?audience=%e2%80%ae", "?audience=%ef%bb%bf", "?audience=%c3", "?audience=%ff",
    "?audience=%c0%af", "?audience=%ed%a0%80", "?audience=a&account=a&account=b",
    "?audience=a&account=%zz"])
def test_question_that_makes_no_sense_is_a_bad_request(agent, emulator, query):
    before = emulator.counts()["iam"]["total"]
    with wire(agent) as it:
        answer = it.ask("/v1/token" + query)
        assert answer.status == 400, answer
        assert answer["Gce-Oidc-Error"] == "bad-request"
        assert it.ask("/").status == 200        # it was well-formed HTTP
    assert emulator.counts()["iam"]["total"] == before


# Answers.

ALWAYS = ["Content-Length", "Content-Type", "Date", "Metadata-Flavor"]
CACHE = ["Cache-Control", "Gce-Oidc-Cache", "Gce-Oidc-Flow"]
FACE = "/computeMetadata/v1/instance/service-accounts/default/"


@pytest.mark.parametrize("target, status, content_type, more", [
    ("/", 200, "application/text", []),
    ("/healthz", 200, "text/plain", []),
    ("/v1/whoami", 200, "application/json", []),
    (TOKEN, 200, "text/plain", CACHE),
    (FACE + "identity?audience=a", 200, "text/html", CACHE),
    (FACE + "identity?audience=a&format=full", 200, "text/html", CACHE),
    (FACE + "email", 200, "application/text", ["ETag"]),
    (FACE + "?recursive=true", 200, "application/json", ["ETag"]),
    ("/computeMetadata/v1", 301, "text/html", ["Location"]),
    ("/v1/token", 400, "text/plain", ["Gce-Oidc-Error"]),
    ("/nope", 404, "text/plain", ["Gce-Oidc-Error"])])
def test_answer_has_exactly_these_fields(agent, target, status, content_type, more):
    agent.token("a")
    with wire(agent) as it:
        answer = it.ask(target)
    assert (answer.version, answer.status) == ("HTTP/1.1", status)
    assert answer.reason in ("OK", "Moved Permanently", "Bad Request", "Not Found")
    assert answer.names == sorted(ALWAYS + more)
    assert answer["Content-Type"] == content_type
    assert answer["Metadata-Flavor"] == "Google"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer["Date"])


def test_token_answer_says_how_it_came(agent):
    with wire(agent) as it:
        cold, warm = it.ask(), it.ask()
    assert (cold["Gce-Oidc-Cache"], warm["Gce-Oidc-Cache"]) == ("miss", "hit")
    assert cold["Gce-Oidc-Flow"] == warm["Gce-Oidc-Flow"] == "signblob"
    for answer in (cold, warm):
        life = re.fullmatch(r"private, max-age=(\d+)", answer["Cache-Control"])
        assert 3500 < int(life[1]) <= 3600
        assert not answer.body.endswith(b"\n")


def test_errors_are_json_where_accepted(agent):
    with wire(agent) as it:
        plain = it.ask("/v1/token")
        for accept in ("application/json", "text/html, application/json;q=0.9"):
            answer = it.ask("/v1/token", f"Accept: {accept}")
            assert answer["Content-Type"] == "application/json"
            assert json.loads(answer.body) == {"error": "bad-request",
                                               "error_description": plain.text[:-1]}
            assert answer["Gce-Oidc-Error"] == "bad-request"
        # only the request that asked so
        assert it.ask("/v1/token")["Content-Type"] == "text/plain"


def test_json_errors_carry_the_hint(start_agent, emulator):
    emulator.set(role=False)
    answer = start_agent(SIGNBLOB + HURRY).get(TOKEN, {"Accept": "application/json"})
    error = json.loads(answer.body)
    assert sorted(error) == ["error", "error_description", "hint"]
    assert error["error"] == "denied-by-google"
    assert "gcloud " in error["hint"]


@pytest.mark.parametrize("code, status, retry, how", [
    ("bad-request", 400, False, None), ("denied-by-policy", 403, False, None),
    ("not-found", 404, False, None), ("denied-by-google", 403, False, "role"),
    ("unavailable", 503, True, "down"), ("timeout", 504, False, "hang")])
def test_each_code_has_its_status(start_agent, emulator, code, status, retry, how):
    agent = start_agent(SIGNBLOB + "[timing]\ngoogle-tries = 1\nbrand-new = 0\ndenial-doubt = 1ms",
                        **({"rules": ""} if status == 403 and not how else {}))
    target = {"bad-request": "/v1/token", "not-found": TOKEN + "&account=x"}
    spoil(how, emulator)
    answer = agent.get(target.get(code, TOKEN), {"Prefer": "wait=1"} if how == "hang" else None)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (status, code)
    assert (answer.headers["Retry-After"] is not None) == retry
    assert answer.text.count("\n") == 1
