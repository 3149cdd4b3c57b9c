# SPDX-License-Identifier: Apache-2.0
"""gce-oidc jwt and sign, and request --self-signed, against a real agent and the emulator."""

import base64
import datetime
import hashlib
import json
import urllib.parse

import pytest

from signing import EMAIL, account_verifies, rule
from steps import HURRY
from test_cli import cli, fake  # noqa: F401 # fixtures
import fake_agent

STAR = rule("jwt", r"audience = https://localhost\:*/\* https://127.0.0.1\:*/\* https://app.example.com/\* https://x.example")
ALL = STAR + rule("sign", name="storage")


@pytest.fixture
def agent(start_agent):
    return start_agent(HURRY, rules=ALL)


def claims_of(jwt, emulator):
    header, claims, signature = jwt.split(".")
    decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
    account_verifies(emulator, f"{header}.{claims}".encode(), decode(signature))
    return json.loads(decode(claims))


# --- jwt


def test_jwt_for_iap_is_good_for_all_paths_of_the_host(cli, agent, emulator):
    for url in ("https://app.example.com", "https://app.example.com/", "https://app.example.com/a/b?c=d"):
        result = cli("jwt", f"--iap={url}", socket=agent.socket)
        assert result.returncode == 0, result.stderr
        claims = claims_of(result.stdout.strip(), emulator)
        assert set(claims) == {"iss", "sub", "aud", "iat", "exp"}
        assert claims["aud"] == "https://app.example.com/*" and claims["iss"] == claims["sub"] == EMAIL
        assert claims["exp"] - claims["iat"] == 3600


def test_jwt_has_the_claims_of_a_file_or_of_standard_input(cli, agent, emulator, place):
    claims = {"aud": "https://x.example", "nonce": "n-1"}
    file = place / "claims"
    file.write_text(json.dumps(claims))
    for args, stdin in (([f"--claims={file}"], ""), (["--claims=-"], json.dumps(claims)),
                        (["--claims", str(file), "--account=default"], "")):
        result = cli("jwt", *args, socket=agent.socket, stdin=stdin)
        assert result.returncode == 0, result.stderr
        assert claims.items() <= claims_of(result.stdout.strip(), emulator).items()


def test_jwt_as_header(cli, agent):
    result = cli("jwt", "--iap=https://app.example.com", "--header", socket=agent.socket)
    assert result.stdout.startswith("Authorization: Bearer eyJ")


def test_jwt_that_is_refused_says_why(cli, agent):
    for claims, code, words in (({"aud": "https://x.example", "iss": "a@b"}, 2, "leave iss out"),
                                ({"aud": "https://other.example"}, 3, "no rule admits kind jwt"), ({}, 2, "aud")):
        result = cli("jwt", "--claims=-", socket=agent.socket, stdin=json.dumps(claims))
        assert (result.returncode, result.stdout) == (code, "")
        assert words in result.stderr


# --- a denial, and the rule that mends it


@pytest.mark.parametrize("args, stdin, more", [
    (["jwt", "--claims=-"], '{"aud":"https://x.example/a"}', "--rule AUDIENCE --kind=jwt"),
    (["sign", "-"], "GOOG4-RSA-SHA256\n", "--kind=sign"), (["sign", "-"], "x", "--kind=sign-any")])
def test_denial_names_the_command_whose_stanza_admits_me(cli, start_agent, args, stdin, more):
    agent = start_agent(HURRY, rules=rule("monitor"))
    denied = cli(*args, socket=agent.socket, stdin=stdin)
    assert denied.returncode == 3
    command = denied.stderr.strip().rpartition("; gce-oidc ")[2]
    assert command == f"whoami {more}"
    # The claims of whom no rule lets are not read.
    command = command.replace("AUDIENCE", "https://x.example/a")
    stanza = cli(*command.split(), socket=agent.socket).stdout
    other = start_agent(HURRY, rules=stanza)
    assert cli(*args, socket=other.socket, stdin=stdin).returncode == 0
    for kind_args, kind_stdin in ((["sign", "-"], "GOOG4-RSA-SHA256\n"), (["sign", "-"], "x")):
        if (kind_args, kind_stdin) != (args, stdin):
            assert cli(*kind_args, socket=other.socket, stdin=kind_stdin).returncode == 3


def test_stanza_for_iap_escapes_its_star(cli, start_agent):
    agent = start_agent(HURRY, rules=rule("monitor"))
    stanza = cli("whoami", "--rule", "https://app.example.com/*", "--kind=jwt", socket=agent.socket).stdout
    assert "audience = https://app.example.com/\\*\n" in stanza
    other = start_agent(HURRY, rules=stanza)
    assert cli("jwt", "--iap=https://app.example.com/a", socket=other.socket).returncode == 0


# --- request --self-signed


