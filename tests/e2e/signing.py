# SPDX-License-Identifier: Apache-2.0
"""What tests of /v1/jwt and /v1/sign share."""

import base64
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request

EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
JWT, BYTES = "application/json", "application/octet-stream"


def rule(kind, more="", account="default", name="signs"):
    return f"""
[rule {name}]
peer = anyone
host = any
kind = {kind}
account = {account}
{more}
"""


def post(agent, path, body, content_type, headers=None, **options):
    return agent.get(path, {"Content-Type": content_type, **(headers or {})}, method="POST", body=body, **options)


def ask_jwt(agent, claims, query="", **options):
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return post(agent, "/v1/jwt" + query, body, JWT, **options)


def ask_signature(agent, data, query="", **options):
    return post(agent, "/v1/sign" + query, data, BYTES, **options)


def refused(answer, status, code):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (status, code), answer
    assert "eyJ" not in answer.text
    return answer.text


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def call_google(emulator, url, body=None, content_type=JWT, bearer=None):
    """Status and JSON of an answer of the emulator's, asked past the agent."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})
    if bearer:
        request.add_header("Authorization", "Bearer " + bearer)
    context = ssl.create_default_context(cafile=emulator.ca_file)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                         urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def method_url(emulator, method, email=EMAIL):
    return f"{emulator.iam}/v1/projects/-/serviceAccounts/{email}:{method}"


def is_worth_more(emulator, jwt):
    """Does the token endpoint, or a service of Google's, take this for the account?"""
    form = urllib.parse.urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                                   "assertion": jwt}).encode()
    status, _ = call_google(emulator, emulator.token_endpoint, form, "application/x-www-form-urlencoded")
    if status == 200:
        return True
    if any(c in jwt for c in "\r\n\0") or not jwt.isascii():
        return False            # no header holds it
    status, _ = call_google(emulator, method_url(emulator, "signBlob"), b'{"payload":"eA=="}', JWT, bearer=jwt)
    return status == 200


def account_verifies(emulator, data, signature, email=EMAIL):
    """The account's current key has signed these bytes, -> its name; InvalidSignature where not."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    def number(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    url = urllib.parse.urlsplit(emulator.certs)._replace(path=f"/service_accounts/v1/jwk/{email}").geturl()
    (key,) = call_google(emulator, url)[1]["keys"]
    rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key().verify(
        signature, data, padding.PKCS1v15(), hashes.SHA256())
    return key["kid"]
