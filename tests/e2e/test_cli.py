# SPDX-License-Identifier: Apache-2.0
"""The library and the command line, against an agent that says whatever a test
wants, and against a real one."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import fake_agent
from fake_agent import FakeAgent, answer

AUDIENCE = "https://app.example.com"
CODES = [("internal", 500, 5, 1), ("bad-request", 400, 22, 2),
         ("denied-by-policy", 403, 13, 3), ("not-found", 404, 2, 4),
         ("busy", 429, 11, 5), ("denied-by-google", 403, 121, 6),
         ("unavailable", 503, 113, 7), ("timeout", 504, 110, 8)]


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def jwt(**claims):
    return f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(claims)}.c2lnbmF0dXJl"


TOKEN = jwt(aud=AUDIENCE, email="vm@p.iam.gserviceaccount.com", exp=4102444800)


@pytest.fixture
def cli(build_dir):
    def run(*args, socket=None, env=None, stdin="", timeout=60):
        environment = {k: v for k, v in os.environ.items()
                       if k != "GCE_OIDC_SOCKET"}
        if socket:
            environment["GCE_OIDC_SOCKET"] = socket
        environment.update(env or {})
        return subprocess.run([build_dir / "gce-oidc", *args], text=True,
                              input=stdin, capture_output=True, check=False,
                              env=environment, timeout=timeout)
    return run


@pytest.fixture
def fake():
    agents = []

    def start(reply):
        agents.append(FakeAgent(reply))
        return agents[-1]
    yield start
    for agent in agents:
        agent.close()


def test_line_of_an_error_is_one_write(build_dir, fake):
    """So that lines of several callers do not mix in one log."""
    agent = fake(answer(403, "no rule admits", "denied-by-policy"))
    for args, lines in ((("token", "https://app.example.com"), 1), (("token",), 2)):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            subprocess.run([build_dir / "gce-oidc", *args, f"--socket={agent.socket}"],
                           stderr=theirs, check=False, timeout=60)
            ours.setblocking(False)
            writes = []
            try:
                while True:
                    writes.append(ours.recv(65536).decode())
            except BlockingIOError:
                pass
        assert len(writes) == lines and all(w.endswith("\n") for w in writes), writes


# Library, by programs that link it.

def consumer(build_dir, name, *args, socket):
    result = subprocess.run([build_dir / "tests" / "lib" / name, *args],
                            text=True, capture_output=True, timeout=60,
                            check=False,
                            env=dict(os.environ, GCE_OIDC_SOCKET=socket))
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_c89_program_gets_tokens_in_all_ways(build_dir, fake):
    agent = fake(fake_agent.token(TOKEN, 1234))
    lines = consumer(build_dir, "consumer-c89", AUDIENCE, socket=agent.socket)
    assert [line.split()[0] for line in lines] == ["blocking", "stepping",
                                                   "at-once"]
    for line, result in zip(lines, "010"):
        assert line.split()[1:3] == [result, TOKEN]
        assert 1234 - 60 <= int(line.split()[3]) <= 1234


def test_c89_program_sees_each_errno_with_words(build_dir, fake):
    for code, status, errno, _ in CODES:
        agent = fake(answer(status, f"because of {code}\n", code, Retry_After=7))
        lines = consumer(build_dir, "consumer-c89", AUDIENCE, socket=agent.socket)
        assert lines[:2] == [f'blocking -{errno} "because of {code}" 7',
                             f'stepping -{errno} "because of {code}" 7']


def test_cxx_program_asks_many_at_once(build_dir, fake):
    agent = fake(fake_agent.token(TOKEN))
    lines = consumer(build_dir, "consumer-cxx", AUDIENCE, "200",
                     socket=agent.socket)
    assert lines == ["1 x 200", TOKEN]
    assert len(agent.requests) == 200


def test_programs_against_the_real_agent(build_dir, agent):
    lines = consumer(build_dir, "consumer-c89", AUDIENCE, socket=agent.socket)
    assert [line.split()[1] for line in lines] == ["0", "1", "0"]
    assert len({line.split()[2] for line in lines}) == 1
    lines = consumer(build_dir, "consumer-cxx", AUDIENCE, "100",
                     socket=agent.socket)
    assert lines[0] == "1 x 100"


# The request.

def test_request_is_what_the_protocol_says(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    cli("token", "a b/ü&x=%\n", "--account=x@y", "--min-fresh=600", "--fresh",
        "--timeout=7", socket=agent.socket)
    line, *fields, _, _ = agent.requests[0].split("\r\n")
    assert line == ("GET /v1/token?audience=a%20b%2F%C3%BC%26x%3D%25%0A"
                    "&account=x%40y HTTP/1.1")
    names = dict(field.split(": ", 1) for field in fields)
    assert re.fullmatch(r"libgce-oidc/\S+", names.pop("User-Agent"))
    assert names == {"Host": "localhost", "Metadata-Flavor": "Google",
                     "Connection": "close", "Prefer": "wait=7",
                     "Cache-Control": "no-cache, min-fresh=600"}


def test_plain_request_demands_nothing(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    cli("token", AUDIENCE, socket=agent.socket)
    assert "Cache-Control" not in agent.requests[0]
    assert "Prefer: wait=30\r\n" in agent.requests[0]


# token

def test_token_and_a_newline(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert (result.returncode, result.stdout, result.stderr) == (0, TOKEN + "\n", "")


def test_token_as_header(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    result = cli("token", "--header", AUDIENCE, socket=agent.socket)
    assert result.stdout == f"Authorization: Bearer {TOKEN}\n"


def test_token_as_json(cli, fake):
    agent = fake(fake_agent.token(TOKEN, 600))
    result = cli("token", AUDIENCE, "--json", socket=agent.socket)
    value = json.loads(result.stdout)
    assert value["token"] == TOKEN
    assert abs(value["expires"] - time.time() - 600) < 60
    assert 540 <= value["expires_in"] <= 600


def test_each_refusal_has_its_exit_code_and_words(cli, fake):
    for code, status, _, exit_code in CODES:
        agent = fake(answer(status, f"because of {code}\n", code))
        result = cli("token", AUDIENCE, socket=agent.socket)
        assert result.returncode == exit_code
        assert result.stderr == f"gce-oidc: because of {code}\n"
        assert result.stdout == ""


def test_retry_after_is_told(cli, fake):
    agent = fake(answer(503, "metadata server is down", "unavailable",
                        Retry_After=3))
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert result.stderr == ("gce-oidc: metadata server is down"
                             " (try again in 3 s)\n")


def test_terminal_escapes_in_words_are_defused(cli, fake):
    agent = fake(answer(403, "no\x1b]0;evil\x07\r\nline", "denied-by-policy"))
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert result.stderr == "gce-oidc: no?]0;evil?  line\n"


def test_nobody_at_the_socket(cli, tmp_path):
    path = str(tmp_path / "none.sock")
    for result in (cli("token", AUDIENCE, socket=path),
                   cli("token", AUDIENCE, "--socket", path),
                   cli(f"--socket={path}", "status"),
                   cli("whoami", f"--socket={path}")):
        assert result.returncode == 9
        assert result.stderr == (
            f"gce-oidc: no agent at {path} (No such file or directory):"
            " systemctl status gce-oidc-agent.socket\n")


def test_nobody_listens(cli, fake):
    agent = fake(b"")
    agent.listener.close()
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert result.returncode in (9, 10)


def test_option_wins_over_environment(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    result = cli("token", AUDIENCE, f"--socket={agent.socket}",
                 socket="/nonexistent")
    assert result.stdout == TOKEN + "\n"


def test_agent_that_closes_without_a_word(cli, fake):
    agent = fake(b"")
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert result.returncode == 9
    assert "closed the connection without an answer" in result.stderr


MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + TOKEN.encode(),
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "more than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a huge head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
    "a huge field": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20000 + b"\r\n\r\n",
    "a huge body": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70000,
    "bare line ends": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "no lifetime": answer(200, TOKEN),
    "no token": fake_agent.token(""),
    "two lines": fake_agent.token(TOKEN + "\n"),
    "a header in the token": fake_agent.token("a\r\nHost: evil"),
    "a page": fake_agent.token("<html>"),
    "NUL": fake_agent.token("a\0b"),
    "no content": b"HTTP/1.1 204 No\r\nCache-Control: max-age=9\r\n\r\n",
    "a refusal without code": answer(404, "Not Found"),
    "an unknown code": answer(418, "teapot", "teapot"),
    "a redirect": answer(302, "", Location="http://evil/"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answer_is_no_agent(cli, fake, name):
    agent = fake(MALFORMED[name])
    result = cli("token", AUDIENCE, socket=agent.socket)
    assert (result.returncode, result.stdout) == (10, "")
    assert result.stderr.startswith("gce-oidc: ")
    assert result.stderr.count("\n") == 1


def test_answer_in_single_bytes(cli, fake):
    whole = fake_agent.token(TOKEN)
    agent = fake(lambda request: [whole[i:i + 1] for i in range(len(whole))])
    assert cli("token", AUDIENCE, socket=agent.socket).stdout == TOKEN + "\n"


def test_answer_that_ends_with_the_connection(cli, fake):
    agent = fake(b"HTTP/1.1 200 OK\r\nCache-Control: private, max-age=60\r\n\r\n"
                 + TOKEN.encode())
    assert cli("token", AUDIENCE, socket=agent.socket).stdout == TOKEN + "\n"


def test_large_token(cli, fake):
    large = "x" * 65536
    agent = fake(fake_agent.token(large))
    assert cli("token", AUDIENCE, socket=agent.socket).stdout == large + "\n"


def test_hanging_agent_times_out(cli, fake):
    agent = fake(FakeAgent.HANG)
    begin = time.monotonic()
    result = cli("token", AUDIENCE, "--timeout=1", socket=agent.socket)
    assert result.returncode == 8
    assert "no answer from the agent at" in result.stderr
    assert 1 <= time.monotonic() - begin < 20


def test_agent_whose_queue_is_full_times_out(cli, tmp_path):
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, \
            socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        result = cli("token", AUDIENCE, "--timeout=1", socket=path)
    assert result.returncode == 8


def test_agent_whose_queue_was_full_is_reached(cli, tmp_path):
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, \
            socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)

        def drain():
            time.sleep(0.3)     # until the other has met the full queue
            listener.accept()[0].close()
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(fake_agent.token(TOKEN))
        thread = threading.Thread(target=drain)
        thread.start()
        assert cli("token", AUDIENCE, socket=path).stdout == TOKEN + "\n"
        thread.join()


# The path.

def test_default_directory_that_others_can_write_to_is_not_trusted(build_dir):
    for mode, words in (("777", "can be written to by others than root"),
                        ("775", "can be written to by others than root"),
                        ("755", "no agent at /run/gce-oidc-agent/agent.sock (No")):
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-ec",
             "mount -t tmpfs none /run; mkdir /run/gce-oidc-agent;"
             f" chmod {mode} /run/gce-oidc-agent; exec \"$@\"", "sh",
             build_dir / "gce-oidc", "token", AUDIENCE],
            capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stdout) == (9, "")
        assert words in result.stderr


def test_default_directory_of_another_user_is_not_trusted(build_dir):
    if os.getuid() != 0 or not other_uids():
        pytest.skip("there is one user in this namespace")
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-ec",
         "mount -t tmpfs none /run; mkdir -m 755 /run/gce-oidc-agent;"
         " chown 12345 /run/gce-oidc-agent; exec \"$@\"", "sh",
         build_dir / "gce-oidc", "token", AUDIENCE],
        capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 9
    assert "/run/gce-oidc-agent is neither root's nor yours" in result.stderr
    assert "GCE_OIDC_SOCKET" in result.stderr
    assert "not asking /run/gce-oidc-agent/agent.sock" in result.stderr


def other_uids():
    with open("/proc/self/uid_map") as file:
        return sum(int(line.split()[2]) for line in file) > 12345


def test_environment_means_nothing_to_a_setuid_program(build_dir):
    if os.getuid() != 0 or not other_uids():
        pytest.skip("there is one user in this namespace")
    program = build_dir / "gce-oidc"
    if (build_dir / ".libs" / "gce-oidc").exists():
        program = build_dir / ".libs" / "gce-oidc"
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        os.chmod(work, 0o755)
        copy = shutil.copy(program, work)
        os.chmod(copy, 0o4755)
        result = subprocess.run(
            [copy, "token", AUDIENCE], user=12345, extra_groups=[],
            env={"GCE_OIDC_SOCKET": "/nonexistent/evil.sock"},
            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 9
    assert "/run/gce-oidc-agent" in result.stderr
    assert "evil" not in result.stderr


# Usage.

@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["--nonsense"], ["token"], ["token", "a", "b"],
    ["token", "a", "--nonsense"], ["token", "a", "-x"], ["token", ""],
    ["token", "x" * 2049], ["token", "a", "--json", "--header"],
    ["token", "a", "--min-fresh=3001"], ["token", "a", "--min-fresh=x"],
    ["token", "a", "--timeout=0"], ["token", "a", "--timeout"],
    ["token", "a", "--json=1"], ["token", "a", "--account="],
    ["token", "a", "--socket="], ["token", "a", "--socket=/" + "x" * 200],
    ["status", "x"], ["whoami", "x"], ["whoami", "--rule"], ["whoami", "--rule", ""],
    ["whoami", "--account=a"], ["decode", "a.b.c"], ["decode", "--account=a"],
    ["request"], ["request", "https://a/", "https://b/"], ["audience"],
])
def test_wrong_usage_is_exit_2(cli, fake, args):
    agent = fake(fake_agent.token(TOKEN))
    result = cli(*args, socket=agent.socket)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("gce-oidc: ")
    assert agent.requests == []


def test_help_and_version_everywhere(cli):
    assert re.fullmatch(r"gce-oidc \S+\n", cli("--version").stdout)
    assert "COMMAND" in cli("--help").stdout
    for command in ("token", "request", "audience", "decode", "whoami", "status",
                    "wait", "jwt", "sign"):
        assert command in cli("--help").stdout
        for option in ("--help", "--version"):
            result = cli(command, option)
            assert result.returncode == 0 and result.stderr == ""
        assert f"usage: gce-oidc {command}" in cli(command, "--help").stdout


def test_full_disk_is_an_error(build_dir, fake):
    agent = fake(fake_agent.token(TOKEN))
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [build_dir / "gce-oidc", "token", "a", f"--socket={agent.socket}"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert "cannot write" in result.stderr


# decode

def test_decode_says_that_nothing_is_verified(cli):
    exp = int(time.time()) + 3600
    result = cli("decode", stdin=jwt(aud=AUDIENCE, iat=1540000000, exp=exp) + "\n")
    assert result.returncode == 0
    assert result.stdout.startswith("signature not verified\n")
    assert f'"aud": "{AUDIENCE}"' in result.stdout
    assert "issued    2018-10-20 01:46:40 UTC (" in result.stdout
    assert re.search(r"expires   \d{4}-.* UTC \(in .*min", result.stdout)
    assert "c2lnbmF0dXJl" not in result.stdout


def test_decode_takes_whole_header_lines(cli):
    for prefix in ("Authorization: Bearer ", "authorization: bearer ",
                   "Proxy-Authorization: Bearer ", "Bearer ", "  "):
        assert cli("decode", stdin=prefix + TOKEN + "\r\n").returncode == 0


def test_decode_of_the_agents_token(cli, fake):
    agent = fake(fake_agent.token(TOKEN))
    result = cli("decode", f"--audience={AUDIENCE}", socket=agent.socket)
    assert "vm@p.iam.gserviceaccount.com" in result.stdout


@pytest.mark.parametrize("text", [
    "", "\n", "abc", "a.b", "a.b.c.d", "...", "..", "\0.\0.\0", "é.é.é",
    f"{part(b'[]')}.{part({})}.", f"{part({})}.{part(b'1')}.", "x" * 100000,
    f"{part(b'{')}.{part({})}.", f"{part(b'[' * 9999)}.{part({})}.", "e30.e30",
    f"{part({})}.{part(bytes(range(256)))}.",
])
def test_decode_of_garbage_is_exit_2(cli, text):
    result = cli("decode", stdin=text)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("gce-oidc: not a JWT: ")


def test_decode_shows_printable_ascii_only(cli):
    result = cli("decode", stdin=jwt(sub="\x1b[2J\x9b\u202e\U0001f600", iat=1e40,
                                     exp="soon", nbf=-1))
    assert result.returncode == 0
    assert re.fullmatch(r"[\x20-\x7e\n]*", result.stdout)
    assert "not a" in result.stdout


# whoami

ME = {"pid": 4242, "uid": 0, "gid": 0, "groups": [0, 7], "unit": None,
      "slice": None, "cgroup": "/", "host": "yes"}


def whoami(me):
    return answer(200, json.dumps(me))


def test_whoami_shows_every_fact(cli, fake):
    agent = fake(whoami(ME))
    result = cli("whoami", socket=agent.socket)
    assert result.returncode == 0
    assert "pid       4242\n" in result.stdout
    assert "groups    0 7\n" in result.stdout
    assert 'unit      null\nslice     null\ncgroup    "/"\nhost      "yes"\n' in result.stdout
    assert agent.requests[0].startswith("GET /v1/whoami HTTP/1.1\r\n")


def stanza(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_rule_is_a_stanza_for_me(cli, fake):
    agent = fake(whoami(ME))
    result = cli("whoami", "--rule", "https://billing.example.com/x",
                 socket=agent.socket)
    assert stanza(result.stdout) == [
        "[rule root-calls-billing-example-com]",
        "user     = root",
        "audience = https://billing.example.com/x"]
    assert "GET /v1/whoami?audience=https%3A%2F%2Fbilling" in agent.requests[0]


def test_rule_for_a_uid_without_name_and_in_a_container(cli, fake):
    agent = fake(whoami(dict(ME, uid=123456789, host="no")))
    result = cli("whoami", "--rule", "a", "--account=other", socket=agent.socket)
    assert "# user (123456789) has no name" in result.stdout
    assert "# of every container, as this one's unit is unknown" in result.stdout
    assert stanza(result.stdout) == [
        "[rule 123456789-calls-a]", "user     = 123456789", "host     = no",
        "account  = other", "audience = a"]


@pytest.mark.parametrize("unit, host, expected", [
    ("web.service", "yes", ["user     = root", "unit     = web.service"]),
    ("web@1.service", "yes", ["user     = root", "unit     = web@1.service"]),
    (r"a\x2db.service", "yes", ["user     = root", r"unit     = a\\x2db.service"]),
    ("docker-01.scope", "no",
     ["user     = root", "unit     = docker-01.scope", "host     = no"]),
    ("web.service", None, ["user     = root", "unit     = web.service", "host     = any"]),
    # another one at the next login, or all that the user runs
    ("session-3.scope", "yes", ["user     = root"]),
    ("user@0.service", "yes", ["user     = root"]),
    ("init.scope", "yes", ["user     = root"]),
])
def test_rule_names_the_unit_where_that_is_narrower(cli, fake, unit, host, expected):
    agent = fake(whoami(dict(ME, unit=unit, host=host)))
    result = cli("whoami", "--rule", "a", socket=agent.socket)
    assert stanza(result.stdout) == ["[rule root-calls-a]", *expected, "audience = a"]
    assert "every container" not in result.stdout


@pytest.mark.parametrize("args, more", [
    (["--rule", "a"], ["[rule root-calls-a]", "user     = root", "host     = any", "audience = a"]),
    (["--kind=access"], ["[rule root-access]", "user     = root", "host     = any", "tcp      = yes",
                         "kind     = access", "account  = default"]),
])
def test_rule_over_tcp_is_by_user_alone(cli, fake, args, more):
    agent = fake(whoami(dict(ME, unit="web.service", verdict="allow", rule="by-unit")))
    result = cli("whoami", "--tcp", *args, socket=agent.socket)
    assert stanza(result.stdout) == more
    assert "Not needed" not in result.stdout     # that was said of the Unix socket
    agent = fake(whoami(dict(ME, uid=61200, unit="web.service")))
    assert cli("whoami", "--tcp", *args, socket=agent.socket).returncode == 4
    assert cli("whoami", "--tcp", socket=agent.socket).returncode == 2


def test_rule_escapes_pattern_characters(cli, fake):
    agent = fake(whoami(ME))
    result = cli("whoami", "--rule", 'https://h/*\\x y #"',
                 socket=agent.socket)
    assert r'audience = https://h/\*\\x\ y\ \#\"' in result.stdout


def test_rule_for_a_shared_uid_needs_a_unit(cli, fake):
    agent = fake(whoami(dict(ME, uid=65534)))
    result = cli("whoami", "--rule", "a", socket=agent.socket)
    assert (result.returncode, result.stdout) == (4, "")
    agent = fake(whoami(dict(ME, uid=61200, unit="web.service")))
    result = cli("whoami", "--rule", "a", socket=agent.socket)
    assert "unit     = web.service" in result.stdout
    assert "user " not in "".join(stanza(result.stdout))


def test_rule_that_is_not_needed_says_so(cli, fake):
    agent = fake(whoami(dict(ME, verdict="allow", rule="host-root")))
    result = cli("whoami", "--rule", "a", socket=agent.socket)
    assert "# Not needed: rule host-root admits you already." in result.stdout


def test_rule_refuses_what_would_be_two_lines(cli, fake):
    agent = fake(whoami(ME))
    result = cli("whoami", "--rule", "a\nkind = admin", socket=agent.socket)
    assert result.returncode == 2


def test_whoami_without_json(cli, fake):
    agent = fake(answer(200, "hello"))
    assert cli("whoami", socket=agent.socket).returncode == 10


RULES_NONE = "[rule nobody]\nuser = root\naudience = https://only.example/\n"


@pytest.mark.parametrize("audience", [
    "https://billing.example.com/*",
    "123456789012-abcdefghijklmnopqrstuvwxyz012345.apps.googleusercontent.com",
    f"https://{'a' * 63}.{'b' * 63}.example.com/",
])
def test_printed_rule_admits_me_at_the_real_agent(cli, start_agent, emulator, build_dir, audience):
    agent = start_agent(rules=RULES_NONE)
    result = cli("token", audience, socket=agent.socket)
    assert result.returncode == 3
    assert "gce-oidc whoami --rule" in result.stderr
    rule = cli("whoami", "--rule", audience, socket=agent.socket).stdout
    assert rule.startswith("# For /etc/gce-oidc-agent/agent.conf.d/; then: systemctl reload")
    # As the comment says, and as the unit's ExecReload= does it.
    agent.configure(emulator.agent_config() + rule)
    done = subprocess.run([build_dir / "gce-oidc-agent", "reload", f"--socket={agent.socket}"],
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert cli("token", audience, socket=agent.socket).returncode == 0
    assert cli("token", audience + "x", socket=agent.socket).returncode == 3


# status

def status_of(health):
    def reply(request):
        if request.startswith("GET /healthz "):
            return health
        return answer(200, "vm@p.iam.gserviceaccount.com")
    return reply


def test_status_of_a_well_agent(cli, fake):
    agent = fake(status_of(answer(200, "ok")))
    result = cli("status", socket=agent.socket)
    assert result.returncode == 0
    assert result.stdout == (f"health    ok\nsocket    {agent.socket}\n"
                             "account   vm@p.iam.gserviceaccount.com\n")


def test_status_of_an_agent_that_is_not_well(cli, fake):
    agent = fake(status_of(answer(503, "no clock", "unavailable")))
    result = cli("status", socket=agent.socket)
    assert result.returncode == 7
    assert result.stderr == "gce-oidc: no clock\n"
    assert "account   vm@" in result.stdout


def test_status_of_the_real_agent(cli, agent, emulator):
    assert agent.token(AUDIENCE).status == 200      # the account is known
    result = cli("status", socket=agent.socket)
    assert result.returncode == 0
    assert emulator.email in result.stdout


# request and audience, against the emulator's application

def test_request_fetches_the_page(cli, agent, emulator):
    result = cli("request", emulator.app + "/", f"--cacert={emulator.ca_file}",
                 f"--audience={emulator.iap_client_id}", socket=agent.socket)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_request_with_the_audience_of_2018_is_told_what_iap_wants(
        cli, agent, emulator):
    result = cli("request", emulator.app + "/", f"--cacert={emulator.ca_file}",
                 socket=agent.socket)
    assert result.returncode == 6
    assert "Bad response from application: 401 / " in result.stderr
    assert f"gce-oidc audience {emulator.app}/" in result.stderr
    assert "--audience=" in result.stderr


def test_audience_prints_the_client_id(cli, emulator):
    result = cli("audience", emulator.app + "/", f"--cacert={emulator.ca_file}")
    assert result.returncode == 0, result.stderr
    assert result.stdout == emulator.iap_client_id + "\n"


def test_unknown_certificate_is_refused(cli, agent, emulator):
    result = cli("request", emulator.app + "/",
                 f"--audience={emulator.iap_client_id}", socket=agent.socket)
    assert result.returncode == 7
    assert result.stdout == ""
