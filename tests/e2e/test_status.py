# SPDX-License-Identifier: Apache-2.0
"""What an operator sees and does: /healthz, STATUS=, /v1/status, /v1/flush."""

import json
import os
import socket

import pytest

from conftest import ANYONE, wait_for
from steps import COLD, FAST, HURRY, steps, warm_up

A, B = "https://a.example.com", "https://b.example.com"
JSON = {"Content-Type": "application/json"}
OPERATOR = ANYONE + """
[rule operator]
peer = anyone
host = any
kind = monitor admin
"""
LONG = FAST + "trouble = 1h\nunavailable = 1ms\nunavailable-max = 1ms\n"
SHORT = FAST + "trouble = 20ms\nunavailable = 1ms\nunavailable-max = 1ms\n"


@pytest.fixture
def operated(start_agent):
    return start_agent(LONG, OPERATOR)


def status(agent):
    answer = agent.get("/v1/status")
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.text)


def flush(agent, query="", **options):
    return agent.get("/v1/flush" + query, method="POST",
                     **{"body": b"", "headers": JSON, **options})


def healthy(agent):
    return agent.get("/healthz", flavor=False).status == 200


def down(emulator, service="iam", match=":signBlob"):
    emulator.fault(service, "status", status=503, match=match)


# --- /healthz ------------------------------------------------------------------


def test_health_is_ok_once_the_account_is_known(agent):
    wait_for(lambda: healthy(agent), "health")
    assert agent.get("/healthz", flavor=False).text == "ok\n"


def test_health_never_asks_upstream(operated, emulator):
    wait_for(lambda: healthy(operated), "health")
    emulator.reset()
    for _ in range(20):
        operated.get("/healthz", flavor=False)
        operated.get("/v1/status")
        operated.get("/metrics")
    assert steps(emulator) == {}


def test_trouble_with_nothing_cached_is_503_with_the_reason(operated, emulator):
    down(emulator)
    assert operated.token(A).status in (503, 504)
    answer = operated.get("/healthz", flavor=False)
    assert answer.status == 503
    assert answer.headers["Gce-Oidc-Error"] in ("unavailable", "timeout")
    assert int(answer.headers["Retry-After"]) > 3000
    assert "503" in answer.text


def test_trouble_ends_with_the_first_token(operated, emulator):
    down(emulator)
    assert operated.token(A).status in (503, 504)
    assert not healthy(operated)
    emulator.unfault()
    wait_for(lambda: operated.token(B).status == 200, "a token")
    assert healthy(operated)


def test_trouble_is_forgotten_where_nobody_asks(start_agent, emulator):
    agent = start_agent(SHORT)
    down(emulator)
    assert agent.token(A).status in (503, 504)
    emulator.reset()
    wait_for(lambda: healthy(agent), "health")
    assert steps(emulator) == {}


def test_with_tokens_in_the_cache_trouble_is_no_illness(operated, emulator):
    warm_up(operated, emulator, A)
    down(emulator)
    assert operated.token(B).status in (503, 504)
    assert healthy(operated)
    assert status(operated)["health"]["tokens"] == "cached"
    assert operated.token(A).status == 200


def test_one_audience_that_google_refuses_is_no_illness(operated, emulator):
    wait_for(lambda: healthy(operated), "health")
    emulator.fault("token-endpoint", "status", reason="scope")
    assert operated.token(A).headers["Gce-Oidc-Error"] == "denied-by-google"
    assert healthy(operated)


def test_health_is_503_while_every_flow_is_denied(start_agent, emulator):
    agent = start_agent(LONG + "denied-flow = 1h\n")
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    wait_for(lambda: agent.token(A).status == 403, "a denial")
    answer = agent.get("/healthz", flavor=False)
    assert answer.status == 503
    assert answer.headers["Gce-Oidc-Error"] == "denied-by-google"


# --- STATUS= --------------------------------------------------------------------


