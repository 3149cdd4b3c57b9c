# SPDX-License-Identifier: Apache-2.0
"""Universes other than googleapis.com: only the one that is configured and that the metadata
server names; nothing of one goes to another's hosts; IAM makes the tokens, because there is no
token endpoint."""

import base64
import contextlib
import json
import socket
import threading

import pytest

from conftest import ANYONE, wait_for
from credfiles import TARGET, impersonated_file, user_file, write
from emulator.client import Emulator
from signing import ask_jwt, ask_signature, refused, rule
from steps import ACCESS, ACCOUNT, GENERATED, HURRY, IDENTITY, UNIVERSE, steps
from test_accounts import ALL, BILLING
from test_cli import cli  # noqa: F401 # a fixture
from test_credentials import ELSEWHERE
from test_jwt import jwt_of, signature_of
from test_reload import reload
from test_status import OPERATOR, healthy, status

OTHER = "apis.example"
IN_OTHER = f"[upstream]\nuniverse = {OTHER}\n"
AUDIENCE = "https://app.example.com"
ROOT = "/computeMetadata/v1/"
DOMAIN = ROOT + "universe/universe-domain"
EMAIL = ROOT + "instance/service-accounts/default/email"


@pytest.fixture
def elsewhere(emulator):
    """The machine is in the other universe."""
    emulator.set(universe=OTHER)
    return emulator


def elsewhere_words(answer, machine, configured):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google"), answer
    assert f"this machine is in universe {machine}" in answer.text
    assert f"the agent is in {configured}" in answer.text
    return answer.text


# --- in the other universe


def test_token_is_generated_and_no_token_endpoint_asked(start_agent, elsewhere):
    agent = start_agent(IN_OTHER + HURRY)
    answer = agent.token(AUDIENCE)
    assert elsewhere.verify(answer.text, AUDIENCE)["email"] == elsewhere.email
    assert answer.headers["Gce-Oidc-Flow"] == "generate"
    assert steps(elsewhere, universe=True) == {UNIVERSE: 1, ACCOUNT: 1, ACCESS: 1, GENERATED: 1}
    assert f"universe {OTHER}" in agent.log()


def test_signblob_counts_as_denied_and_generate_takes_its_place(start_agent, elsewhere):
    agent = start_agent(IN_OTHER + HURRY + "[account default]\nflows = signblob metadata\n", OPERATOR)
    wait_for(lambda: healthy(agent), "health")
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "generate"
    (account,) = status(agent)["accounts"]
    flows = {(f["flow"], f["format"]): f for f in account["flows"]}
    assert [f["flow"] for f in account["flows"]][:2] == ["signblob", "generate"]
    signblob = flows["signblob", "standard"]
    assert signblob["denied"] and f"universe {OTHER} has no token endpoint" in signblob["why"]
    assert signblob["hint"] == "flow generate takes its place"
    assert not flows["generate", "standard"]["denied"]
    assert agent.log().count("flow signblob is denied: universe") == 1
    assert steps(elsewhere) == {ACCOUNT: 1, ACCESS: 1, GENERATED: 1}


def test_what_the_universe_denies_a_named_account_is_told_once(start_agent, elsewhere):
    agent = start_agent(IN_OTHER + HURRY + f"[account billing]\nemail = {BILLING}\n"
                        "flows = signblob generate\n", OPERATOR)
    wait_for(lambda: healthy(agent), "health")
    assert agent.log().count("account billing: flow signblob is denied: universe") == 1


@pytest.mark.parametrize("universe, config, row", [(OTHER, IN_OTHER, ["universe", OTHER]), ("googleapis.com", "", None)])
def test_status_names_the_universe(start_agent, emulator, cli, universe, config, row):
    emulator.set(universe=universe)
    agent = start_agent(config + HURRY, OPERATOR)
    assert agent.token(AUDIENCE).status == 200
    assert status(agent)["universe"] == universe
    shown = cli("status", socket=agent.socket)
    assert (shown.returncode, shown.stderr) == (0, "")
    # For people only where it is not what everybody takes for granted.
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith("universe")]
    assert rows == ([row] if row else [])


def test_metadata_is_next_where_generate_is_denied(start_agent, elsewhere):
    elsewhere.set(role=False, email_in_standard=True)
    agent = start_agent(IN_OTHER + HURRY)
    answer = agent.token(AUDIENCE)
    assert answer.headers["Gce-Oidc-Flow"] == "metadata", answer
    elsewhere.verify(answer.text, AUDIENCE)
    assert steps(elsewhere)[IDENTITY] >= 1


