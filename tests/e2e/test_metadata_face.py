# SPDX-License-Identifier: Apache-2.0
"""The metadata server's own paths, as stock clients ask for them: what the
emulator's metadata server answers, the agent answers, byte for byte."""

import concurrent.futures
import http.client
import json
import signal
import time
import urllib.parse

import pytest

from conftest import ANYONE, Agent, Response, wait_for
from loopback import LISTEN, Loopback
from raw_http import request, wire
from steps import FAST

V1 = "/computeMetadata/v1/"
ACCOUNTS = V1 + "instance/service-accounts/"
DEFAULT = ACCOUNTS + "default/"
FLAVOR = {"Metadata-Flavor": "Google"}
NO_ACCOUNT = ('{"error":"invalid_request","error_description":'
              '"Service account not enabled on this instance"}')
VALUES = ["project/project-id", "project/numeric-project-id", "instance/id",
          "instance/name", "instance/hostname", "instance/zone",
          "universe/universe-domain"]
SCOPES = ["https://www.googleapis.com/auth/cloud-platform",
          "https://www.googleapis.com/auth/userinfo.email"]


class Original:
    """The metadata server that the agent stands in for."""

    def __init__(self, emulator):
        self.address = urllib.parse.urlsplit(emulator.metadata)

    def get(self, target, method="GET"):
        connection = http.client.HTTPConnection(
            self.address.hostname, self.address.port, timeout=60)
        connection.request(method, target, headers=FLAVOR)
        response = connection.getresponse()
        response.text = response.read().decode()
        connection.close()
        return response


@pytest.fixture
def original(emulator):
    emulator.set(scopes=SCOPES)
    return Original(emulator)


@pytest.fixture(scope="module")
def shared_agent(build_dir, emulator_process):
    emulator_process.set(scopes=SCOPES)
    agent = Agent(build_dir / "gce-oidc-agent",
                  emulator_process.agent_config() + ANYONE, args=LISTEN)
    agent.wait_ready()
    assert agent.get(DEFAULT + "scopes").text.split() == SCOPES
    yield agent
    assert not agent.finish()


@pytest.fixture(params=["unix", "127.0.0.1", "[::1]"])
def shared(request, shared_agent):
    """One agent for all tests that only look, by each way to it; it knows the
    account."""
    return shared_agent if request.param == "unix" else Loopback(shared_agent, request.param)


def same(agent, original, target):
    """Both answers are equal in all that a client looks at."""
    ours, theirs = agent.get(target), original.get(target)
    assert (ours.status, ours.text) == (theirs.status, theirs.text)
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]
    assert ours.headers["Metadata-Flavor"] == "Google"
    return ours


# Same as the original.

@pytest.mark.parametrize("target", [
    "/", "/computeMetadata/", V1, V1 + "universe/", ACCOUNTS,
    ACCOUNTS + "?recursive=true", ACCOUNTS + "?recursive=true&alt=json",
    ACCOUNTS + "?recursive=true&alt=text", ACCOUNTS + "?recursive=false",
    DEFAULT + "?recursive=true", DEFAULT + "?recursive=true&alt=json",
    DEFAULT + "?recursive=true&alt=text", DEFAULT + "?alt=text&recursive=TRUE",
    "/computeMetadata//v1///instance//service-accounts//",
    *[DEFAULT + leaf + query for leaf in ("email", "scopes", "aliases")
      for query in ("", "?alt=json", "?alt=text", "?recursive=true", "?x=1&x=2")],
    *[V1 + value + query for value in VALUES
      for query in ("", "?alt=json", "?alt=text", "?recursive=true")]])
def test_answer_is_the_originals(shared, original, target):
    answer = same(shared, original, target)
    assert answer.status == 200


@pytest.mark.parametrize("leaf", ["", "?recursive=true", "?recursive=true&alt=text",
                                  "email", "scopes", "aliases?alt=json"])
@pytest.mark.parametrize("name", ["EMAIL", "QUOTED", "CAPITALS OF THE QUOTES"])
def test_account_has_its_email_as_name(shared, original, emulator, name, leaf):
    written = {"EMAIL": emulator.email, "QUOTED": emulator.email.replace("@", "%40"),
               "CAPITALS OF THE QUOTES": emulator.email.replace(".", "%2E")}[name]
    if leaf:
        same(shared, original, f"{ACCOUNTS}{written}/{leaf}")
    assert (shared.get(f"{ACCOUNTS}{written}/{leaf}").text
            == shared.get(DEFAULT + leaf).text)


