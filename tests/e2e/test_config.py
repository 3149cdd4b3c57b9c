# SPDX-License-Identifier: Apache-2.0
"""Configuration is an access policy: what is not understood ends the program, with file
and line.  The command line is here, too."""

import os
import re
import subprocess

import pytest

from conftest import wait_for
from steps import ACCOUNT, FAST, FIRST, SIGNATURE, steps

AUDIENCE = "https://app.example.com"
RULE = "[rule r]\nuser = root\naudience = x\n"


class Program:
    """The agent, run to its end."""

    def __init__(self, path, directory):
        self.path = str(path)
        self.directory = directory
        self.file = directory / "agent.conf"

    def run(self, *args, env=None):
        return subprocess.run([self.path, *map(str, args)], capture_output=True, text=True,
                              env=dict(os.environ, **(env or {})), check=False, timeout=60,
                              stdin=subprocess.DEVNULL)

    def check(self, text, **more):
        if isinstance(text, str):
            text = text.encode()
        self.file.write_bytes(text)
        self.file.chmod(0o644)
        return self.run(f"--config={self.file}", "--check-config", **more)

    def refuses(self, words, **more):
        """Judged and started, it ends with these words and nothing else."""
        line = f"gce-oidc-agent: error: configuration: {words}\n"
        for args in (["--check-config"], [f"--socket={self.directory}/s"], ["--fetch=x"]):
            result = self.run(f"--config={self.file}", *args, **more)
            assert (result.stderr, result.stdout, result.returncode) == (line, "", 78), args


@pytest.fixture
def program(build_dir, place):
    return Program(build_dir / "gce-oidc-agent", place)


# --- mistakes: the text, the line, the words

TIME = 'bad value "{}": expected a time such as 500ms, 5s, 10min or 1h'
NUMBER = 'bad value "{}": expected a number such as 512 or 4K'
QUOTES = "bad quotes: one pair around the whole value, or none"
COMMENT = "comments stand on lines of their own (or quote a value that has a #)"
CONTROL = "a control or invisible character"

