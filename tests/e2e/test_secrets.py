# SPDX-License-Identifier: Apache-2.0
"""Nothing that grants access is ever put out but in the body of a 200 token answer:
not in logs at debug level, answers, status lines of the service manager, arguments
of children or files, whatever upstream shows of what it knows."""

import base64
import json
import os
import pathlib
import secrets
import select
import socket
import subprocess
import sys

import pytest

from conftest import ANYONE, TESTS, wait_for
from credfiles import impersonated_file, user_file, write
from leaks import Leaks
from signing import rule
from steps import HURRY

AUDIENCE = "https://secret.example.com"
FACE = "/computeMetadata/v1/instance/service-accounts/default/"
JOURNAL = TESTS / "faults" / "journal.py"
DEBUG = """
[agent]
log-level = debug
""" + HURRY + """
google-tries = 2
metadata-tries = 2
denied = 1ms
unavailable = 1ms
unavailable-max = 1ms
denied-flow = 1ms
denied-flow-max = 1ms
brand-new = 0
wait = 5s
"""
FLOWS = {"signblob": "[account default]\nflows = signblob\n",
         "metadata": "[account default]\nflows = metadata\n",
         "both": ""}
SIGNS = (ANYONE + rule("jwt", "audience = **", name="jwt") + rule("sign", name="storage") +
         rule("sign-any", name="any-bytes"))
# Each upstream, and the flow that needs it.
UPSTREAMS = {
    "account": ("metadata", "/default/?", "signblob"),
    "access token": ("metadata", "/default/token", "signblob"),
    "identity": ("metadata", "/default/identity", "metadata"),
    "signature": ("iam", ":signBlob", "signblob"),
    "ID token": ("token-endpoint", "", "signblob"),
    "keys": ("certs", "", "metadata"),
}


class Outputs:
    """All that is put out, by name; collected as it comes."""

    def __init__(self, place, leaks, emulator):
        self.seen = {}
        self._leaks, self._emulator = leaks, emulator
        place.chmod(0o755)
        (place / "journal").mkdir(mode=0o755)
        self.journal = place / "journal"
        self.notify = str(place / "notify")
        self._sockets = {name: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                         for name in ("journal", "notify")}
        self._sockets["journal"].bind(str(self.journal / "socket"))
        self._sockets["notify"].bind(self.notify)

    def add(self, name, data):
        self.seen[name] = self.seen.get(name, b"") + data + b"\n"

    def answer(self, name, data):
        """Of a token answer all but its body, which is returned."""
        head, _, body = data.partition(b"\r\n\r\n")
        granted = head.startswith(b"HTTP/1.1 200 ") and (
            b"Gce-Oidc-Cache:" in head or b"Cache-Control: no-store" in head)
        self.add(name, head if granted else data)
        return body if granted else None

    def drain(self):
        """What has come by datagram; its reader must not fall behind."""
        while True:
            ready, _, _ = select.select(self._sockets.values(), [], [], 0)
            if not ready:
                return
            for name, sock in self._sockets.items():
                if sock in ready:
                    self.add(name, sock.recv(65536))

    def judge(self):
        """Nothing of what was issued or received is in any of it."""
        self.drain()
        known = self._emulator.secrets()
        assert known, "nothing was issued: nothing is proved"
        self._leaks.add(known)
        self._leaks.check(**self.seen)

    def close(self):
        for sock in self._sockets.values():
            sock.close()


@pytest.fixture(scope="module")
def leaks():
    return Leaks()


@pytest.fixture
def outputs(place, leaks, emulator):
    outputs = Outputs(place, leaks, emulator)
    yield outputs
    outputs.close()


