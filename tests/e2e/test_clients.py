# SPDX-License-Identifier: Apache-2.0
"""Real clients against the real agent: curl, Python, what the SDKs send, and the
gce-oidc command on its way to the application and back."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.parse

import pytest

from conftest import UnixConnection, wait_for
from raw_http import wire
from steps import SIGNBLOB, spoil

AUDIENCE = "https://app.example.com"
TOKEN = "http://localhost/v1/token?audience=" + AUDIENCE
FACE = "/computeMetadata/v1/instance/service-accounts/default/"
NONE = """
[rule nobody-here]
user = 4242
host = any
audience = **
"""

curl_is_here = pytest.mark.skipif(not shutil.which("curl"), reason="no curl")


def run(*command, env=None):
    return subprocess.run([str(word) for word in command], text=True, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          env=dict(os.environ, **(env or {})))


def curl(agent, url, *options, flavor=True):
    header = ["-H", "Metadata-Flavor: Google"] if flavor else []
    return run("curl", "-q", "-s", "--max-time", "30", "--unix-socket", agent.socket,
               *header, *options, url)


@pytest.fixture
def cli(build_dir):
    return lambda *words, agent: run(build_dir / "gce-oidc", *words,
                                     f"--socket={agent.socket}")


@pytest.fixture
def app(emulator, cli):
    """gce-oidc request to the protected application."""
    def fetch(agent, *words):
        return cli("request", emulator.app + "/", *words,
                   f"--cacert={emulator.ca_file}", agent=agent)
    return fetch


# curl

@curl_is_here
def test_first_call_of_the_readme(agent, emulator):
    result = curl(agent, TOKEN)
    assert (result.returncode, result.stderr) == (0, "")
    emulator.verify(result.stdout, AUDIENCE)


@curl_is_here
def test_curl_encodes_the_audience(agent, emulator):
    audience = "https://x/?a=1&b=ü +%"
    result = curl(agent, "http://localhost/v1/token", "--get", "--data-urlencode",
                  f"audience={audience}")
    emulator.verify(result.stdout, audience)


@curl_is_here
def test_curl_keeps_one_connection(agent):
    result = curl(agent, TOKEN, "-o", "/dev/null", "-o", "/dev/null", "-w",
                  "%{http_code} %{num_connects}\\n", TOKEN)
    assert result.stdout == "200 1\n200 0\n"


@curl_is_here
@pytest.mark.parametrize("url, options, status", [
    ("http://localhost/v1/token", [], 400), ("http://localhost/nope", [], 404),
    (TOKEN, ["-X", "DELETE"], 405), (TOKEN, ["-H", "X-Forwarded-For: 1.2.3.4"], 403),
    (TOKEN, ["-d", "body"], 405), (TOKEN, ["-H", "Transfer-Encoding: chunked", "-d",
                                           "body"], 501)])
def test_curl_fails_where_it_is_told_to(agent, url, options, status):
    plain = curl(agent, url, "-w", "%{http_code}", *options)
    assert plain.returncode == 0 and plain.stdout.endswith(str(status))
    failing = curl(agent, url, "--fail", *options)
    assert (failing.returncode, failing.stdout) == (22, "")


@curl_is_here
def test_curl_is_refused_without_the_flavor(agent):
    assert curl(agent, TOKEN, "--fail", flavor=False).returncode == 22
    assert curl(agent, "http://localhost/", "--fail", flavor=False).returncode == 0


@curl_is_here
def test_curl_head_redirect_and_http_1_0(agent):
    head = curl(agent, TOKEN, "--head").stdout.lower()
    assert head.startswith("http/1.1 200 ok\n")
    assert "metadata-flavor: google\n" in head and "server:" not in head
    base = "http://metadata.google.internal/computeMetadata/v1/instance/"
    moved = curl(agent, base + "service-accounts", "-L", "-w", "%{num_redirects}")
    assert moved.stdout.endswith("default/\n1")
    assert curl(agent, "http://localhost/", "--http1.0").stdout == "computeMetadata/\n"


@curl_is_here
def test_curl_without_an_agent(agent):
    agent.stop()
    assert curl(agent, TOKEN).returncode == 7


# Python, and anybody with a socket

def test_python_keeps_its_connection(agent, emulator):
    connection = UnixConnection(agent.socket, 30)
    connection.connect()
    mine, tokens = connection.sock, set()
    for _ in range(20):
        connection.request("GET", "/v1/token?audience=a",
                           headers={"Metadata-Flavor": "Google"})
        response = connection.getresponse()
        assert response.status == 200
        tokens.add(response.read().decode())
        assert connection.sock is mine
    connection.close()
    emulator.verify(tokens.pop(), "a")
    assert not tokens


def test_five_lines_are_a_client(agent, emulator):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(agent.socket)
    sock.sendall(b"GET /v1/token?audience=five HTTP/1.0\r\n"
                 b"Metadata-Flavor: Google\r\n\r\n")
    answer = b"".join(iter(lambda: sock.recv(4096), b""))
    sock.close()
    emulator.verify(answer.partition(b"\r\n\r\n")[2].decode(), "five")


# What the SDKs send, in their order, header names and all.

def python_sdk(it, audience):
    """google-auth: the ping, the account, then the token."""
    agent = ("user-agent: python-requests/2", "Accept-Encoding: gzip, deflate",
             "Accept: */*", "Connection: keep-alive", "metadata-flavor: Google")
    assert it.ask("/", *agent, flavor=False)["Metadata-Flavor"] == "Google"
    info = it.ask(FACE + "?recursive=true", *agent, flavor=False)
    assert info["Content-Type"] == "application/json"
    assert "email" in json.loads(info.body)
    domain = it.ask("/computeMetadata/v1/universe/universe-domain", *agent,
                    flavor=False)
    assert domain.text == "googleapis.com"
    quoted = urllib.parse.quote_plus(audience)
    return it.ask(f"{FACE}identity?audience={quoted}&format=full", *agent,
                  flavor=False)


def node_sdk(it, audience):
    """gcp-metadata: a directory without its slash, followed; nothing escaped."""
    moved = it.ask("/computeMetadata/v1/instance", host="metadata.google.internal.")
    assert moved.status == 301
    where = urllib.parse.urlsplit(moved["Location"])
    assert where.netloc == "metadata.google.internal."
    listing = it.ask(where.path, host=where.netloc)
    assert (listing.status, listing["Metadata-Flavor"]) == (200, "Google")
    return it.ask(f"{FACE}identity?format=full&audience={audience}")


def go_sdk(it, audience):
    """metadata: the probe has no flavor; parameters in the alphabet's order."""
    agent = "User-Agent: gcloud-golang/0.1"
    assert it.ask("/", agent, flavor=False)["Metadata-Flavor"] == "Google"
    assert it.ask("/computeMetadata/v1/project/project-id", agent).status == 200
    quoted = urllib.parse.quote_plus(audience)
    return it.ask(f"{FACE}identity?audience={quoted}&format=full", agent)


