# SPDX-License-Identifier: Apache-2.0
"""The emulator is as strict as Google: otherwise every other test proves too little."""

import base64
import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
import urllib.parse

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from emulator.client import Emulator, EmulatorError

EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
CLIENT_ID = "123456789012-abcdefghijklmnopqrstuvwxyz012345.apps.googleusercontent.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FLAVOR = {"Metadata-Flavor": "Google"}
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def process():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(process):
    process.reset()
    return process


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers          # pairs
        self.body = body

    def header(self, name):
        return dict((key.lower(), value) for key, value in self.headers).get(name.lower())

    def names(self):
        return [key for key, _ in self.headers]

    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


def connect(emulator, url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    context = ssl.create_default_context(cafile=emulator.ca_file)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=60, context=context)


def ask(emulator, url, method="GET", headers=None, body=None):
    connection = connect(emulator, url)
    try:
        parts = urllib.parse.urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target or "/", body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def raw(emulator, data):
    """Bytes to the metadata server, and all that comes back until it closes or is silent."""
    parts = urllib.parse.urlsplit(emulator.metadata)
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return received
            received += piece


def metadata(emulator, path, headers=FLAVOR, **more):
    return ask(emulator, emulator.metadata + path, headers=headers, **more)


def bearer(emulator):
    return metadata(emulator, ACCOUNTS + "/default/token").json()["access_token"]


def iam(emulator, method, fields, token=None, account=EMAIL, headers=None, query=""):
    headers = {"Content-Type": "application/json", **(headers or {})}
    headers.setdefault("Authorization", "Bearer " + (token or bearer(emulator)))
    body = fields if isinstance(fields, (str, bytes)) else json.dumps(fields)
    url = f"{emulator.iam}/v1/projects/-/serviceAccounts/{account}:{method}{query}"
    return ask(emulator, url, "POST", headers, body)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assertion(emulator, header=None, **changes):
    """Made and signed as the agent does it; None takes a claim away."""
    now = int(time.time())
    claims = {"iss": EMAIL, "aud": TOKEN_URL, "iat": now - 10, "exp": now + 3590, "target_audience": "some audience"}
    claims = {key: value for key, value in {**claims, **changes}.items() if value is not None}
    header = {"alg": "RS256", "typ": "JWT"} if header is None else header
    text = b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())
    answer = iam(emulator, "signBlob", {"payload": base64.b64encode(text.encode()).decode()})
    return text + "." + b64url(base64.b64decode(answer.json()["signedBlob"]))


def exchange(emulator, jwt, headers=None, **more):
    body = urllib.parse.urlencode({"grant_type": JWT_BEARER, "assertion": jwt, **more})
    return ask(emulator, emulator.token_endpoint, "POST", headers or FORM, body)


def page(emulator, token=None, path="/", header="Authorization", headers=None):
    headers = dict(headers or {})
    if token:
        headers[header] = "Bearer " + token
    return ask(emulator, emulator.app + path, headers=headers)


# --- metadata server

PLAIN_HEADERS = ["Metadata-Flavor", "Content-Type", "ETag", "Date", "Server", "Content-Length",
                 "X-XSS-Protection", "X-Frame-Options"]
TOKEN_HEADERS = [name for name in PLAIN_HEADERS if name != "ETag"]


def test_root_needs_no_flavor(emulator):
    answer = metadata(emulator, "/", headers={})
    assert (answer.status, answer.text()) == (200, "computeMetadata/\n")
    assert answer.names() == PLAIN_HEADERS
    assert answer.header("Metadata-Flavor") == "Google"


def test_account_in_one_shot(emulator):
    answer = metadata(emulator, ACCOUNTS + "/default/?recursive=true")
    assert answer.text() == ('{"aliases":["default"],"email":"app-sa@example-proj-123.iam.gserviceaccount.com",'
                             '"scopes":["https://www.googleapis.com/auth/cloud-platform"]}')
    assert answer.header("Content-Type") == "application/json"
    assert answer.names() == PLAIN_HEADERS and answer.header("Content-Length") == "141"


def test_all_accounts(emulator):
    assert metadata(emulator, ACCOUNTS + "/").text() == f"{EMAIL}/\ndefault/\n"
    answer = metadata(emulator, ACCOUNTS + "/?recursive=true")
    assert list(answer.json()) == [EMAIL, "default"] and len(answer.body) == 345


@pytest.mark.parametrize("path, body", [
    (ACCOUNTS + "/default/email", EMAIL),
    (ACCOUNTS + "/app-sa%40example-proj-123.iam.gserviceaccount.com/email", EMAIL),
    (ACCOUNTS + "/default/scopes", "https://www.googleapis.com/auth/cloud-platform\n"),
    (ACCOUNTS + "/default/scopes?alt=json", '["https://www.googleapis.com/auth/cloud-platform"]'),
    (ACCOUNTS + "/default/aliases", "default\n"),
    (ACCOUNTS + "/default/", "aliases\nemail\nidentity\nscopes\ntoken\n"),
    (ACCOUNTS + "/default/?recursive=TRUE&alt=text",
     f"aliases default\nemail {EMAIL}\nscopes https://www.googleapis.com/auth/cloud-platform\n"),
    (ACCOUNTS + "//default//email?recursive=on", EMAIL),
    (ACCOUNTS + "/default/email?alt=json&unknown=1", f'"{EMAIL}"'),
    ("/computeMetadata/v1/project/project-id", "example-proj-123"),
    ("/computeMetadata/v1/project/numeric-project-id", "123456789012"),
    ("/computeMetadata/v1/instance/zone", "projects/123456789012/zones/us-central1-a"),
    ("/computeMetadata/v1/instance/id", "5775171277418378000"),
    ("/computeMetadata/v1/universe/universe-domain", "googleapis.com"),
    ("/computeMetadata/v1/", "instance/\nproject/\nuniverse/\n"),
])
def test_values(emulator, path, body):
    answer = metadata(emulator, path)
    assert (answer.status, answer.text()) == (200, body)


