# SPDX-License-Identifier: Apache-2.0
"""Where Google denies the account one way to come by a token, the next one serves:
at once, for everybody, told once, and only for as long as it is denied."""

import threading

import pytest

from conftest import wait_for
from steps import COLD, HURRY, ID_TOKEN, IDENTITY, SIGNATURE, steps, warm_up

AUDIENCE = "https://app.example.com"
OTHER = "https://other.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
FACE = "/computeMetadata/v1/instance/service-accounts/default/identity"
READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"
ROLE = (f"gcloud iam service-accounts add-iam-policy-binding {EMAIL} "
        f"--member=serviceAccount:{EMAIL} --role=roles/iam.serviceAccountTokenCreator")
# Nothing but the flows' own memory; a denial holds as long as the test likes.
MEMORY = HURRY + "denied = 0\nunavailable = 0\nbrand-new = 0\n"
FOREVER = MEMORY + "denied-flow = 1h\n"
AGAIN = MEMORY + "denied-flow = 30ms\ndenied-flow-max = 30ms\n"


@pytest.fixture
def agent(start_agent):
    return start_agent(FOREVER)


def identity(agent, audience=AUDIENCE, query="", **more):
    return agent.get(f"{FACE}?audience={audience}{query}", **more)


def full(agent, audience=AUDIENCE, **more):
    return identity(agent, audience, "&format=full", **more)


def served(answer, emulator, flow, audience=AUDIENCE):
    assert (answer.status, answer.headers["Gce-Oidc-Flow"]) == (200, flow), answer
    claims = emulator.verify(answer.text, audience)
    assert claims["email"] == EMAIL
    return claims


def denied(answer, *words):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google"), answer
    for text in words:
        assert text in answer.text


def told(agent, text):
    return agent.log().count(text)


