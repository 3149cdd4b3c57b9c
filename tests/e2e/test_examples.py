# SPDX-License-Identifier: Apache-2.0
"""doc/examples: each policy is accepted, and says to whom what its comment claims. And what
examples anywhere have people do."""

import json
import pathlib
import re
import shlex
import subprocess

import pytest

from conftest import TESTS

EXAMPLES = TESTS.parent / "doc" / "examples"
CLAIM = re.compile(r"^#\t(user=.*): (allowed|denied)$", re.M)
POLICIES = sorted(path.name for path in EXAMPLES.glob("*.conf")
                  if not path.name.startswith("dropin-"))


HANDED_OVER = "/run/credentials/gce-oidc-agent.service/key.json"


@pytest.fixture
def key(place, emulator):
    file = place / "key.json"
    file.write_text(json.dumps(emulator.key_file()))
    file.chmod(0o600)
    return str(file)


@pytest.fixture
def run(build_dir, place, key):
    """run(NAME, OPTION...) of the agent, about a copy of that example."""
    def run(name, *options):
        text = (EXAMPLES / name).read_text().replace(HANDED_OVER, key)
        for users, user, other in (("passwd", "www-data", "bin"), ("group", "adm", "bin")):
            if f"\n{user}:" not in pathlib.Path("/etc", users).read_text():
                text = text.replace(user, other)    # not on every system
                options = [option.replace(user, other) for option in options]
        file = place / name
        file.write_text(text)
        file.chmod(0o644)
        return subprocess.run([build_dir / "gce-oidc-agent", f"--config={file}", *options],
                              capture_output=True, text=True, check=False)
    return run


@pytest.mark.parametrize("name", POLICIES)
def test_policy_is_accepted_without_notes(run, name):
    done = run(name, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", POLICIES)
def test_policy_says_what_its_comment_claims(run, name):
    claims = CLAIM.findall((EXAMPLES / name).read_text())
    assert {verdict for _, verdict in claims} == {"allowed", "denied"}
    for facts, verdict in claims:
        done = run(name, "--explain", *shlex.split(facts))
        assert done.stdout.startswith(verdict), (facts, done.stdout, done.stderr)


def test_machine_off_google_serves_by_the_key_that_is_handed_over(start_agent, emulator, key):
    conf, drop_in = ((EXAMPLES / name).read_text()
                     for name in ("off-google.conf", "dropin-credentials.conf"))
    name = re.search(r"^LoadCredential=([^:]*):/etc/gce-oidc-agent/", drop_in, re.M).group(1)
    assert f"\ncredentials = {HANDED_OVER}\n" in conf and HANDED_OVER.endswith("/" + name)
    agent = start_agent(conf.replace(HANDED_OVER, key), "")
    answer = agent.token("https://billing.example.com")
    assert answer.headers["Gce-Oidc-Flow"] == "keyfile"
    emulator.verify(answer.text, "https://billing.example.com")
    assert emulator.requests("metadata") == []


def test_each_example_says_where_it_goes():
    for path in EXAMPLES.iterdir():
        text = path.read_text()
        assert re.search(r"^# For /etc/(gce-oidc-agent|systemd/system)/", text, re.M), path


# --- what is on a command line every user of the machine can read

ASKS = r"gce-oidc\b[^|;]*\b(token|jwt)\b|--fetch\b|/v1/(token|jwt)\b|/identity\b|/token\b"
LEAKS = [re.compile(pattern) for pattern in (
    rf"\$\([^()]*({ASKS})",
    r"(-H|--header)[= ]*['\"]?(Proxy-)?Authorization:",
    r"--oauth2-bearer",
    r"(Bearer|--[a-z-]*(token|jwt))[= ]*['\"]?(\$|eyJ|ya29)",
)]


def leaks(text):
    """The lines of a text, continued ones as one, that put a token on a command line."""
    return [line for line in re.sub(r"\\\n\s*", " ", text).splitlines()
            if any(leak.search(line) for leak in LEAKS)]


@pytest.mark.parametrize("text", [
    'curl -H "Authorization: Bearer $(gce-oidc token https://app.example.com)" https://app.example.com/',
    "curl --header=Proxy-Authorization:\\ Bearer\\ x https://app.example.com/",
    'TOKEN=$(curl -s "http://127.0.0.1:254/computeMetadata/v1/instance/service-accounts/default/identity?audience=x")',
    'program --id-token="$TOKEN"', "curl --oauth2-bearer x https://app.example.com/",
    'wget \\\n    --header "Authorization: Bearer $TOKEN" https://app.example.com/',
    ".Dl $ curl -H 'X-Token: Bearer eyJhbGciOi' https://app.example.com/",
])
def test_token_on_a_command_line_is_seen(text):
    assert len(leaks(f"Before.\n\n    {text}\n\nBehind.\n")) == 1


def test_no_example_puts_a_token_on_a_command_line(build_dir):
    root = TESTS.parent
    texts = {path: path.read_text() for pattern in ("*.md", "doc/**/*", "units/**/*")
             for path in root.glob(pattern) if path.is_file() and path.suffix != ".svg"}
    for command in ([], *([name] for name in ("token", "request", "jwt", "sign", "decode"))):
        texts[tuple(command)] = subprocess.run(
            [build_dir / "gce-oidc", *command, "--help"], capture_output=True, text=True,
            check=True).stdout
    shown = [text for text in texts.values() if "curl -H @-" in text]
    assert len(shown) >= 2      # the way that there is instead
    assert {str(path): found for path, text in texts.items() if (found := leaks(text))} == {}
