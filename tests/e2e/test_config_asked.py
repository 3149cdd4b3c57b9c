# SPDX-License-Identifier: Apache-2.0
"""The configuration is asked what it says: checked, dumped, explained."""

import re

import pytest

from test_config import Program

TEXT = """\
# comments are not kept
[limits]
flights = 3
flights = 4

[timing]
wait = 5min

[account default]
flows = metadata
flows = signblob
[rule web]
user = root
user =
user = daemon
group = 4 adm
audience = "https://app.example.com x"
[rule nobody]
action = deny
user = daemon
audience = https://secret.example.com
[rule looks]
user = daemon
kind = monitor
"""


@pytest.fixture
def program(build_dir, place):
    it = Program(build_dir / "gce-oidc-agent", place)
    it.file.write_text(TEXT)
    it.file.chmod(0o644)
    return it


def dump(program, file=None):
    result = program.run(f"--config={file or program.file}", "--dump-config")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def origins(text):
    """{(section, key): [(value, origin)]}."""
    found, section, origin = {}, None, None
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif line.startswith("# "):
            origin = line[2:]
        elif line:
            key, _, value = line.partition(" =")
            found.setdefault((section, key), []).append((value.strip(), origin))
    return found


def test_dump_has_every_setting_with_its_origin(program):
    found = origins(dump(program))
    at = f"{program.file}:".__add__
    assert found["[limits]", "flights"] == [("4", at("4"))]         # the last wins
    assert found["[limits]", "waiters"] == [("4096", "default")]
    assert found["[timing]", "wait"] == [("5min", at("7"))]
    assert found["[timing]", "wait-max"] == [("5min", at("7"))]     # it gives way
    assert found["[account default]", "flows"] == [("metadata", at("10")),
                                                   ("signblob", at("11"))]
    assert found["[rule web]", "user"] == [("daemon", at("15"))]    # not root
    assert found["[rule nobody]", "action"] == [("deny", at("19"))]
    assert found["[upstream]", "metadata"] == [
        ("http://169.254.169.254", "default")]
    assert found["[upstream]", "proxy"] == [("", "default")]


def test_dump_names_the_environment(program):
    result = program.run(f"--config={program.file}", "--dump-config",
                         env={"GCE_METADATA_HOST": "127.0.0.1:1234"})
    assert origins(result.stdout)["[upstream]", "metadata"] == [
        ("http://127.0.0.1:1234", "GCE_METADATA_HOST")]


def test_dump_reads_as_what_it_was_made_of(program):
    first = dump(program)
    other = program.directory / "dumped.conf"
    other.write_text(first)
    other.chmod(0o644)
    second = dump(program, other)

    def said(text):
        return [line for line in text.splitlines() if not line.startswith("#")]
    assert said(second) == said(first)
    assert str(program.file) not in second      # all of it has another origin now


def test_dump_shows_no_password(program):
    program.file.write_text(
        "[upstream]\nproxy = http://user:s3cret@127.0.0.1:3128\n")
    text = dump(program)
    assert "proxy = http://user:***@127.0.0.1:3128\n" in text
    assert "s3cret" not in text



def test_a_bad_file_is_neither_dumped_nor_explained(program):
    program.file.write_text("[limits]\nflights = x\n")
    for args in (["--dump-config"], ["--explain", "user=root", "audience=x"]):
        result = program.run(f"--config={program.file}", *args)
        assert (result.returncode, result.stdout) == (78, "")
        assert f"{program.file}:2: flights: bad value" in result.stderr


def test_check_says_what_was_read(program):
    result = program.run(f"--config={program.file}", "--check-config")
    assert result.stdout == f"read {program.file}\nconfiguration: good\n"


# --- what the policy would say

WEB = ["user=daemon", "group=adm"]


@pytest.mark.parametrize("facts, verdict", [
    (WEB + ["audience=https://app.example.com"], "allowed by rule web ({}:15)"),
    (WEB + ["group=7", "audience=x"], "allowed by rule web ({}:15)"),
    (["user=1", "group=7", "group=4", "audience=x"], "allowed by rule web ({}:15)"),
    (["user=1", "kind=monitor"], "allowed by rule looks ({}:23)"),
    (["user=daemon", "audience=x"], "denied: no rule admits"),  # groups unknown
    (["user=daemon", "group=7", "audience=x"], "denied: no rule admits"),
    (WEB + ["audience=y"], "denied: no rule admits"),
    (WEB + ["host=no", "audience=x"], "denied: no rule admits"),
    (WEB + ["host=unknown", "audience=x"], "denied: no rule admits"),
    (WEB + ["audience=https://secret.example.com"], "denied: rule nobody"),
    (WEB + ["account=other", "audience=x"], "denied: no rule admits"),
    (["user=root", "kind=admin"], "denied: no rule admits"),
], ids=str)
def test_explain_answers_from_files_alone(program, facts, verdict):
    result = program.run(f"--config={program.file}", "--explain", *facts)
    assert result.stdout.startswith(verdict.format(program.file)), result
    assert result.returncode == (0 if verdict.startswith("allowed") else 3)
    assert result.stderr == ""
    assert not re.search(r"4294967295|pid", result.stdout)


@pytest.mark.parametrize("facts, words", [
    ([], "--explain needs user=NAME"),
    (["audience=x"], "--explain needs user=NAME"),
    (["user=root"], "kind id needs audience="),
    (["user=root", "kind=jwt"], "kind jwt needs audience="),
    (["user=none-such", "audience=x"], "no user none-such here"),
    (["user=root", "group=none-such", "audience=x"], "no group none-such here"),
    (["user=4294967295", "audience=x"], "no user 4294967295 here"),
    (["user=root", "kind=none", "audience=x"], "no such kind"),
    (["user=root", "host=maybe", "audience=x"], "host is yes, no or unknown"),
    (["user=root", "colour=red"], "--explain takes user="),
    (["user=root", "audience"], "--explain takes user="),
    (["user=root", "kind=access"] + ["scope=s"] * 33, "more than 32 scopes"),
], ids=str)
def test_explain_refuses_questions_that_make_no_sense(program, facts, words):
    result = program.run(f"--config={program.file}", "--explain", *facts)
    assert (result.returncode, result.stdout) == (64, "")
    assert words in result.stderr