def test_request_by_a_self_signed_jwt_is_let_in(cli, agent, emulator):
    for more in ([], ["--proxy-authorization"]):
        result = cli("request", emulator.app + "/a/b", "--self-signed", f"--cacert={emulator.ca_file}", *more,
                     socket=agent.socket)
        assert result.returncode == 0, result.stderr
        assert f"Hello {EMAIL}" in result.stdout


def test_request_refused_by_iap_tries_nothing_else_and_names_both_ways(cli, start_agent, emulator):
    agent = start_agent(HURRY, rules=ALL + "\n[rule id]\npeer = anyone\nhost = any\naudience = **\n")
    result = cli("request", emulator.app + "/", f"--cacert={emulator.ca_file}", socket=agent.socket)
    assert result.returncode == 6
    assert f"gce-oidc request {emulator.app}/ --audience=CLIENT_ID" in result.stderr
    assert f"gce-oidc request {emulator.app}/ --self-signed" in result.stderr
    assert len(emulator.requests("app")) == 1
    assert not [r for r in emulator.requests("iam") if r["target"].endswith(":signJwt")]


def test_self_signed_request_refused_by_iap_names_the_other_way(cli, agent, emulator):
    emulator.set(iap_mode="2018")
    result = cli("request", emulator.app + "/", "--self-signed", f"--cacert={emulator.ca_file}", socket=agent.socket)
    assert result.returncode == 6
    assert "does not take this JWT" in result.stderr and "--audience=CLIENT_ID" in result.stderr
    assert "--self-signed" not in result.stderr and "eyJ" not in result.stderr
    assert len(emulator.requests("app")) == 1


def test_self_signed_request_without_access_names_the_account(cli, agent, emulator):
    emulator.set(iap_members=[])
    result = cli("request", emulator.app + "/", "--self-signed", f"--cacert={emulator.ca_file}", socket=agent.socket)
    assert result.returncode == 6
    assert f"--member=serviceAccount:{EMAIL}" in result.stderr


# --- sign