@pytest.mark.parametrize("flow", ["generate", "metadata"])
def test_issuer_may_be_the_universes_domain(start_agent, elsewhere, flow):
    elsewhere.set(issuer=OTHER, email_in_standard=True)
    agent = start_agent(IN_OTHER + HURRY + f"[account default]\nflows = {flow}\n")
    answer = agent.token(AUDIENCE)
    assert elsewhere.verify(answer.text, AUDIENCE)["iss"] == OTHER


@pytest.mark.parametrize("issuer", ["googleapis.com", f"https://{OTHER}", "evil.example", f"x.{OTHER}"])
def test_any_other_issuer_is_nobodys(start_agent, elsewhere, issuer):
    elsewhere.set(issuer=issuer)
    answer = start_agent(IN_OTHER + HURRY).token(AUDIENCE)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    assert "iss is" in answer.text


def test_at_home_no_domain_is_an_issuer(start_agent, emulator):
    emulator.set(issuer="googleapis.com")
    answer = start_agent(HURRY).token(AUDIENCE)
    assert answer.status == 503 and "iss is googleapis.com" in answer.text


def test_access_jwt_and_sign_work_there(start_agent, elsewhere):
    rules = rule("access", name="a") + rule("jwt", "audience = **", name="b") + rule("sign-any", name="c")
    agent = start_agent(IN_OTHER + HURRY, rules)
    access = agent.get(ROOT + "instance/service-accounts/default/token")
    assert json.loads(access.body)["access_token"] in elsewhere.secrets()
    assert jwt_of(ask_jwt(agent, {"aud": AUDIENCE}), elsewhere)["iss"] == elsewhere.email
    signature_of(ask_signature(agent, b"bytes"), b"bytes", elsewhere)
    assert elsewhere.counts()["token-endpoint"]["total"] == 0


@pytest.mark.parametrize("host", [
    OTHER, f"oauth2.{OTHER}", f"STORAGE.{OTHER.upper()}.", "oauth2.googleapis.com", "accounts.google.com"])
def test_no_jwt_is_signed_for_the_services_of_either_universe(start_agent, elsewhere, host):
    agent = start_agent(IN_OTHER + HURRY, rule("jwt", "audience = **"))
    refused(ask_jwt(agent, {"aud": f"https://{host}/"}), 400, "bad-request")


def test_another_account_is_had_there_by_generate(start_agent, elsewhere):
    elsewhere.set(accounts=[BILLING])
    agent = start_agent(IN_OTHER + HURRY + f"[account billing]\nemail = {BILLING}\n", ALL)
    answer = agent.get(f"/v1/token?audience={AUDIENCE}&account=billing")
    assert elsewhere.verify(answer.text, AUDIENCE)["email"] == BILLING
    assert elsewhere.counts()["token-endpoint"]["total"] == 0


def test_libraries_are_told_the_universe(start_agent, elsewhere):
    agent = start_agent(IN_OTHER + HURRY)
    answer = agent.get(DOMAIN)
    assert (answer.status, answer.text) == (200, OTHER)
    assert json.loads(agent.get(ROOT + "universe/?recursive=true").text) == {"universeDomain": OTHER}


# --- another one than the machine's


def test_machine_elsewhere_is_a_clear_error_and_nothing_is_adopted(start_agent, elsewhere):
    agent = start_agent(HURRY + "no-account = 1h\n", OPERATOR)
    text = elsewhere_words(agent.token(AUDIENCE), OTHER, "googleapis.com, the default")
    assert f"universe = {OTHER} in [upstream]" in text
    assert agent.get(EMAIL).status == 403
    assert agent.get("/healthz", flavor=False).status == 503
    found = status(agent)
    assert found["health"]["tokens"] == "none" and OTHER in found["health"]["why"]
    (account,) = found["accounts"]
    assert account["state"] == "elsewhere" and OTHER in account["why"]
    # Neither whose the machine is has been asked, nor for its tokens.
    assert steps(elsewhere, universe=True) == {UNIVERSE: 1}


def test_machine_elsewhere_is_logged_once_and_looked_for_again(start_agent, elsewhere):
    agent = start_agent(HURRY + "no-account = 1ms\n")
    wait_for(lambda: steps(elsewhere, universe=True).get(UNIVERSE, 0) > 5, "many looks")
    assert agent.log().count("this machine is in universe") == 1
    elsewhere.set(universe="googleapis.com")
    assert wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token")


@pytest.mark.parametrize("answer", ["googleapis.com", None, ""])
def test_configured_universe_has_to_be_the_machines(start_agent, emulator, answer):
    emulator.set(universe=answer)
    agent = start_agent(IN_OTHER + HURRY)
    text = elsewhere_words(agent.token(AUDIENCE), "googleapis.com", OTHER)
    assert "take universe out of [upstream]" in text
    assert set(steps(emulator)) == set()