class Scene:
    """One agent at debug level, and everybody who talks to it."""

    def __init__(self, start_agent, emulator, outputs, build_dir, flow="both",
                 journal=False, config="", rules=ANYONE):
        prefix = (sys.executable, JOURNAL, outputs.journal) if journal else ()
        self.emulator, self.outputs, self.build_dir = emulator, outputs, build_dir
        self.agent = start_agent(DEBUG + config + FLOWS[flow], rules, prefix=prefix,
                                 env={"NOTIFY_SOCKET": outputs.notify})

    def get(self, target, *fields):
        head = "".join(f"{field}\r\n" for field in fields)
        data = self.agent.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n"
                              f"Metadata-Flavor: Google\r\n{head}"
                              "Connection: close\r\n\r\n".encode())
        self.outputs.drain()
        return self.outputs.answer(f"answer to {target}", data)

    def post(self, target, content_type, body, *fields):
        head = "".join(f"{field}\r\n" for field in fields)
        data = self.agent.raw(f"POST {target} HTTP/1.1\r\nHost: localhost\r\n"
                              f"Metadata-Flavor: Google\r\nContent-Type: {content_type}\r\n"
                              f"Content-Length: {len(body)}\r\n{head}"
                              "Connection: close\r\n\r\n".encode() + body)
        self.outputs.drain()
        return self.outputs.answer(f"answer to {target}", data)

    def sign_all(self, audience=AUDIENCE):
        """Each way to what the account signs; -> the answers."""
        claims = json.dumps({"aud": audience, "nonce": secrets.token_hex(20)}).encode()
        answers = [self.post("/v1/jwt", "application/json", claims),
                   self.post("/v1/jwt", "application/json", claims, "Accept: application/json"),
                   self.post("/v1/sign", "application/octet-stream",
                             b"GOOG4-RSA-SHA256\n" + secrets.token_bytes(40)),
                   self.post("/v1/sign", "application/octet-stream", secrets.token_bytes(40))]
        return [answer for answer in answers if answer]

    def command(self, *words, given=None):
        """Standard output is for the caller, who may have asked for a token; all
        else is looked at."""
        result = subprocess.run(
            [self.build_dir / "gce-oidc", *words, f"--socket={self.agent.socket}"],
            input=given, stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True, check=False, timeout=60)
        self.outputs.drain()
        self.outputs.add(f"errors of {words[0]}", result.stderr)
        if words[0] not in ("token", "request") or result.returncode:
            self.outputs.add(f"output of {words[0]}", result.stdout)
        return result

    def ask_all(self, audience=AUDIENCE):
        """Each way to a token and each other command; -> the tokens."""
        tokens = [
            self.get(f"/v1/token?audience={audience}"),
            self.get(f"/v1/token?audience={audience}/json", "Accept: application/json"),
            self.get(f"/v1/token?audience={audience}", "Cache-Control: no-cache"),
            self.get(f"{FACE}identity?audience={audience}/face&format=full"),
        ]
        for path in ("/", "/healthz", "/metrics", "/v1/status", "/v1/whoami", "/v1/none",
                     FACE, f"{FACE}?recursive=true", f"{FACE}email", f"{FACE}token"):
            self.get(path)
        tokens.append(self.command("token", audience).stdout.strip() or None)
        for words in (["whoami"], ["whoami", f"--rule={audience}"], ["status"],
                      ["decode", f"--audience={audience}"]):
            self.command(*words)
        return [token for token in tokens if token]

    def judge(self):
        """The agent ends, and nothing that it or anybody put out is secret."""
        self.agent.stop()
        for path in self.agent.dir.rglob("*"):
            if path.is_file():
                self.outputs.add(f"file {path.name}", path.read_bytes())
        self.outputs.judge()


@pytest.fixture
def scene(start_agent, emulator, outputs, build_dir):
    return lambda **options: Scene(start_agent, emulator, outputs, build_dir, **options)


# --- the search itself

SECRET = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2EuZXhhbXBsZSJ9." + \
    base64.urlsafe_b64encode(bytes(range(7, 256, 3))).rstrip(b"=").decode()
RAW = bytes(range(7, 256, 3))
FORMS = {
    "plain": lambda piece: piece,
    "base64": base64.b64encode,
    "base64 behind one byte": lambda piece: base64.b64encode(b"x" + piece),
    "base64 behind two bytes": lambda piece: base64.b64encode(b"xy" + piece),
    "base64url": lambda piece: base64.urlsafe_b64encode(b"x" + piece).rstrip(b"="),
    "base64 in a form": lambda piece: base64.b64encode(piece).replace(b"+", b"%2B")
                                      .replace(b"/", b"%2f").replace(b"=", b"%3D"),
    "hex": lambda piece: piece.hex().encode(),
    "HEX": lambda piece: piece.hex().upper().encode(),
    "percent": lambda piece: b"".join(b"%%%02x" % byte for byte in piece),
    "percent in part": lambda piece: piece[:5] + FORMS["percent"](piece[5:]).upper(),
}


