# SPDX-License-Identifier: Apache-2.0
"""Reload of what asks upstream: it is in force for whoever asks next, those who wait
are answered by what they began with, and tokens of an unchanged identity stay."""

import http.client
import json
import os
import threading

import pytest

from conftest import ANYONE, wait_for
from steps import HURRY, SIGNATURE, Listener, steps
from test_accounts import BILLING, REPORTS
from test_reload import Callers, reload, rule

A, B, C = (f"https://{name}.example.com" for name in "abc")
OPERATOR = ANYONE.replace("kind = id", "kind = id monitor")


@pytest.fixture
def reloadable(start_agent, emulator):
    """start(config, rules) -> an agent, with change(config, rules) for the next."""
    def start(config="", rules=OPERATOR, upstream=None, **options):
        agent = start_agent(HURRY + config, rules, upstream=upstream, **options)

        def change(config="", rules=OPERATOR, upstream=None, expect=204):
            agent.configure("\n".join((upstream or emulator.agent_config(), HURRY + config, rules)))
            answer = reload(agent)
            assert answer.status == expect, answer
            return answer
        agent.change = change
        return agent
    return start


def flow(agent, audience):
    answer = agent.token(audience)
    assert answer.status == 200, answer
    return answer.headers["Gce-Oidc-Flow"]


class Waiter:
    """Somebody who asks and is kept waiting."""

    def __init__(self, agent, audience):
        self.answers = []
        self.thread = threading.Thread(target=self._ask, args=(agent, audience))
        self.thread.start()

    def _ask(self, agent, audience):
        try:
            self.answers.append(agent.token(audience))
        except (OSError, http.client.HTTPException):
            self.answers.append(None)

    def answer(self):
        """None: the agent has gone without one."""
        self.thread.join()
        return self.answers[0]


@pytest.fixture
def hanging(emulator):
    """hanging(agent, audience) -> a Waiter whose signature does not come."""
    def start(agent, audience):
        emulator.reset()
        emulator.fault("iam", "hang", match=":signBlob")
        waiter = Waiter(agent, audience)
        wait_for(lambda: SIGNATURE in steps(emulator), "a flight that hangs")
        return waiter
    return start


# --- in force