def test_account_is_listed_by_its_email_and_as_default(start_agent, emulator):
    emulator.set(email="zeta@example-proj-123.iam.gserviceaccount.com")
    listing = start_agent().get(ACCOUNTS).text.splitlines()
    assert sorted(listing) == ["default/",
                               "zeta@example-proj-123.iam.gserviceaccount.com/"]


@pytest.mark.parametrize("target, lines", [
    (V1 + "instance/", ["hostname", "id", "name", "service-accounts/", "zone"]),
    (V1 + "project/", ["numeric-project-id", "project-id"]),
    (DEFAULT, ["aliases", "email", "identity", "scopes", "token"])])
def test_listing_names_what_is_served(shared, original, target, lines):
    answer = shared.get(target)
    assert answer.text == "".join(line + "\n" for line in lines)
    assert set(lines) <= set(original.get(target).text.split())
    assert answer.headers["Content-Type"] == "application/text"


@pytest.mark.parametrize("path", [
    "/computeMetadata", V1[:-1], V1 + "instance", V1 + "project", V1 + "universe",
    ACCOUNTS[:-1], DEFAULT[:-1], DEFAULT[:-1] + "?recursive=true",
    ACCOUNTS + "app-sa%40example-proj-123.iam.gserviceaccount.com"])
@pytest.mark.parametrize("host", ["metadata.google.internal", "localhost:8080",
                                  "%2Frun%2Fagent.sock"])
def test_directory_without_its_slash_is_moved(shared, path, host):
    bare, mark, query = path.partition("?")
    if isinstance(shared, Loopback) and host != "metadata.google.internal":
        host = shared.host
    with wire(shared) as it:
        answer = it.ask(path, host=host)
        assert (answer.status, answer["Content-Type"]) == (301, "text/html")
        assert answer["Location"] == f"http://{host}{bare}/{mark}{query}"
        assert answer.text == bare + "/\n"
        assert it.ask(path + "/" if not mark else f"{bare}/?{query}").status == 200


@pytest.mark.parametrize("word, yes", [
    ("true", True), ("TRUE", True), ("on", True), ("Yes", True), ("1", True),
    ("false", False), ("0", False), ("", False), ("2", False), ("truee", False)])
def test_switches_are_read_as_the_original_does(shared, original, word, yes):
    answer = same(shared, original, f"{DEFAULT}?recursive={word}"
                  if yes else f"{ACCOUNTS}?recursive={word}")
    assert answer.text.startswith("{") == yes


def test_who_names_no_host_is_moved_all_the_same(shared_agent):
    with wire(shared_agent) as it:
        it.send(request(V1 + "instance", host=None, version="HTTP/1.0"))
        answer = it.answer()
    assert (answer.status, answer["Location"]) == (301, V1 + "instance/")


def without_attributes(tree):
    """What we do not serve."""
    return {name: without_attributes(child) if isinstance(child, dict) else child
            for name, child in tree.items() if name != "attributes"}


@pytest.mark.parametrize("path", ["/computeMetadata/", V1, V1 + "instance/", V1 + "project/",
                                  V1 + "universe/"])
def test_directory_is_answered_as_a_whole(shared, original, path):
    for query in ("?recursive=true", "?recursive=TRUE&alt=json"):
        ours, theirs = shared.get(path + query), original.get(path + query)
        assert (ours.status, ours.headers["Content-Type"]) == (200, "application/json")
        assert ours.text == json.dumps(without_attributes(json.loads(theirs.text)),
                                       separators=(",", ":"))
    same(shared, original, path + "?recursive=true&alt=text")


def test_whole_tree_is_told_without_what_is_not_there(start_agent, emulator):
    emulator.set(universe=None, service_account=False)
    agent = start_agent()
    tree = json.loads(agent.get(V1 + "?recursive=true").text)
    assert tree["universe"] == tree["instance"]["serviceAccounts"] == {}
    assert tree == without_attributes(json.loads(
        Original(emulator).get(V1 + "?recursive=true").text))
    same(agent, Original(emulator), V1 + "?recursive=true&alt=text")