@pytest.mark.parametrize("whole", [SECRET.encode(), RAW], ids=["text", "signature"])
@pytest.mark.parametrize("form", FORMS)
def test_any_16_bytes_of_a_secret_are_found_in_each_form(form, whole):
    leaks = Leaks({SECRET: "ID token"})
    for start in range(len(whole) - 15):
        text = b"level=debug words " + FORMS[form](whole[start:start + 16]) + b" and so on\n"
        assert leaks.find(text), (start, text)


def test_what_is_no_secret_is_not_found():
    leaks = Leaks({SECRET: "ID token"})
    claims = b'{"aud":"https://a.example"} for https://a.example, {"alg":"RS256"}'
    assert leaks.find(claims + base64.b64encode(b"nothing of it" * 9)) == set()
    assert leaks.find(SECRET[:15].encode()) == set()


def test_signature_in_standard_base64_is_found_as_the_bytes_it_stands_for():
    leaks = Leaks({base64.b64encode(RAW).decode(): "signature"})
    assert leaks.find(b"\x00" + RAW[9:25])
    assert leaks.find(base64.urlsafe_b64encode(RAW[9:25]))


# --- the agent and its command


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("journal", [False, True], ids=["stderr", "journal"])
def test_tokens_are_in_token_answers_and_nowhere_else(scene, emulator, flow, journal):
    stage = scene(flow=flow, journal=journal)
    tokens = stage.ask_all()
    assert len(tokens) == 5
    assert set(map(bytes.decode, tokens)) <= set(emulator.secrets())
    if flow != "metadata":
        assert set(emulator.secrets().values()) >= {
            "access token", "signature", "assertion", "ID token"}
    stage.judge()
    assert b" serves " in stage.outputs.seen["journal" if journal else "file log"]
    assert ("journal" in stage.outputs.seen) is journal
    assert b"STATUS=" in stage.outputs.seen["notify"]


def test_signatures_are_in_their_answers_and_nowhere_else(scene, emulator):
    stage = scene(rules=SIGNS, config="[agent]\naudit = all\n")
    assert len(stage.sign_all()) == 4
    assert set(emulator.secrets().values()) >= {"access token", "signature", "assertion"}
    stage.judge()
    assert b"granted sign-any" in stage.outputs.seen["file log"]


ECHOES = [
    {"status": 400, "first": "headers"},
    {"status": 400, "first": "body"},
    {"status": 401, "first": "headers"},
    {"status": 403, "first": "headers"},
    {"status": 403, "first": "body", "form": "base64"},
    {"status": 403, "first": "answer", "form": "middle"},
    {"status": 403, "first": "answer", "form": "percent"},
    {"status": 404, "first": "headers", "page": True},
    {"status": 404, "first": "answer"},
    {"status": 429, "first": "headers", "form": "hex", "code": "RATE_LIMIT_EXCEEDED"},
    {"status": 429, "first": "body", "form": "middle", "code": "RATE_LIMIT_EXCEEDED"},
    {"status": 403, "first": "headers", "code": "SERVICE_DISABLED"},
    {"status": 400, "first": "body", "code": "invalid_grant"},
    {"status": 400, "first": "answer", "form": "middle", "code": "invalid_grant"},
    {"status": 500, "first": "body"},
    {"status": 500, "first": "body", "form": "middle"},
    {"status": 503, "first": "answer", "form": "base64"},
    {"status": 503, "first": "headers", "form": "middle"},
    {"status": 200, "first": "headers"},
    {"status": 200, "first": "answer", "page": True},
]