class Manager:
    """A service manager that notes what it is told."""

    def __init__(self, place):
        self.path = str(place / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.setblocking(False)
        self.told = []

    def status(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.told
            self.told += [line[7:] for line in text.splitlines() if line.startswith("STATUS=")]

    def until(self, start):
        wait_for(lambda: self.status() and self.told[-1].startswith(start), start)


def test_status_follows_health_and_is_told_once_a_change(start_agent, emulator, place):
    manager = Manager(place)
    agent = start_agent(LONG, OPERATOR, env={"NOTIFY_SOCKET": manager.path})
    manager.until("serving ")
    down(emulator)
    for _ in range(3):
        assert agent.token(A).status in (503, 504)
    manager.until("no token can be had: ")
    emulator.unfault()
    wait_for(lambda: agent.token(A).status == 200, "a token")
    manager.until("serving ")
    for _ in range(5):
        assert agent.token(A).status == 200
    down(emulator)
    assert agent.token(B).status in (503, 504)
    manager.until("serving ")
    assert "from the cache only" in manager.told[-1]
    assert flush(agent).status == 204
    manager.until("serving ")
    # Nothing is told here of the policy, which binds nobody in a test.
    told = [text.split("; policy is advisory")[0].split(":")[0] for text in manager.status()]
    told = [text for text, before in zip(told, [None, *told]) if text != before]
    email = told[1].split()[1]
    assert told == ["looking for the service account", f"serving {email}", "no token can be had",
                    f"serving {email}", f"serving {email} from the cache only", f"serving {email}"]
    manager.socket.close()


# --- /v1/status -----------------------------------------------------------------


def test_status_of_an_agent_that_serves(operated, emulator):
    warm_up(operated, emulator, A)
    found = status(operated)
    assert found["version"] and found["uptime"] >= 0
    assert found["policy"] == {"mode": "enforce", "rules": 2}
    assert found["health"] == {"tokens": "any"}
    account, = found["accounts"]
    assert account["account"] == "default" and account["state"] == "found"
    assert account["email"].endswith(".gserviceaccount.com") and account["scopes"]
    assert account["flows"] == [{"flow": "signblob", "format": "standard", "denied": False}]
    states = {u["upstream"]: u["state"] for u in found["upstreams"]}
    assert states["metadata"] == states["iam"] == states["token-endpoint"] == "answers"
    token, = found["tokens"]
    assert token["audience"] == A and token["flow"] == "signblob"
    assert token["format"] == "standard" and token["owner"] == f"uid {os.geteuid()}"
    assert 3000 < token["seconds_left"] <= 3600
    assert found["tokens_left_out"] == 0 and found["cache"]["tokens"] == 1
    # Those of the questions before may not be gone yet.
    wait_for(lambda: {"limit": "connections", "now": 1, "most": 8192, "refused": 0}
             in status(operated)["limits"], "this connection alone")


def test_status_holds_no_token(operated):
    answer = operated.token(A)
    assert answer.status == 200
    text = operated.get("/v1/status").text
    for start in range(0, len(answer.text) - 16, 8):
        assert answer.text[start:start + 16] not in text


def test_status_names_what_fails_and_since_when(operated, emulator):
    down(emulator)
    operated.token(A)
    found = status(operated)
    assert found["health"]["tokens"] == "none" and found["health"]["why"]
    iam, = (u for u in found["upstreams"] if u["upstream"] == "iam")
    assert iam["state"] == "failing" and iam["why"] == "HTTP 503"
    assert iam["failed_ago"] < 60 and iam["tries"] == 4


def test_status_names_the_denial_its_remedy_and_the_next_try(start_agent, emulator):
    agent = start_agent(HURRY + "denied-flow = 1h\n", OPERATOR)
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    wait_for(lambda: status(agent)["accounts"][0]["state"] == "found", "the account")
    agent.token(A)
    denied, other, *_ = status(agent)["accounts"][0]["flows"]
    assert denied["flow"] == "signblob" and denied["denied"]
    assert denied["error"] == "denied-by-google" and denied["why"] and denied["hint"]
    assert 3000 < denied["again_in"] <= 3600
    assert other == {"flow": "metadata", "format": "full", "denied": False}


def test_audiences_in_the_status_are_escaped(operated):
    odd = 'https://a/"},{\\\u00e9'
    assert operated.token(odd).status == 200
    assert [token["audience"] for token in status(operated)["tokens"]] == [odd]


def test_a_large_cache_is_cut_and_the_rest_is_counted(operated):
    long = "https://" + "\\" * 2000
    for i in range(40):
        assert operated.token(f"{long}{i}").status == 200
    answer = operated.get("/v1/status")
    assert len(answer.body) <= 60 * 1024 + 4096
    found = status(operated)
    assert len(found["tokens"]) > 5
    assert found["tokens_left_out"] == 40 - len(found["tokens"]) > 0


# --- /v1/flush ------------------------------------------------------------------


def test_flush_drops_the_tokens(operated, emulator):
    warm_up(operated, emulator, A)
    answer = flush(operated)
    assert answer.status == 204 and answer.body == b""
    assert operated.token(A).headers["Gce-Oidc-Cache"] == "miss"
    assert steps(emulator) == COLD


def test_flush_of_an_audience_leaves_the_others(operated):
    for audience in (A, B):
        assert operated.token(audience).status == 200
    assert flush(operated, f"?audience={A}").status == 204
    assert operated.token(B).headers["Gce-Oidc-Cache"] == "hit"
    assert operated.token(A).headers["Gce-Oidc-Cache"] == "miss"


def test_flush_forgets_failures(start_agent, emulator):
    agent = start_agent(FAST + "denied = 1h\nunavailable = 10min\nunavailable-max = 10min\n", OPERATOR)
    down(emulator)
    for audience in (A, B):
        assert agent.token(audience).status in (503, 504)
    emulator.unfault()
    assert agent.token(A).status == 503
    assert flush(agent, f"?audience={A}").status == 204
    assert agent.token(A).status == 200
    assert agent.token(B).status == 503
    assert flush(agent).status == 204
    assert agent.token(B).status == 200


def test_flush_tries_a_denied_flow_at_once(start_agent, emulator):
    agent = start_agent(HURRY + "denied-flow = 1h\n", OPERATOR)
    emulator.fault("iam", "status", status=403, match=":signBlob", body="""
        {"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"@type":
        "type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED",
        "domain":"googleapis.com"}]}}""")
    agent.token(A)
    if not status(agent)["accounts"][0]["flows"][0]["denied"]:
        pytest.fail("it was to be denied")
    emulator.unfault()
    assert agent.token(B).headers["Gce-Oidc-Flow"] == "metadata"
    assert flush(agent).status == 204
    assert agent.token(B).headers["Gce-Oidc-Flow"] == "signblob"


@pytest.mark.parametrize("options, code", [
    ({"headers": {}}, 415),
    ({"body": b"{}"}, 400),
    ({"flavor": False}, 403),
])
def test_a_flush_that_is_not_meant_is_refused(operated, options, code):
    assert operated.token(A).status == 200
    answer = flush(operated, **options)
    assert answer.status == code
    assert answer.headers["Gce-Oidc-Error"] == "bad-request"
    assert operated.token(A).headers["Gce-Oidc-Cache"] == "hit"


def test_flush_of_no_audience_is_not_flush_of_all(operated):
    assert operated.token(A).status == 200
    for query in ("?audience=", "?audience=a&audience=b", "?audience=%00", "?audience=" + 2049 * "x"):
        assert flush(operated, query).status == 400
    assert operated.token(A).headers["Gce-Oidc-Cache"] == "hit"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_flush_answers_post_only(operated, method):
    answer = operated.get("/v1/flush", method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"


def test_a_flush_without_a_length_is_411(operated):
    answer = operated.raw(b"POST /v1/flush HTTP/1.1\r\nHost: x\r\nMetadata-Flavor: Google\r\n"
                          b"Content-Type: application/json\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


# --- who may --------------------------------------------------------------------


@pytest.mark.parametrize("kind, allowed", [
    ("id\naudience = **", ()), ("monitor", ("/metrics", "/v1/status")), ("admin", ("/v1/flush",)),
])
def test_each_is_for_whom_a_rule_lets(start_agent, kind, allowed):
    agent = start_agent(FAST, f"[rule a]\npeer = anyone\nhost = any\nkind = {kind}\n")
    for target in ("/metrics", "/v1/status", "/v1/flush"):
        method = "POST" if target == "/v1/flush" else "GET"
        answer = agent.get(target, method=method, headers=JSON)
        if target in allowed:
            assert answer.status in (200, 204)
        else:
            assert answer.status == 403
            assert answer.headers["Gce-Oidc-Error"] == "denied-by-policy"