def test_whole_tree_is_unavailable_while_part_of_it_is(start_agent, emulator):
    agent = start_agent("[timing]\nmetadata-tries = 1")
    assert agent.token("a").status == 200
    emulator.fault("metadata", "status", match="zone", status=503)
    for path in (V1, V1 + "instance/"):
        answer = agent.get(path + "?recursive=true")
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    assert agent.get(V1 + "project/?recursive=true").status == 200
    emulator.unfault()
    wait_for(lambda: agent.get(V1 + "?recursive=true").status == 200, "the whole tree")


@pytest.fixture
def settled(agent, emulator):
    """An agent that has found its account, so that all it is seen to ask is asked for
    callers."""
    assert agent.get(DEFAULT + "email").status == 200
    emulator.reset()
    return agent


def test_whole_tree_is_asked_for_once(settled, emulator):
    agent = settled
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: agent.get(V1 + "?recursive=true"), range(20)))
    assert {a.status for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    asked = emulator.counts()["metadata"]["requests"]
    assert {asked["GET " + V1 + value] for value in VALUES} == {1}


# What makes no sense, and what is not there.

@pytest.mark.parametrize("target", [
    V1 + "?alt=json", ACCOUNTS + "?alt=json", DEFAULT + "?alt=text",
    DEFAULT + "?alt=json&recursive=no", DEFAULT + "email?alt=xml",
    DEFAULT + "?recursive=true&alt=xml", DEFAULT + "?wait_for_change=true",
    DEFAULT + "?wait_for_change=true&timeout_sec=0",
    DEFAULT + "email?wait_for_change=true&timeout_sec=x",
    DEFAULT + "identity", DEFAULT + "identity?audience=",
    DEFAULT + "identity?audience=a&format=odd"])
def test_question_without_sense_is_400_here_as_there(shared, original, target):
    ours, theirs = shared.get(target), original.get(target)
    assert (ours.status, theirs.status) == (400, 400)
    assert ours.headers["Gce-Oidc-Error"] == "bad-request"


@pytest.mark.parametrize("target", [
    V1 + "instance/attributes/", V1 + "instance/attributes/ssh-keys",
    V1 + "project/attributes/", V1 + "instance/attributes", V1 + "instance/disks/",
    V1 + "instance/credentials/mds-client-certificate", "/computeMetadata/v1beta1/",
    "/computeMetadata/0.1/", V1 + "instance/platform-security/auto-mtls-configuration",
    DEFAULT + "email/", DEFAULT + "nothing", DEFAULT + "identity/?audience=a",
    V1 + "instance/id/", V1 + "instance/%69d%00", V1 + "instance/%zz",
    V1 + "../v1/instance/id", V1 + "INSTANCE/id", ACCOUNTS + "%2e%2e/id"])
def test_everything_else_is_not_found(agent, emulator, target):
    emulator.set(attributes={"ssh-keys": "secret"}, project_attributes={"a": "b"})
    before = emulator.counts()["metadata"]["total"]
    answer = agent.get(target)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found")
    assert "secret" not in answer.text
    wait_for(lambda: agent.get(DEFAULT + "email").status == 200, "the account")
    assert not [r for r in emulator.requests("metadata")[before:]
                if "attributes" in r["target"]]


@pytest.mark.parametrize("leaf", ["", "email", "scopes", "?recursive=true",
                                  "identity?audience=a"])
@pytest.mark.parametrize("name", ["other@p.iam.gserviceaccount.com", "Default",
                                  "a%2fb"])
def test_unknown_account_is_not_found(shared, leaf, name):
    answer = shared.get(f"{ACCOUNTS}{name}/{leaf}")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("target", [DEFAULT + "identity?audience=a", ACCOUNTS,
                                    DEFAULT + "token", V1 + "instance/id"])
def test_other_methods_are_405(shared, method, target):
    answer = shared.get(target, method=method, body=b"{}" if method == "POST" else None)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


# Identity.

@pytest.mark.parametrize("query", [
    "audience=https%3A%2F%2Fapp.example.com%2Fa%3Fb&format=full",
    "format=full&audience=https://app.example.com/a?b",
    "audience=https://app.example.com/a?b&format=full&licenses=TRUE",
    "audience=https://app.example.com/a?b&format=standard&licenses=FALSE",
    "audience=https://app.example.com/a?b"],
    ids=["Python", "Node", "Go", "gcloud", "bare"])
@pytest.mark.parametrize("name", ["default",
                                  "app-sa@example-proj-123.iam.gserviceaccount.com"])
def test_identity_is_a_token_as_sdks_want_it(agent, emulator, query, name):
    answer = agent.get(f"{ACCOUNTS}{name}/identity?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    claims = emulator.verify(answer.text, "https://app.example.com/a?b")
    assert claims["email"] == emulator.email and claims["email_verified"] is True
    assert answer.text == answer.text.strip()
    assert ("google" in claims) == ("format=full" in query)
    assert answer.headers["Gce-Oidc-Format"] is None


def test_both_faces_share_one_token(agent):
    token = agent.token("a").text
    for query in ("audience=a", "format=standard&audience=a"):
        answer = agent.get(DEFAULT + "identity?" + query)
        assert (answer.text, answer.headers["Gce-Oidc-Cache"]) == (token, "hit")


@pytest.mark.parametrize("query", ["", "?audience=", "?format=full", "?audience=&x=1"])
def test_missing_audience_is_told_in_the_originals_words(shared, original, query):
    answer = shared.get(DEFAULT + "identity" + query)
    assert answer.status == original.get(DEFAULT + "identity" + query).status == 400
    assert answer.text == "non-empty audience parameter required\n"


def test_machine_without_an_account_says_so_as_the_original(start_agent, emulator):
    emulator.set(service_account=False)
    agent = start_agent()
    answer = same(agent, Original(emulator), DEFAULT + "identity?audience=a")
    assert (answer.status, answer.text) == (404, NO_ACCOUNT)
    assert answer.headers["Content-Type"] == "application/json"
    for leaf in ("", "email", "scopes", "aliases", "?recursive=true"):
        assert agent.get(DEFAULT + leaf).status == 404
    same(agent, Original(emulator), ACCOUNTS)
    same(agent, Original(emulator), ACCOUNTS + "?recursive=true")
    assert agent.get("/").status == agent.get(V1 + "instance/id").status == 200


# What SDKs look for, and how they ask.

@pytest.mark.parametrize("flavor", [None, "Google", "google", "x"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probe_finds_a_metadata_server_with_any_flavor_or_none(shared, flavor, method):
    fields = {"Metadata-Flavor": flavor} if flavor else {}
    answer = shared.get("/", fields, method=method, flavor=False)
    assert (answer.status, answer.headers["Metadata-Flavor"]) == (200, "Google")
    assert answer.headers["Content-Type"] == "application/text"


def test_probe_of_node_is_moved_once_and_ends(shared):
    first = shared.get(V1 + "instance")
    assert first.status == 301
    path = urllib.parse.urlsplit(first.headers["Location"]).path
    assert path == V1 + "instance/" and shared.get(path).status == 200


@pytest.mark.parametrize("data, status", [
    (request("/"), 200), (request(DEFAULT + "email", flavor=False), 403),
    (request(DEFAULT + "email", "X-Forwarded-For: 1.1.1.1"), 403),
    (request("/nothing"), 404), (request(DEFAULT + "email/"), 404),
    (request(V1 + "instance"), 301), (request(V1 + "?alt=json"), 400),
    (request(DEFAULT + "email", method="DELETE"), 405), (b"GET /\r\n\r\n", 400),
    (request("/", host=None), 400), (request("/", "Transfer-Encoding: chunked"), 501),
    (request("/", version="HTTP/1.2"), 505), (request("/" + "a" * 9000), 414),
    (request("/", method="POST"), 411)], ids=lambda x: str(x)[:60])
def test_every_answer_says_whose_it_is(shared, data, status):
    with wire(shared) as it:
        it.send(data)
        answer = it.answer()
    assert (answer.status, answer["Metadata-Flavor"]) == (status, "Google")


def test_gcloud_is_answered_as_it_asks(shared, emulator):
    """The listing, the account by its email, and a connection for each."""
    for target in (ACCOUNTS, V1 + "project/numeric-project-id", V1 + "instance/zone",
                   f"{ACCOUNTS}{emulator.email}/email",
                   f"{ACCOUNTS}{emulator.email}/?recursive=true",
                   f"{ACCOUNTS}{emulator.email}/identity?audience=a&format=standard"):
        with wire(shared) as it:
            answer = it.ask(target, "Connection: close", "User-Agent: Python-urllib/3.11",
                            "Accept-Encoding: identity")
            assert (answer.status, answer["Connection"]) == (200, "close"), target
            assert it.rest() == b""


def test_header_names_come_in_any_case_and_host_last(shared):
    with wire(shared) as it:
        for name in ("metadata-flavor", "METADATA-FLAVOR", "Metadata-flavor"):
            it.send(request(DEFAULT + "email", f"{name}: Google", "hOST: localhost", host=None,
                            flavor=False))
            assert it.answer().status == 200


@pytest.mark.parametrize("target, status", [("/", 200), (DEFAULT + "email", 200),
                                            (DEFAULT + "nothing", 404)])
def test_http_1_0_is_answered_and_closed(shared, target, status):
    with wire(shared) as it:
        it.send(request(target, version="HTTP/1.0"))
        answer = it.answer()
        assert (answer.version, answer.status, answer["Connection"]) == (
            "HTTP/1.0", status, "close")
        assert it.rest() == b""


def test_json_is_of_no_charset(shared):
    """The oldest google-auth compares the whole string."""
    for target in (DEFAULT + "?recursive=true", DEFAULT + "scopes?alt=json",
                   V1 + "?recursive=true"):
        assert shared.get(target).headers["Content-Type"] == "application/json"


# ETag, HEAD, wait_for_change.

@pytest.mark.parametrize("target", [DEFAULT + "email", DEFAULT + "?recursive=true",
                                    ACCOUNTS, V1 + "instance/id"])
def test_etag_is_stable_and_head_shows_it(start_agent, target):
    one, two = start_agent(), start_agent()
    etag = one.get(target).headers["ETag"]
    assert len(etag) == 16 and int(etag, 16) >= 0
    assert [a.get(target, method=m).headers["ETag"] for a in (one, two)
            for m in ("GET", "HEAD")] == [etag] * 4
    assert one.get(target, method="HEAD").body == b""


def test_forms_have_etags_of_their_own(agent):
    forms = ["email", "?recursive=true", "?recursive=true&alt=text", "scopes"]
    assert len({agent.get(DEFAULT + form).headers["ETag"] for form in forms}) == 4


def test_whole_tree_has_an_etag_and_is_waited_for(agent):
    tree = agent.get(V1 + "?recursive=true")
    etag = tree.headers["ETag"]
    waiting = V1 + "?recursive=true&wait_for_change=true&timeout_sec=1&last_etag="
    assert agent.get(waiting + "NONE").headers["ETag"] == etag
    began = time.monotonic()
    answer = agent.get(waiting + etag)
    assert time.monotonic() - began >= 0.999
    assert (answer.text, answer.headers["ETag"]) == (tree.text, etag)


WAITING = ["email?wait_for_change=true", "?recursive=true&wait_for_change=true",
           "scopes?alt=json&wait_for_change=1"]


@pytest.mark.parametrize("form", WAITING)
def test_wait_for_change_holds_and_then_answers(start_agent, form):
    agent = start_agent("[timing]\nchange-max = 200ms")
    plain = agent.get((DEFAULT + form).replace("wait_for_change", "x"))
    for more in ("", "&last_etag=" + plain.headers["ETag"], "&timeout_sec=3600"):
        began = time.monotonic()
        answer = agent.get(DEFAULT + form + more)
        assert time.monotonic() - began >= 0.199
        assert (answer.status, answer.text) == (200, plain.text)
        assert answer.headers["ETag"] == plain.headers["ETag"]


def test_client_says_how_long_it_waits(agent):
    agent.get(DEFAULT + "email")
    began = time.monotonic()
    target = DEFAULT + "email?wait_for_change=true&timeout_sec="
    assert agent.get(target + "0").status == 200
    assert agent.get(target + "1").status == 200
    assert 0.999 <= time.monotonic() - began < 30       # it is a minute for who says nothing


@pytest.mark.parametrize("form", WAITING)
def test_another_etag_is_answered_at_once(agent, form):
    for etag in ("NONE", "0123456789abcdef"):
        answer = agent.get(f"{DEFAULT}{form}&last_etag={etag}")
        assert answer.status == 200


def test_client_may_leave_while_it_waits_for_change(agent):
    for _ in range(20):
        with wire(agent) as it:
            it.send(request(DEFAULT + "email?wait_for_change=true"))
    assert agent.get(DEFAULT + "email").status == 200


# Far longer than any test lasts: who waits for it fails.
PATIENT = "[timing]\ndrain = 10min\n"


@pytest.mark.parametrize("target", [
    *(DEFAULT + form for form in WAITING), V1 + "instance/id?wait_for_change=true"])
def test_held_answers_are_given_when_the_agent_stops(start_agent, target):
    agent = start_agent(PATIENT)
    plain = agent.get(target.replace("wait_for_change", "x"))
    held = agent.connection()
    held.request("GET", target, headers=FLAVOR)
    # Come after it, so answered after it has been read.
    assert agent.get("/").status == 200
    assert agent.stop() == 0
    answer = Response(held.getresponse())
    held.close()
    assert (answer.status, answer.text) == (200, plain.text)
    assert answer.headers["ETag"] == plain.headers["ETag"]
    assert answer.headers["Connection"] == "close"


def test_nothing_is_held_once_the_agent_stops(start_agent, emulator):
    emulator.fault("metadata", "refuse")
    agent = start_agent(FAST.replace("[timing]", PATIENT))
    waiting = agent.connection()
    waiting.request("GET", DEFAULT + "email?wait_for_change=true", headers=FLAVOR)
    assert agent.get("/").status == 200
    agent.process.send_signal(signal.SIGTERM)
    agent.wait_log("stopping on signal")
    emulator.unfault()
    answer = Response(waiting.getresponse())
    waiting.close()
    assert answer.status == 200 and "@" in answer.text
    assert agent.wait() == 0


# Values: asked for once, passed on as they are.

@pytest.mark.parametrize("value", VALUES)
def test_value_is_asked_for_once_by_fifty_at_once(settled, emulator, value):
    agent = settled
    emulator.fault("metadata", "delay", match=value, seconds=0.3)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: agent.get(V1 + value), range(50)))
    assert {a.status for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    assert agent.get(V1 + value).text == answers[0].text
    assert emulator.counts()["metadata"]["requests"]["GET " + V1 + value] == 1


def test_absent_value_is_passed_on_and_remembered(settled, emulator):
    agent = settled
    emulator.set(universe=None)
    for _ in range(3):
        answer = agent.get(V1 + "universe/universe-domain")
        assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (404, "not-found")
    path = "GET " + V1 + "universe/universe-domain"
    assert emulator.counts()["metadata"]["requests"][path] == 1


def test_absent_value_is_looked_for_again(start_agent, emulator):
    emulator.set(universe=None)
    agent = start_agent("[timing]\nvalue-retry = 1ms")
    assert agent.get(V1 + "universe/universe-domain").status == 404
    emulator.set(universe="googleapis.com")
    wait_for(lambda: agent.get(V1 + "universe/universe-domain").status == 200, "a value")


@pytest.mark.parametrize("fault, options", [
    ("refuse", {}), ("reset", {}), ("status", {"status": 503}), ("hang", {})])
def test_value_is_unavailable_while_the_original_is(start_agent, emulator, fault, options):
    agent = start_agent("[timing]\nmetadata-tries = 1\nmetadata-try = 1s\nunavailable = 0\n")
    wait_for(lambda: agent.token("a").status == 200, "the account")
    emulator.fault("metadata", fault, **options)
    answer = agent.get(V1 + "instance/id")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert agent.get(DEFAULT + "email").text == emulator.email
    emulator.unfault()
    wait_for(lambda: agent.get(V1 + "instance/id").status == 200, "the value")
    emulator.fault("metadata", fault, **options)
    assert agent.get(V1 + "instance/id").status == 200      # for the boot