def check_signed_url(url, emulator, method="GET", now=None, host="storage.googleapis.com"):
    """As Cloud Storage does: the request rebuilt from the URL, by other code than ours."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=True))
    assert (parts.scheme, parts.netloc) == ("https", host)
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    email, day, location, service, request = query["X-Goog-Credential"].split("/")
    assert (location, service, request) == ("auto", "storage", "goog4_request")
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256" and query["X-Goog-SignedHeaders"] == "host"
    start = datetime.datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    assert day == start.strftime("%Y%m%d")
    now = now or datetime.datetime.now(datetime.timezone.utc)
    assert start <= now <= start + datetime.timedelta(seconds=int(query["X-Goog-Expires"]))
    canonical = "\n".join([
        method, urllib.parse.quote(urllib.parse.unquote(parts.path), safe="/~"),
        "&".join(f"{urllib.parse.quote(k, safe='~')}={urllib.parse.quote(v, safe='~')}"
                 for k, v in sorted(query.items())),
        f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"])
    signed = "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], f"{day}/auto/storage/goog4_request",
                        hashlib.sha256(canonical.encode()).hexdigest()])
    account_verifies(emulator, signed.encode(), signature)
    return email, urllib.parse.unquote(parts.path)


@pytest.mark.parametrize("name", ["file.txt", "a/b c/ü.txt", "100%", "x?y#z&a=b+c", "~tilde'(*)!", "." * 3, "\\", "x" * 1024])
def test_signed_url_verifies_at_cloud_storage(cli, agent, emulator, name):
    result = cli("sign", f"--url=gs://my-bucket/{name}", socket=agent.socket)
    assert result.returncode == 0, result.stderr
    assert check_signed_url(result.stdout.strip(), emulator) == (EMAIL, f"/my-bucket/{name}")


@pytest.mark.parametrize("universe, config, host", [
    ("apis.example", "[upstream]\nuniverse = apis.example\n", "storage.apis.example"),
    ("googleapis.com", "", "storage.googleapis.com"), (None, "", "storage.googleapis.com"),
    ("", "", "storage.googleapis.com")])
def test_signed_url_is_for_the_storage_of_its_universe(cli, start_agent, emulator, universe, config, host):
    emulator.set(universe=universe)
    agent = start_agent(config + HURRY, rules=ALL)
    result = cli("sign", "--url=gs://my-bucket/x", socket=agent.socket)
    assert (result.returncode, result.stderr) == (0, "")
    check_signed_url(result.stdout.strip(), emulator, host=host)


@pytest.mark.parametrize("reply, code", [
    (fake_agent.answer(200, "apis.example/x"), 10), (fake_agent.answer(200, "apis.example\nx"), 10),
    (fake_agent.answer(200, "x" * 300), 10), (fake_agent.answer(200, "x\0y"), 10),
    (fake_agent.answer(503, "metadata server: no answer", "unavailable"), 7)])
def test_no_url_is_signed_for_a_universe_that_is_none(cli, fake, reply, code):
    agent = fake(lambda request: reply if "universe-domain" in request else fake_agent.answer(200, EMAIL))
    result = cli("sign", "--url=gs://my-bucket/x", socket=agent.socket)
    assert (result.returncode, result.stdout) == (code, ""), result
    assert result.stderr.count("\n") == 1
    assert len(agent.requests) == 2 and not any(r.startswith("POST") for r in agent.requests)


def test_signed_url_names_an_address_with_a_plus(cli, fake):
    email = "jo+x@example.com"

    def reply(request):
        if request.startswith("POST"):
            return fake_agent.answer(200, '{"signedBlob":"AAAA"}')
        return fake_agent.answer(200, "googleapis.com" if "universe-domain" in request else email)
    result = cli("sign", "--url=gs://my-bucket/x", socket=fake(reply).socket)
    assert (result.returncode, result.stderr) == (0, "")
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(result.stdout.strip()).query)
    assert query["X-Goog-Credential"][0].split("/")[0] == email


def test_signed_url_is_for_its_method_and_time_alone(cli, agent, emulator):
    from cryptography.exceptions import InvalidSignature

    result = cli("sign", "--url=gs://my-bucket/x", "--method=PUT", "--expires=60", socket=agent.socket)
    url = result.stdout.strip()
    assert "X-Goog-Expires=60&" in url
    check_signed_url(url, emulator, "PUT")
    for other, method in ((url, "GET"), (url.replace("Expires=60", "Expires=61"), "PUT"),
                          (url.replace("/x?", "/y?"), "PUT")):
        with pytest.raises(InvalidSignature):
            check_signed_url(other, emulator, method)


def test_signature_of_a_string_of_ones_own(cli, agent, emulator, place):
    """Whoever builds the canonical request himself has only this signed."""
    text = "GOOG4-RSA-SHA256\n20260101T000000Z\n20260101/auto/storage/goog4_request\n" + "0" * 64
    file = place / "string"
    file.write_text(text)
    for args, stdin, decode in (([str(file)], "", base64.b64decode), (["-"], text, base64.b64decode),
                                (["-", "--hex"], text, bytes.fromhex)):
        result = cli("sign", *args, socket=agent.socket, stdin=stdin)
        assert result.returncode == 0, result.stderr
        account_verifies(emulator, text.encode(), decode(result.stdout.strip()))


def test_other_bytes_are_another_kind(cli, agent):
    result = cli("sign", "-", socket=agent.socket, stdin="x")
    assert (result.returncode, result.stdout) == (3, "")
    assert "sign-any" in result.stderr


def test_too_much_is_refused_before_it_is_sent(cli, fake):
    agent = fake(fake_agent.token("x"))
    result = cli("sign", "-", socket=agent.socket, stdin="x" * 65537)
    assert result.returncode == 2 and "65536" in result.stderr
    assert agent.requests == []


def test_answers_that_are_none_are_no_agent(cli, fake):
    for body in ("", "{}", '{"signedBlob":7}', '{"signedBlob":"a b"}', '{"signedBlob":""}', "[", "eyJ"):
        agent = fake(fake_agent.answer(200, body))
        result = cli("sign", "-", socket=agent.socket, stdin="x")
        assert (result.returncode, result.stdout) == (10, ""), body


@pytest.mark.parametrize("args", [
    ["jwt"], ["jwt", "x"], ["jwt", "--iap=x"], ["jwt", "--iap=http://localhost/"], ["jwt", "--iap=https://a@b/"],
    ["jwt", "--iap=https://a/", "--claims=-"], ["jwt", "--claims=-", "x"], ["jwt", "--claims=/nowhere"],
    ["jwt", "--iap=https://a/", "--timeout=0"], ["sign"], ["sign", "a", "b"], ["sign", "/nowhere"],
    ["sign", "--url=gs://my-bucket/x", "-"], ["sign", "--url=x"], ["sign", "--url=gs://x"],
    ["sign", "--url=gs://my-bucket/x", "--hex"], ["sign", "-", "--expires=60"], ["sign", "-", "--method=PUT"],
    ["sign", "--url=gs://my-bucket/x", "--method=POST"], ["sign", "--url=gs://my-bucket/x", "--expires=0"],
    ["sign", "--url=gs://my-bucket/x", "--expires=43201"],
    ["whoami", "--kind=x"], ["whoami", "--kind=jwt"], ["whoami", "--kind=id"], ["whoami", "--account=a"],
    ["whoami", "--rule", "x", "--kind=sign"],
    ["request", "https://a/", "--self-signed", "--audience=x"], ["request", "http://localhost/", "--self-signed"],
])
def test_wrong_usage_is_exit_2(cli, fake, args):
    agent = fake(fake_agent.token("x"))
    result = cli(*args, socket=agent.socket)
    assert (result.returncode, result.stdout) == (2, ""), result
    assert agent.requests == []
