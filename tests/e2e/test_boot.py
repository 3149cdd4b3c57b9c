# SPDX-License-Identifier: Apache-2.0
"""Boot: the agent is there before the network, the metadata server and the account
are, and says what it waits for."""

import contextlib
import http.client
import json
import pathlib
import socket
import sys
import threading

import pytest

from conftest import DEADLINE, TESTS, Emulator, wait_for
from steps import ACCOUNT, FAST, FIRST, steps

AUDIENCE = "https://app.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
DEFAULT = "/computeMetadata/v1/instance/service-accounts/default"
NO_ACCOUNT = {"error": "invalid_request",
              "error_description": "Service account not enabled on this instance"}
LAUNCH = (sys.executable, TESTS / "e2e" / "launch.py")
ELSEWHERE = (*LAUNCH, "--firmware=Standard PC")


def without_metadata(emulator):
    """[upstream] but for where the metadata server is."""
    return emulator.agent_config().replace(f"metadata = {emulator.metadata}\n", "")


class NotifySocket:
    """What the service manager hears."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(DEADLINE)
        self.lines = []

    def wait(self, text):
        while not any(text in line for line in self.lines):
            self.lines += self.socket.recv(4096).decode().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.socket.close()


@pytest.fixture
def notify(place):
    with NotifySocket(place) as manager:
        yield manager


# --- agent first, metadata server later


def test_callers_wait_for_the_metadata_server(start_agent, emulator):
    emulator.fault("metadata", "refuse")
    # Time enough for this test to let it in again.
    agent = start_agent(FAST + "metadata-tries = 20\nmetadata-backoff = 50ms\n"
                        "metadata-backoff-max = 500ms\n")
    answers = []
    targets = [f"/v1/token?audience={AUDIENCE}", f"{DEFAULT}/identity?audience={AUDIENCE}",
               f"{DEFAULT}/email", "/computeMetadata/v1/project/project-id"]
    callers = [threading.Thread(target=lambda t=target: answers.append((t, agent.get(t))))
               for target in targets]
    for caller in callers:
        caller.start()
    unwilling = agent.token(AUDIENCE, Prefer="wait=0")
    assert (unwilling.status, unwilling.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    emulator.unfault()
    for caller in callers:
        caller.join()
    bodies = dict((target, answer.text) for target, answer in answers)
    assert {answer.status for _, answer in answers} == {200}
    assert bodies[targets[0]] == bodies[targets[1]]
    assert bodies[targets[2]] == EMAIL
    emulator.verify(bodies[targets[0]], AUDIENCE)
    asked = steps(emulator)
    assert {name: asked[name] for name in FIRST} == FIRST


@pytest.mark.parametrize("fault", [
    {"kind": "refuse"}, {"kind": "hang"}, {"kind": "status", "status": 503},
    {"kind": "garbage"}, {"kind": "status", "status": 404},
    {"kind": "not-json", "body": "{}"}], ids=lambda fault: fault["kind"])
def test_short_wait_is_told_when_to_come_back(start_agent, emulator, fault):
    emulator.set(flavor=False)      # so 404 is not the metadata server's
    emulator.fault("metadata", **fault)
    agent = start_agent(FAST + "metadata-try = 100ms\nwait = 250ms\n")
    answer = agent.token(AUDIENCE)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert "looking for the VM's service account" in answer.text
    health = agent.get("/healthz", flavor=False)
    assert health.status == 503
    # It goes on looking by itself.
    emulator.reset()
    wait_for(lambda: agent.get("/healthz").status == 200, "the account is found")
    answer = wait_for(lambda: (a := agent.token(AUDIENCE)).status == 200 and a, "a token")
    emulator.verify(answer.text, AUDIENCE)


def test_ready_is_told_before_anything_is_asked(start_agent, emulator, notify):
    emulator.fault("metadata", "refuse")
    agent = start_agent(FAST, env={"NOTIFY_SOCKET": notify.path})
    notify.wait("READY=1")
    notify.wait("STATUS=looking for the service account")
    emulator.unfault()
    notify.wait(f"STATUS=serving {EMAIL}")
    assert agent.stop() == 0
    notify.wait("STOPPING=1")


# --- no service account


def test_no_account_is_404_with_the_metadata_servers_words(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent(FAST)
    agent.wait_log("has no service account")
    for target in (f"{DEFAULT}/identity?audience=x", f"{DEFAULT}/email", f"{DEFAULT}/",
                   f"{DEFAULT}/?recursive=true"):
        answer = agent.get(target)
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found"), target
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body) == NO_ACCOUNT
    answer = agent.token(AUDIENCE)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found")
    assert "this VM has no service account" in answer.text
    listing = agent.get("/computeMetadata/v1/instance/service-accounts/")
    assert (listing.status, listing.body) == (200, b"")
    assert agent.get("/healthz").status == 503
    assert steps(emulator) == {ACCOUNT: 1}


def test_account_is_looked_for_again_and_missed_once_in_the_log(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent(FAST + "no-account = 20ms\n")
    wait_for(lambda: steps(emulator).get(ACCOUNT, 0) > 3, "it is looked for again")
    emulator.set(service_account=True)
    wait_for(lambda: agent.get("/healthz").status == 200, "the account is found")
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert agent.log().count("has no service account") == 1
    assert agent.log().count(f"service account {EMAIL} found") == 1


@pytest.mark.parametrize("uptime, answer", [(1, 503), (61, 404)])
def test_missing_account_is_not_believed_while_the_machine_boots(
        start_agent, emulator, uptime, answer):
    emulator.set(service_account=False)
    agent = start_agent(FAST.replace("boot-grace = 0", "boot-grace = 1min"),
                        prefix=(*LAUNCH, f"--uptime={uptime}"))
    wait_for(lambda: steps(emulator).get(ACCOUNT, 0) > (2 if answer == 503 else 0), "it looks")
    assert wait_for(lambda: agent.token(AUDIENCE, Prefer="wait=0").status == answer,
                    f"{answer}")
    emulator.set(service_account=True)
    if answer == 503:
        emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_account_that_google_does_not_know_is_looked_up_again(start_agent, emulator):
    agent = start_agent(FAST + "no-account = 1ms\ndenied = 0\n")
    first = emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert first["email"] == EMAIL
    other = "other-sa@example-proj-123.iam.gserviceaccount.com"
    emulator.set(email=other, accounts=[EMAIL])
    emulator.fault("token-endpoint", "status", reason="account", times=1)
    assert agent.token("https://b.example.com").status == 403
    wait_for(lambda: agent.get(f"{DEFAULT}/email").text == other, "the new account")
    claims = emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert claims["email"] == other     # not the cached one of the old account


@pytest.mark.parametrize("email", [
    "user@example.com", "app-sa@example.com", "@example-proj-123.iam.gserviceaccount.com",
    "a/../b@x.iam.gserviceaccount.com", "a@x.gserviceaccount.com.evil.com",
    "a b@x.iam.gserviceaccount.com", "a\r\nX: y@x.iam.gserviceaccount.com",
    "$(id)@x.iam.gserviceaccount.com", "a@b@x.iam.gserviceaccount.com", ""], ids=ascii)
def test_email_must_be_a_service_accounts(start_agent, emulator, email):
    emulator.set(email=email)
    agent = start_agent(FAST + "wait = 200ms\n")

    def judged():
        answer = agent.token(AUDIENCE)
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
        return "is not a service account's address" in answer.text

    wait_for(judged, "the metadata server's answer in the agent's")
    assert set(steps(emulator)) == {ACCOUNT}


# --- is there a metadata server at all?


def test_agent_started_by_hand_elsewhere_says_so_and_ends(start_agent, emulator):
    agent = start_agent("[timing]\ndetect = 1s\n", upstream=without_metadata(emulator),
                        wait=False, prefix=ELSEWHERE)
    assert agent.wait() == 69
    assert "this is no Compute Engine VM" in agent.log()
    assert "http://169.254.169.254 gave no answer with Metadata-Flavor: Google within 1 s" \
        in agent.log()
    assert "GCE_METADATA_HOST" in agent.log()
    assert not pathlib.Path(agent.socket).exists()


def test_answer_without_flavor_is_no_metadata_server(start_agent, emulator):
    with Emulator("--metadata-address=169.254.169.254", "--metadata-port=80") as google:
        google.set(flavor=False)
        agent = start_agent("[timing]\ndetect = 3s\n", wait=False, prefix=ELSEWHERE,
                            upstream=without_metadata(emulator))
        assert agent.wait() == 69
        assert "lacks Metadata-Flavor: Google" in agent.log()


@pytest.mark.parametrize("why", ["notify", "configured", "environment", "firmware"])
def test_agent_that_is_meant_to_be_here_goes_on_looking(start_agent, emulator, notify, why):
    emulator.fault("metadata", "refuse")
    env = {"notify": {"NOTIFY_SOCKET": notify.path},
           "environment": {"GCE_METADATA_HOST": emulator.metadata.removeprefix("http://")}}
    upstream = emulator.agent_config() if why == "configured" else without_metadata(emulator)
    prefix = (*LAUNCH, "--firmware=Google Compute Engine") if why == "firmware" else ELSEWHERE
    agent = start_agent(FAST + "detect = 1ms\nwait = 200ms\n", upstream=upstream,
                        env=env.get(why), prefix=prefix)
    # This takes 200 times longer than the detection.
    assert agent.token(AUDIENCE).status == 503
    assert agent.running()


def goes_on_after_a_reload(start_agent, upstream, before, change):
    """Whether an agent that is reloaded before the detection's end lives on after it."""
    for seconds in (2, 20):         # a machine so slow that the end comes first
        agent = start_agent(FAST + f"detect = {seconds}s\n", upstream=upstream, prefix=ELSEWHERE)
        try:
            before(agent)
            change(agent)
            assert agent.get("/v1/reload", {"Content-Type": "text/plain"}, method="POST").status == 204
            break
        except (OSError, http.client.HTTPException):
            assert agent.wait() == 69
    # This takes longer than the detection.
    try:
        return agent.token("https://later.example.com", Prefer=f"wait={seconds + 1}").status == 503
    except (OSError, http.client.HTTPException):
        return False