def in_words(echo):
    if not echo:
        return "well"
    return "-".join(str(value) for value in echo.values())


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_upstream_that_shows_what_it_knows_does_not_make_it_show(scene, emulator, upstream):
    service, match, flow = UPSTREAMS[upstream]
    stage = scene(flow=flow, config="[cache]\nverify = required\n"
                  if upstream == "keys" else "")
    for number, echo in enumerate(ECHOES):
        # Known to be well, then not.
        stage.get(f"/v1/token?audience={AUDIENCE}/well/{number}")
        emulator.revoke()
        emulator.fault(service, "echo", match=match, **echo)
        audience = f"{AUDIENCE}/{number}"
        stage.get(f"/v1/token?audience={audience}")
        stage.get(f"/v1/token?audience={audience}", "Accept: application/json")
        stage.get(f"{FACE}identity?audience={audience}&format=full")
        stage.get("/healthz")
        stage.get("/v1/status")
        stage.get(f"{FACE}?recursive=true")
        if number % 5 == 0:
            stage.command("token", audience)
            stage.command("status")
        emulator.unfault()
    stage.judge()


def test_upstream_that_shows_what_was_to_be_signed_does_not_make_it_show(scene, emulator):
    stage = scene(rules=SIGNS)
    for number, echo in enumerate(ECHOES):
        assert len(stage.sign_all()) == 4
        emulator.revoke()
        emulator.fault("iam", "echo", match=":sign", **echo)
        stage.sign_all(f"{AUDIENCE}/{number}")
        stage.get("/v1/status")
        emulator.unfault()
    stage.judge()


@pytest.mark.parametrize("fault", [
    {"kind": "garbage"}, {"kind": "truncate"}, {"kind": "not-json"}, {"kind": "wrong-type"},
    {"kind": "empty"}, {"kind": "close"}, {"kind": "reset"}, {"kind": "hang-up"},
    {"kind": "alg-none"}, {"kind": "wrong-signature"},
    {"kind": "claims", "wrong": "expired"}, {"kind": "claims", "wrong": "aud"},
    {"kind": "redirect", "location": "https://127.0.0.1:9/?token=here"},
], ids=lambda fault: fault.get("wrong", fault["kind"]))
def test_spoilt_answer_is_not_quoted(scene, emulator, fault):
    stage = scene(config="[cache]\nverify = required\n")
    for upstream, (service, match, _flow) in UPSTREAMS.items():
        stage.get(f"/v1/token?audience={AUDIENCE}/well/{upstream.replace(' ', '-')}")
        emulator.revoke()
        emulator.fault(service, match=match, **fault)
        stage.ask_all(f"{AUDIENCE}/{upstream.replace(' ', '-')}")
        emulator.unfault()
    stage.judge()


# --- credential files