MISTAKES = [
    # the grammar
    ("detect = 1s\n", 1, "detect stands before any [section]"),
    ("[timing]\ndetect\n", 2, "detect: expected [section] or key = value"),
    ("[timing\n", 1, "a section without its ]"),
    ("[timing]\n\n# x\n  nonsense\n", 4, "nonsense: expected [section] or key = value"),
    ("[timing]\nDetect = 1s\n", 2, 'bad key "Detect"'),
    ("[timing]\n= 1s\n", 2, 'bad key ""'),
    ("[timing]\ndetect = 1s # soon\n", 2, COMMENT),
    ("[timing]\ndetect = \"1s\n", 2, QUOTES),
    ("[timing]\ndetect = '1s' '2s'\n", 2, QUOTES),
    ("[timing]\r\ndetect = 1s\r\n", 1, "Windows line ends (CR LF): save the file with Unix ones"),
    ("[timing]\ndetect = 1\0s\n", 2, "a NUL byte"),
    (b"[timing]\ndetect = \xff\n", 2, "not UTF-8"),
    ("[timing]\ndetect = 1s\x1b[0m\n", 2, CONTROL),
    ("[rule r]\naudience = https://a\u202eb\n", 2, CONTROL),
    ("\ufeff[timing]\n", 1, CONTROL),
    ("# " + "x" * 4095 + "\n", 1, "a line of more than 4096 bytes"),
    # sections and keys
    ("[metrics]\n", 1, "unknown section [metrics]"),
    ("[]\n", 1, "unknown section []"),
    ("[Timing]\n", 1, "unknown section [Timing]"),
    ("[timing x]\n", 1, "[timing] takes no name"),
    ("[account]\n", 1, "an account needs a name: [account default]"),
    ("[account other]\n", 1, "account other needs an email"),
    ("[account a@b]\n", 1, "account name a@b: expected at most 64 letters, digits and - _ ., "
     "not beginning with a dot"),
    ("[account ..]\n", 1, "account name ..: expected at most 64 letters, digits and - _ ., "
     "not beginning with a dot"),
    ("[account other]\nemail =\n", 2, "email: a value is missing"),
    ("[account other]\nemail = me@example.com\n", 2, "email: me@example.com is not a service "
     "account's address (NAME@PROJECT.iam.gserviceaccount.com)"),
    ("[account other]\nemail = o@p.iam.gserviceaccount.com\ndelegates = x\n", 3,
     "delegates: x is not a service account's address (NAME@PROJECT.iam.gserviceaccount.com)"),
    ("[account other]\nemail = o@p.iam.gserviceaccount.com\ndelegates = "
     "d@p.iam.gserviceaccount.com d@p.iam.gserviceaccount.com\n", 3,
     "delegates: d@p.iam.gserviceaccount.com is named twice"),
    ("[account other]\nemail = o@p.iam.gserviceaccount.com\ncredentials = adc\n", 3,
     "unknown key credentials in [account other]"),
    ("[account other]\nemail = o@p.iam.gserviceaccount.com\nflows = metadata\n", 1,
     "account other: flow metadata is for account default only"),
    ("[account other]\nemail = o@p.iam.gserviceaccount.com\nflows = signblob\nflows =\n", 1,
     "account other: flows: none left"),
    ("[account a]\nemail = o@p.iam.gserviceaccount.com\n[account b]\n"
     "email = o@p.iam.gserviceaccount.com\n", 3, "account b has the email of account a"),
    ("[timing]\ndetectt = 1s\n", 2, "unknown key detectt in [timing]"),
    ("[agent]\ndetect = 1s\n", 2, "unknown key detect in [agent]"),
    ("[cache]\nuser = root\n", 2, "unknown key user in [cache]"),
    # values
    ("[timing]\ndetect = soon\n", 2, "detect: " + TIME.format("soon")),
    ("[timing]\ndetect = 1day\n", 2, "detect: " + TIME.format("1day")),
    ("[timing]\ndetect = -1\n", 2, "detect: " + TIME.format("-1")),
    ("[timing]\ndetect = 1s 2s\n", 2, "detect: " + TIME.format("1s 2s")),
    ("[timing]\ndetect = 99999999999999999999\n", 2,
     "detect: " + TIME.format("99999999999999999999")),
    ("[timing]\ndetect =\n", 2, "detect: a value is missing"),
    ("[timing]\ndetect = 0\n", 2, "detect: 0 is out of range: 1ms to 10min"),
    ("[timing]\ndetect = 2h\n", 2, "detect: 2h is out of range: 1ms to 10min"),
    ("[timing]\n\ndiscover = 2s\ndiscover-max = 1s\n", 3, "discover: longer than discover-max"),
    ("[limits]\nflights = many\n", 2, "flights: " + NUMBER.format("many")),
    ("[limits]\nflights = 0\n", 2, "flights: 0 is out of range: 1 to 1024"),
    ("[limits]\nrequests-per-second = 0.0001\n", 2,
     'requests-per-second: bad value "0.0001": expected a number such as 2 or 0.5'),
    ("[limits]\nrequests-per-second = 0\n", 2,
     "requests-per-second: 0 is out of range: 0.001 to 100000"),
    ("[cache]\nentries = 2M\n", 2, "entries: 2M is out of range: 1 to 1048576"),
    ("[agent]\nlog-level = loud\n", 2, 'log-level: bad value "loud": expected debug, '
     "info, notice, warning or err"),
    ("[account default]\nflows = conjure\n", 2,
     "flows: unknown flow conjure: there is signblob, generate, metadata, keyfile, user"),
    ("[account default]\nflows = signblob signblob\n", 2, "flows: flow signblob is named twice"),
    ("[account default]\nflows =\n", 2, "flows: none left: there is signblob, generate, metadata, keyfile, user"),
    # upstream
    ("[upstream]\ntest-endpoints = maybe\n", 2,
     'test-endpoints: bad value "maybe": expected yes or no'),
    ("[upstream]\nmetadata = http://metadata.google.internal\n", 2,
     "metadata: http://metadata.google.internal: the metadata server is asked by address, "
     "never by name"),
    ("[upstream]\nmetadata = https://169.254.169.254\n", 2,
     "metadata: https://169.254.169.254: the metadata server speaks http"),
    ("[upstream]\nmetadata = http://169.254.169.254/x\n", 2,
     "metadata: http://169.254.169.254/x: nothing may stand behind the port"),
    ("[upstream]\nmetadata = 169.254.169.254\n", 2,
     "metadata: 169.254.169.254 is no URL of the form http[s]://HOST[:PORT][/PATH]"),
    ("[upstream]\niam = http://127.0.0.1:80\n", 2, "iam: http://127.0.0.1:80: https only"),
    ("[upstream]\ntoken-endpoint = http://oauth2.googleapis.com/token\n", 2,
     "token-endpoint: http://oauth2.googleapis.com/token: https only"),
    ("[upstream]\ntest-endpoints = yes\niam = http://iam.example.com\n", 3,
     "iam: http://iam.example.com: http only to a loopback address"),
    ("[upstream]\niam = https://user@iam.example.com\n", 2,
     "iam: https://user@iam.example.com is no URL of the form http[s]://HOST[:PORT][/PATH]"),
    ("[upstream]\niam = https://iam.example.com/\n", 2, "iam: https://iam.example.com/: the path "
     "must be made of plain characters and not end in a slash"),
    ("[upstream]\nca-file = ca.pem\n", 2, "ca-file: not an absolute path"),
    ("[upstream]\nca-file = /nonexistent.pem\n", 2,
     "ca-file: /nonexistent.pem: No such file or directory"),
    ("[upstream]\nproxy = ftp://u:hunter2@proxy\n", 2, "proxy: bad value: expected environment, "
     "or a URL such as http://proxy.example.com:3128"),
    # rules
    ("[rule]\n", 1, "a rule needs a name: [rule NAME]"),
    ("[rule a b]\n", 1, "rule name a b: expected at most 64 letters, digits and - _ ."),
    ("[rule r]\nuser = nosuchuser\n", 2, "no user nosuchuser in /etc/passwd: those of other name "
     "services are given as numbers"),
    ("[rule r]\ngroup = nosuchgroup\n", 2, "no group nosuchgroup in /etc/group: those of other "
     "name services are given as numbers"),
    ("[rule r]\nuser = 65534\n", 2,
     "user 65534 is id 65534, which stands for no one in particular: use unit"),
    ("[rule r]\ngroup = 61184\n", 2,
     "group 61184 is id 61184, which stands for no one in particular: use unit"),
    ("[rule r]\nhost = maybe\n", 2, "host = maybe: expected yes, no or any"),
    ("[rule r]\npeer = me\n", 2, "peer = me: expected anyone"),
    ("[rule r]\naction = refuse\n", 2, "action = refuse: expected allow or deny"),
    ("[rule r]\nkind = tokens\n", 2,
     "unknown kind tokens: there are id jwt access sign sign-any monitor admin"),
    ("[rule r]\nunit = web\n", 2,
     "unit = web: expected services or scopes, such as web.service"),
    ("[rule r]\nslice = web.service\n", 2,
     "slice = web.service: expected slices, such as web.slice"),
    ("[rule r]\ntcp = 1\n", 2, "tcp = 1: expected yes or no"),
    ("[rule r]\nusers = root\n", 2, "unknown key users in [rule r]"),
    ("[rule r]\naudience = a***\n", 2, "pattern a***: more than two * in a row"),
    ("[rule r]\naudience = " + "*." * 9 + "\n", 2, f"pattern {'*.' * 9}: more than 8 wildcards"),
    ("[rule r]\naudience = a\\\n", 2, "pattern a\\x5c: nothing behind the last \\"),
    ("\n[rule r]\naudience = x\n", 2,
     "rule r names nobody: it needs user, group, unit or slice, or peer = anyone"),
    ("[rule r]\nuser = root\n", 1, "rule r: kind id needs an audience"),
    ("[rule r]\nuser = root\nkind = jwt\n", 1, "rule r: kind jwt needs an audience"),
    ("[rule r]\nuser = root\nkind = id access\naccount = default\naudience = x\n", 1,
     "rule r: audience beside kind access, which no audience narrows: make it a rule of its own"),
    ("[rule r]\nuser = root\nkind = sign-any\n", 1,
     "rule r: kind sign-any is worth the whole account, so account must be written out"),
    (RULE + "scope = a\n", 1, "rule r: scope is for kind access only"),
    ("[rule r]\naction = deny\naudience = x\nuser = root\nuser =\n", 1,
     "rule r denies nobody: user is empty"),
]


