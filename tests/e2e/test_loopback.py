# SPDX-License-Identifier: Apache-2.0
"""Loopback TCP: who may listen where, who asks, and what a request must not say."""

import contextlib
import json
import os
import shlex
import socket
import struct
import subprocess
import sys

import pytest

from conftest import TESTS, wait_for
from loopback import (ANY_TCP, FAMILIES, LISTEN, Loopback, elsewhere, loopback,  # noqa: F401
                      start_loopback)
from raw_http import TOKEN, Wire, request, wire
from steps import FAST
from test_boot import NotifySocket
from test_http_limits import another, can_be_another
from test_policy import A, B, rule, token
from test_reload import command as reload_command

DEFAULT = "/computeMetadata/v1/instance/service-accounts/default/"
IDENTITY = DEFAULT + "identity?audience="
USER, OTHER = 1000, 1001
LAUNCH = (sys.executable, TESTS / "e2e" / "launch.py")

as_others = pytest.mark.skipif(not can_be_another(), reason="cannot be another user")


def user_rule(name="r", user=USER, **keys):
    return rule(name, user=user, host="any", **keys)


# --- where it listens


def test_both_addresses_and_the_unix_socket_serve_at_once(start_agent, emulator):
    agent = start_agent(args=LISTEN)
    places = [agent, *(Loopback(agent, name) for name in FAMILIES)]
    for place in places:
        answer = place.get(IDENTITY + A)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
        emulator.verify(answer.text, A)


@pytest.mark.parametrize("where", [
    "0.0.0.0:0", "[::]:0", "localhost:0", "127.0.0.2:0", "127.0.0.1", "[::1]", "::1:0",
    "169.254.169.254:0", "127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:",
    "", "/tmp/s", "*:0"])
def test_address_that_is_not_loopbacks_is_refused(start_agent, where):
    agent = start_agent(args=[f"--listen={where}"], wait=False)
    assert agent.wait() == 78
    assert "expected 127.0.0.1:PORT or [::1]:PORT" in agent.log()


def test_port_that_is_taken_is_told(start_agent):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "127.0.0.1:%d" % taken.getsockname()[1]
        agent = start_agent(args=[f"--listen={where}"], wait=False)
        assert agent.wait() == 1
        assert f"somebody listens on {where} already" in agent.log()


def test_listen_is_for_agents_started_by_hand(start_agent, place):
    agent = start_agent(args=LISTEN, wait=False, env={"NOTIFY_SOCKET": str(place / "n")})
    assert agent.wait() == 78
    assert "systemctl enable gce-oidc-agent-loopback.socket" in agent.log()


@contextlib.contextmanager
def passed_in(start_agent, place, *addresses):
    """An agent with the service manager's sockets: Unix, and these."""
    with contextlib.ExitStack() as stack:
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(place / "s"))
        unix.listen()
        sockets = [unix, *(stack.enter_context(socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET))
            for address in addresses)]
        agent = start_agent(
            FAST, socket=False, wait=False, pass_fds=[one.fileno() for one in sockets],
            prefix=(*LAUNCH, *(f"--listen-fd={one.fileno()}" for one in sockets)))
        agent.socket = str(place / "s")
        yield agent


def test_all_sockets_that_are_passed_in_are_served(start_agent, place, emulator):
    with passed_in(start_agent, place, "127.0.0.1", "::1") as agent:
        for way in (agent, *(Loopback(agent, name) for name in FAMILIES)):
            emulator.verify(way.get(IDENTITY + A).text, A)
        # Who comes while there is no agent is answered by the next one.
        assert agent.stop() == 0


def test_port_that_is_passed_in_stays_open_between_two_agents(start_agent, place):
    with socket.create_server(("127.0.0.1", 0)) as held:
        def start():
            return start_agent(
                FAST, socket=False, wait=False, pass_fds=[held.fileno()],
                prefix=(*LAUNCH, f"--listen-fd={held.fileno()}"))

        first = Loopback(start())
        assert first.get(token(A)).status == 200
        assert first.agent.stop() == 0
        with wire(first) as early:
            early.send(request(token(A)))
            start()
            assert early.answer().status == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.2"])
def test_socket_passed_in_at_another_address_is_refused(start_agent, place, address):
    with passed_in(start_agent, place, "127.0.0.1", address) as agent:
        assert agent.wait() == 78
        assert "socket 3 of those passed in listens on another address" in agent.log()
        assert "gce-oidc-agent-loopback.socket" in agent.log()