@pytest.mark.parametrize("config", [
    "[account default]\nflows = metadata\n",
    "[upstream]\niam = https://localhost:1\n[timing]\ngoogle-tries = 1\n",
    "[timing]\niat-skew = 1min\n",
    "[limits]\nflights = 3\n",
    "[cache]\nverify = claims\n",
    "[upstream]\nproxy = environment\n",
])
def test_connection_stays_and_nothing_says_restart(reloadable, config):
    agent = reloadable()
    connection = agent.connection()

    def ask(audience):
        connection.request("GET", f"/v1/token?audience={audience}",
                           headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    assert ask(A) == 200
    fd = connection.sock.fileno()
    agent.change(config)
    # Where nobody signs any more, the metadata server does not stand in.
    assert ask(B) == (503 if "localhost:1" in config else 200)
    assert connection.sock.fileno() == fd
    assert "restart" not in agent.log() and "what asks upstream is made anew" in agent.log()
    connection.close()


def test_flows_change_at_once(reloadable):
    agent = reloadable("[account default]\nflows = signblob\n")
    assert flow(agent, A) == "signblob"
    agent.change("[account default]\nflows = metadata\n")
    assert [flow(agent, A), flow(agent, B)] == ["metadata", "metadata"]
    agent.change("[account default]\nflows = signblob\n")
    assert [flow(agent, A), flow(agent, C)] == ["signblob", "signblob"]


def test_another_metadata_server_is_asked_at_once(reloadable, emulator):
    agent = reloadable()
    assert agent.token(A).status == 200
    with Listener() as nobody:
        lines = [line if not line.startswith("metadata") else f"metadata = http://{nobody.address}"
                 for line in emulator.agent_config().splitlines()]
        # Shorter than this test waits for an answer.
        agent.change("wait = 100ms\n", upstream="\n".join(lines))
        wait_for(lambda: nobody.seen, "a question to the other one")
        answer = agent.token(A)                  # the cache is another identity's
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
        agent.change()
    assert agent.token(A).status == 200


def test_limits_of_the_cache_change_at_once(reloadable):
    agent = reloadable()
    for i in range(8):
        assert agent.token(f"https://{i}.example.com").status == 200
    agent.change("[cache]\nentries = 3\n")
    status = json.loads(agent.get("/v1/status").text)
    assert (status["cache"]["tokens"], status["cache"]["most"]) == (3, 3)
    assert agent.token("https://7.example.com").headers["Gce-Oidc-Cache"] == "hit"


def test_warm_audiences_change_at_once(reloadable, emulator):
    agent = reloadable()
    agent.change(f"[cache]\nwarm = {A} {B}\n")
    wait_for(lambda: steps(emulator).get(SIGNATURE) == 2, "both audiences")
    wait_for(lambda: json.loads(agent.get("/v1/status").text)["cache"]["tokens"] == 2, "tokens")
    assert agent.token(A).headers["Gce-Oidc-Cache"] == "hit"


def test_accounts_come_change_and_go(reloadable, emulator):
    emulator.set(accounts=[BILLING, REPORTS])
    rules = OPERATOR + "account = *\n"
    agent = reloadable(rules=rules)
    connection = agent.connection()

    def ask():
        connection.request("GET", f"/v1/token?audience={A}&account=other",
                           headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def whose():
        status, text = ask()
        return emulator.verify(text, A)["email"] if status == 200 else status
    assert whose() == 404
    agent.change(f"[account other]\nemail = {BILLING}\n", rules=rules)
    assert [whose(), whose(), whose()] == [BILLING] * 3
    agent.change(f"[account other]\nemail = {REPORTS}\n", rules=rules)
    assert [whose(), whose(), whose()] == [REPORTS] * 3
    agent.change(rules=rules)
    assert [whose(), whose()] == [404, 404]
    connection.close()


# --- the cache


def test_tokens_of_an_unchanged_identity_stay(reloadable, emulator):
    agent = reloadable()
    first = agent.token(A)
    emulator.reset()
    emulator.fault("metadata", "status", status=503)    # the account is sought in vain
    agent.change("[timing]\niat-skew = 1min\n[limits]\nflights = 5\n")
    again = agent.token(A)
    assert (again.body, again.headers["Gce-Oidc-Cache"]) == (first.body, "hit")
    emulator.unfault()
    wait_for(lambda: agent.token(B).status == 200, "the account")
    again = agent.token(A)
    assert (again.body, again.headers["Gce-Oidc-Cache"]) == (first.body, "hit")
    assert steps(emulator)[SIGNATURE] == 1


def test_tokens_go_when_the_account_has_changed_meanwhile(reloadable, emulator):
    agent = reloadable()
    first = agent.token(A)
    emulator.set(email="other@emulated-project.iam.gserviceaccount.com")
    agent.change("[timing]\niat-skew = 1min\n")
    agent.wait_log("service account other@")
    again = agent.token(A)
    assert (again.status, again.headers["Gce-Oidc-Cache"]) == (200, "miss")
    assert again.body != first.body


@pytest.mark.parametrize("config", [
    "[cache]\nverify = required\n", "[account default]\nflows = signblob\n"])
def test_tokens_of_another_identity_go(reloadable, config):
    agent = reloadable()
    assert agent.token(A).status == 200
    agent.change(config)
    assert agent.token(A).headers["Gce-Oidc-Cache"] == "miss"
    assert agent.token(A).headers["Gce-Oidc-Cache"] == "hit"


# --- those who wait


def test_whoever_waits_is_answered_by_what_he_began_with(reloadable, emulator, hanging):
    agent = reloadable("[account default]\nflows = signblob\n")
    assert agent.token(A).status == 200
    waiter = hanging(agent, B)
    agent.change("[account default]\nflows = metadata\n")
    assert "; 1 requests still wait on what was" in agent.log()
    assert flow(agent, C) == "metadata"
    emulator.unfault()
    answer = waiter.answer()
    assert (answer.status, answer.headers["Gce-Oidc-Flow"]) == (200, "signblob")
    assert agent.token(B).headers["Gce-Oidc-Flow"] == "metadata"


def test_whoever_waits_is_judged_again(reloadable, emulator, hanging):
    agent = reloadable(rules=rule(A, B))
    assert agent.token(A).status == 200
    waiter = hanging(agent, B)
    agent.change("[timing]\niat-skew = 1min\n", rules=rule(A))
    emulator.unfault()
    assert (waiter.answer().status, agent.token(A).status) == (403, 200)


def test_whoever_waits_for_the_account_is_answered(reloadable, emulator):
    emulator.fault("metadata", "status", status=503)
    agent = reloadable(wait=True)
    waiters = [Waiter(agent, A) for _ in range(3)]
    wait_for(lambda: emulator.requests(), "the search")
    agent.change("[timing]\niat-skew = 1min\n")
    late = Waiter(agent, A)
    emulator.unfault()
    assert {waiter.answer().status for waiter in (*waiters, late)} == {200}


def test_whoever_leaves_while_it_is_replaced_leaves_nothing(reloadable, emulator, hanging):
    agent = reloadable("[agent]\nlog-level = debug\n")
    assert agent.token(A).status == 200
    emulator.fault("iam", "hang", match=":signBlob")
    with agent.connect() as sock:
        sock.sendall(f"GET /v1/token?audience={B} HTTP/1.1\r\nHost: x\r\n"
                     "Metadata-Flavor: Google\r\n\r\n".encode())
        wait_for(lambda: steps(emulator)[SIGNATURE] == 2, "a flight that hangs")
        agent.change("[agent]\nlog-level = debug\n[timing]\niat-skew = 1min\n")
        assert "nobody waits any more" not in agent.log()
    agent.wait_log("nobody waits any more on what asked upstream before a reload")


def test_stop_while_somebody_waits_on_what_was_replaced(reloadable, hanging):
    agent = reloadable()
    assert agent.token(A).status == 200
    waiter = hanging(agent, B)
    agent.change("[timing]\ndrain = 10ms\niat-skew = 1min\n")
    assert agent.stop() == 0
    assert waiter.answer() is None


def test_reloads_that_somebody_waits_for_are_bounded(reloadable, emulator, hanging):
    agent = reloadable()
    assert agent.token(A).status == 200
    waiter = hanging(agent, B)
    for i in range(7):
        agent.change(f"[timing]\niat-skew = {i + 1}min\n")
    answer = agent.change("[timing]\niat-skew = 50min\n", rules=rule(C), expect=503)
    assert "requests still wait on what asked upstream" in answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert agent.token(A).status == 200         # all of it is refused, the rules too
    emulator.unfault()
    assert waiter.answer().status == 200
    agent.change("[timing]\niat-skew = 50min\n", rules=rule(C))
    assert agent.token(A).status == 403


def test_hundred_replacements_leave_nothing_and_lose_nothing(reloadable):
    agent = reloadable()
    assert agent.token(A).status == 200
    with Callers(agent) as callers:
        for i in range(100):
            agent.change(f"[timing]\niat-skew = {i % 2 + 1}min\n")
    assert set(callers.seen) == {(200, "hit")}
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) < 40, "descriptors closed")


def test_settings_that_cannot_be_made_anew_change_nothing(reloadable, emulator):
    agent = reloadable()
    assert agent.token(A).status == 200
    agent.change("[upstream]\nca-file = /nonexistent.pem\n", expect=400)
    again = agent.token(A)
    assert (again.status, again.headers["Gce-Oidc-Cache"]) == (200, "hit")
