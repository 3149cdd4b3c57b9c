# SPDX-License-Identifier: Apache-2.0
"""/metrics: text that a strict reader takes, numbers that are true, and nothing in
it that comes from outside."""

import urllib.parse

import pytest

from conftest import ANYONE, wait_for
from openmetrics import parse
from steps import FAST

A = "https://a.example.com"
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MONITOR = ANYONE + """
[rule monitor]
peer = anyone
host = any
kind = monitor
"""
PREFIX = "gce_oidc_agent_"


class Metrics:
    def __init__(self, agent):
        answer = agent.get("/metrics")
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        self.text = answer.text
        self.families = parse(self.text)

    def __call__(self, name, **labels):
        samples = self.families[PREFIX + name].samples
        return samples[frozenset((k, v) for k, v in labels.items())]

    def requests(self, route, code="ok"):
        samples = self.families[PREFIX + "requests"].samples
        return samples.get(frozenset({"route": route, "code": code}.items()), 0)


@pytest.fixture
def watched(start_agent):
    return start_agent(FAST, MONITOR)


def test_an_agent_that_has_done_nothing_shows_every_family(watched):
    metrics = Metrics(watched)
    assert metrics("build", version=watched_version(metrics)) == 1
    assert metrics.requests("/v1/token") == 0
    assert metrics("token_lookups", result="hit") == 0
    assert metrics("limit_reached", limit="waiters") == 0
    assert metrics("upstream_requests", upstream="iam") == 0
    assert metrics("flow_denied", flow="signblob", format="standard") == 0
    assert metrics("connections") == 1
    assert metrics("log_lines_dropped") == 0
    for name, about in metrics.families.items():
        assert name.startswith(PREFIX) and about.help.endswith(".")


def watched_version(metrics):
    (labels, _), = metrics.families[PREFIX + "build"].samples.items()
    return dict(labels)["version"]


def test_hits_and_misses_are_counted(watched):
    for _ in range(3):
        assert watched.token(A).status == 200
    metrics = Metrics(watched)
    assert metrics.requests("/v1/token") == 3
    assert metrics("token_lookups", result="miss") == 1
    assert metrics("token_lookups", result="hit") == 2
    assert metrics("flights", result="token") == 1
    assert metrics("cached_tokens") == 1
    assert metrics("account_found") == 1
    for upstream in ("iam", "token-endpoint"):
        assert metrics("upstream_requests", upstream=upstream) == 1
        assert metrics("upstream_tries", upstream=upstream) == 1
        assert metrics("upstream_answers", upstream=upstream, status="2xx") == 1
        assert metrics("upstream_failing", upstream=upstream) == 0


def test_failing_upstreams_are_counted(start_agent, emulator):
    watched = start_agent(FAST + "unavailable = 1min\nunavailable-max = 1min\n", MONITOR)
    emulator.fault("iam", "status", status=503, match=":signBlob")
    assert watched.token(A).status in (503, 504)
    metrics = Metrics(watched)
    assert metrics("flights", result="failure") == 1
    assert metrics("remembered_failures") == 1
    assert metrics("upstream_requests", upstream="iam") == 1
    assert metrics("upstream_tries", upstream="iam") == 4
    assert metrics("upstream_answers", upstream="iam", status="5xx") == 4
    assert metrics("upstream_failing", upstream="iam") == 1
    assert watched.token(A).status == 503
    assert Metrics(watched)("token_lookups", result="remembered") == 1


def test_requests_are_counted_by_route_and_error(watched):
    watched.get("/v1/token")
    watched.get("/v1/token?audience=x", flavor=False)
    watched.get("/no/such/path")
    watched.get("/computeMetadata/v1/instance/service-accounts/nobody/email")
    watched.get("/healthz")
    watched.raw(b"nonsense\r\n\r\n")
    metrics = Metrics(watched)
    assert metrics.requests("/v1/token", "bad-request") == 2
    assert metrics.requests("other", "not-found") == 1
    assert metrics.requests("other", "bad-request") == 1
    assert metrics.requests("/computeMetadata", "not-found") == 1
    assert metrics.requests("/healthz") + metrics.requests("/healthz", "unavailable") == 1
    assert metrics("malformed_requests") == 1
    # The answer that shows it is not in it.
    assert metrics.requests("/metrics") == 0
    assert Metrics(watched).requests("/metrics") == 1


def test_denials_and_limits_are_counted(start_agent):
    agent = start_agent("[limits]\nconnections-per-peer = 2\n",
                        MONITOR.replace("**", "https://only.example.com"))
    assert agent.token(A).status == 403
    first = agent.connection()
    first.request("GET", "/healthz")
    first.getresponse().read()
    with agent.connect(), agent.connect() as third:
        third.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert third.recv(100).startswith(b"HTTP/1.1 429 ")
    first.close()
    wait_for(lambda: (a := agent.get("/metrics")).status == 200 and "_connections 1\n" in a.text,
             "the others to be gone")
    metrics = Metrics(agent)
    assert metrics.requests("/v1/token", "denied-by-policy") == 1
    assert metrics("limit_reached", limit="connections-per-peer") >= 1


def test_nothing_from_outside_is_in_it(watched, emulator):
    secret = "https://outsider.example.com/\"\\%0a"
    assert watched.token(secret).status == 200
    watched.get("/outsider?outsider=1")
    watched.get("/v1/token?audience=outsider&account=outsider")
    emulator.fault("token-endpoint", "status", status=400, match="/token")
    watched.token("outsider")
    text = Metrics(watched).text
    assert "outsider" not in text
    assert "gserviceaccount" not in text and "@" not in text
    assert "127.0.0.1" not in text and "://" not in text
    assert urllib.parse.quote(secret) not in text


def test_whom_no_rule_lets_monitor_is_refused(start_agent):
    agent = start_agent(FAST)
    answer = agent.get("/metrics")
    assert answer.status == 403
    assert answer.headers["Gce-Oidc-Error"] == "denied-by-policy"
    assert "gce_oidc" not in answer.text


def test_post_is_not_what_it_answers(watched):
    answer = watched.get("/metrics", method="POST", body=b"",
                         headers={"Content-Type": "text/plain"})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("text", [
    "# TYPE a gauge\n# HELP a A.\na 1\n",
    "# TYPE a counter\n# HELP a A.\na 1\n# EOF\n",
    "# TYPE a gauge\n# HELP a A.\na 1\na 1\n# EOF\n",
    "# TYPE a gauge\n# HELP a A.\n# EOF\n",
    "# TYPE a gauge\n# HELP a A.\na{b=\"c} 1\n# EOF\n",
    "# TYPE a gauge\n# HELP a A.\na{b=\"\\x\"} 1\n# EOF\n",
    "# TYPE a gauge\n# UNIT a seconds\n# HELP a A.\na 1\n# EOF\n",
    "# TYPE a gauge\n# HELP a A.\na 1\n# TYPE b gauge\n# HELP b B.\nb 1\na 2\n# EOF\n",
])
def test_the_reader_is_strict(text):
    with pytest.raises(AssertionError):
        parse(text)


def test_flows_are_summed_over_accounts(start_agent, emulator):
    accounts = "".join(f"[account {name}]\nemail = {name}@p.iam.gserviceaccount.com\n"
                       for name in ("a", "b"))
    emulator.set(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    agent = start_agent(FAST + accounts, MONITOR)
    wait_for(lambda: [Metrics(agent)("flow_denied", flow=flow, format="standard")
                      for flow in ("generate", "signblob")] == [2, 3], "the denials")