def test_port_is_free_for_the_next_agent_at_once(start_loopback, start_agent):
    first = start_loopback()
    with wire(first) as it:
        assert it.ask(TOKEN).status == 200
        assert first.agent.stop() == 0
        assert it.rest() == b""
        second = start_agent(args=[f"--listen={first.host}"])
    assert Loopback(second).get(TOKEN).status == 200


# --- who asks


@as_others
@pytest.mark.parametrize("name", FAMILIES)
def test_rule_by_user_admits_that_user_over_tcp_and_no_other(start_loopback, name):
    it = start_loopback(rules=user_rule(), name=name)
    for uid, status in ((USER, 200), (OTHER, 403), (0, 403)):
        with another(uid), wire(it) as asked:
            assert asked.ask(token(A)).status == status
            assert asked.ask(IDENTITY + A).status == status
            assert asked.ask(token(B)).status == 403


@as_others
def test_ipv4_client_of_an_ipv6_socket_is_known(start_loopback):
    it = start_loopback(rules=user_rule())
    for uid, status in ((USER, 200), (OTHER, 403)):
        with another(uid), socket.socket(socket.AF_INET6) as sock:
            sock.settimeout(60)
            sock.connect(("::ffff:127.0.0.1", it.port))
            assert Wire(sock).ask(token(A)).status == status


@as_others
@pytest.mark.parametrize("keys", [
    {"user": USER}, {"user": USER, "host": "no"}, {"group": USER, "host": "any"},
    {"unit": "**.service", "host": "any"}, {"slice": "**.slice", "host": "any"},
    {"user": USER, "group": USER, "host": "any"}], ids=str)
def test_what_is_unknown_over_tcp_admits_nobody(start_loopback, keys):
    it = start_loopback(rules=rule("r", **keys))
    with another(USER), wire(it) as asked:
        answer = asked.ask(token(A))
    assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "denied-by-policy")
    assert f"uid {USER} over TCP, where group, unit and host are unknown" in answer.text


@pytest.mark.parametrize("keys", [
    {"group": 4711}, {"unit": "no.service", "host": "any"}, {"host": "no", "peer": "anyone"}],
    ids=str)
def test_deny_rule_holds_where_its_facts_are_unknown_over_tcp(start_loopback, keys):
    it = start_loopback(rules=rule("all", peer="anyone", host="any")
                        + rule("n", action="deny", **keys))
    with wire(it) as asked:
        answer = asked.ask(token(A))
    assert answer.status == 403 and "rule n denies" in answer.text


def test_root_over_tcp_is_not_roots_rule(start_loopback):
    it = start_loopback(rules=rule("host-root", user="root"))
    answer = it.get(token(A))
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-policy")
    assert "nearly: host-root but for host" in answer.text
    assert it.agent.get(token(A)).status == 200


@pytest.mark.parametrize("tcp, status", [("no", 403), ("yes", 200)])
def test_other_kinds_than_id_take_tcp_yes(start_loopback, tcp, status):
    it = start_loopback(rules=rule("r", audience=None, peer="anyone", host="any",
                                   kind="monitor", tcp=tcp))
    answer = it.get("/v1/status")
    assert answer.status == status
    if status == 403:
        assert "but for tcp" in answer.text
    assert it.agent.get("/v1/status").status == 200


def test_agents_own_user_may_not_reload_over_tcp(start_loopback):
    it = start_loopback(rules=user_rule())
    answer = it.get("/v1/reload", method="POST", headers={"Content-Type": "x"})
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-policy")
    answer = it.agent.get("/v1/reload", method="POST", headers={"Content-Type": "x"})
    assert answer.status == 204


def test_whoami_over_tcp_knows_a_uid_and_nothing_else(loopback):
    told = json.loads(loopback.get(f"/v1/whoami?audience={A}").body)
    assert told.pop("verdict") == "allow"
    assert {k: told[k] for k in ("pid", "gid", "groups", "unit", "slice", "cgroup", "host")} \
        == dict.fromkeys(("pid", "gid", "groups", "unit", "slice", "cgroup", "host"))
    assert told["uid"] == os.getuid()