CREDENTIALS = {
    "key": lambda emulator: emulator.key_file(),
    "user": lambda emulator: user_file(),
    "impersonated by a key": lambda emulator: impersonated_file(emulator.key_file()),
    "impersonated by a user": lambda emulator: impersonated_file(user_file()),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credential_files_are_never_shown(scene, emulator, kind, tmp_path):
    emulator.set(accounts=["target-sa@example-proj-123.iam.gserviceaccount.com"])
    file = CREDENTIALS[kind](emulator)
    path = write(tmp_path / "credentials.json", file)
    stage = scene(config=f"[account default]\ncredentials = {path}\n"
                         "[rule admin]\nuser = root\nkind = admin monitor\n")
    audience = emulator.iap_client_id
    # The service's face does not take this audience with more behind it.
    assert stage.get(f"/v1/token?audience={audience}")
    for echo in ECHOES:
        emulator.fault("token-endpoint", "echo", **echo)
        stage.get(f"/v1/token?audience={audience}", "Cache-Control: no-cache")
        stage.get("/v1/status")
        stage.get("/healthz")
        emulator.unfault()
    emulator.set(user_state="revoked", account_state="disabled")
    stage.get(f"/v1/token?audience={audience}", "Cache-Control: no-cache")
    stage.command("token", audience)

    # Whatever is wrong with the file, its words do not quote it.
    whole = path.read_text()
    spoilt = {name: {**file, name: secret} for name in file for secret in secrets_of(file)}
    for number, content in enumerate([whole[:-9], whole.replace('": "', '": ["', 1),
                                      *spoilt.values()]):
        write(path, content)
        stage.outputs.drain()
        answer = stage.agent.get("/v1/reload", method="POST",
                                 headers={"Content-Type": "application/json"})
        stage.outputs.add(f"reload {number}", answer.body)
        for option in ("--check-config", "--dump-config"):
            result = subprocess.run([stage.build_dir / "gce-oidc-agent",
                                     f"--config={stage.agent.config}", option],
                                    capture_output=True, check=False, timeout=60)
            stage.outputs.add(f"{option} {number}", result.stdout + result.stderr)
    assert {"refresh token", "client secret", "private key"} & set(emulator.secrets().values())
    stage.judge()


def secrets_of(file):
    """What is secret in it, or in the one within."""
    names = ("private_key", "client_secret", "refresh_token")
    inner = file.get("source_credentials", {})
    return [part[name] for part in (file, inner) for name in names if name in part]


# --- the command on its way to the application


def test_application_that_shows_the_bearer_does_not_make_request_show_it(scene, emulator):
    stage = scene()
    for status in (400, 401, 403, 500):
        emulator.fault("app", "echo", status=status, first="headers")
        result = stage.command("request", f"{emulator.app}/x", f"--cacert={emulator.ca_file}",
                               f"--audience={emulator.iap_client_id}")
        assert result.returncode != 0
        emulator.unfault()
    stage.judge()


def descendants(pid):
    """Of a process, as /proc has them now."""
    found, queue = [], [pid]
    while queue:
        for task in pathlib.Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found += children
            queue += children
    return found


def test_children_have_no_token_in_their_arguments_or_environment(scene, emulator, outputs):
    stage = scene()
    emulator.fault("app", "hang")
    command = [stage.build_dir / "gce-oidc", "request", f"{emulator.app}/x",
               f"--cacert={emulator.ca_file}", f"--audience={emulator.iap_client_id}",
               f"--socket={stage.agent.socket}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        wait_for(lambda: emulator.counts()["app"]["total"], "the request arrives")
        seen = [process.pid, *descendants(process.pid), stage.agent.pid]
        for pid in seen:
            for name in ("cmdline", "environ", "comm"):
                outputs.add(f"{name} of {pid}", pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
        emulator.unfault()
        outputs.add("errors of request", process.stderr.read())
    assert len(seen) > 2, "no child: who speaks to the application?"
    stage.judge()


@pytest.mark.parametrize("spoil", [
    lambda token: token[:-7], lambda token: token.replace(".", " ", 1),
    lambda token: token + "!", lambda token: token.rpartition(".")[0],
    lambda token: token[20:], lambda token: f"Bearer {token} {token}",
    lambda token: "\x1b" + token, lambda token: token * 200, lambda token: token,
], ids=["cut", "two words", "a sign behind", "unsigned", "headless", "twice", "escape",
        "too long", "good"])
def test_decode_shows_claims_and_never_the_token(scene, emulator, spoil):
    stage = scene()
    token = stage.get(f"/v1/token?audience={AUDIENCE}").decode()
    result = stage.command("decode", given=spoil(token).encode())
    assert result.stdout or result.stderr
    stage.judge()


@pytest.mark.parametrize("echo", [None, *ECHOES[::3]], ids=in_words)
def test_fetch_prints_the_token_and_complains_without_it(
        build_dir, emulator, outputs, place, echo):
    config = place / "agent.conf"
    config.write_text(emulator.agent_config() + DEBUG + FLOWS["signblob"])
    if echo:
        emulator.fault("token-endpoint", "echo", **echo)
    result = subprocess.run([build_dir / "gce-oidc-agent", f"--config={config}",
                             f"--fetch={AUDIENCE}"], stdin=subprocess.DEVNULL,
                            capture_output=True, check=False, timeout=60,
                            env=dict(os.environ, NOTIFY_SOCKET=outputs.notify))
    if echo:
        assert (result.returncode != 0, result.stdout) == (True, b"")
    else:
        assert emulator.verify(result.stdout.decode().strip(), AUDIENCE)
    outputs.add("log", result.stderr)
    outputs.judge()
