# SPDX-License-Identifier: Apache-2.0
"""The service manager's protocol, with a service manager of our own: sockets passed
in, READY=1, the watchdog, STATUS=, the end; and restarts that nobody notices."""

import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

from conftest import TESTS, wait_for
from manager import Manager
from steps import FAST

AUDIENCE = "https://app.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
WATCHDOG = 1_000_000
ADVISORY = "policy is advisory"
MARK = "/run/gce-oidc-agent-lockdown"


@pytest.fixture
def manager(place):
    manager = Manager(place)
    yield manager
    manager.close()


@pytest.fixture
def start(start_agent, manager):
    def start(*launch, config=FAST, **more):
        return manager.start(start_agent, config, *launch, **more)
    return start


# --- readiness and status


def test_main_process_alone_says_that_it_is_ready(start, manager):
    agent = start()
    assert manager.wait("READY", "1") == agent.pid
    assert agent.token(AUDIENCE).status == 200
    assert {pid for _, pid, _ in manager.heard} == {agent.pid}
    assert len(manager.said("READY", "1")) == 1


def test_status_names_the_account(start, manager):
    start()
    wait_for(lambda: any(EMAIL in text for text in manager.statuses()), "the account")


def test_end_is_told_and_the_socket_left_alone(start, manager):
    agent = start()
    manager.wait("READY")
    inode = manager.path.stat().st_ino
    assert agent.stop() == 0
    assert manager.wait("STOPPING", "1") == agent.pid
    assert manager.path.stat().st_ino == inode
    manager.listening.setblocking(False)
    client = agent.connect()        # nobody closed it
    manager.listening.accept()[0].close()
    client.close()


def test_manager_that_is_gone_stops_nobody(start, manager):
    agent = start(env={"NOTIFY_SOCKET": "/nowhere/notify"})
    assert agent.token(AUDIENCE).status == 200
    assert agent.stop() == 0


def test_manager_that_does_not_listen_holds_up_nobody(start, manager):
    """Its queue is full: PID 1 hangs.  What was not said is said when it is back."""
    manager.deafen()
    agent = start(watchdog_usec=WATCHDOG)
    assert agent.token(AUDIENCE).status == 200
    assert not manager.said("READY")
    manager.listen()
    manager.wait("READY", "1")
    wait_for(lambda: any(EMAIL in text for text in manager.statuses()), "the account")
    wait_for(lambda: len(manager.beats()) > 1, "beats")

    manager.deafen()
    assert agent.stop() == 0


def test_foreign_listen_pid_is_refused_before_anything_is_said(start, manager):
    agent = start("--listen-pid=1")
    assert agent.wait() == 78
    assert not manager.said("READY")


# --- lockdown

@pytest.fixture
def own_run(place):
    """A /run of the agent's own, as launch.py's --run mounts it."""
    run = place / "own-run"
    run.mkdir()
    return run


def test_policy_is_called_advisory_while_the_lockdown_is_not_in_force(
        start, manager, own_run):
    agent = start(f"--run={own_run}")
    wait_for(lambda: any(f"serving {EMAIL}; {ADVISORY}" in text
                         for text in manager.statuses()), "the remark")
    assert agent.log().count(ADVISORY) == 1

    (own_run / pathlib.Path(MARK).name).mkdir()
    wait_for(lambda: manager.statuses()[-1] == f"serving {EMAIL}", "no remark")
    agent.wait_log("policy is enforced")

    (own_run / pathlib.Path(MARK).name).rmdir()
    wait_for(lambda: ADVISORY in manager.statuses()[-1], "the remark again")
    wait_for(lambda: agent.log().count(ADVISORY) == 2, "and in the log")     # said there next


def test_each_address_that_the_lockdown_closes_is_named_where_it_is_open(start, own_run):
    addresses = set(re.findall(r"ip6? daddr (\S+)", (TESTS.parent / "units" / "lockdown.nft").read_text()))
    assert len(addresses) == 2
    line = re.search(f"{ADVISORY}.*", start(f"--run={own_run}").wait_log(ADVISORY))[0]
    for text in (line, (TESTS.parent / "units" / "gce-oidc-agent.catalog").read_text(),
                 (TESTS.parent / "SECURITY.md").read_text().partition("## What does not hold")[0]):
        assert all(address in text for address in addresses)


def test_lockdown_that_is_there_first_is_seen(start, manager, own_run):
    (own_run / pathlib.Path(MARK).name).mkdir()
    agent = start(f"--run={own_run}")
    wait_for(lambda: f"serving {EMAIL}" in manager.statuses(), "the account")
    agent.wait_log("policy is enforced")
    assert ADVISORY not in agent.log()
    assert not any(ADVISORY in text for text in manager.statuses())


# --- watchdog