@pytest.mark.parametrize("target", [token(A), DEFAULT + "token"])
def test_printed_rule_admits_whoever_was_denied_over_tcp(start_loopback, build_dir, target):
    before = start_loopback(rules=rule("nobody", user=OTHER, audience=B))
    denied = before.get(target, {"Accept": "application/json"})
    assert denied.status == 403
    words = shlex.split(json.loads(denied.body)["hint"])
    printed = subprocess.run([build_dir / words[0], *words[1:]], capture_output=True, text=True, check=True,
                             env=dict(os.environ, GCE_OIDC_SOCKET=before.agent.socket)).stdout
    after = start_loopback(rules=printed)
    assert after.get(target).status == 200
    assert after.get(token(B)).status == 403


# --- ends that are closed


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_half_closed_client_is_known_and_gets_its_token(loopback):
    with wire(loopback) as it:
        it.send(request(token(A)))
        it.sock.shutdown(socket.SHUT_WR)
        assert it.answer().status == 200


@pytest.mark.parametrize("close", [lambda sock: sock.close(), reset], ids=["close", "reset"])
def test_client_that_has_closed_is_given_nothing(start_loopback, emulator, close):
    """It is judged again when the token comes."""
    it = start_loopback("[agent]\naudit = all\n")
    assert it.get(token(B)).status == 200
    hang = emulator.fault("iam", "hang")
    before = emulator.counts()["iam"]["total"]
    asked = wire(it)
    asked.send(request(token(A)))
    wait_for(lambda: emulator.counts()["iam"]["total"] > before, "a flight")
    close(asked.sock)
    emulator.unfault(id=hang)
    wait_for(lambda: it.agent.get(token(A), {"Cache-Control": "only-if-cached"}).status == 200,
             "the token, which came all the same")
    log = it.agent.log()
    assert f"granted id for {B} of default to uid {os.getuid()} over TCP by rule" in log
    assert f"granted id for {A} of default to uid {os.getuid()} pid {os.getpid()}" in log
    assert log.count(f"granted id for {A}") == 1
    if close is not reset:      # which is seen before the token comes
        assert f"denied id for {A} of default to uid unknown over TCP: no rule" in log


def test_connection_from_elsewhere_is_nobodys(start_loopback):
    """As one that was redirected here from another machine: its other end is in no
    process of this network, whose kernel would know it."""
    it = start_loopback(rules=rule("r", peer="anyone", host="any"))
    with elsewhere(it) as one:
        one.send(request(token(A)))
        answer = one.refused(403)
    assert answer["Gce-Oidc-Error"] == "denied-by-policy"
    assert "is not on this machine" in answer.text


@as_others
def test_connection_handed_on_stays_its_makers(start_loopback):
    it = start_loopback(rules=user_rule())
    with another(USER):
        made = wire(it)
    with made:
        assert os.getuid() != USER
        assert made.ask(token(A)).status == 200     # asked by root, on the user's socket
    with wire(it) as own:
        assert own.ask(token(A)).status == 403


# --- Host, browsers, proxies

GOOD = ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "metadata.google.internal"]
EVIL = ["127.0.0.1.evil.com", "localhost.evil.com", "127.1", "2130706433", "0.0.0.0",
        "127.0.0.1@evil", "evil.com", "", "metadata.google.internal.evil.com", "[::]",
        "::1", "[::1].", "localhost..", "metadata", "0x7f000001", "127.0.0.2", "[::ffff:127.0.0.1]",
        "127.0.0.1:", "127.0.0.1:1", "localhost:80x", "evil:@127.0.0.1", "127.0.0.1 evil",
        "127.0.0.1/", "[fd20:ce::254]", "127.0.0.1,evil.com"]
ROUTES = ["/", "/healthz", "/computeMetadata/v1/", IDENTITY + A, token(A), "/v1/whoami",
          "/metrics", "/nothing"]


def test_our_own_hosts_are_served(loopback):
    with wire(loopback) as it:
        for name in GOOD:
            dotted = [name + "."] if name != "[::1]" else []
            for host in [name, name.upper(), *dotted]:
                for port in ("", f":{loopback.port}"):
                    assert it.ask("/", host=host + port).status == 200, host + port


@pytest.mark.parametrize("target", ROUTES)
def test_foreign_host_is_refused_on_every_route(loopback, target):
    with wire(loopback) as it:
        for host in [*EVIL, f"127.0.0.1:0{loopback.port}", f"127.0.0.1:{loopback.port}.",
                     f"127.0.0.1:{loopback.port}0", f"evil.com:{loopback.port}"]:
            answer = it.ask(target, host=host)
            assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "bad-request"), host
            assert answer["Metadata-Flavor"] == "Google"
        assert it.ask("/").status == 200