def all_at_once(agent, audiences):
    answers = {}
    threads = [threading.Thread(target=lambda a=audience: answers.update({a: agent.token(a)}))
               for audience in audiences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# --- the formats


def test_full_token_comes_from_the_metadata_server(agent, emulator):
    answer = full(agent)
    claims = served(answer, emulator, "metadata")
    assert claims["google"]["compute_engine"]["instance_name"] == "vm-1"
    assert "license_id" not in claims["google"]["compute_engine"]
    assert answer.headers["Gce-Oidc-Format"] is None
    assert answer.headers["Content-Type"] == "text/html"
    assert steps(emulator) == {"account": 1, IDENTITY: 1}


@pytest.mark.parametrize("query, licences", [
    ("&licenses=TRUE", True), ("&licenses=true", True), ("&licenses=FALSE", False), ("", False)])
def test_licences_are_passed_on(agent, emulator, query, licences):
    claims = served(identity(agent, query="&format=full" + query), emulator, "metadata")
    assert ("license_id" in claims["google"]["compute_engine"]) == licences


def test_each_format_is_an_entry_of_its_own(agent, emulator):
    queries = ["&format=standard", "&format=full", "&format=full&licenses=TRUE"]
    texts = [identity(agent, query=query).text for query in queries]
    assert len(set(texts)) == 3
    emulator.reset()
    assert [identity(agent, query=query).text for query in queries] == texts
    assert agent.token(AUDIENCE).text == texts[0]
    assert identity(agent).text == texts[0]
    assert identity(agent, query="&licenses=TRUE").text == texts[0]
    assert steps(emulator) == {}


def test_standard_token_never_describes_the_vm(start_agent, emulator):
    emulator.set(email_in_standard=True)
    agent = start_agent("[account default]\nflows = metadata\n" + FOREVER)
    full(agent)
    for query in ("", "&format=standard"):
        assert "google" not in served(identity(agent, query=query), emulator, "metadata")
    # A metadata server that puts it there anyway:
    emulator.fault("metadata", "claims", match="format=standard", claims={"google": {"x": 1}})
    answer = identity(agent, OTHER)
    assert answer.status == 503 and "it has the claim google" in answer.text


def test_full_without_the_metadata_flow_is_standard(start_agent, emulator):
    agent = start_agent("[account default]\nflows = signblob\n" + FOREVER)
    answer = full(agent)
    assert "google" not in served(answer, emulator, "signblob")
    assert answer.headers["Gce-Oidc-Format"] == "standard"
    # It is the token that the others get.
    emulator.reset()
    assert identity(agent).text == agent.token(AUDIENCE).text == answer.text
    assert steps(emulator) == {}


def test_full_where_the_metadata_flow_is_denied_is_standard(agent, emulator):
    emulator.fault("metadata", "status", status=403, match="/identity")
    for _ in range(2):
        answer = full(agent)
        assert "google" not in served(answer, emulator, "signblob")
        assert answer.headers["Gce-Oidc-Format"] == "standard"
    assert full(agent, OTHER).headers["Gce-Oidc-Format"] == "standard"
    assert steps(emulator)[IDENTITY] == 1
    assert told(agent, "flow metadata is denied") == 1


def test_full_where_the_metadata_flow_is_down_is_unavailable(agent, emulator):
    emulator.fault("metadata", "status", status=503, match="/identity")
    answer = full(agent)
    assert answer.status == 503 and answer.headers["Retry-After"]
    assert SIGNATURE not in steps(emulator)
    emulator.unfault()
    served(full(agent), emulator, "metadata")


def test_metadata_server_that_has_no_such_path_may_have_it_later(agent, emulator):
    emulator.fault("metadata", "status", status=404, match="/identity", times=1)
    assert full(agent).status == 503
    served(full(agent), emulator, "metadata")


# --- from signblob to metadata


CAUSES = {
    "role": ({"role": False}, "lacks the permission iam.serviceAccounts.signBlob", 2),
    "API": ({"api_enabled": False}, "is not enabled in the project", 1),
    "scopes": ({"scopes": [READ_ONLY]}, "access scopes do not allow", 0),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_is_denied_to_signblob_comes_from_the_metadata_server(start_agent, emulator, cause):
    settings, words, signatures = CAUSES[cause]
    emulator.set(email_in_standard=True, **settings)
    agent = start_agent(FOREVER)
    for i in range(5):
        audience = f"https://app-{i}.example.com"
        assert "google" not in served(agent.token(audience), emulator, "metadata", audience)
    assert steps(emulator).get(SIGNATURE, 0) == signatures
    assert ID_TOKEN not in steps(emulator)
    # Once for five audiences, with the reason.
    assert told(agent, "flow signblob is denied") == 1
    assert told(agent, words) == 1


@pytest.mark.parametrize("cause", CAUSES)
def test_whoever_names_no_format_gets_a_full_token_rather_than_none(start_agent, emulator, cause):
    settings, words, _ = CAUSES[cause]
    emulator.set(**settings)        # and standard tokens without email
    agent = start_agent(FOREVER)
    for _ in range(2):
        answer = agent.token(AUDIENCE)
        assert "google" in served(answer, emulator, "metadata")
        assert answer.headers["Gce-Oidc-Format"] == "full"
    assert answer.headers["Gce-Oidc-Cache"] == "hit"
    assert agent.token(AUDIENCE, Cache_Control="only-if-cached").text == answer.text
    # It is the one that others get who ask for it.
    assert full(agent).text == answer.text
    # Whoever does name one is told how to get it.
    denied(identity(agent), words)
    denied(identity(agent, query="&format=standard"), words)
    # That standard tokens have no email was found out once, and told once.
    assert steps(emulator)[IDENTITY] == 2
    assert told(agent, "its standard tokens have no email") == 1


def test_scopes_alone_deny_before_anybody_asks(start_agent, emulator):
    emulator.set(scopes=[READ_ONLY])
    agent = start_agent(FOREVER)
    agent.wait_log("flow signblob is denied")
    assert agent.get("/healthz").text == "ok\n"
    assert steps(emulator) == {"account": 1}
    served(agent.token(AUDIENCE), emulator, "metadata")
    assert not emulator.requests("iam") and not emulator.requests("token-endpoint")


def test_health_is_bad_where_all_flows_are_denied(start_agent, emulator):
    emulator.set(scopes=[READ_ONLY])
    agent = start_agent("[account default]\nflows = signblob\n" + FOREVER)
    agent.wait_log("flow signblob is denied")
    health = agent.get("/healthz")
    assert health.status == 503 and "access scopes do not allow" in health.text


def test_all_denied_is_answered_with_the_first_flows_remedy(agent, emulator):
    emulator.set(role=False)
    emulator.fault("metadata", "status", status=403, match="/identity")
    for answer in (agent.token(AUDIENCE), full(agent), identity(agent)):
        denied(answer, ROLE)
    denied(agent.token(OTHER), ROLE)
    assert steps(emulator)[SIGNATURE] == 2
    assert told(agent, "flow signblob is denied") == 1
    assert agent.get("/healthz").status == 503


# --- what does not count


def test_bad_audience_denies_nothing_to_others(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("token-endpoint", "status", reason="scope", times=3)
    for i in range(3):
        denied(agent.token(f"https://bad-{i}.example.com"), "this audience is not accepted")
    served(agent.token(OTHER), emulator, "signblob", OTHER)
    assert IDENTITY not in steps(emulator)
    assert told(agent, "denied") == 0


@pytest.mark.parametrize("service", ["iam", "token-endpoint"])
@pytest.mark.parametrize("kind, options", [
    ("status", {"status": 503}), ("status", {"status": 429}), ("reset", {}), ("refuse", {}), ("not-json", {})],
    ids=str)
def test_signblob_that_is_down_does_not_fall_back(agent, emulator, service, kind, options):
    warm_up(agent, emulator)
    emulator.fault(service, kind, **options)
    assert agent.token(AUDIENCE).status == 503
    assert IDENTITY not in steps(emulator)
    emulator.unfault()
    served(agent.token(AUDIENCE), emulator, "signblob")


def test_throttling_in_disguise_is_waited_out(agent, emulator):
    warm_up(agent, emulator)
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED", times=1)
    served(agent.token(AUDIENCE), emulator, "signblob")
    assert steps(emulator) == {SIGNATURE: 2, ID_TOKEN: 1}
    assert told(agent, "denied") == 0


def test_burst_of_throttling_denies_nothing(start_agent, emulator):
    agent = start_agent(FOREVER + "denial-doubt = 5s\n")       # longer than the burst
    warm_up(agent, emulator)
    audiences = [f"https://app-{i}.example.com" for i in range(8)]
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED", times=len(audiences))
    answers = all_at_once(agent, audiences)
    for audience in audiences:
        served(answers[audience], emulator, "signblob", audience)
    assert told(agent, "denied") == 0


def test_burst_of_denials_is_one_and_all_are_served(start_agent, emulator):
    agent = start_agent(FOREVER + "denial-doubt = 1s\n")
    emulator.set(role=False)
    audiences = [f"https://app-{i}.example.com" for i in range(8)]
    answers = all_at_once(agent, audiences)
    for audience in audiences:
        served(answers[audience], emulator, "metadata", audience)
    assert told(agent, "flow signblob is denied") == 1
    assert steps(emulator)[SIGNATURE] <= len(audiences) + 1


# --- for how long


def test_role_that_is_granted_again_is_found_on_a_miss(start_agent, emulator):
    agent = start_agent(AGAIN)
    emulator.set(role=False, email_in_standard=True)
    served(agent.token(AUDIENCE), emulator, "metadata")
    emulator.set(role=True)

    def signed():
        audience = f"https://new-{len(emulator.requests())}.example.com"
        return served_by(agent, audience) == "signblob"

    wait_for(signed, "signblob serves again", poll=0.02)
    agent.wait_log("flow signblob serves again")
    emulator.reset()
    assert agent.token("https://last.example.com").status == 200
    assert steps(emulator) == COLD
    assert told(agent, "flow signblob is denied") == 1
    assert told(agent, "flow signblob serves again") == 1


def served_by(agent, audience):
    answer = agent.token(audience)
    assert answer.status == 200, answer
    return answer.headers["Gce-Oidc-Flow"]


def test_flow_that_stays_denied_is_tried_seldom_and_told_once(start_agent, emulator):
    agent = start_agent(AGAIN)
    emulator.set(role=False)

    def tried_again():
        assert served_by(agent, f"https://new-{len(emulator.requests())}.example.com") == "metadata"
        return steps(emulator)[SIGNATURE] >= 5

    wait_for(tried_again, "three more tries", poll=0.02)
    assert told(agent, "flow signblob is denied") == 1


def test_denied_flow_is_not_tried_before_its_time(agent, emulator):
    emulator.set(role=False)
    for i in range(10):
        assert served_by(agent, f"https://app-{i}.example.com") == "metadata"
    assert steps(emulator)[SIGNATURE] == 2


def test_cached_token_of_a_denied_flow_is_served_on(agent, emulator):
    first = agent.token(AUDIENCE)
    emulator.set(role=False)
    served(agent.token(OTHER), emulator, "metadata", OTHER)
    assert agent.token(AUDIENCE).text == first.text


def test_while_denied_whoever_is_served_waits_for_nobody(start_agent, emulator):
    """A trial that hangs holds up the one that tries, and none of the others."""
    agent = start_agent(AGAIN + "google-try = 20s\n")
    emulator.set(role=False)
    assert served_by(agent, AUDIENCE) == "metadata"
    emulator.fault("iam", "hang")
    with agent.connect() as sock:
        def hangs():
            sock.sendall(f"GET /v1/token?audience={len(emulator.requests())} HTTP/1.1\r\nHost: x\r\n"
                         "Metadata-Flavor: Google\r\n\r\n".encode())
            return len([step for step in emulator.faults() if step["hits"]]) > 0
        wait_for(hangs, "a trial that hangs", poll=0.02)
        for i in range(5):
            assert served_by(agent, f"https://app-{i}.example.com") == "metadata"
    emulator.unfault()


# --- the order


def test_flows_are_tried_in_the_order_of_configuration(start_agent, emulator):
    agent = start_agent("[account default]\nflows = metadata signblob\n" + FOREVER)
    answer = agent.token(AUDIENCE)
    served(answer, emulator, "metadata")
    assert answer.headers["Gce-Oidc-Format"] == "full"
    assert not emulator.requests("iam")
    emulator.fault("metadata", "status", status=403, match="/identity")
    assert "google" not in served(agent.token(OTHER), emulator, "signblob", OTHER)


def test_metadata_flow_alone_needs_neither_role_nor_scope_nor_api(start_agent, emulator):
    emulator.set(role=False, api_enabled=False, scopes=[])
    agent = start_agent("[account default]\nflows = metadata\n" + FOREVER)
    served(agent.token(AUDIENCE), emulator, "metadata")
    served(full(agent), emulator, "metadata")
    assert agent.get("/healthz").status == 200
    assert steps(emulator) == {"account": 1, IDENTITY: 1}
    denied(identity(agent), "its standard tokens have no email", "ask for format=full")
    assert not emulator.requests("iam")


@pytest.mark.parametrize("ask", [full, identity])
def test_another_account_gets_no_token_of_the_first(start_agent, emulator, ask):
    other = "other-sa@example-proj-123.iam.gserviceaccount.com"
    agent = start_agent(FOREVER + "no-account = 10ms\n")
    first = full(agent).text
    agent.token(AUDIENCE)
    emulator.set(email=other)

    def changed():
        ask(agent, f"https://new-{len(emulator.requests())}.example.com")
        return other in agent.get(FACE.replace("identity", "email")).text

    wait_for(changed, "the other account is found", poll=0.02)
    second = full(agent)
    assert second.status == 200 and second.text != first
    assert emulator.verify(second.text, AUDIENCE)["email"] == other
