# SPDX-License-Identifier: Apache-2.0
"""gce-oidc wait, for units that must not start before a token can be had; and what
gce-oidc status shows to whom."""

import json
import threading
import time

import pytest

from fake_agent import FakeAgent, answer
from steps import FAST, steps
from test_cli import AUDIENCE, CODES, cli, fake  # noqa: F401 (fixtures)
from test_status import OPERATOR, down, flush

SHORT = "unavailable = 1ms\nunavailable-max = 5ms\ntrouble = 20ms\n"
PASSING = {"busy", "unavailable", "timeout"}


def test_wait_for_an_agent_that_is_well(cli, agent):  # noqa: F811
    result = cli("wait", socket=agent.socket)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_wait_for_an_audience_has_fetched_it(cli, start_agent, emulator):  # noqa: F811
    agent = start_agent(FAST)
    assert cli("wait", AUDIENCE, socket=agent.socket).returncode == 0
    emulator.reset()
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Cache"] == "hit"
    assert steps(emulator) == {}


@pytest.mark.parametrize("args", [(), (AUDIENCE,)])
def test_wait_until_upstream_is_there(cli, start_agent, emulator, args):  # noqa: F811
    down(emulator, "metadata", "/default/")
    agent = start_agent(FAST + SHORT)
    results = []
    waiter = threading.Thread(target=lambda: results.append(cli("wait", *args, socket=agent.socket)))
    waiter.start()
    agent.get("/healthz", flavor=False)
    assert not results
    emulator.unfault()
    waiter.join()
    assert results[0].returncode == 0, results


def test_wait_until_there_is_an_agent(cli, place):  # noqa: F811
    path = place / "agent.sock"
    results = []
    waiter = threading.Thread(target=lambda: results.append(cli(f"--socket={path}", "wait")))
    waiter.start()
    late = FakeAgent(answer(200, "ok\n"))
    path.symlink_to(late.socket)
    waiter.join()
    late.close()
    assert results[0].returncode == 0, results


@pytest.mark.parametrize("args", [(), (AUDIENCE,)])
def test_what_will_not_pass_is_not_waited_for(cli, fake, args):  # noqa: F811
    for code, status, _, exit_code in CODES:
        if code in PASSING:
            continue
        agent = fake(answer(status, f"because of {code}\n", code))
        result = cli("wait", *args, socket=agent.socket)
        assert result.returncode == exit_code, code
        assert result.stderr == f"gce-oidc: because of {code}\n"
        assert len(agent.requests) == 1


@pytest.mark.parametrize("args", [(), (AUDIENCE,)])
def test_what_may_pass_is_waited_for_until_the_time_is_up(cli, fake, args):  # noqa: F811
    for code, status, _, _ in CODES:
        if code not in PASSING:
            continue
        agent = fake(answer(status, f"because of {code}\n", code))
        begun = time.monotonic()
        result = cli("wait", "--timeout=1", *args, socket=agent.socket)
        assert result.returncode == 8, code
        assert time.monotonic() - begun >= 1
        assert result.stderr == f"gce-oidc: not within 1 s: because of {code}\n"
        # 50 + 100 + 200 + 400 ms, and what is left
        assert 2 <= len(agent.requests) <= 6


@pytest.mark.parametrize("args", [(), (AUDIENCE,)])
def test_words_are_the_last_ones_that_were_said(cli, fake, args):  # noqa: F811
    """And not that there was no answer in the last millisecond."""
    def once(request):
        asked.append(request)
        return answer(503, "because\n", "unavailable") if len(asked) == 1 else FakeAgent.HANG
    asked = []
    result = cli("wait", "--timeout=1", *args, socket=fake(once).socket)
    assert result.returncode == 8
    assert result.stderr == "gce-oidc: not within 1 s: because\n"


@pytest.mark.parametrize("args", [(), (AUDIENCE,)])
@pytest.mark.parametrize("seconds", [1, 2147484])       # the other in ms is no int
def test_the_agents_wish_for_a_pause_is_heard(cli, fake, args, seconds):  # noqa: F811
    agent = fake(answer(503, "later\n", "unavailable", Retry_After=seconds))
    assert cli("wait", "--timeout=1", *args, socket=agent.socket).returncode == 8
    assert 1 <= len(agent.requests) <= 2


def test_no_agent_within_the_time_is_a_timeout(cli, place):  # noqa: F811
    result = cli(f"--socket={place}/none", "wait", "--timeout=0")
    assert result.returncode == 8
    assert result.stderr.startswith(f"gce-oidc: not within 0 s: no agent at {place}/none (")


def test_what_is_no_agent_is_not_waited_for(cli, fake):  # noqa: F811
    agent = fake(b"SSH-2.0-OpenSSH\r\n")
    assert cli("wait", socket=agent.socket).returncode == 10


@pytest.mark.parametrize("args", [("a", "b"), ("",), ("x" * 2049,), ("--timeout=x",), ("--timeout=86401",)])
def test_wait_says_what_it_takes(cli, args):  # noqa: F811
    assert cli("wait", *args).returncode == 2


# --- status ---------------------------------------------------------------------


def test_status_shows_more_to_whom_may_monitor(cli, start_agent, emulator):  # noqa: F811
    agent = start_agent(FAST, OPERATOR)
    odd = 'https://a/\u00e9"\\'
    assert agent.token(odd).status == 200
    result = cli("status", socket=agent.socket)
    assert result.returncode == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "health    ok"
    assert "flow      signblob (standard): not denied" in lines
    assert "upstream  iam: answers" in lines
    assert "upstream  certs: unasked" in lines
    assert "cache     1 tokens of at most 4096" in lines
    token, = (line for line in lines if line.startswith("token "))
    assert " s left, signblob, \"https://a/" in token and token.isascii()
    down(emulator)
    agent.token(AUDIENCE)
    assert "upstream  iam: failing; last failure " in cli("status", socket=agent.socket).stdout
    assert flush(agent).status == 204


def test_status_shows_denials_with_their_remedy(cli, start_agent, emulator):  # noqa: F811
    agent = start_agent(FAST + "denied-flow = 1h\n", OPERATOR)
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    agent.token(AUDIENCE)
    result = cli("status", socket=agent.socket)
    assert result.returncode == 6
    flow, = (line for line in result.stdout.splitlines() if line.startswith("flow "))
    assert flow.startswith("flow      signblob (standard): denied: ")
    assert "gcloud" in flow and "; tried again in 3" in flow


def test_status_shows_others_what_it_always_did(cli, agent):  # noqa: F811
    assert agent.token(AUDIENCE).status == 200      # the account is known
    result = cli("status", socket=agent.socket)
    assert result.returncode == 0 and result.stderr == ""
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["health", "socket", "account"]


def test_status_as_json_is_the_agents_own(cli, start_agent):  # noqa: F811
    agent = start_agent(FAST, OPERATOR)
    assert agent.token(AUDIENCE).status == 200
    result = cli("status", "--json", socket=agent.socket)
    assert result.returncode == 0
    assert json.loads(result.stdout)["tokens"][0]["audience"] == AUDIENCE


def test_status_as_json_is_refused_to_others(cli, agent):  # noqa: F811
    result = cli("status", "--json", socket=agent.socket)
    assert result.returncode == 3
    assert result.stdout == "" and "monitor" in result.stderr