def test_request_without_host_is_refused(loopback):
    with wire(loopback) as it:
        it.send(request(token(A), host=None, version="HTTP/1.0"))
        assert it.refused(403)["Gce-Oidc-Error"] == "bad-request"
    with wire(loopback) as it:
        it.send(request(token(A), version="HTTP/1.0"))
        answer = it.answer()
        assert (answer.status, answer.version) == (200, "HTTP/1.0")


@pytest.mark.parametrize("field", [
    "Origin: null", "origin: http://127.0.0.1", "Referer: http://localhost/", "REFERER:",
    "Sec-Fetch-Mode: cors", "sec-fetch-site: none", "Sec-Fetch-X: y", "Forwarded: for=x",
    "Via: 1.1 proxy", "X-Forwarded-For: 127.0.0.1"])
@pytest.mark.parametrize("target", ROUTES)
def test_what_browsers_and_proxies_add_is_refused_on_every_route(loopback, target, field):
    with wire(loopback) as it:
        answer = it.ask(target, field)
        assert (answer.status, answer["Gce-Oidc-Error"]) == (403, "bad-request")


def test_no_answer_ever_lets_a_page_read_it(loopback):
    with wire(loopback) as it:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT"):
            for fields in ((), ("Origin: http://evil.com",),
                           ("Origin: http://evil.com", "Access-Control-Request-Method: GET")):
                for target in ROUTES:
                    body = b"" if method == "POST" else None
                    answer = it.ask(target, *fields, method=method, body=body)
                    assert not [n for n in answer.names
                                if n.lower().startswith("access-control")]
                    assert answer.status == 403 or not fields


def test_same_bytes_are_judged_anew_over_tcp(start_loopback):
    """What is remembered of a request came over the Unix socket."""
    it = start_loopback()
    data = request(token(A), host="evil.com")
    with wire(it.agent) as unix, wire(it) as tcp:
        for _ in range(3):
            unix.send(data)
            assert unix.answer().status == 200
            tcp.send(data)
            assert tcp.answer().status == 403

# --- the agent's own address as its metadata server


def own_address(held):
    return "127.0.0.1:%d" % held.getsockname()[1]


def test_agent_does_not_ask_itself_for_what_it_is_asked(start_agent, emulator):
    """As where a whole machine has the environment that is meant for programs."""
    elsewhere_config = "".join(line for line in emulator.agent_config().splitlines(True)
                               if not line.startswith("metadata ="))
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = own_address(free)
    agent = start_agent(FAST, upstream=elsewhere_config, args=[f"--listen={at}"], wait=False,
                        env={"GCE_METADATA_HOST": at})
    assert agent.wait() == 78
    assert f"metadata: http://{at} is where this agent listens: it would ask itself" in agent.log()


def test_service_that_would_ask_itself_says_so_until_a_reload_mends_it(
        start_agent, emulator, place, build_dir):
    with socket.create_server(("127.0.0.1", 0)) as held, NotifySocket(place) as manager:
        at = own_address(held)
        wrong = emulator.agent_config().replace(emulator.metadata, f"http://{at}")
        assert at in wrong
        agent = start_agent(FAST, upstream=wrong, pass_fds=[held.fileno()],
                            prefix=(*LAUNCH, f"--listen-fd={held.fileno()}"),
                            env={"NOTIFY_SOCKET": manager.path})
        way = Loopback(agent)
        line = agent.config.read_text().splitlines().index(f"metadata = http://{at}") + 1
        words = f"configuration: {agent.config}:{line}: metadata: http://{at} is where this agent"
        manager.wait("READY=1")
        for one in (agent, way):
            answer = one.get(token(A))
            assert (answer.status, words in answer.text) == (503, True)
        good = emulator.agent_config() + FAST + ANY_TCP
        agent.configure(good)
        assert reload_command(build_dir, agent.socket).returncode == 0
        emulator.verify(way.get(token(A)).text, A)
        # And what is in force stays so.
        agent.configure(good.replace(emulator.metadata, f"http://{at}"))
        done = reload_command(build_dir, agent.socket)
        assert done.returncode == 78 and words in done.stderr
        assert way.get(token(A + "/2")).status == 200
