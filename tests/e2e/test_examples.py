# SPDX-License-Identifier: Apache-2.0
"""doc/examples: each policy is accepted, and says to whom what its comment claims."""

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