def test_metadata_server_configured_by_a_reload_is_looked_for_on_and_on(start_agent, emulator):
    emulator.fault("metadata", "refuse")

    def change(agent):
        agent.configure(agent.config.read_text().replace("[upstream]", f"[upstream]\nmetadata = {emulator.metadata}", 1))
    assert goes_on_after_a_reload(start_agent, without_metadata(emulator), lambda _: None, change)


def test_metadata_server_that_has_answered_once_is_there_after_a_reload(start_agent):
    with Emulator("--metadata-address=169.254.169.254", "--metadata-port=80") as google:
        def answered(agent):
            google.unfault()
            assert agent.token(AUDIENCE).status == 200

        def change(agent):
            google.fault("metadata", "refuse")
            agent.configure(agent.config.read_text() + "[limits]\nflights = 9\n")
        assert goes_on_after_a_reload(start_agent, without_metadata(google), answered, change)


def test_detection_that_a_reload_would_have_longer_says_how_long_it_took(start_agent, emulator):
    agent = start_agent(FAST + "detect = 2s\n", upstream=without_metadata(emulator), prefix=ELSEWHERE)
    agent.configure(agent.config.read_text().replace("detect = 2s", "detect = 10min"))
    # On a machine so slow that the end comes first there is nothing to see.
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert agent.get("/v1/reload", {"Content-Type": "text/plain"}, method="POST").status == 204
    assert agent.wait() == 69
    assert "Metadata-Flavor: Google within 2 s" in agent.log()


