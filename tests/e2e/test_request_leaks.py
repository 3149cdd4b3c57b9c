# SPDX-License-Identifier: Apache-2.0
"""gce-oidc request: a token goes to one server, and is seen by nobody else.

Two servers write down all that reaches them.  One may have the token, the other
is where each trick wants it to go."""

import base64
import contextlib
import glob
import http.server
import json
import os
import re
import socket
import subprocess
import threading

import pytest

import fake_agent
from fake_agent import FakeAgent


def part(value):
    text = json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


EMAIL = "vm@p.iam.gserviceaccount.com"
CANARY = f"{part({'alg': 'RS256'})}.{part({'email': EMAIL})}.Q2FuYXJ5Q2FuYXJ5"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        seen = {"method": self.command, "path": self.path,
                "headers": dict(self.headers.items()),
                "body": self.rfile.read(length)}
        server = self.server
        server.seen.append(seen)
        server.arrived.set()
        if server.hold:
            server.hold.wait(60)
        status, fields, body = server.reply(seen)
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_CONNECT = answer

    def log_message(self, *_):
        pass


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.arrived = threading.Event()
        self.hold = None
        self.reply = lambda seen: (200, {}, b"page\n")
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,),
                         daemon=True).start()

    def bearers(self):
        return [seen["headers"].get("Authorization") for seen in self.seen]


@pytest.fixture
def right():
    with Recorder() as recorder:
        yield recorder
        recorder.shutdown()


@pytest.fixture
def wrong():
    with Recorder() as recorder:
        yield recorder
        recorder.shutdown()


@pytest.fixture
def fake():
    with FakeAgent(fake_agent.token(CANARY)) as agent:
        yield agent


@pytest.fixture
def request_(build_dir, fake, tmp_path):
    """Runs gce-oidc request ARGS; stdin, environment and home as given."""
    def run(*args, env=None, stdin=""):
        return subprocess.run(
            [build_dir / "gce-oidc", "request", f"--socket={fake.socket}", *args],
            input=stdin, capture_output=True, text=True, check=False, timeout=60,
            cwd=tmp_path, env=dict(os.environ, HOME=str(tmp_path), **(env or {})))
    return run


def nothing_of_the_token(recorder):
    return CANARY not in repr(recorder.seen)


# Where it goes.

def test_the_url_gets_it_and_its_origin_is_the_audience(request_, right, fake):
    result = request_(right.url + "/a/b?c=d")
    assert (result.returncode, result.stdout) == (0, "page\n"), result.stderr
    assert right.bearers() == [f"Bearer {CANARY}"]
    assert right.seen[0]["path"] == "/a/b?c=d"
    audience = right.url.replace(":", "%3A").replace("/", "%2F")
    assert f"audience={audience} " in fake.requests[0]


def test_proxy_authorization(request_, right):
    result = request_(right.url, "--proxy-authorization", "--audience=x")
    assert result.returncode == 0
    assert right.bearers() == [None]
    assert right.seen[0]["headers"]["Proxy-Authorization"] == f"Bearer {CANARY}"


def processes():
    """(command line, environment) of every process that lets itself be read."""
    for path in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            texts = []
            for name in ("cmdline", "environ"):
                with open(f"{path}/{name}", "rb") as file:
                    texts.append(file.read().decode(errors="replace"))
            yield texts


def test_no_process_shows_it_while_it_is_on_its_way(build_dir, right, fake):
    right.hold = threading.Event()
    with subprocess.Popen(
            [build_dir / "gce-oidc", "request", f"--socket={fake.socket}",
             right.url + "/held"], stdout=subprocess.PIPE,
            env=dict(os.environ, LD_DEBUG_OUTPUT="/nonexistent",
                     CURL_CA_BUNDLE="/nonexistent")) as process:
        assert right.arrived.wait(60)
        seen = list(processes())
        right.hold.set()
        assert process.communicate(timeout=60)[0] == b"page\n"
    curl = [texts for texts in seen if right.url + "/held" in texts[0]
            and texts[0].startswith("curl\0-q\0--globoff\0")]
    assert len(curl) == 1
    assert curl[0][1] == "PATH=/usr/bin:/bin\0"
    assert curl[0][0].endswith(f"\0--url\0{right.url}/held\0")
    for cmdline, environ in seen:
        assert CANARY not in cmdline
        assert CANARY not in environ


# Tricks that work: the token stays where it belongs.