def test_watchdog_is_fed_twice_in_its_time(start, manager):
    time_of = 6             # seconds: half of them may pass until it is fed, and heard of
    start(watchdog_usec=time_of * 1_000_000)
    manager.wait("READY")
    beats = wait_for(lambda: len(manager.beats()) > 2 and manager.beats(), "beats")
    gaps = [later - earlier for earlier, later in zip(beats, beats[1:])]
    assert max(gaps) < time_of, gaps


@pytest.mark.parametrize("env", [{}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}],
                         ids=["not-asked-for", "of-another-process"])
def test_watchdog_of_nobody_is_not_fed(start, manager, env):
    agent = start(env=env)
    manager.wait("READY")
    end = time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > end, "five times its time")
    assert agent.token(AUDIENCE).status == 200
    assert not manager.beats()


def test_stuck_loop_does_not_feed_the_watchdog(start, manager, emulator, place):
    """libcurl opens the file of certificates when it first needs it.  A pipe that
    nobody writes to holds it up there, and with it the loop."""
    certificates = pathlib.Path(emulator.ca_file).read_bytes()
    pipe = place / "ca.pem"
    os.mkfifo(pipe)
    upstream = emulator.agent_config().replace(emulator.ca_file, str(pipe))
    agent = start(upstream=upstream, watchdog_usec=WATCHDOG)
    manager.wait("READY")
    wait_for(lambda: len(manager.beats()) >= 2, "it is fed before")

    answers = []
    caller = threading.Thread(target=lambda: answers.append(agent.token(AUDIENCE)))
    caller.start()
    wait_for(lambda: not answers_within(agent, 5), "the loop is stuck")
    stuck = time.monotonic()
    wait_for(lambda: time.monotonic() > stuck + 2 * WATCHDOG / 1e6, "twice its time")
    assert [at for at in manager.beats() if at > stuck] == []

    # The control: it goes on, and is fed again, as soon as the pipe lets it.
    feeder = threading.Thread(target=feed, args=(pipe, certificates, caller))
    feeder.start()
    caller.join()
    feeder.join()
    assert answers[0].status == 200
    before = len(manager.beats())
    wait_for(lambda: len(manager.beats()) > before + 1, "it is fed again")


def answers_within(agent, seconds):
    try:
        return agent.get("/", timeout=seconds).status == 200
    except TimeoutError:
        return False


def feed(pipe, data, caller):
    """Whoever reads gets the data, and its end, before it is written again."""
    while caller.is_alive():
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:         # nobody reads
            caller.join(0.01)
            continue
        os.write(writer, data)
        os.close(writer)
        caller.join(0.2)


# --- clients that leave


@pytest.mark.parametrize("leave", ["at once", "before the answer", "with it unread"])
def test_client_that_leaves_kills_nobody(start, manager, emulator, leave):
    agent = start()
    agent.token(AUDIENCE)
    for turn in range(50):
        client = agent.connect()
        if leave != "at once":
            audience = AUDIENCE if leave == "with it unread" else f"https://{turn}.example.com"
            client.sendall(f"GET /v1/token?audience={audience} HTTP/1.1\r\nHost: x\r\n"
                           "Metadata-Flavor: Google\r\n\r\n".encode())
        if leave == "with it unread":
            client.shutdown(socket.SHUT_RD)
        client.close()
    assert agent.token(AUDIENCE).status == 200
    assert agent.running()


# --- restarts


class Callers(threading.Thread):
    """Ask again and again, each time on a new connection."""

    def __init__(self, agent):
        super().__init__()
        self.agent = agent
        self.answers, self.failures = 0, []
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            try:
                answer = self.agent.token(AUDIENCE)
                self.answers += 1
                if answer.status != 200:
                    self.failures.append(repr(answer))
            except OSError as failure:
                self.failures.append(repr(failure))


def test_nobody_is_refused_while_the_agent_restarts(start, manager):
    # These callers may take their time between connecting and asking.
    config = FAST + "drain = 1min\ndrain-late = 1min\n"
    agent = start(config=config)
    assert agent.token(AUDIENCE).status == 200
    callers = [Callers(agent) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(5):
        before = sum(caller.answers for caller in callers)
        wait_for(lambda: sum(c.answers for c in callers) > before + 20, "answers")
        assert agent.stop(120) == 0
        agent = start(config=config)
    for caller in callers:
        caller.done.set()
    for caller in callers:
        caller.join()
    assert [failure for caller in callers for failure in caller.failures] == []


def test_request_in_flight_is_answered_when_the_agent_stops(start, manager, emulator):
    agent = start()
    assert agent.token("https://warm.example.com").status == 200
    emulator.fault("iam", "hang")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(agent.token(AUDIENCE)))
    sent = emulator.counts()["iam"]["total"]
    caller.start()
    wait_for(lambda: emulator.counts()["iam"]["total"] > sent, "it is upstream")
    agent.process.send_signal(signal.SIGTERM)
    agent.wait_log("stopping on signal")
    emulator.unfault()
    assert agent.wait() == 0
    caller.join()
    assert answers[0].status == 200
    emulator.verify(answers[0].text, AUDIENCE)