@pytest.mark.parametrize("answer", [None, ""])
def test_without_a_domain_the_machine_is_at_home(start_agent, emulator, answer):
    emulator.set(universe=answer)
    agent = start_agent(HURRY)
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "signblob"


@pytest.mark.parametrize("fault", [
    {"kind": "status", "status": 500}, {"kind": "status", "status": 403}, {"kind": "refuse"},
    {"kind": "garbage"}], ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}")
def test_no_answer_is_no_universe(start_agent, emulator, fault):
    emulator.fault("metadata", match="universe-domain", **fault)
    agent = start_agent(HURRY + "wait = 300ms\n")
    answer = agent.token(AUDIENCE)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable")
    assert set(steps(emulator)) == set()
    emulator.unfault()
    assert wait_for(lambda: agent.token(AUDIENCE).status == 200, "a token")


def test_fetch_says_that_the_machine_is_elsewhere(start_agent, elsewhere):
    agent = start_agent(HURRY, args=(f"--fetch={AUDIENCE}",), wait=False, socket=False)
    assert agent.wait() == 6
    assert f"this machine is in universe {OTHER}" in agent.log()


# --- reload


def test_reload_into_another_universe_leaves_nothing_cached(start_agent, emulator):
    agent = start_agent(HURRY, OPERATOR)
    first = agent.token(AUDIENCE)
    assert first.headers["Gce-Oidc-Flow"] == "signblob"
    emulator.reset()
    emulator.set(universe=OTHER)
    agent.configure(agent.config.read_text() + IN_OTHER)
    assert reload(agent).status == 204
    second = agent.token(AUDIENCE)
    assert (second.status, second.headers["Gce-Oidc-Flow"]) == (200, "generate")
    assert second.text != first.text
    assert steps(emulator) == {ACCOUNT: 1, ACCESS: 1, GENERATED: 1}
    assert status(agent)["universe"] == OTHER


def test_reload_into_a_wrong_universe_serves_no_token_and_another_mends_it(start_agent, emulator):
    agent = start_agent(HURRY, OPERATOR)
    good = agent.config.read_text()
    assert agent.token(AUDIENCE).status == 200
    agent.configure(good + IN_OTHER)
    assert reload(agent).status == 204
    elsewhere_words(agent.token(AUDIENCE), "googleapis.com", OTHER)
    agent.configure(good)
    assert reload(agent).status == 204
    assert agent.token(AUDIENCE).status == 200


# --- credential files


@pytest.fixture
def credentials(start_agent, emulator, place):
    """credentials(content, config) -> an agent on no machine of Google's."""
    place.chmod(0o755)
    upstream = "".join(line for line in emulator.agent_config().splitlines(True)
                       if not line.startswith("metadata ="))

    def start(content, config="", rules=ANYONE, **more):
        file = write(place / "key.json", content)
        return start_agent(config + HURRY + f"[account default]\ncredentials = {file}\n", rules,
                           upstream=upstream, prefix=ELSEWHERE, **more)
    return start


def bearers(emulator):
    return [dict(record["headers"])["Authorization"].partition(" ")[2] for record in emulator.requests("iam")]


def test_key_file_of_the_universe_signs_its_own_bearer(credentials, elsewhere):
    agent = credentials(elsewhere.key_file(), IN_OTHER)
    answer = agent.token(AUDIENCE)
    assert elsewhere.verify(answer.text, AUDIENCE)["email"] == elsewhere.email
    assert answer.headers["Gce-Oidc-Flow"] == "generate"
    (bearer,) = bearers(elsewhere)
    claims = json.loads(base64.urlsafe_b64decode(bearer.split(".")[1] + "=="))
    assert claims["iss"] == claims["sub"] == elsewhere.email and "aud" not in claims
    assert claims["exp"] - claims["iat"] == 3600
    # One bearer does for many tokens.
    assert agent.token(AUDIENCE + "/2").status == 200
    assert bearers(elsewhere) == [bearer, bearer]
    counts = elsewhere.counts()
    assert (counts["metadata"]["total"], counts["token-endpoint"]["total"]) == (0, 0)
    # There is no metadata server that could say it.
    assert agent.get(DOMAIN).text == OTHER


def test_at_home_a_key_files_universe_is_told_too(credentials, emulator):
    agent = credentials(emulator.key_file())
    assert agent.get(DOMAIN).text == "googleapis.com"
    assert emulator.counts()["metadata"]["total"] == 0


def test_impersonated_account_of_a_key_file_there(credentials, elsewhere):
    elsewhere.set(accounts=[TARGET])
    file = impersonated_file(elsewhere.key_file())
    file["service_account_impersonation_url"] = file["service_account_impersonation_url"].replace(
        "googleapis.com", OTHER)
    agent = credentials(file, IN_OTHER)
    assert elsewhere.verify(agent.token(AUDIENCE).text, AUDIENCE)["email"] == TARGET
    assert elsewhere.counts()["token-endpoint"]["total"] == 0


