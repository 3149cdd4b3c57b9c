# SPDX-License-Identifier: Apache-2.0
"""The metadata server's IPv6 address: asked where there is no way to 169.254.169.254,
and only then.  Both addresses are this file's own, on the loopback of its network
namespace: they are taken away and given back."""

import contextlib
import json
import socket
import subprocess

import pytest

from conftest import ANYONE, Emulator, wait_for
from steps import FAST, FIRST, HURRY, Listener, steps

AUDIENCE = "https://app.example.com"
FOUR, SIX = "169.254.169.254", "fd20:ce::254"
# Nobody gives up a connection because the machine is busy; and where it has to be
# given up, it is soon.
CALM = FAST + "metadata-connect = 10s\nmetadata-try = 20s\n"
QUICK = FAST + "metadata-connect = 100ms\n"
MONITOR = "[rule monitor]\npeer = anyone\nhost = any\nkind = monitor\n"
NO_WAY = "there is no way to http://169.254.169.254: the same server is asked at " \
    "http://[fd20:ce::254]"


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


def has(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((address, 0))
            return True
        except OSError:
            return False


def give(address):
    width, last = ("128", ["nodad"]) if ":" in address else ("32", [])
    if not has(address):
        ip("address", "add", f"{address}/{width}", "dev", "lo", *last)


def take(address):
    ip("address", "del", f"{address}/{'128' if ':' in address else '32'}", "dev", "lo")


@pytest.fixture(autouse=True)
def addresses():
    yield
    for kind in ("unreachable", "prohibit"):
        ip("route", "flush", "type", kind)
    give(FOUR)
    give(SIX)


@contextlib.contextmanager
def google(address):
    with Emulator(f"--metadata-address={address}", "--metadata-port=80") as it:
        yield it


@pytest.fixture(scope="module")
def six_process():
    try:
        give(SIX)
    except AssertionError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with google(SIX) as it:
        yield it


@pytest.fixture
def six(six_process):
    """The metadata server at its IPv6 address, and all else of Google's, as new."""
    six_process.reset()
    return six_process


@pytest.fixture
def four():
    """Another one at its IPv4 address."""
    with google(FOUR) as it:
        yield it


def upstream(emulator):
    """[upstream] but for where the metadata server is."""
    return emulator.agent_config().replace(f"metadata = {emulator.metadata}\n", "")


def hosts(emulator):
    return {dict(record["headers"])["Host"] for record in emulator.requests("metadata")}


def told(agent, *words):
    """Who asks is told so, and gets no token."""
    def answer():
        it = agent.token(AUDIENCE)
        assert (it.status, it.headers["Gce-Oidc-Error"]) == (503, "unavailable"), it
        return it.text if all(word in it.text for word in words) else None

    return wait_for(answer, f"an answer with {words}")


def unanswered(address):
    """A port 80 there, to which connections are begun and never made."""
    stack = contextlib.ExitStack()
    full = stack.enter_context(socket.socket())
    full.bind((address, 80))
    full.listen(0)
    for _ in range(4):
        early = stack.enter_context(socket.socket())
        early.setblocking(False)
        early.connect_ex((address, 80))
    return stack


def no_route():
    take(FOUR)
    return contextlib.nullcontext()


def unreachable():
    take(FOUR)
    ip("route", "add", "unreachable", FOUR)
    return contextlib.nullcontext()


@pytest.mark.parametrize("lost", [no_route, unreachable, lambda: unanswered(FOUR)],
                         ids=["no route", "unreachable", "unanswered"])
def test_where_there_is_no_way_by_ipv4_the_other_address_serves(start_agent, six, lost):
    with lost():
        agent = start_agent(QUICK, ANYONE + MONITOR, upstream=upstream(six))
        six.verify(agent.token(AUDIENCE).text, AUDIENCE)
        assert steps(six) == FIRST
        assert hosts(six) == {f"[{SIX}]"}
        assert agent.log().count(NO_WAY) == 1
        (status,) = [it for it in json.loads(agent.get("/v1/status").text)["upstreams"]
                     if it["upstream"] == "metadata"]
        assert status["state"] == "answers"


@pytest.mark.parametrize("flow", ["metadata", "signblob"])
def test_everything_that_the_metadata_server_is_asked_goes_there(start_agent, six, flow):
    take(FOUR)
    agent = start_agent(CALM.replace("flows = signblob", f"flows = {flow}"),
                        upstream=upstream(six))
    six.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert agent.get("/computeMetadata/v1/project/project-id").text == six.project
    assert hosts(six) == {f"[{SIX}]"}


def test_where_ipv4_answers_the_other_address_is_never_asked(start_agent, four, six):
    agent = start_agent(CALM, upstream=upstream(four))
    four.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert hosts(four) == {FOUR}
    assert six.requests("metadata") == []
    assert NO_WAY not in agent.log()


@pytest.mark.parametrize("fault", [
    {"kind": "refuse"}, {"kind": "reset", "where": "before"}, {"kind": "close"},
    {"kind": "garbage"}, {"kind": "status", "status": 503}, {"kind": "status", "status": 404},
    {"kind": "hang"}], ids=lambda fault: str(fault.get("status", fault["kind"])))
def test_trouble_at_ipv4_is_no_reason_to_ask_the_other_address(start_agent, four, six, fault):
    four.fault("metadata", **fault)
    times = "metadata-try = 1s\nwait = 1500ms\n" if fault["kind"] == "hang" else "wait = 500ms\n"
    agent = start_agent(FAST + times, upstream=upstream(four))
    answer = agent.token(AUDIENCE)
    assert answer.status in (404, 503)
    assert six.requests("metadata") == []
    four.unfault()


def test_what_a_rule_forbids_by_ipv4_is_not_had_by_ipv6(start_agent, six):
    take(FOUR)
    ip("route", "add", "prohibit", FOUR)
    agent = start_agent(CALM + "wait = 300ms\n", upstream=upstream(six))
    told(agent, "Permission denied")
    assert six.requests("metadata") == []


def test_server_lost_by_ipv6_is_found_again_by_ipv4(start_agent, six):
    take(FOUR)
    agent = start_agent(CALM + "no-account = 1ms\n", upstream=upstream(six))
    six.verify(agent.token(AUDIENCE).text, AUDIENCE)
    give(FOUR)
    with google(FOUR) as four:
        # As long as that one answers nobody looks for another.
        assert agent.get("/computeMetadata/v1/instance/zone").status == 200
        assert four.requests() == []
        six.fault("metadata", "refuse")     # the connection that is there
        take(SIX)
        assert agent.get("/computeMetadata/v1/project/project-id").status == 200
        assert hosts(four) == {FOUR}
        agent.wait_log("there is no way to http://[fd20:ce::254]: ")


def test_neither_address_is_told_as_both(start_agent, six):
    take(FOUR)
    take(SIX)
    agent = start_agent(CALM + "wait = 300ms\n", upstream=upstream(six))
    told(agent, FOUR, SIX, "unreachable")
    give(SIX)       # IPv6 has come up first
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token")


@pytest.mark.parametrize("how", ["file", "environment"])
def test_configured_address_has_no_other_one(start_agent, six, how):
    take(FOUR)
    agent = start_agent(
        CALM + "wait = 300ms\n",
        upstream=upstream(six) + (f"metadata = http://{FOUR}\n" if how == "file" else ""),
        env={"GCE_METADATA_HOST": FOUR} if how == "environment" else {})
    assert SIX not in told(agent, FOUR)
    assert six.requests("metadata") == []


def test_address_that_is_no_longer_configured_has_the_other_one_after_reload(start_agent, six):
    take(FOUR)
    agent = start_agent(CALM + "wait = 300ms\n",
                        upstream=upstream(six) + f"metadata = http://{FOUR}\n")
    assert agent.token(AUDIENCE).status == 503
    agent.configure(agent.config.read_text().replace(f"metadata = http://{FOUR}\n", ""))
    answer = agent.get("/v1/reload", method="POST", body=b"",
                       headers={"Content-Type": "application/json"})
    assert answer.status == 204, answer
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token")
    assert hosts(six) == {f"[{SIX}]"}


@pytest.mark.parametrize("environment", [
    {"http_proxy": "{}", "all_proxy": "{}"}, {"HTTP_PROXY": "{}", "ALL_PROXY": "{}"}])
def test_ipv6_address_is_never_asked_through_a_proxy(start_agent, six, environment):
    with Listener() as proxy:
        take(FOUR)
        env = {name: f"http://{proxy.address}" for name in environment}
        agent = start_agent(CALM.replace("flows = signblob", "flows = metadata"),
                            upstream=upstream(six) + "proxy = environment\n", env=env)
        assert agent.get("/computeMetadata/v1/project/project-id").status == 200
        wait_for(lambda: steps(six), "the account is asked for")
        assert hosts(six) == {f"[{SIX}]"}
        assert not [seen for seen in proxy.seen if b"Metadata-Flavor" in seen]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_of_the_ipv6_address_is_not_followed(start_agent, six, status):
    with Listener() as elsewhere:
        take(FOUR)
        six.fault("metadata", "redirect", status=status, location=f"http://{elsewhere.address}/")
        agent = start_agent(CALM + "wait = 300ms\n", upstream=upstream(six))
        assert agent.token(AUDIENCE).status == 503
        assert elsewhere.seen == []


def test_answer_from_the_ipv6_address_without_flavor_is_not_believed(start_agent, six):
    take(FOUR)
    six.set(flavor=False)
    agent = start_agent(CALM + "wait = 300ms\n", upstream=upstream(six))
    told(agent, "lacks Metadata-Flavor: Google")
    assert NO_WAY not in agent.log()


def test_agent_started_by_hand_finds_a_machine_that_has_ipv6_only(start_agent, six):
    take(FOUR)
    agent = start_agent(CALM + "detect = 10s\n", upstream=upstream(six))
    six.verify(agent.token(AUDIENCE).text, AUDIENCE)


@pytest.mark.parametrize("address", [f"[{SIX}]", f"[{SIX}]:80", SIX])
def test_ipv6_address_may_be_configured(start_agent, six, address):
    agent = start_agent(HURRY, upstream=upstream(six), env={"GCE_METADATA_HOST": address})
    six.verify(agent.token(AUDIENCE).text, AUDIENCE)
    assert steps(six) == FIRST