def test_globs_are_one_url(request_, right):
    assert request_(right.url + "/{a,b}[1-3]").returncode == 0
    assert [seen["path"] for seen in right.seen] == ["/{a,b}[1-3]"]


def test_curlrc_is_not_read(request_, right, wrong, tmp_path):
    text = f'url = "{wrong.url}"\nproxy = "{wrong.url}"\nverbose\nlocation\n'
    (tmp_path / ".curlrc").write_text(text)
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "curlrc").write_text(text)
    result = request_(right.url, env={"CURL_HOME": str(tmp_path)})
    assert (result.returncode, result.stdout, result.stderr) == (0, "page\n", "")
    assert wrong.seen == []


def test_proxies_of_the_environment_are_not_used(request_, right, wrong):
    env = {name: wrong.url for name in (
        "http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")}
    result = request_(right.url, env=dict(env, NO_PROXY="", no_proxy=""))
    assert result.returncode == 0
    assert wrong.seen == []


def test_redirects_are_not_followed(request_, right, wrong):
    for status in (301, 302, 303, 307, 308):
        right.reply = lambda seen, status=status: (
            status, {"Location": wrong.url + "/", "Refresh": f"0;{wrong.url}"}, b"")
        result = request_(right.url)
        assert result.returncode == 11
        assert f"Bad response from application: {status} / " in result.stderr
    assert wrong.seen == []


def test_standard_input_stays_the_callers(request_, right):
    for args in (["-d", "@-"], ["--data-binary=@-"], ["-T-", "-XPOST"],
                 ["-F", "a=<-"]):
        result = request_(right.url, "--", *args, stdin="mine")
        assert result.returncode == 0, result.stderr
    for seen in right.seen:
        assert CANARY.encode() not in seen["body"]
        assert b"mine" in seen["body"] or seen["headers"].get(
            "Transfer-Encoding") == "chunked"
        assert seen["headers"]["Authorization"] == f"Bearer {CANARY}"


def test_headers_of_the_user_go_along(request_, right):
    result = request_(right.url, "--", "-sSH", "X-Mine: 1", "-X", "DELETE",
                      "--compressed", "-m60", "--connect-timeout=30")
    assert result.returncode == 0
    assert right.seen[0]["headers"]["X-Mine"] == "1"
    assert right.seen[0]["method"] == "DELETE"


# Tricks that are refused, before there is a token at all.

TRICKS = {
    "a second URL": lambda r, w: [r, w],
    "a second URL for curl": lambda r, w: [r, "--", w],
    "--url": lambda r, w: [r, "--", "--url", w],
    "--next": lambda r, w: [r, "--", "--next", w],
    "-K": lambda r, w: [r, "--", "-K", "-"],
    "--connect-to": lambda r, w: [r, "--", "--connect-to", f"::{w[7:]}"],
    "--resolve": lambda r, w: [r, "--", "--resolve", "*:80:127.0.0.1"],
    "--proxy of curl": lambda r, w: [r, "--", "--proxy", w],
    "-x joined": lambda r, w: [r, "--", f"-sx{w}"],
    "-L": lambda r, w: [r, "--", "-L"],
    "--location-trusted": lambda r, w: [r, "--", "--location-trusted"],
    "Host": lambda r, w: [r, "--", "-H", f"Host: {w[7:]}"],
    "header file": lambda r, w: [r, "--", "-H", "@-"],
    "header with a line end": lambda r, w: [r, "--", "-H", "A: b\r\nHost: c"],
    "method with a line end": lambda r, w: [r, "--", "-XGET / HTTP/1.1\r\nA:"],
    "TRACE": lambda r, w: [r, "--", "-X", "TRACE"],
    "-v": lambda r, w: [r, "--", "-v"],
    "--trace": lambda r, w: [r, "--", "--trace-ascii", "-"],
    "--libcurl": lambda r, w: [r, "--", "--libcurl", "x.c"],
    "good@evil": lambda r, w: [f"http://127.0.0.1:80@{w[7:]}/"],
    "good@evil with TLS": lambda r, w: ["https://app.example.com@evil.example/"],
    "backslash": lambda r, w: [r + "\\@" + w[7:]],
    "glob in the host": lambda r, w: ["https://{good.example,evil.example}/"],
    "no TLS": lambda r, w: ["http://app.example.com/"],
    "another scheme": lambda r, w: ["ftp://127.0.0.1/"],
    "a file": lambda r, w: ["file:///etc/passwd"],
    "an option for an URL": lambda r, w: ["--", "--url", w],
    "a proxy that reads along": lambda r, w: [r, f"--proxy={w}"],
    "a proxy with a password": lambda r, w: ["https://app/",
                                             f"--proxy=http://a:b@{w[7:]}"],
}