def test_access_token_of_a_key_file_there_is_signed_here(credentials, elsewhere):
    agent = credentials(elsewhere.key_file(), IN_OTHER, rule("access"))
    answer = json.loads(agent.get(ROOT + "instance/service-accounts/default/token").body)
    assert answer["access_token"].count(".") == 2
    assert 3000 < answer["expires_in"] <= 3590
    assert elsewhere.counts()["token-endpoint"]["total"] == 0


@pytest.mark.parametrize("of, config, words", [
    (OTHER, "", f"universe_domain is {OTHER}, and the agent's is googleapis.com (universe in [upstream])"),
    ("googleapis.com", IN_OTHER, f"universe_domain is googleapis.com, and the agent's is {OTHER}"),
    (None, IN_OTHER, f"universe_domain is missing, which stands for googleapis.com, and the agent's is {OTHER}")])
def test_file_of_another_universe_is_refused(credentials, emulator, of, config, words):
    file = emulator.key_file()
    file.pop("universe_domain")
    agent = credentials(file | ({"universe_domain": of} if of else {}), config, wait=False)
    assert agent.wait() == 78
    assert words in agent.log() and "credentials: " in agent.log()
    assert emulator.counts()["iam"]["total"] == emulator.counts()["token-endpoint"]["total"] == 0


@pytest.mark.parametrize("wrap", [lambda file: file, lambda file: {
    **impersonated_file(file), "service_account_impersonation_url":
    f"https://iamcredentials.{OTHER}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"}],
    ids=["user", "impersonated"])
def test_sign_in_of_a_user_is_good_at_home_only(credentials, elsewhere, wrap):
    agent = credentials(wrap(user_file(universe_domain=OTHER)), IN_OTHER, wait=False)
    assert agent.wait() == 78
    assert "they are a user's, whose sign-in is good in universe googleapis.com alone" in agent.log()


# --- by their own names


class Names:
    """A proxy that writes down whom the agent wants to reach, and leads all to one address."""

    def __init__(self, address):
        self._address = address
        self.wanted = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            self.wanted.append(head.split()[1].decode())
            upstream = socket.create_connection((self._address, 443))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._pump, args=(upstream, client), daemon=True)
            back.start()
            self._pump(client, upstream)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.close()


@pytest.fixture(scope="module")
def named_google():
    """Google, and the other universe, at their own names."""
    with Emulator("--front=127.0.0.2") as google:
        yield google


@pytest.fixture
def by_name(start_agent, named_google):
    """by_name(config, rules) -> an agent that is told no endpoint, and the proxy it goes by."""
    named_google.reset()
    proxies = []

    def start(config="", rules=ANYONE):
        proxies.append(Names("127.0.0.2"))
        upstream = ("[upstream]\n" f"metadata = {named_google.metadata}\n"
                    f"ca-file = {named_google.ca_file}\nproxy = {proxies[-1].url}\n")
        return start_agent(config + HURRY, rules, upstream=upstream), proxies[-1]
    yield start
    for proxy in proxies:
        proxy.close()


def test_there_only_that_universes_hosts_are_reached(by_name, named_google):
    named_google.set(universe=OTHER, email_in_standard=True)
    everything = ANYONE + rule("jwt", "audience = **", name="b") + rule("sign-any", name="c")
    agent, proxy = by_name(IN_OTHER + "[cache]\nverify = required\n", everything)
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "generate"
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == ask_signature(agent, b"x").status == 200
    assert set(proxy.wanted) == {f"iamcredentials.{OTHER}:443", f"www.{OTHER}:443"}


def test_at_home_no_other_universes_hosts_are_reached(by_name, named_google):
    agent, proxy = by_name("[cache]\nverify = required\n")
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "signblob"
    assert set(proxy.wanted) == {"iamcredentials.googleapis.com:443", "oauth2.googleapis.com:443",
                                 "www.googleapis.com:443"}


@pytest.mark.parametrize("machine, config", [(OTHER, ""), ("googleapis.com", IN_OTHER)])
def test_where_they_differ_no_host_of_either_is_reached(by_name, named_google, machine, config):
    named_google.set(universe=machine)
    agent, proxy = by_name(config + "[account default]\nflows = generate signblob\n")
    assert agent.token(AUDIENCE).status == 403
    assert ask_jwt(agent, {"aud": AUDIENCE}).status == 403
    assert not agent.running() or not healthy(agent)
    assert proxy.wanted == []
    assert named_google.counts()["metadata"]["requests"].keys() == {"GET " + DOMAIN}