@pytest.mark.parametrize("path, status", [
    (ACCOUNTS + "/default/email/", 404), (ACCOUNTS + "/nobody/email", 404), ("/computeMetadata/v1/instance/x", 404),
    ("/computeMetadata/v1beta1/instance/id", 404), (ACCOUNTS + "/?alt=json", 400),
    (ACCOUNTS + "/?wait_for_change=true", 400), (ACCOUNTS + "/default/identity?audience=a&format=no", 400),
    ("/computeMetadata/v1/instance/attributes/none", 404),
])
def test_what_is_not_there(emulator, path, status):
    answer = metadata(emulator, path)
    assert answer.status == status and answer.header("Metadata-Flavor") == "Google"


def test_attributes_keep_their_names(emulator):
    emulator.set(attributes={"my-key": "two\nlines", "token": "token"})
    assert metadata(emulator, "/computeMetadata/v1/instance/attributes/my-key").text() == "two\nlines"
    tree = metadata(emulator, "/computeMetadata/v1/instance/?recursive=true").json()
    assert tree["attributes"] == {"my-key": "two\nlines", "token": "token"} and "serviceAccounts" in tree


def test_missing_flavor(emulator):
    answer = metadata(emulator, "/computeMetadata/v1/instance/id", headers={})
    assert answer.status == 403 and answer.header("Content-Type") == "text/html; charset=UTF-8"
    assert answer.names() == TOKEN_HEADERS and answer.header("Content-Length") == "304"
    assert answer.text() == (
        "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 403 (Forbidden)!!1</title>\n"
        "  <p><b>403.</b> <ins>That's an error.</ins>\n"
        "  <p>Your client does not have permission to get URL <code>/computeMetadata/v1/instance/id</code> from this "
        "server. Missing Metadata-Flavor:Google header. <ins>That's all we know.</ins>\n")


@pytest.mark.parametrize("headers, status", [
    ({"Metadata-Flavor": "google"}, 403), ({**FLAVOR, "X-Forwarded-For": "1.2.3.4"}, 403),
    ({**FLAVOR, "Authorization": "Bearer x"}, 400), ({**FLAVOR, "Cookie": "a=b"}, 400),
    ({**FLAVOR, "Proxy-Connection": "keep-alive"}, 400),
])
def test_refused_headers(emulator, headers, status):
    assert metadata(emulator, "/computeMetadata/v1/instance/id", headers=headers).status == status


def test_method(emulator):
    answer = metadata(emulator, ACCOUNTS + "/default/token", method="POST", body="{}")
    assert answer.status == 405 and answer.header("Allow") == "GET, HEAD"
    answer = metadata(emulator, ACCOUNTS + "/default/email", method="HEAD")
    assert (answer.status, answer.header("Content-Length"), answer.body) == (200, "47", b"")


def test_directory_without_slash(emulator):
    answer = metadata(emulator, ACCOUNTS, headers={**FLAVOR, "Host": "metadata.example:8"})
    assert (answer.status, answer.text()) == (301, ACCOUNTS + "/\n")
    assert answer.header("Location") == f"http://metadata.example:8{ACCOUNTS}/"
    assert answer.header("Content-Type") == "text/html"


def test_not_found_page(emulator):
    emulator.set(universe=None)
    answer = metadata(emulator, "/computeMetadata/v1/universe/universe-domain")
    assert answer.status == 404 and answer.header("Content-Length") == "260"
    assert answer.text() == (
        "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n"
        "  <p><b>404.</b> <ins>That's an error.</ins>\n"
        "  <p>The requested URL <code>/computeMetadata/v1/universe/universe-domain</code> was not found on this "
        "server. <ins>That's all we know.</ins>\n")


def test_no_service_account(emulator):
    emulator.set(service_account=False)
    for leaf in ("token", "identity?audience=https%3A%2F%2Fx"):
        answer = metadata(emulator, f"{ACCOUNTS}/default/{leaf}")
        assert answer.status == 404 and answer.header("Content-Type") == "application/json"
        assert answer.text() == ('{"error":"invalid_request",'
                                 '"error_description":"Service account not enabled on this instance"}')
    assert metadata(emulator, ACCOUNTS + "/default/?recursive=true").status == 404
    assert (metadata(emulator, ACCOUNTS + "/").status, metadata(emulator, ACCOUNTS + "/").body) == (200, b"")


def test_access_token_stays_until_five_minutes_are_left(emulator):
    first = metadata(emulator, ACCOUNTS + "/default/token")
    assert first.header("Content-Type") == "application/json" and first.names() == TOKEN_HEADERS
    assert first.json()["expires_in"] in (3599, 3600) and first.json()["token_type"] == "Bearer"
    assert first.json()["access_token"].startswith("ya29.")
    emulator.set(clock_offset=3290)
    second = metadata(emulator, ACCOUNTS + "/default/token?scopes=https%3A%2F%2Fexample.com").json()
    assert second["access_token"] == first.json()["access_token"] and 300 < second["expires_in"] <= 310
    emulator.set(clock_offset=3301)
    third = metadata(emulator, ACCOUNTS + f"/{EMAIL}/token").json()
    assert third["access_token"] != second["access_token"] and third["expires_in"] > 3590
    text = metadata(emulator, ACCOUNTS + "/default/token?alt=text").text()
    assert text.startswith(f"access_token {third['access_token']}\nexpires_in ") and "token_type Bearer\n" in text


def test_identity(emulator):
    path = ACCOUNTS + "/default/identity?audience=https://x.example:1/?a=b"
    answer = metadata(emulator, path + "&format=full&licenses=TRUE")
    assert answer.header("Content-Type") == "text/html" and answer.names() == TOKEN_HEADERS
    claims = emulator.verify(answer.text(), "https://x.example:1/?a=b")
    assert claims["exp"] - claims["iat"] == 3600 and claims["azp"] == claims["sub"] == "113456789012345678901"
    assert claims["email"] == EMAIL and claims["email_verified"] is True
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["google"] == {"compute_engine": {
        "instance_creation_timestamp": 1767139200, "instance_id": "5775171277418378000", "instance_name": "vm-1",
        "project_id": "example-proj-123", "project_number": 123456789012, "zone": "us-central1-a",
        "license_id": ["1000204"]}}
    claims = emulator.verify(metadata(emulator, path).text(), "https://x.example:1/?a=b")
    assert "email" not in claims and "google" not in claims
    claims = emulator.verify(metadata(emulator, ACCOUNTS + "/default/identity?audience=a+b%2Bc").text(), "a b+c")
    for query in ("", "?audience="):
        answer = metadata(emulator, ACCOUNTS + "/default/identity" + query)
        assert (answer.status, answer.text()) == (400, "non-empty audience parameter required\n")
        assert answer.header("Content-Type") == "text/html"