def gcloud(it, audience):
    """The listing, the number, and a new connection for each."""
    assert "default/" in it.ask("/computeMetadata/v1/instance/service-accounts/"
                                ).text.splitlines()
    number = it.ask("/computeMetadata/v1/project/numeric-project-id")
    assert number.text.isdecimal()
    quoted = urllib.parse.quote_plus(audience)
    return it.ask(f"{FACE}identity?audience={quoted}&format=standard&licenses=FALSE",
                  "Connection: close")


@pytest.mark.parametrize("sdk", [python_sdk, node_sdk, go_sdk, gcloud])
def test_sdk_finds_its_way_to_a_token(agent, emulator, sdk):
    with wire(agent) as it:
        answer = sdk(it, "https://app.example.com/a?b=c")
    assert (answer.status, answer["Content-Type"]) == (200, "text/html")
    claims = emulator.verify(answer.text, "https://app.example.com/a?b=c")
    assert claims["email"] == emulator.email


# gce-oidc, against this agent.

def test_command_prints_the_token_that_the_socket_gives(agent, cli, emulator):
    result = cli("token", AUDIENCE, agent=agent)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == agent.token(AUDIENCE).text + "\n"
    again = cli("token", AUDIENCE, "--fresh", agent=agent)
    assert again.returncode == 0
    value = json.loads(cli("token", AUDIENCE, "--json", "--min-fresh=600",
                           agent=agent).stdout)
    emulator.verify(value["token"], AUDIENCE)
    assert 600 < value["expires_in"] <= 3600


def test_decode_shows_what_google_issued(agent, cli, build_dir, emulator):
    token = cli("token", AUDIENCE, agent=agent).stdout.strip()
    shown = subprocess.run([build_dir / "gce-oidc", "decode"], input=token, text=True,
                           capture_output=True, check=True, timeout=60)
    assert AUDIENCE in shown.stdout and emulator.email in shown.stdout
    assert "not verified" in shown.stdout + shown.stderr