@pytest.mark.parametrize("text, line, words", MISTAKES,
                         ids=[ascii(mistake[0][-24:]) for mistake in MISTAKES])
def test_mistake_ends_the_program_with_file_and_line(program, text, line, words):
    program.file.write_bytes(text if isinstance(text, bytes) else text.encode())
    program.refuses(f"{program.file}:{line}: {words}")


# --- files


@pytest.mark.parametrize("mode, words", [
    (0o664, "others than its owner can write to it (mode 0664): chmod go-w it"),
    (0o646, "others than its owner can write to it (mode 0646): chmod go-w it")])
def test_file_that_others_can_write_to_is_refused(program, mode, words):
    program.file.write_text(RULE)
    program.file.chmod(mode)
    program.refuses(f"{program.file}: {words}")


def test_directory_that_others_can_write_to_is_refused(program):
    program.file.write_text(RULE)
    program.directory.chmod(0o777)
    program.refuses(f"{program.directory}: others than its owner can write to it (mode 0777): "
                    "chmod go-w it")


def test_file_of_another_user_is_refused(program):
    program.file.write_text(RULE)
    try:
        os.chown(program.file, 1234, -1)
    except OSError:
        pytest.skip("no other users here")
    program.refuses(f"{program.file}: belongs to uid 1234: chown root it")