def test_environment_names_the_metadata_server(start_agent, emulator):
    agent = start_agent(FAST, upstream=without_metadata(emulator),
                        env={"GCE_METADATA_HOST": emulator.metadata.removeprefix("http://")})
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_default_address_is_the_metadata_servers(start_agent):
    with Emulator("--metadata-address=169.254.169.254", "--metadata-port=80") as google:
        agent = start_agent(FAST, upstream=without_metadata(google))
        google.verify(agent.token(AUDIENCE).text, AUDIENCE)
        assert steps(google) == FIRST
        host = dict(google.requests("metadata")[0]["headers"])["Host"]
        assert host == "169.254.169.254"


# --- sockets passed in


@pytest.fixture
def passed(place):
    """A listening socket, as the service manager has it."""
    path = place / "passed.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        yield listening


def start_with(start_agent, passed, *options, **more):
    agent = start_agent(FAST, socket=False, wait=False, pass_fds=(passed.fileno(),),
                        prefix=(*LAUNCH, f"--listen-fd={passed.fileno()}", *options), **more)
    agent.socket = passed.getsockname()
    return agent


def test_passed_in_socket_is_served_and_left_where_it_is(start_agent, emulator, passed):
    agent = start_with(start_agent, passed)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert agent.stop() == 0
    assert pathlib.Path(agent.socket).is_socket()
    # Its queue is still open: the next agent answers who comes in between.
    early = agent.connection()
    early.request("GET", f"/v1/token?audience={AUDIENCE}", headers={"Metadata-Flavor": "Google"})
    start_with(start_agent, passed)
    assert early.getresponse().status == 200
    early.close()


def test_socket_passed_to_somebody_else_is_not_touched(start_agent, passed):
    agent = start_with(start_agent, passed, "--listen-pid=1")
    waiting = agent.connect()
    assert agent.wait() == 78
    assert "LISTEN_PID names another process" in agent.log()
    peer, _ = passed.accept()       # nobody took him away
    peer.close()
    waiting.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_socket_of_another_kind_is_a_mistake_of_configuration(start_agent, place, kind):
    with socket.socket(socket.AF_UNIX, kind) as wrong:
        wrong.bind(str(place / "wrong.sock"))
        agent = start_with(start_agent, wrong)
        assert agent.wait() == 78
    assert "is no listening Unix or TCP stream socket: fix ListenStream=" in agent.log()