def test_whoami_is_what_the_kernel_says(agent, cli):
    result = cli("whoami", agent=agent)
    assert result.returncode == 0
    assert str(os.getuid()) in result.stdout and str(os.getgid()) in result.stdout


def test_stanza_that_is_pasted_admits_and_nothing_else(start_agent, cli):
    before = start_agent(rules=NONE)
    denied = cli("token", AUDIENCE, agent=before)
    assert denied.returncode == 3
    assert "gce-oidc whoami --rule" in denied.stderr
    stanza = cli("whoami", "--rule", AUDIENCE, agent=before).stdout
    after = start_agent(rules=NONE + "\n" + stanza)
    assert cli("token", AUDIENCE, agent=after).returncode == 0
    assert cli("token", AUDIENCE + ".evil", agent=after).returncode == 3


def test_member_fetches_the_page_with_the_client_id(agent, app, emulator):
    result = app(agent, f"--audience={emulator.iap_client_id}")
    assert result.returncode == 0, result.stderr
    assert emulator.email in result.stdout


def test_url_as_audience_is_answered_with_what_iap_wants(agent, app, emulator, cli):
    result = app(agent)
    assert (result.returncode, result.stdout) == (6, "")
    assert "gce-oidc audience" in result.stderr
    printed = cli("audience", emulator.app + "/", f"--cacert={emulator.ca_file}",
                  agent=agent)
    assert printed.stdout == emulator.iap_client_id + "\n"
    assert app(agent, f"--audience={printed.stdout.strip()}").returncode == 0


def test_page_of_2018_works_as_it_is_written(agent, app, emulator):
    emulator.set(iap_mode="2018")
    result = app(agent)
    assert result.returncode == 0, result.stderr
    assert emulator.email in result.stdout


@pytest.mark.parametrize("mode", ["today", "2018"])
def test_member_without_the_role_reads_the_command_that_grants_it(
        agent, app, emulator, mode):
    emulator.set(iap_mode=mode, iap_members=[])
    words = [f"--audience={emulator.iap_client_id}"] if mode == "today" else []
    result = app(agent, *words)
    assert (result.returncode, result.stdout) == (6, "")
    assert (f"Service account {emulator.email} does not have permission to access the"
            " IAP-protected application.") in result.stderr
    assert "gcloud " in result.stderr
    assert "roles/iap.httpsResourceAccessor" in result.stderr
    assert f"serviceAccount:{emulator.email}" in result.stderr


def test_request_whose_token_is_denied_never_leaves(start_agent, app, emulator):
    result = app(start_agent(rules=NONE), f"--audience={emulator.iap_client_id}")
    assert result.returncode == 3
    assert emulator.counts()["app"]["total"] == 0


# Exit codes, each from the agent's own mouth.

REFUSALS = {
    "audience with a control character": (2, ["a\x01b"], None),
    "audience that is too long": (2, ["a" * 2049], None),
    "policy": (3, ["a"], "policy"),
    "unknown account": (4, ["a", "--account=nobody"], None),
    "machine without an account": (4, ["a"], "no account"),
    "too many connections": (5, ["a"], "busy"),
    "role missing": (6, ["a"], "role"),
    "IAM down": (7, ["a"], "down"),
    "IAM silent": (8, ["a", "--timeout=1"], "hang"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_of_the_agent_has_its_exit_code(start_agent, cli, emulator, name):
    code, words, how = REFUSALS[name]
    spoil(how, emulator)
    limits = "[limits]\nconnections-per-peer = 1\n" if how == "busy" else ""
    agent = start_agent(SIGNBLOB + "[timing]\ngoogle-tries = 1\ndenial-doubt = 1ms\n" + limits,
                        **({"rules": NONE} if how == "policy" else {}))
    with contextlib.ExitStack() as stack:
        if how == "busy":
            wait_for(lambda: stack.enter_context(wire(agent)).ask("/").status == 200,
                     "the only connection")
        result = cli("token", *words, agent=agent)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith("gce-oidc: ")
    assert result.stderr.count("\n") == 1


def test_no_agent_is_exit_9(agent, cli):
    agent.stop()
    result = cli("token", "a", agent=agent)
    assert (result.returncode, result.stdout) == (9, "")
    assert f"no agent at {agent.socket}" in result.stderr


def test_status_says_why_not(start_agent, cli, emulator):
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    agent = start_agent(SIGNBLOB)
    agent.get(FACE + "email")
    result = cli("status", agent=agent)
    assert result.returncode != 0
    assert emulator.email in result.stdout and "scope" in result.stderr