@pytest.mark.parametrize("make, words", [
    (lambda path: None, "No such file or directory"),
    (lambda path: path.mkdir(), "not a regular file"),
    (os.mkfifo, "not a regular file"),
    (lambda path: path.write_text("#\n" * 131073), "larger than 256 KiB")],
    ids=["missing", "directory", "fifo", "huge"])
def test_what_is_no_file_of_ours_is_refused(program, make, words):
    make(program.file)
    program.refuses(f"{program.file}: {words}")


# --- what is no mistake


@pytest.mark.parametrize("text, notes", [
    (RULE, []),
    ("", []),
    ("[rule r]\nuser = root\naudience = https://**.run.app\n",
     [":1: rule r: audience https://**.run.app has a wildcard for its host: it admits audiences "
      "of strangers' services"]),
    ("\n[rule r]\naction = deny\npeer = anyone\naudience = https://a/**\n",
     [":2: rule r denies audience https://a/**: audiences are bytes, another spelling of the same "
      "service gets past"]),
    ("[rule r]\nuser =\naudience = x\n", [":1: rule r admits nobody: user is empty"]),
    ("[account billing]\nemail = b@p.iam.gserviceaccount.com\n[rule r]\nuser = root\n"
     "audience = x\naccount = bil* b@p.iam.gserviceaccount.com\n",
     [":3: rule r: there is no account b@p.iam.gserviceaccount.com: rules name accounts as their "
      "sections [account NAME] do, and not by email"]),
], ids=str)
def test_check_prints_what_is_probably_not_meant(program, text, notes):
    result = program.check(text)
    assert (result.returncode, result.stdout) == (
        0, f"read {program.file}\nconfiguration: good\n")
    assert result.stderr.splitlines() == [f"{program.file}{note}" for note in notes]


def test_later_values_win_and_lists_add_up(program):
    assert program.check("[timing]\ndetect = 1s\ndetect = 2s\n[rule r]\nuser = root\naudience = a\n"
                         "[timing]\nwait = 5\n[rule r]\naudience = b\n").returncode == 0


@pytest.mark.parametrize("host", [
    "169.254.169.254", "127.0.0.1:8080", "http://127.0.0.1:8080", "localhost:8080", "fd20:ce::254",
    "[fd20:ce::254]:80", "metadata.google.internal", "METADATA.google.internal.:80", ""])
