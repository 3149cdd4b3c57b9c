# SPDX-License-Identifier: Apache-2.0
"""A bad configuration under a service manager: the agent stays, says so to everybody,
and is mended by a reload."""

import json
import subprocess
import threading

import pytest

from conftest import ANYONE, wait_for
from steps import FAST
from test_boot import NotifySocket
from test_core import OTHER, can_be_another
from test_reload import OURS, command, reload

A = "https://a.example.com"
BAD = FAST + "[nonsense]\n"


@pytest.fixture
def manager(place):
    with NotifySocket(place) as notify:
        yield notify


@pytest.fixture
def broken(start_agent, manager):
    def start(**options):
        agent = start_agent(BAD, env={"NOTIFY_SOCKET": manager.path}, **options)
        line = agent.config.read_text().splitlines().index("[nonsense]") + 1
        agent.words = f"configuration: {agent.config}:{line}: unknown section [nonsense]"
        return agent
    return start


def mend(agent, emulator, config=FAST, rules=ANYONE):
    agent.configure("\n".join((emulator.agent_config(), config, rules)))


def is_told(agent, answer):
    return (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable") and \
        answer.text.startswith(agent.words) and int(answer.headers["Retry-After"]) >= 1


def test_every_request_is_told_where_the_mistake_is(broken, manager):
    agent = broken()
    manager.wait("READY=1")
    manager.wait(f"STATUS={agent.words}")
    for target in (f"/v1/token?audience={A}", "/v1/whoami", "/v1/status", "/metrics",
                   "/computeMetadata/v1/instance/service-accounts/default/email", "/nothing"):
        assert is_told(agent, agent.get(target)), target
    for target in ("/", "/healthz"):
        assert is_told(agent, agent.get(target, flavor=False)), target
    assert is_told(agent, agent.get("/v1/flush", OURS, method="POST"))
    answer = agent.get("/v1/whoami", {"Accept": "application/json"})
    assert json.loads(answer.body)["error_description"].startswith(agent.words)
    assert agent.get("/v1/whoami", flavor=False).status == 403


def test_reload_mends_it_without_a_new_process_or_connection(broken, manager, emulator, build_dir):
    agent = broken()
    connection = agent.connection()

    def ask():
        connection.request("GET", f"/v1/token?audience={A}", headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert ask() == 503
    fd = connection.sock.fileno()
    still = command(build_dir, agent.socket)
    assert still.returncode == 78 and agent.words in still.stderr
    agent.configure("[worse]\n")
    assert "unknown section [worse]" in reload(agent).text
    assert "unknown section [worse]" in agent.get("/healthz").text
    # Read what is told: who is told and does not listen is waited for.
    manager.wait("unknown section [worse]")
    mend(agent, emulator, FAST + "[cache]\nwarm = https://warm.example.com\n")
    good = command(build_dir, agent.socket)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert ask() == 200 and connection.sock.fileno() == fd
    connection.close()
    manager.wait("STATUS=serving ")
    assert agent.get("/healthz").status == 200
    wait_for(lambda: agent.token("https://warm.example.com").headers["Gce-Oidc-Cache"] == "hit",
             "warm audiences are fetched")
    # From here on a mistake changes nothing.
    agent.configure("[nonsense]\n")
    assert reload(agent).status == 400
    assert agent.token(A).status == 200


def test_twenty_looping_clients_get_503_and_the_log_one_line(broken, emulator):
    agent = broken()
    before = agent.log()
    answers = []

    def loop():
        for _ in range(20):
            answers.append(is_told(agent, agent.token(A)))

    clients = [threading.Thread(target=loop) for _ in range(20)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == 400 * [True]
    assert agent.running() and agent.log() == before
    assert before.count("nonsense") == 1
    mend(agent, emulator)
    assert reload(agent).status == 204
    assert agent.token(A).status == 200


def test_stopping_is_as_ever(broken, manager):
    agent = broken()
    assert agent.stop() == 0
    manager.wait("STOPPING=1")


@pytest.mark.skipif(not can_be_another(), reason="cannot be another user")
def test_own_user_reloads_and_others_do_not(broken, emulator, build_dir):
    agent = broken(user=OTHER)
    argv = [build_dir / "gce-oidc-agent", "reload", f"--socket={agent.socket}"]

    def by(user):
        return subprocess.run(argv, user=user, extra_groups=[], capture_output=True, text=True,
                              check=False)

    mend(agent, emulator, rules="[rule nobody]\nuser = 4242\naudience = x\n")
    stranger = by(OTHER + 1)
    assert stranger.returncode != 0 and agent.words in stranger.stderr
    assert by(OTHER).returncode == 0
    # Nor is it a matter of rules when all is well.
    assert by(OTHER).returncode == 0
    refused = by(OTHER + 1)
    assert refused.returncode == 3 and "kind admin" in refused.stderr


def test_by_hand_it_exits_with_the_words(start_agent):
    agent = start_agent(BAD, wait=False)
    assert agent.wait() == 78
    assert "unknown section [nonsense]" in agent.log()