def test_wait_for_change(emulator):
    path = ACCOUNTS + "/default/?recursive=true"
    before = metadata(emulator, path)
    etag = before.header("ETag")
    waiting = path + "&wait_for_change=true"
    assert metadata(emulator, waiting + "&last_etag=NONE").body == before.body
    assert metadata(emulator, waiting + f"&last_etag={etag}&timeout_sec=0").header("ETag") == etag

    answers = []
    waiter = threading.Thread(target=lambda: answers.append(metadata(emulator, waiting + f"&last_etag={etag}")))
    waiter.start()
    wait_until(lambda: any("last_etag=" + etag in record["target"] and "timeout" not in record["target"]
                           for record in emulator.requests("metadata")))
    assert not answers
    emulator.set(scopes=["https://www.googleapis.com/auth/iam"])
    waiter.join(60)
    assert answers[0].json()["scopes"] == ["https://www.googleapis.com/auth/iam"]
    assert answers[0].header("ETag") != etag
    emulator.set(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    assert metadata(emulator, path).header("ETag") == etag


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_http_1_0(emulator):
    answer = raw(emulator, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n") and b"\r\nConnection: Close\r\n" in answer


def test_pipelining_on_one_connection(emulator):
    assert raw(emulator, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3).count(b"HTTP/1.1 200 OK") == 3
    assert {record["connection"] for record in emulator.requests()} == {emulator.requests()[0]["connection"]}
    assert emulator.counts()["metadata"]["connections"] == 1


@pytest.mark.parametrize("data, status", [
    (b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\n a: b\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505), (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411),
    (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400), (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70000 + b"\r\n\r\n", 431),
])
def test_http_is_read_strictly(emulator, data, status):
    assert raw(emulator, data).startswith(b"HTTP/1.1 %d " % status)


# --- IAM Credentials


def rpc_error(answer):
    """The error as in Google's answer, its form checked on the way."""
    assert answer.header("Content-Type") == "application/json; charset=UTF-8"
    assert answer.header("Transfer-Encoding") == "chunked" and answer.text().startswith('{\n  "error": {\n')
    error = answer.json()["error"]
    assert error["code"] == answer.status
    return json.dumps(answer.json(), separators=(",", ":"), ensure_ascii=False)


def test_sign_blob(emulator):
    answer = iam(emulator, "signBlob", {"payload": "aGVsbG8=", "delegates": None})
    assert answer.status == 200 and answer.header("Transfer-Encoding") == "chunked"
    assert answer.text().startswith('{\n  "keyId": "') and len(answer.json()["keyId"]) == 40
    assert len(answer.json()["signedBlob"]) == 344
    compact = iam(emulator, "signBlob", {"payload": "aGVsbG8="}, query="?alt=json&prettyPrint=false")
    assert compact.text().startswith('{"keyId":"') and compact.json() == answer.json()
    hop = "projects/-/serviceAccounts/hop-sa@example-proj-123.iam.gserviceaccount.com"
    assert iam(emulator, "signBlob", {"payload": "aGVsbG8=", "delegates": [hop]}).json() == answer.json()
    for account in (EMAIL.replace("@", "%40"), emulator.unique_id):
        assert iam(emulator, "signBlob", {"payload": "aGVsbG8="}, account=account).json() == answer.json()


@pytest.mark.parametrize("body, message", [
    ({"payload": "%%%"}, "Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed for \"%%%\""),
    ({"payload": "_-8="}, "Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed for \"_-8=\""),
    ({"payload": "aGVsbG8"}, "Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed for \"aGVsbG8\""),
    ({"payload": 5}, "Invalid value at 'payload' (TYPE_BYTES), 5"),
    ({"payload": "aGk=", "x": 1}, 'Invalid JSON payload received. Unknown name "x": Cannot find field.'),
    ({"payload": "aGk=", "delegates": "a"}, "Invalid value at 'delegates' (TYPE_STRING), \"a\""),
    ({}, "The payload field is required."),
    ("{", "Invalid JSON payload received. Unexpected token."),
    ('{"payload":"aGk=","payload":"aGk="}', "Invalid JSON payload received. Unexpected token."),
    ("[]", "Invalid JSON payload received. Root element must be a message."),
])
def test_sign_blob_body(emulator, body, message):
    answer = iam(emulator, "signBlob", body)
    error = json.loads(rpc_error(answer))["error"]
    assert (answer.status, error["status"], error["message"]) == (400, "INVALID_ARGUMENT", message)


def test_bad_base64_exactly(emulator):
    assert rpc_error(iam(emulator, "signBlob", {"payload": "%%%"})) == (
        '{"error":{"code":400,"message":"Invalid value at \'payload\' (TYPE_BYTES), Base64 decoding failed for '
        '\\"%%%\\"","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",'
        '"fieldViolations":[{"field":"payload","description":"Invalid value at \'payload\' (TYPE_BYTES), Base64 '
        'decoding failed for \\"%%%\\""}]}]}}')


def test_content_type_is_required(emulator):
    answer = iam(emulator, "signBlob", {"payload": "aGk="}, headers={"Content-Type": "text/plain"})
    assert answer.status == 400 and "Invalid JSON payload received. Unknown name" in rpc_error(answer)


ROLE = ('{"error":{"code":403,"message":"Permission \'iam.serviceAccounts.signBlob\' denied on resource (or it may not '
        'exist).","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
        '"reason":"IAM_PERMISSION_DENIED","domain":"iam.googleapis.com","metadata":{"permission":'
        '"iam.serviceAccounts.signBlob"}}]}}')
SCOPE = ('{"error":{"code":403,"message":"Request had insufficient authentication scopes.","status":'
         '"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":'
         '"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com","metadata":{"service":'
         '"iamcredentials.googleapis.com","method":"google.iam.credentials.v1.IAMCredentials.SignBlob"}}]}}')
API = ('{"error":{"code":403,"message":"IAM Service Account Credentials API has not been used in project 123456789012 '
       'before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/'
       'iamcredentials.googleapis.com/overview?project=123456789012 then retry. If you enabled this API recently, '
       'wait a few minutes for the action to propagate to our systems and retry.","status":"PERMISSION_DENIED",'
       '"details":[{"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"Google developers console '
       'API activation","url":"https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/'
       'overview?project=123456789012"}]},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":'
       '"SERVICE_DISABLED","domain":"googleapis.com","metadata":{"service":"iamcredentials.googleapis.com",'
       '"consumer":"projects/123456789012"}}]}}')
EXPIRED = ('{"error":{"code":401,"message":"Request had invalid authentication credentials. Expected OAuth 2 access '
           'token, login cookie or other valid authentication credential. See https://developers.google.com/identity/'
           'sign-in/web/devconsole-project.","status":"UNAUTHENTICATED","details":[{"@type":'
           '"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_EXPIRED","domain":"googleapis.com",'
           '"metadata":{"service":"iamcredentials.googleapis.com","method":'
           '"google.iam.credentials.v1.IAMCredentials.SignBlob"}}]}}')
QUOTA = ('{"error":{"code":429,"message":"Quota exceeded for quota metric \'SIGN_METRIC\' and limit \'SIGN_LIMIT per '
         'minute\' of service \'iamcredentials.googleapis.com\' for consumer \'project_number:123456789012\'.",'
         '"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":'
         '"RATE_LIMIT_EXCEEDED","domain":"googleapis.com","metadata":{"service":"iamcredentials.googleapis.com",'
         '"consumer":"projects/123456789012","quota_metric":"iamcredentials.googleapis.com/SIGN_METRIC",'
         '"quota_limit":"SIGN_LIMIT"}}]}}')
TEMPORARY = '{"error":{"code":503,"message":"The service is currently unavailable.","status":"UNAVAILABLE"}}'


@pytest.mark.parametrize("settings, body", [
    ({"role": False}, ROLE), ({"scopes": ["https://www.googleapis.com/auth/devstorage.read_only"]}, SCOPE),
    ({"api_enabled": False}, API),
])
def test_refusals_by_settings(emulator, settings, body):
    emulator.set(**settings)
    assert rpc_error(iam(emulator, "signBlob", {"payload": "aGk="})) == body


def test_expired_and_revoked_bearer(emulator):
    token = bearer(emulator)
    emulator.set(clock_offset=3601)
    assert rpc_error(iam(emulator, "signBlob", {"payload": "aGk="}, token)) == EXPIRED
    emulator.set(clock_offset=0)
    assert iam(emulator, "signBlob", {"payload": "aGk="}, token).status == 200
    emulator.revoke(renew=False)
    assert bearer(emulator) == token
    assert rpc_error(iam(emulator, "signBlob", {"payload": "aGk="}, token)) == EXPIRED
    emulator.revoke()
    assert iam(emulator, "signBlob", {"payload": "aGk="}).status == 200


@pytest.mark.parametrize("authorization, reason", [
    ("Bearer made-up", "ACCESS_TOKEN_TYPE_UNSUPPORTED"), ("Basic eDp5", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
])
def test_other_credentials(emulator, authorization, reason):
    answer = iam(emulator, "signBlob", {"payload": "aGk="}, headers={"Authorization": authorization})
    assert answer.status == 401 and f'"reason":"{reason}"' in rpc_error(answer)


def test_no_credentials_no_account_no_route(emulator):
    url = f"{emulator.iam}/v1/projects/-/serviceAccounts/{EMAIL}:signBlob"
    answer = ask(emulator, url, "POST", {"Content-Type": "application/json"}, "{}")
    assert answer.status == 401 and '"reason":"CREDENTIALS_MISSING"' in rpc_error(answer)
    answer = iam(emulator, "signBlob", {"payload": "aGk="}, account="other@example.com")
    assert answer.status == 404 and "Gaia id not found for email other@example.com" in rpc_error(answer)
    assert iam(emulator, "signblob", {"payload": "aGk="}).status == 404
    assert ask(emulator, url).status == 404
    assert ask(emulator, url.replace("/-/", "/example-proj-123/"), "POST", {}, "{}").status == 404


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_account_state(emulator, state):
    jwt = assertion(emulator)
    emulator.set(account_state=state)
    answer = iam(emulator, "signBlob", {"payload": "aGk="})
    assert answer.status == 401 and '"reason":"ACCOUNT_STATE_INVALID"' in rpc_error(answer) and EMAIL in answer.text()
    assert exchange(emulator, jwt).json()["error_description"] == "Invalid grant: account not found"


def test_other_iam_methods(emulator):
    token = iam(emulator, "generateIdToken", {"audience": "a", "includeEmail": "true"}).json()["token"]
    claims = emulator.verify(token, "a")
    assert claims["email"] == EMAIL and claims["azp"] == emulator.unique_id
    token = iam(emulator, "generateIdToken", {"audience": "a", "useEmailAzp": True}).json()["token"]
    assert "email" not in emulator.verify(token, "a") and emulator.verify(token, "a")["azp"] == EMAIL
    fields = {"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "600s"}
    answer = iam(emulator, "generateAccessToken", fields).json()
    assert answer["expireTime"].endswith("Z")
    assert iam(emulator, "signBlob", {"payload": "aGk="}, answer["accessToken"]).status == 200
    assert iam(emulator, "generateAccessToken", {**fields, "lifetime": "3601s"}).status == 400
    for payload in ("[]", "x", json.dumps({"exp": int(time.time()) + 50000}), json.dumps({"exp": 5})):
        assert iam(emulator, "signJwt", {"payload": payload}).status == 400
    emulator.set(role=False)
    assert "iam.serviceAccounts.getOpenIdToken" in rpc_error(iam(emulator, "generateIdToken", {"audience": "a"}))


# --- token endpoint

WRONG_TIME = ("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                               "timeframe. Check your iat and exp values in the JWT claim.")
WRONG_AUDIENCE = ("invalid_grant", "Invalid JWT: Failed audience check.")
WRONG_SCOPE = ("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
UNKNOWN_ACCOUNT = ("invalid_grant", "Invalid grant: account not found")
NOW = int(time.time())


def test_id_token(emulator):
    answer = exchange(emulator, assertion(emulator, target_audience="https://x/ü"))
    assert answer.status == 200 and answer.header("Content-Type") == "application/json; charset=utf-8"
    assert list(answer.json()) == ["id_token"]
    claims = emulator.verify(answer.json()["id_token"], "https://x/ü")
    assert sorted(claims) == ["aud", "azp", "email", "email_verified", "exp", "iat", "iss", "sub"]
    assert claims["azp"] == claims["email"] == EMAIL and claims["exp"] - claims["iat"] == 3600
    emulator.set(id_token_life=60)
    claims = emulator.verify(exchange(emulator, assertion(emulator)).json()["id_token"], "some audience")
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.parametrize("changes, error", [
    ({"exp": NOW + 7200}, WRONG_TIME), ({"iat": NOW + 3000, "exp": NOW + 3100}, WRONG_TIME),
    ({"iat": NOW - 4000, "exp": NOW - 400}, WRONG_TIME), ({"iat": None}, WRONG_TIME), ({"exp": "1"}, WRONG_TIME),
    ({"iat": float(NOW)}, WRONG_TIME),
    ({"aud": "https://www.googleapis.com/oauth2/v4/token"}, WRONG_AUDIENCE), ({"aud": [TOKEN_URL]}, WRONG_AUDIENCE),
    ({"aud": None}, WRONG_AUDIENCE), ({"target_audience": None}, WRONG_SCOPE), ({"target_audience": ""}, WRONG_SCOPE),
    ({"target_audience": ["a"]}, WRONG_SCOPE), ({"iss": "nobody@example.com"}, UNKNOWN_ACCOUNT),
    ({"iss": None}, UNKNOWN_ACCOUNT),
])
def test_assertion_claims(emulator, changes, error):
    answer = exchange(emulator, assertion(emulator, **changes))
    assert answer.status == 400
    assert answer.json() == {"error": error[0], "error_description": error[1]}


def test_assertion_signature(emulator):
    good = assertion(emulator)
    head, body, signature = good.split(".")
    other = assertion(emulator, target_audience="other").split(".")
    answer = exchange(emulator, f"{head}.{other[1]}.{signature}")
    assert (answer.status, answer.json()) == (
        400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    standard = base64.b64encode(base64.urlsafe_b64decode(signature + "==")).decode()
    # Padded as libraries of 2018 did it: those it takes.
    assert exchange(emulator, f"{head}.{body}.{signature}==").status == 200
    for text in (f"{head}.{body}", f"{head}.{body}.{standard}", f"{head}.{body}.{signature}=", "x.y.z",
                 assertion(emulator, header={"alg": "none"})):
        answer = exchange(emulator, text)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_request")


def test_form(emulator):
    jwt = assertion(emulator)
    assert exchange(emulator, jwt, headers={"Content-Type": "application/json"}).status == 400
    assert exchange(emulator, jwt, headers={**FORM, "Authorization": "Bearer x"}).status == 400
    answer = exchange(emulator, jwt, extra="1")
    assert answer.json() == {"error": "invalid_request",
                             "error_description": "Parameter not allowed for this message type: extra"}
    answer = exchange(emulator, jwt, grant_type="password")
    assert (answer.status, answer.json()["error"]) == (400, "unsupported_grant_type")
    body = urllib.parse.urlencode({"grant_type": JWT_BEARER, "assertion": jwt})
    assert ask(emulator, emulator.token_endpoint, "POST", FORM, body + "&assertion=x").status == 400
    assert ask(emulator, emulator.token_endpoint + "?" + body, "POST", FORM, "").status == 400
    assert ask(emulator, emulator.token_endpoint).status == 405
    assert ask(emulator, emulator.token_endpoint + "s", "POST", FORM, body).status == 404


def test_access_token_by_assertion(emulator):
    answer = exchange(emulator, assertion(emulator, target_audience=None,
                                          scope="https://www.googleapis.com/auth/cloud-platform")).json()
    assert answer["token_type"] == "Bearer" and answer["expires_in"] == 3600
    assert iam(emulator, "signBlob", {"payload": "aGk="}, answer["access_token"]).status == 200


def test_refresh_token(emulator):
    form = {"client_id": "123456789012-desktopclient.apps.googleusercontent.com",
            "client_secret": "EXAMPLE-CLIENT-SECRET", "refresh_token": "EXAMPLE/REFRESH-TOKEN",
            "grant_type": "refresh_token", "audience": CLIENT_ID}

    def post(**changes):
        return ask(emulator, emulator.token_endpoint, "POST", FORM, urllib.parse.urlencode({**form, **changes}))

    claims = emulator.verify(post().json()["id_token"], CLIENT_ID)
    assert (claims["email"], claims["hd"]) == ("user@example.com", "example.com")
    assert claims["azp"] == form["client_id"]
    assert (post(refresh_token="x").status, post(refresh_token="x").json()["error"]) == (400, "invalid_grant")
    assert (post(client_secret="x").status, post(client_secret="x").json()["error"]) == (401, "invalid_client")
    # Whom the token is for is another client of the same project.
    assert post(audience=f"{form['client_id'].split('-')[0]}-other.apps.googleusercontent.com").status == 200
    for audience in ("999999999999-other.apps.googleusercontent.com", "https://app.example.com"):
        assert (post(audience=audience).status, post(audience=audience).json()["error"]) == (400, "invalid_audience")
    for state in ("revoked", "rapt_required", "invalid_rapt"):
        emulator.set(user_state=state)
        answer = post().json()
        assert answer["error"] == "invalid_grant"
        assert answer.get("error_subtype", "revoked") == state


def test_key_of_a_file_signs_until_it_is_deleted(emulator):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    file = emulator.key_file()
    key = serialization.load_pem_private_key(file["private_key"].encode(), None)

    def trade(kid):
        now = int(time.time())
        claims = {"iss": emulator.email, "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600,
                  "target_audience": CLIENT_ID}
        def encode(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

        text = ".".join(encode(json.dumps(part).encode()) for part in (
            {"alg": "RS256", "kid": kid, "typ": "JWT"}, claims))
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return exchange(emulator, f"{text}.{encode(signature)}")

    emulator.verify(trade(file["private_key_id"]).json()["id_token"], CLIENT_ID)
    assert trade("0" * 40).json()["error_description"] == "Invalid JWT Signature."
    emulator.delete_key(file["private_key_id"])
    assert trade(file["private_key_id"]).json()["error_description"] == "Invalid JWT Signature."


# --- certificates


def test_published_keys(emulator):
    base = emulator.certs[:-len("/oauth2/v3/certs")]
    answer = ask(emulator, emulator.certs)
    assert answer.header("Cache-Control") == "public, max-age=21600, must-revalidate, no-transform"
    assert answer.header("Age") == "120" and answer.json() == emulator.keys()["google"]
    (kid,) = ask(emulator, base + "/oauth2/v1/certs").json()
    assert kid == answer.json()["keys"][0]["kid"]
    for form in ("service_accounts/v1/metadata/jwk", "service_accounts/v1/jwk"):
        assert ask(emulator, f"{base}/{form}/{EMAIL}").json() == emulator.keys()["account"]
    for form in ("service_accounts/v1/metadata/x509", "robot/v1/metadata/x509"):
        (pem,) = ask(emulator, f"{base}/{form}/{EMAIL}").json().values()
        assert pem.startswith("-----BEGIN CERTIFICATE-----\n")
    assert ask(emulator, f"{base}/robot/v1/metadata/x509/nobody@example.com").status == 404
    emulator.rotate()
    assert len(ask(emulator, emulator.certs).json()["keys"]) == 2
    emulator.rotate(keep_old=False)
    assert len(ask(emulator, emulator.certs).json()["keys"]) == 1


# --- Identity-Aware Proxy


def refused(answer):
    assert answer.header("X-Goog-IAP-Generated-Response") == "true"
    assert answer.header("Content-Type") == "text/html" and answer.header("Server") == "Google Frontend"
    return answer.status, answer.text()


def test_protected_page(emulator):
    token = exchange(emulator, assertion(emulator, target_audience=CLIENT_ID)).json()["id_token"]
    answer = page(emulator, token, "/some/path?q=1")
    assert answer.status == 200 and answer.header("X-Goog-IAP-Generated-Response") is None
    assert answer.text() == f"Hello {EMAIL}, this page is protected by Identity-Aware Proxy.\n/some/path\n"
    records = emulator.requests("app")
    assert token not in json.dumps(records) and "sha256:" in json.dumps(records)


def test_without_credential(emulator):
    answer = page(emulator, headers={"Accept": "text/html,*/*"})
    assert refused(answer) == (302, "Invalid IAP credentials: empty token")
    location = urllib.parse.urlsplit(answer.header("Location"))
    assert location.netloc + location.path == "accounts.google.com/o/oauth2/v2/auth"
    assert dict(urllib.parse.parse_qsl(location.query))["client_id"] == emulator.iap_client_id
    assert answer.header("Set-Cookie").startswith("GCP_IAP_XSRF_NONCE_")
    assert refused(page(emulator)) == (401, "Invalid IAP credentials: empty token")
    answer = ask(emulator, emulator.app, "POST", {"Accept": "text/html"}, "x")
    assert refused(answer) == (401, "Invalid IAP credentials: empty token")


@pytest.mark.parametrize("claims, text", [
    ({"aud": "https://localhost"}, "Invalid bearer token. Invalid JWT audience."),
    ({"aud": [CLIENT_ID]}, "Invalid bearer token. Invalid JWT audience."),
    ({"key": "stranger"}, "JWT signature is invalid"), ({"key": "account"}, "JWT signature is invalid"),
    ({"iss": "https://example.com"}, "JWT signature is invalid"),
    ({"exp": NOW - 1, "iat": NOW - 3601}, "Invalid bearer token. JWT is expired."),
    ({"email": None}, "Invalid bearer token. JWT has no verified email."),
    ({"email_verified": False}, "Invalid bearer token. JWT has no verified email."),
])
def test_refused_tokens(emulator, claims, text):
    assert refused(page(emulator, emulator.mint(**claims))) == (401, "Invalid IAP credentials: " + text)


def test_not_a_jwt(emulator):
    assert refused(page(emulator, "abc")) == (401, "Invalid IAP credentials: Unable to parse JWT")


def test_no_role(emulator):
    emulator.set(iap_members=["somebody@example.com"])
    status, text = refused(page(emulator, emulator.mint()))
    assert status == 403 and text.startswith("<!DOCTYPE html>") and EMAIL in text
    assert page(emulator, emulator.mint(email="somebody@example.com")).status == 200


def test_url_audience(emulator):
    origin_token = emulator.mint(aud=emulator.app)
    assert page(emulator, origin_token).status == 401
    emulator.set(iap_mode="2018")
    assert page(emulator, origin_token).status == 200
    for audience in (emulator.app + "/", "https://localhost", CLIENT_ID):
        assert refused(page(emulator, emulator.mint(aud=audience)))[1].endswith("Invalid JWT audience.")


def test_programmatic_client(emulator):
    assert page(emulator, emulator.mint(aud="other-client")).status == 401
    emulator.set(iap_programmatic_clients=["other-client"])
    assert page(emulator, emulator.mint(aud="other-client")).status == 200


@pytest.mark.parametrize("path, life, status", [
    ("/*", 3600, 200), ("/a/b", 3600, 200), ("/a/*", 3600, 200), ("/b/*", 3600, 401), ("/a", 3600, 401),
    ("", 3600, 401), ("/*", 3601, 401),
])
def test_jwt_signed_by_the_account(emulator, path, life, status):
    now = int(time.time())
    claims = {"iss": EMAIL, "sub": EMAIL, "aud": emulator.app + path, "iat": now, "exp": now + life}
    jwt = iam(emulator, "signJwt", {"payload": json.dumps(claims)}).json()["signedJwt"]
    assert page(emulator, jwt, "/a/b").status == status


def test_echo_and_status(emulator):
    token = emulator.mint()
    answer = ask(emulator, emulator.app + "/echo?a=b", "PUT",
                 {"Proxy-Authorization": "Bearer " + token, "Authorization": "Basic eDp5"}, "hello")
    echo = answer.json()
    assert (echo["line"], echo["length"], echo["body"]) == ("PUT /echo?a=b HTTP/1.1", 5, "hello")
    names = [name for name, _ in echo["headers"]]
    assert "Authorization" in names and "Proxy-Authorization" not in names and "eDp5" not in answer.text()
    answer = page(emulator, token, "/status/418")
    assert (answer.status, answer.text(), answer.header("X-Application")) == (
        418, "The application says 418.\n", "yes")


def test_chunked_upload(emulator):
    connection = connect(emulator, emulator.app)
    connection.request("POST", "/echo", iter([b"ab", b"c"]), {"Authorization": "Bearer " + emulator.mint()},
                       encode_chunked=True)
    assert json.load(connection.getresponse())["body"] == "abc"
    connection.close()


# --- faults

IDENTITY = ACCOUNTS + "/default/identity?audience=a&format=full"


@pytest.mark.parametrize("reason, body", [
    ("IAM_PERMISSION_DENIED", ROLE), ("RATE_LIMIT_EXCEEDED", QUOTA), ("UNAVAILABLE", TEMPORARY),
])
def test_fault_by_reason(emulator, reason, body):
    emulator.fault("iam", "status", reason=reason, times=1)
    assert rpc_error(iam(emulator, "signBlob", {"payload": "aGk="})) == body
    assert iam(emulator, "signBlob", {"payload": "aGk="}).status == 200


def test_fault_status_after_and_times(emulator):
    emulator.fault("metadata", "status", status=503, headers={"Retry-After": "7"}, body="later", match="/email",
                   after=1, times=2)
    answers = [metadata(emulator, ACCOUNTS + "/default/email") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert (answers[1].text(), answers[1].header("Retry-After")) == ("later", "7")
    assert emulator.faults()[0]["hits"] == 2


@pytest.mark.parametrize("kind, options, error", [
    ("close", {}, http.client.RemoteDisconnected), ("reset", {"where": "before"}, ConnectionResetError),
    ("truncate", {}, http.client.IncompleteRead), ("garbage", {}, http.client.BadStatusLine),
])
@pytest.mark.parametrize("service", ["metadata", "certs"])
def test_broken_answers(emulator, service, kind, options, error):
    emulator.fault(service, kind, **options)
    with pytest.raises(error):
        ask(emulator, emulator.metadata if service == "metadata" else emulator.certs)


def test_reset_in_the_body(emulator):
    emulator.fault("metadata", "reset")
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        metadata(emulator, "/")


def test_hang_until_lifted(emulator):
    number = emulator.fault("certs", "hang")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(ask(emulator, emulator.certs)))
    waiter.start()
    wait_until(lambda: emulator.requests("certs"))
    assert not answers
    emulator.unfault(id=number)
    waiter.join(60)
    assert answers[0].status == 200


def test_slow_answers(emulator):
    emulator.fault("metadata", "delay", seconds=0.2, times=1)
    began = time.monotonic()
    assert metadata(emulator, "/").status == 200
    assert time.monotonic() - began >= 0.2
    emulator.fault("metadata", "drip", interval=0.0005)
    assert metadata(emulator, "/").text() == "computeMetadata/\n"


def test_hang_up(emulator):
    emulator.fault("metadata", "hang-up")
    connection = connect(emulator, emulator.metadata)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read() == b"computeMetadata/\n" and answer.getheader("Connection") is None
    assert connection.sock.recv(1) == b""
    connection.close()


def test_wrong_bodies(emulator):
    path = ACCOUNTS + "/default/token"
    emulator.fault("metadata", "not-json", times=1)
    with pytest.raises(ValueError):
        metadata(emulator, path).json()
    emulator.fault("metadata", "wrong-type", times=1)
    assert {type(value) for value in metadata(emulator, path).json().values()} == {int, str}
    emulator.fault("metadata", "wrong-type", value=[None], times=1)
    assert metadata(emulator, path).json() == [None]
    emulator.fault("metadata", "empty", times=1)
    assert metadata(emulator, path).header("Content-Length") == "0"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_huge(emulator, framing):
    emulator.fault("certs", "huge", megabytes=3, framing=framing)
    assert len(ask(emulator, emulator.certs).json()["padding"]) == 3 << 20


def test_secrets_are_all_that_was_issued_or_received(emulator):
    jwt = assertion(emulator)
    token = exchange(emulator, jwt).json()["id_token"]
    minted = emulator.mint()
    text, _, signature = jwt.rpartition(".")
    signature += "=" * (-len(signature) % 4)
    known = emulator.secrets()
    assert {known[jwt], known[text]} == {"assertion"}
    assert {known[token], known[minted]} == {"ID token"}
    assert known[bearer(emulator)] == "access token"
    assert known[signature.replace("-", "+").replace("_", "/")] == "signature"
    page(emulator, "of-somebody-else")
    assert emulator.secrets()["of-somebody-else"] == "bearer"


@pytest.mark.parametrize("first, form, shown", [
    ("headers", "plain", lambda token: token),
    ("headers", "base64", lambda token: base64.b64encode(token.encode()).decode()[:100]),
    ("headers", "hex", lambda token: token.encode().hex()),
    ("headers", "percent", lambda token: "".join(f"%{byte:02X}" for byte in token.encode())),
    ("headers", "middle", lambda token: token[20:]),
    ("body", "plain", lambda token: base64.b64encode(b"what is to be signed, at some length").decode()),
])
def test_echo_shows_what_came_in_every_place(emulator, first, form, shown):
    token = bearer(emulator)
    emulator.fault("iam", "echo", status=403, first=first, form=form)
    payload = base64.b64encode(b"what is to be signed, at some length").decode()
    answer = iam(emulator, "signBlob", {"payload": payload}, token)
    error = answer.json()["error"]
    assert answer.status == 403
    for text in (error["message"], error["details"][0]["reason"], error["details"][0]["metadata"]["consumer"]):
        assert shown(token) in text
    for name in ("Date", "Retry-After", "WWW-Authenticate", "ETag"):
        assert shown(token)[:800] in answer.header(name)


def test_echo_shows_the_good_answer_and_takes_a_code(emulator):
    emulator.fault("token-endpoint", "echo", status=400, first="answer", code="invalid_grant")
    answer = exchange(emulator, assertion(emulator)).json()
    assert answer["error"] == "invalid_grant"
    assert emulator.secrets()[answer["error_description"].split()[0]] == "ID token"
    emulator.fault("metadata", "echo", status=404, first="answer", page=True)
    answer = metadata(emulator, ACCOUNTS + "/default/token")
    assert answer.status == 404 and "<p>ya29.c." in answer.text()


def test_redirect(emulator):
    emulator.fault("iam", "redirect", status=308, location="https://example.com/")
    answer = iam(emulator, "signBlob", {"payload": "aGk="})
    assert (answer.status, answer.header("Location")) == (308, "https://example.com/")


def decode(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@pytest.mark.parametrize("wrong, check", [
    ("aud", lambda claims: claims["aud"] != "a"), ("iss", lambda claims: "google" not in claims["iss"]),
    ("no-email", lambda claims: "email" not in claims), ("email", lambda claims: claims["email"] != EMAIL),
    ("expired", lambda claims: claims["exp"] < time.time()),
    ("not-yet-valid", lambda claims: claims["iat"] > time.time() + 3600),
    ("life", lambda claims: claims["exp"] > time.time() + 86400 * 3000),
    ("three-megabyte", lambda claims: len(claims["padding"]) == 3 << 20),
    ("aud-array", lambda claims: claims["aud"] == ["a"]), ("no-exp", lambda claims: "exp" not in claims),
    ("email-unverified", lambda claims: claims["email_verified"] is False),
])
def test_wrong_claims(emulator, wrong, check):
    emulator.fault("metadata", "claims", wrong=wrong)
    assert check(decode(metadata(emulator, IDENTITY).text()))


def test_wrong_signatures(emulator):
    emulator.fault("token-endpoint", "wrong-signature", times=1)
    token = exchange(emulator, assertion(emulator)).json()["id_token"]
    with pytest.raises(Exception):
        emulator.verify(token, "some audience")
    emulator.fault("token-endpoint", "alg-none", times=1)
    token = exchange(emulator, assertion(emulator)).json()["id_token"]
    assert token.endswith(".") and decode(token)["aud"] == "some audience"
    emulator.fault("token-endpoint", "claims", claims={"aud": "x", "iss": None})
    token = exchange(emulator, assertion(emulator)).json()["id_token"]
    assert decode(token)["aud"] == "x" and "iss" not in decode(token)


@pytest.mark.parametrize("certificate, text", [
    ("wrong-host", "Hostname mismatch"), ("expired", "expired"), ("unknown-ca", "unable to get local issuer"),
])
def test_certificates(emulator, certificate, text):
    emulator.fault("certs", "tls", certificate=certificate, times=1)
    with pytest.raises(ssl.SSLCertVerificationError, match=text):
        ask(emulator, emulator.certs)
    assert ask(emulator, emulator.certs).status == 200
    assert emulator.counts()["certs"]["handshakes"] == 2


def test_refuse_and_reopen_on_the_same_port(emulator):
    kept = connect(emulator, emulator.metadata)
    kept.request("GET", "/")
    kept.getresponse().read()
    emulator.fault("metadata", "refuse")
    assert kept.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        metadata(emulator, "/")
    kept.close()
    emulator.unfault(service="metadata")
    assert metadata(emulator, "/").status == 200
    emulator.fault("certs", "refuse")
    with pytest.raises(ConnectionRefusedError):
        ask(emulator, emulator.certs)
    emulator.reset()
    assert ask(emulator, emulator.certs).status == 200


# --- the program itself


@pytest.mark.parametrize("call", [
    lambda emulator: emulator.fault("iam", "no-such-kind"), lambda emulator: emulator.fault("nobody", "hang"),
    lambda emulator: emulator.fault("iam", "hang", interval=1), lambda emulator: emulator.fault("iam", "redirect"),
    lambda emulator: emulator.fault("iam", "status", reason="NO_SUCH"), lambda emulator: emulator.set(nothing=1),
    lambda emulator: emulator.set(role="no"), lambda emulator: emulator.set(account_state="ill"),
    lambda emulator: emulator.fault("metadata", "tls", certificate="expired"),
])
def test_control_refuses_mistakes(emulator, call):
    with pytest.raises(EmulatorError):
        call(emulator)


def test_reset_restores_settings_and_date_follows_the_clock(emulator):
    emulator.set(email="other@example-proj-123.iam.gserviceaccount.com", clock_offset=-86400 * 365)
    answer = metadata(emulator, ACCOUNTS + "/default/email")
    assert answer.text().startswith("other@")
    assert time.strftime("%Y") not in answer.header("Date") or time.gmtime().tm_yday == 366
    emulator.reset()
    assert metadata(emulator, ACCOUNTS + "/default/email").text() == EMAIL
    assert len(emulator.requests("metadata")) == 1


def test_recorded_requests(emulator):
    metadata(emulator, ACCOUNTS + "/default/email?x=1")
    iam(emulator, "signBlob", {"payload": "aGk="})
    record = emulator.requests("iam")[0]
    assert record["method"] == "POST" and record["body"] == '{"payload": "aGk="}' and record["status"] == 200
    assert ["Content-Type", "application/json"] in record["headers"]
    assert emulator.counts()["metadata"]["requests"] == {
        f"GET {ACCOUNTS}/default/email": 1, f"GET {ACCOUNTS}/default/token": 1}


def test_ends_with_its_parent_and_leaves_nothing_behind():
    emulator = Emulator()
    emulator.fault("metadata", "hang")
    connection = connect(emulator, emulator.metadata)
    connection.request("GET", "/")
    wait_until(lambda: emulator.requests())
    emulator._process.stdin.close()
    assert emulator._process.wait(60) == 0
    connection.close()
    emulator.stop()
    assert not os.path.exists(os.path.dirname(emulator.ca_file))


def test_agent_config(emulator):
    lines = emulator.agent_config().splitlines()
    assert lines[0] == "[upstream]" and f"metadata = {emulator.metadata}" in lines
    assert [line.split(" = ")[0] for line in lines[1:]] == [
        "metadata", "iam", "token-endpoint", "certs", "ca-file", "test-endpoints"]
