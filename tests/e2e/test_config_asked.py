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


@pytest.mark.parametrize("universe, line, flows", [
    ("apis.example", "2", "generate metadata"), ("googleapis.com", None, "signblob metadata")])
def test_dump_has_what_follows_the_universe(program, universe, line, flows):
    head = f"[upstream]\nuniverse = {universe}\n" if line else "#\n#\n"
    program.file.write_text(head + "[account default]\n[account a]\nemail = a@p.iam.gserviceaccount.com\n")
    text = dump(program)
    found = origins(text)
    assert found["[upstream]", "universe"] == [(universe, f"{program.file}:{line}" if line else "default")]
    assert found["[upstream]", "iam"] == [(f"https://iamcredentials.{universe}", "default")]
    assert found["[upstream]", "token-endpoint"] == [(f"https://oauth2.{universe}/token", "default")]
    assert found["[upstream]", "certs"][0][0].startswith(f"https://www.{universe}/")
    assert found["[account default]", "flows"] == [(flows, "default")]
    # It reads as what it was made of: all of it is of one universe.
    program.file.write_text(text)
    assert {key: [v for v, _ in values] for key, values in origins(dump(program)).items()} == {
        key: [v for v, _ in values] for key, values in found.items()}


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


UNITS = """\
[rule web]
unit = web@*.service a\\\\x2db.service
audience = https://app.example.com
[rule jobs]
slice = jobs.slice
user = daemon
audience = https://jobs.example.com
[rule boxes]
unit = docker-*.scope
host = no
audience = https://box.example.com
[rule careless]
unit = docker-*.scope
audience = https://careless.example.com
[rule all]
peer = anyone
audience = https://all.example.com
[rule not-cron]
action = deny
unit = cron.service
audience = https://all.example.com
[rule not-users]
action = deny
slice = user-1.slice
audience = https://all.example.com
"""
SYSTEM = "slice=system.slice"


def web(*facts):
    return ["user=1", *facts, "audience=https://app.example.com"]


def jobs(*facts):
    return ["user=daemon", *facts, "audience=https://jobs.example.com"]


def box(name, *facts):
    return ["user=root", "unit=docker-01.scope", SYSTEM, *facts,
            f"audience=https://{name}.example.com"]


def everybody(*facts):
    return ["user=1", *facts, "audience=https://all.example.com"]


@pytest.mark.parametrize("facts, verdict", [
    (web("unit=web@10.0.0.1.service", SYSTEM), "allowed by rule web ({}:2)"),
    (web("unit=web@1.service", "slice=-.slice"), "allowed by rule web ({}:2)"),
    (web(r"unit=a\x2db.service", SYSTEM), "allowed by rule web ({}:2)"),
    (web("unit=db.service", SYSTEM), "denied: no rule admits kind id to uid 1 "
     "groups unknown, on the host, unit db.service (nearly: web but for unit"),
    (web("unit=_web@1.service", SYSTEM), "denied: no rule"),    # its own name
    (web(), "denied: no rule admits kind id to uid 1 groups unknown, on the host, "
     "unit unknown"),
    (jobs("unit=a.service", "slice=jobs.slice"), "allowed by rule jobs ({}:5)"),
    (jobs("unit=a.service", "slice=jobs-night.slice"), "allowed by rule jobs ({}:5)"),
    (jobs("unit=a.service", "slice=night-jobs.slice"), "denied: no rule"),
    (jobs("unit=a.service", "slice=-.slice"), "denied: no rule"),
    (jobs(), "denied: no rule"),
    # root of a container is not root, unless it is said to be
    (box("box"), "allowed by rule boxes ({}:9)"),
    (box("box", "host=yes"), "denied: no rule"),
    (box("careless"), "denied: no rule admits kind id to uid 0 groups unknown, "
     "in a container"),
    (["user=root", "unit=a.service", "slice=machine.slice",
      "audience=https://all.example.com"], "denied: no rule"),
    # what is unknown is denied where it may be what is denied
    (everybody("unit=a.service", SYSTEM), "allowed by rule all ({}:16)"),
    (everybody("unit=cron.service", SYSTEM), "denied: rule not-cron"),
    (everybody(), "denied: rule not-cron"),
    (everybody("unit=session-2.scope", "slice=user-1.slice"), "denied: rule not-users"),
], ids=str)
def test_explain_knows_units_and_slices(program, facts, verdict):
    program.file.write_text(UNITS)
    result = program.run(f"--config={program.file}", "--explain", *facts)
    assert result.stdout.startswith(verdict.format(program.file)), result
    assert result.returncode == (0 if verdict.startswith("allowed") else 3)
    assert result.stderr == ""


@pytest.mark.parametrize("facts, words", [
    (["unit=a.service"], "--explain needs slice= beside unit="),
    (["slice=a.slice"], "--explain needs unit= beside slice="),
    (["unit=a", SYSTEM], "unit a in slice system.slice: expected names"),
    (["unit=", SYSTEM], "expected names"),
    (["unit=a.slice", SYSTEM], "expected names"),
    (["unit=x/a.service", SYSTEM], "expected names"),
    (["unit=a.service/b", SYSTEM], "expected names"),
    (["unit=a.service (deleted)", SYSTEM], "expected names"),
    (["unit=a.service", "slice=a"], "expected names"),
    (["unit=a.service", "slice=.slice"], "expected names"),
    (["unit=a.service", "slice=a--b.slice"], "expected names"),
    (["unit=a.service", "slice=-a.slice"], "expected names"),
    (["unit=a.service", "slice=a-.slice"], "expected names"),
    (["unit=a.service", "slice=a.slice/b.slice"], "expected names"),
    (["unit=" + "a" * 5000 + ".service", SYSTEM], "expected names"),
], ids=lambda facts: str(facts)[:40])
def test_explain_refuses_units_that_there_cannot_be(program, facts, words):
    program.file.write_text(UNITS)
    result = program.run(f"--config={program.file}", "--explain", *web(*facts))
    assert (result.returncode, result.stdout) == (64, "")
    assert words in result.stderr


def test_explain_wants_no_slice_where_no_rule_asks_for_one(program):
    program.file.write_text("[rule web]\nunit = web.service\nslice = x.slice\n"
                            "slice =\naction = allow\naudience = **\n"
                            "[rule other]\nunit = db.service\naudience = **\n")
    result = program.run(f"--config={program.file}", "--explain",
                         *web("unit=db.service"))
    assert (result.returncode, result.stdout) == (
        0, f"allowed by rule other ({program.file}:8)\n"), result


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
    (["user=root", "user=daemon", "audience=x"], "--explain takes one user=: "),
    (["user=root", "audience=x", "audience=x"], "--explain takes one audience=: "),
    (["user=root", "kind=id", "kind=admin", "audience=x"], "--explain takes one kind=: "),
    (["user=root", "account=default", "account=b", "audience=x"], "--explain takes one account=: "),
    (["user=root", "host=yes", "host=no", "audience=x"], "--explain takes one host=: "),
    (["user=root", "unit=a.service", "unit=b.service", "audience=x"], "--explain takes one unit=: "),
    (["user=root", "unit=a.service", "slice=a.slice", "slice=b.slice", "audience=x"],
     "--explain takes one slice=: "),
    (["user=root", "kind=access"] + ["scope=s"] * 33, "more than 32 scopes"),
], ids=str)
def test_explain_refuses_questions_that_make_no_sense(program, facts, words):
    result = program.run(f"--config={program.file}", "--explain", *facts)
    assert (result.returncode, result.stdout) == (64, "")
    assert words in result.stderr
