# SPDX-License-Identifier: Apache-2.0
"""Reload: a new configuration under a running agent, by request, command and
signal."""

import contextlib
import http.client
import os
import signal
import subprocess
import threading

import pytest

from conftest import ANYONE, wait_for
from steps import FAST, HURRY, SIGNATURE, steps
from test_boot import NotifySocket

A, B = "https://a.example.com", "https://b.example.com"
OURS = {"Content-Type": "text/plain"}


def rule(*audiences, name="us", more=""):
    return f"[rule {name}]\npeer = anyone\nhost = any\naudience = {' '.join(audiences)}\n{more}"


NOBODY = rule("https://nobody.example.com")
DENY = rule("**", name="deny", more="action = deny\n")


@pytest.fixture
def reloadable(start_agent, emulator):
    """start(config, rules) -> an agent, with write(config, rules) for the next."""
    def start(config="", rules=ANYONE, **options):
        agent = start_agent(FAST + config, rules, **options)

        def write(config="", rules=ANYONE):
            agent.configure("\n".join((emulator.agent_config(), FAST + config, rules)))
        agent.write = write
        return agent
    return start


def reload(agent, **options):
    return agent.get("/v1/reload", OURS, method="POST", **options)


def command(build_dir, path, *args):
    return subprocess.run([build_dir / "gce-oidc-agent", "reload", f"--socket={path}", *args],
                          capture_output=True, text=True, check=False)


def statuses(agent, *audiences):
    return [agent.token(audience).status for audience in audiences]


# --- rules


def test_rules_change_for_those_who_are_connected(reloadable):
    agent = reloadable(rules=rule(A))
    connection = agent.connection()

    def ask(audience):
        connection.request("GET", f"/v1/token?audience={audience}", headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert [ask(A), ask(A), ask(B)] == [200, 200, 403]
    fd = connection.sock.fileno()
    agent.write(rules=rule(B))
    answer = reload(agent)
    assert (answer.status, answer.body) == (204, b"")
    assert [ask(A), ask(B), ask(B)] == [403, 200, 200]
    assert connection.sock.fileno() == fd
    connection.close()


def test_bad_configuration_is_400_with_its_place_and_changes_nothing(reloadable):
    agent = reloadable(rules=rule(A))
    agent.write(rules=rule(B) + "nonsense = 1\n")
    answer = reload(agent)
    line = len(agent.config.read_text().splitlines())
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (400, "bad-request")
    assert f"configuration: {agent.config}:{line}: " in answer.text
    assert f"{agent.config}:{line}: " in agent.log()
    assert statuses(agent, A, B) == [200, 403]
    agent.config.unlink()
    assert reload(agent).status == 400
    assert statuses(agent, A, B) == [200, 403]
    agent.write(rules=rule(B))
    assert reload(agent).status == 204
    assert statuses(agent, A, B) == [403, 200]


def test_reload_during_a_flight_takes_the_token_away(reloadable, emulator):
    agent = reloadable(rules=rule(A, B))
    assert agent.token(A).status == 200
    emulator.reset()
    emulator.fault("token-endpoint", "hang")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(agent.token(B)))
    waiter.start()
    wait_for(lambda: SIGNATURE in steps(emulator), "a flight that hangs")
    agent.write(rules=rule(A))
    assert reload(agent).status == 204
    emulator.unfault()
    waiter.join()
    assert (answers[0].status, answers[0].headers["Gce-Oidc-Error"]) == (403, "denied-by-policy")
    assert "eyJ" not in answers[0].text


def test_tokens_stay_cached_over_a_reload(reloadable, emulator):
    agent = reloadable()
    first = agent.token(A)
    agent.write(rules=rule("**"))
    emulator.reset()
    assert reload(agent).status == 204
    again = agent.token(A)
    assert (again.body, again.headers["Gce-Oidc-Cache"]) == (first.body, "hit")
    assert emulator.requests() == []


def test_reload_asks_google_again_what_it_has_denied(start_agent, emulator):
    agent = start_agent(HURRY + "denied-flow = 1h\n")
    emulator.set(role=False)
    assert agent.token(A).headers["Gce-Oidc-Flow"] == "metadata"
    emulator.set(role=True)
    assert agent.token(B).headers["Gce-Oidc-Flow"] == "metadata"
    assert reload(agent).status == 204
    assert agent.token("https://c.example.com").headers["Gce-Oidc-Flow"] == "signblob"


class Callers:
    """Four connections that ask for one audience until they are told to end; what was
    answered, or went wrong, is in seen."""

    def __init__(self, agent):
        self.agent, self.seen, self._stop = agent, [], threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self):
        connection = self.agent.connection()
        try:
            while not self._stop.is_set():
                connection.request("GET", f"/v1/token?audience={A}", headers={"Metadata-Flavor": "Google"})
                answer = connection.getresponse()
                answer.read()
                self.seen.append((answer.status, answer.headers["Gce-Oidc-Cache"]))
        except (OSError, http.client.HTTPException) as error:
            self.seen.append(repr(error))
        finally:
            connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_for(lambda: len(self.seen) >= 4, "first answers")
        return self

    def __exit__(self, *_exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_hundred_reloads_lose_no_request_and_no_connection(reloadable):
    agent = reloadable(rules=rule(A))
    assert agent.token(A).status == 200
    with Callers(agent) as callers:
        for i in range(100):
            agent.write(rules=rule(A, B) if i % 2 else rule(A))
            assert reload(agent).status == 204
    assert set(callers.seen) == {(200, "hit")}
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) < 40, "descriptors closed")