def test_metadata_host_of_the_environment_is_taken(program, host):
    assert program.check(RULE, env={"GCE_METADATA_HOST": host}).returncode == 0


@pytest.mark.parametrize("host, words", [
    ("metadata.example.com", "http://metadata.example.com: the metadata server is asked by "
     "address, never by name"),
    ("127.0.0.1/x", "http://127.0.0.1/x: nothing may stand behind the port"),
    ("127.0.0.1:0", "http://127.0.0.1:0 is no URL of the form http[s]://HOST[:PORT][/PATH]"),
    ("a@127.0.0.1", "http://a@127.0.0.1 is no URL of the form http[s]://HOST[:PORT][/PATH]"),
    ("https://127.0.0.1", "http://https://127.0.0.1 is no URL of the form "
     "http[s]://HOST[:PORT][/PATH]"),
])
def test_impossible_metadata_host_of_the_environment_is_refused(program, host, words):
    program.file.write_text(RULE)
    program.refuses(f"GCE_METADATA_HOST: {words}", env={"GCE_METADATA_HOST": host})


def test_configured_metadata_server_beats_the_environment(start_agent, emulator):
    agent = start_agent(FAST, env={"GCE_METADATA_HOST": "127.0.0.1:1"})
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_test_endpoints_are_told_loudly(agent, emulator):
    log = agent.wait_log("TEST ENDPOINTS ARE IN USE")
    assert f"tokens come from {emulator.token_endpoint}, not from Google" in log
    assert "warning: TEST ENDPOINTS" in log


# --- the command line


@pytest.mark.parametrize("audience", [b"", b"x" * 2049, b"\xff", b"a\nb", "\u202e".encode()])
def test_fetch_of_an_impossible_audience_asks_nothing(program, emulator, audience):
    program.file.write_text(emulator.agent_config() + FAST)
    result = subprocess.run([program.path, f"--config={program.file}", b"--fetch=" + audience],
                            capture_output=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"an audience has 1 to 2048 bytes of UTF-8" in result.stderr
    assert set(steps(emulator)) <= {ACCOUNT}


def test_fetch_that_is_interrupted_has_failed(program, emulator):
    program.file.write_text(emulator.agent_config() + FAST)
    emulator.fault("iam", "hang")
    with subprocess.Popen([program.path, f"--config={program.file}", "--fetch=x"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: SIGNATURE in steps(emulator), "the signature is asked for")
        process.terminate()
        assert process.stdout.read() == b""
    assert process.returncode == 1


def test_fetch_prints_a_token(program, emulator):
    program.file.write_text(emulator.agent_config() + FAST)
    result = program.run(f"--config={program.file}", f"--fetch={AUDIENCE}")
    assert result.returncode == 0 and "found" in result.stderr
    assert result.stdout.endswith("\n")
    emulator.verify(result.stdout.removesuffix("\n"), AUDIENCE)
    assert steps(emulator) == FIRST


# The last one is waited for, and a busy machine's first answer, too.
@pytest.mark.parametrize("settings, wait, code, words", [
    ({"role": False}, "30s", 6, "gcloud iam service-accounts add-iam-policy-binding"),
    ({"service_account": False}, "30s", 4, "this VM has no service account"),
    ({"flavor": False}, "3s", 7, "lacks Metadata-Flavor: Google")])
def test_fetch_that_fails_says_why(program, emulator, settings, wait, code, words):
    emulator.set(**settings)
    program.file.write_text(emulator.agent_config() + FAST + f"wait = {wait}\n")
    result = program.run(f"--config={program.file}", f"--fetch={AUDIENCE}")
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("args, code", [
    (["--help"], 0), (["--version"], 0), (["--nonsense"], 64), (["--config"], 64), (["-x"], 64),
    (["serve"], 64), (["--check-config=yes"], 64), (["--", "x"], 64)], ids=str)
def test_command_line(program, args, code):
    result = program.run(*args)
    assert result.returncode == code
    if args == ["--version"]:
        assert re.fullmatch(r"gce-oidc-agent \S+\n", result.stdout)
    else:
        assert "Usage: gce-oidc-agent" in (result.stderr if code else result.stdout)
    assert bool(result.stdout) == (code == 0)