@pytest.mark.parametrize("name", TRICKS)
def test_trick_is_refused(request_, right, wrong, fake, name):
    result = request_(*TRICKS[name](right.url, wrong.url))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("gce-oidc: ")
    assert right.seen == wrong.seen == []
    assert fake.requests == []


# With TLS, to the emulator's application.

class ConnectProxy:
    """Writes down what it is told, and passes on what it cannot read."""

    def __init__(self):
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,),
                                 daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head.decode())
        host, port = head.split()[1].decode().rsplit(":", 1)
        upstream = socket.create_connection((host.strip("[]"), int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n")

        def pump(source, sink):
            with contextlib.suppress(OSError):
                while piece := source.recv(65536):
                    sink.sendall(piece)
                sink.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=pump, args=(upstream, client), daemon=True)
        thread.start()
        pump(client, upstream)
        thread.join(30)


def test_proxy_option_tells_the_proxy_nothing(request_, emulator, tmp_path):
    proxy = ConnectProxy()
    for args in ([], ["--proxy-authorization"]):
        result = request_(emulator.app + "/", f"--cacert={emulator.ca_file}",
                          f"--proxy={proxy.url}", *args)
        # the canary is nobody's signature
        assert result.returncode == 6, result.stderr
        assert "X-Proxy" not in result.stderr
    proxy.listener.close()
    assert len(proxy.heads) == 2
    for head in proxy.heads:
        assert head.startswith("CONNECT ")
        assert "uthorization" not in head


def test_session_keys_are_not_logged(request_, emulator, tmp_path):
    log = tmp_path / "keys"
    result = request_(emulator.app + "/", f"--cacert={emulator.ca_file}",
                      env={"SSLKEYLOGFILE": str(log)})
    assert result.returncode == 6, result.stderr
    assert not log.exists()


# What it makes of answers.

def replying(right, status, body=b"", **fields):
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    right.reply = lambda seen: (status, names, body)


def test_any_2xx_is_well(request_, right):
    for status in (200, 201, 202, 204):
        replying(right, status, b"" if status == 204 else b"made")
        result = request_(right.url)
        assert result.returncode == 0
        assert result.stdout == ("" if status == 204 else "made")


def test_large_body_comes_through(request_, right):
    replying(right, 200, b"x" * 3_000_000)
    result = request_(right.url)
    assert result.returncode == 0
    assert len(result.stdout) == 3_000_000


def test_403_names_the_account_and_the_command(request_, right):
    replying(right, 403, b"no", X_Goog_IAP_Generated_Response="true")
    result = request_(right.url)
    assert (result.returncode, result.stdout) == (6, "")
    assert (f"Service account {EMAIL} does not have permission to access the"
            " IAP-protected application.\n") in result.stderr
    assert (f"--member=serviceAccount:{EMAIL}"
            " --role=roles/iap.httpsResourceAccessor") in result.stderr
    assert "application's own" not in result.stderr
    replying(right, 403, b"no")
    assert "application's own" in request_(right.url).stderr


def test_401_of_iap_names_the_way_out(request_, right):
    replying(right, 401, b"Invalid IAP credentials: Invalid JWT audience.",
             X_Goog_IAP_Generated_Response="true")
    result = request_(right.url + "/x")
    assert result.returncode == 6
    assert "Bad response from application: 401 / " in result.stderr
    assert f"gce-oidc audience {right.url}/x\n" in result.stderr
    assert "--audience=CLIENT_ID" in result.stderr


def test_401_of_the_application_says_which_audience(request_, right):
    replying(right, 401, b"who?")
    result = request_(right.url)
    assert result.returncode == 6
    assert f"audience {right.url}\n" in result.stderr
    assert "Identity-Aware" not in result.stderr


def test_other_answers_are_shown_whole(request_, right):
    replying(right, 500, b"first\nsecond\x1b[2J\n", X_Reason="because")
    result = request_(right.url)
    assert (result.returncode, result.stdout) == (11, "")
    assert re.search(r"Bad response from application: 500 / .*X-Reason: because, "
                     r".* / first\nsecond\?\[2J\n$", result.stderr)


def test_an_echoed_token_is_masked(request_, right):
    right.reply = lambda seen: (500, {"X-Echo": CANARY},
                                seen["headers"]["Authorization"].encode())
    result = request_(right.url)
    assert CANARY not in result.stderr
    assert "X-Echo: [token]" in result.stderr
    assert "Bearer [token]" in result.stderr


def test_endless_error_is_cut(request_, right):
    replying(right, 500, b"x" * 1_000_000)
    result = request_(right.url)
    assert result.returncode == 11
    assert result.stderr.endswith("... (cut)\n")
    assert len(result.stderr) < 100_000


def test_fail_option_shows_the_status_only(request_, right):
    replying(right, 500, b"long story")
    result = request_(right.url, "--", "-f")
    assert result.returncode == 11
    assert result.stderr == "gce-oidc: Bad response from application: 500\n"


def test_output_file_is_written_for_good_answers_only(request_, right, tmp_path):
    out = tmp_path / "out"
    result = request_(right.url, "--", "-o", "out")
    assert (result.returncode, result.stdout) == (0, "")
    assert out.read_text() == "page\n"
    replying(right, 500, b"broken")
    assert request_(right.url, "--", "-oout").returncode == 11
    assert out.read_text() == "page\n"
    assert request_(right.url, "--", "-o-").returncode == 11


def test_include_and_head(request_, right):
    replying(right, 200, b"page\n", X_Reason="because")
    result = request_(right.url, "--", "-i")
    assert result.stdout.startswith("HTTP/1.1 200 OK\n")
    assert "X-Reason: because\n" in result.stdout
    assert result.stdout.endswith("\n\npage\n")
    result = request_(right.url, "--", "-I")
    assert right.seen[-1]["method"] == "HEAD"
    assert result.stdout.count("X-Reason: because") == 1
    assert result.stdout.count("HTTP/1.1 200") == 1


def test_nobody_there_is_unavailable(request_, right):
    right.shutdown()
    right.server_close()
    result = request_(right.url)
    assert (result.returncode, result.stdout) == (7, "")
    assert "curl: (7)" in result.stderr


def test_slow_application_is_a_timeout(request_, right):
    right.hold = threading.Event()
    result = request_(right.url, "--", "-m", "1")
    right.hold.set()
    assert result.returncode == 8


def test_unreadable_file_is_the_callers_mistake(request_, right):
    result = request_(right.url, "--", "-T", "nonexistent")
    assert (result.returncode, result.stdout) == (2, "")
    assert "nonexistent" in result.stderr
    assert right.seen == []


def test_a_refusal_of_the_agent_comes_first(build_dir, right):
    refusal = fake_agent.answer(403, "no rule", "denied-by-policy")
    with FakeAgent(refusal) as agent:
        result = subprocess.run(
            [build_dir / "gce-oidc", "request", right.url,
             f"--socket={agent.socket}"], capture_output=True, text=True,
            check=False)
    assert (result.returncode, result.stderr) == (3, "gce-oidc: no rule\n")
    assert right.seen == []


# audience

def audience(build_dir, url):
    return subprocess.run([build_dir / "gce-oidc", "audience", url], check=False,
                          capture_output=True, text=True, timeout=60)


LOGIN = "https://accounts.google.com/o/oauth2/v2/auth"
CLIENT = "1234-abc.apps.googleusercontent.com"


def test_audience_asks_without_a_token_and_prints_the_id(build_dir, right):
    replying(right, 302, Location=f"{LOGIN}?a=b&client_id={CLIENT}&c=d")
    result = audience(build_dir, right.url)
    assert (result.returncode, result.stdout) == (0, CLIENT + "\n")
    assert "says of itself" in result.stderr
    assert right.bearers() == [None]
    assert right.seen[0]["headers"]["Accept"] == "text/html"


@pytest.mark.parametrize("status, location", [
    (200, None),
    (302, "https://evil.example/?client_id=x"),
    (302, f"https://accounts.google.com.evil.example/?client_id={CLIENT}"),
    (302, f"http://accounts.google.com/?client_id={CLIENT}"),
    (302, LOGIN), (302, LOGIN + "?client_id="), (302, LOGIN + "?xclient_id=a"),
    (302, LOGIN + "?client_id=a%0Ab"), (302, LOGIN + "?client_id=" + "x" * 300),
    (301, f"{LOGIN}?client_id={CLIENT}"),
])
def test_audience_of_anything_else_is_none(build_dir, right, status, location):
    replying(right, status, **({"Location": location} if location else {}))
    result = audience(build_dir, right.url)
    assert (result.returncode, result.stdout) == (11, "")