# --- options


def test_limits_and_times_change_at_once(reloadable):
    agent = reloadable()
    first = agent.connect()
    agent.write("[timing]\nidle = 2s\n")         # time enough to ask
    assert reload(agent).status == 204
    assert first.recv(1) == b""        # it was idle for longer than it may be now
    first.close()

    def status():
        with contextlib.suppress(BrokenPipeError):      # 429 comes unasked
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return sock.recv(65536).split()[1]
    agent.write("[limits]\nconnections-per-peer = 1\n")
    assert reload(agent).status == 204
    only = None
    while not only:                    # until the reload's own connection is gone
        with agent.connect() as sock:
            if status() != b"429":
                only = sock.dup()
    with only, agent.connect() as sock:
        assert status() == b"429"


def test_wait_changes_at_once(reloadable, emulator):
    agent = reloadable("wait = 1h\n")
    assert agent.token(A).status == 200
    emulator.fault("token-endpoint", "hang")
    agent.write("[timing]\nwait = 50ms\n")
    assert reload(agent).status == 204
    assert agent.token(B).status in (503, 504)


@pytest.mark.parametrize("config, key", [
    ("[limits]\nconnections = 100\n", "connections in [limits]"),
])
def test_what_takes_a_restart_is_named_and_stays(reloadable, config, key):
    agent = reloadable(rules=rule(A))
    agent.write(config, rules=rule(B))
    for _ in range(2):      # as long as the file says so
        answer = reload(agent)
        assert answer.status == 200
        assert [line.split(": ", 1)[1].split(" needs")[0] for line in answer.text.splitlines()] == [key]
        assert answer.text.startswith(f"{agent.config}:")
    assert f"{key} needs a restart" in agent.log()
    assert statuses(agent, A, B) == [403, 200]
    agent.write(rules=rule(B))
    assert reload(agent).status == 204


def test_one_value_in_other_words_is_no_change(reloadable):
    agent = reloadable("[timing]\niat-skew = 60s\n")
    agent.write("[timing]\niat-skew = 1min\n")
    assert reload(agent).status == 204
    assert "made anew" not in agent.log()


# --- who may


@pytest.mark.parametrize("rules", [NOBODY, DENY, rule("**", more="kind = id\n")])
def test_root_may_reload_whatever_the_rules_say(reloadable, rules):
    agent = reloadable(rules=rules)
    assert agent.get("/v1/flush", OURS, method="POST").status == 403
    assert reload(agent).status == 204


def test_reload_is_a_post_with_content_type_and_nothing_else(reloadable):
    agent = reloadable()
    assert agent.get("/v1/reload").status == 405
    assert agent.get("/v1/reload", method="POST").status == 415
    assert agent.get("/v1/reload", OURS, method="POST", flavor=False).status == 403
    assert agent.get("/v1/reload", OURS, method="POST", body="x").status == 400
    assert agent.get("/v1/reload?x=1", OURS, method="POST").status == 400
    assert "reloaded" not in agent.log()


# --- by command and signal


def test_command_tells_the_verdict(reloadable, build_dir):
    agent = reloadable(rules=rule(A))
    agent.write(rules=rule(B))
    good = command(build_dir, agent.socket)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert statuses(agent, A, B) == [403, 200]
    agent.write("[limits]\nconnections = 77\n", rules=rule(B))
    later = command(build_dir, agent.socket)
    assert (later.returncode, later.stderr) == (0, "")
    assert "connections in [limits] needs a restart" in later.stdout
    agent.write(rules="[nonsense]\n")
    bad = command(build_dir, agent.socket)
    assert (bad.returncode, bad.stdout) == (78, "")
    assert f"configuration: {agent.config}:" in bad.stderr and "nonsense" in bad.stderr
    assert statuses(agent, A, B) == [403, 200]


def test_command_without_an_agent_says_so(build_dir, place):
    nobody = command(build_dir, place / "nobody.sock")
    assert nobody.returncode == 69
    assert f"{place}/nobody.sock: no agent there" in nobody.stderr
    assert command(build_dir, "/" + 200 * "x").returncode == 64
    assert command(build_dir, place / "nobody.sock", "more").returncode == 64


def test_hangup_reloads_and_logs_the_verdict(reloadable):
    agent = reloadable(rules=rule(A))
    agent.write(rules=rule(B))
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_log("configuration reloaded, 1 rules")
    assert statuses(agent, A, B) == [403, 200]
    agent.write(rules="[nonsense]\n")
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_log("what was in force stays in force")
    assert statuses(agent, A, B) == [403, 200]


def test_service_manager_is_told_when_a_reload_begins_and_ends(reloadable, place):
    with NotifySocket(place) as manager:
        agent = reloadable(env={"NOTIFY_SOCKET": manager.path})
        manager.wait("READY=1")
        for rules in (ANYONE, "[nonsense]\n"):
            manager.lines.clear()
            agent.write(rules=rules)
            reload(agent)
            manager.wait("READY=1")
            told = [line.split("=")[0] for line in manager.lines]
            begin = told.index("RELOADING")
            assert told[begin:begin + 2] == ["RELOADING", "MONOTONIC_USEC"]
            assert "READY" in told[begin + 2:]
