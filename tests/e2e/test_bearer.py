# SPDX-License-Identifier: Apache-2.0
"""An access token goes to IAM's host, as Authorization, and to no other: whichever flow
has it, and wherever an upstream would like to send the agent.  Nor does any other
secret go to whom it is not for."""

import dataclasses
import sys

import pytest

from conftest import ANYONE, TESTS, wait_for
from credfiles import TARGET, impersonated_file, user_file, write
from signing import ask_jwt, ask_signature, rule
from steps import HURRY, Listener

AUDIENCE = "https://app.example.com"
BILLING = "billing@example-proj-123.iam.gserviceaccount.com"
ROOT = "/computeMetadata/v1/instance/service-accounts/"
CREDENTIALS = ("authorization", "proxy-authorization", "cookie")
ELSEWHERE = (sys.executable, TESTS / "e2e" / "launch.py", "--firmware=Standard PC")
RULES = ANYONE + "account = *\n" + rule("jwt", "audience = **", name="jwt", account="*") + \
    rule("sign-any", name="any-bytes", account="*") + \
    rule("access", name="access", account="default billing")
ALL = {"metadata", "iam", "token-endpoint", "certs"}
FILES = {
    "keyfile": lambda emulator: emulator.key_file(),
    "user": lambda emulator: user_file(),
    "impersonated by key": lambda emulator: impersonated_file(emulator.key_file()),
    "impersonated by user": lambda emulator: impersonated_file(user_file()),
}


def token(account="default"):
    return lambda agent: agent.get(f"/v1/token?audience={AUDIENCE}&account={account}")


def access(account="default"):
    return lambda agent: agent.get(f"{ROOT}{account}/token")


def jwt(agent):
    return ask_jwt(agent, {"aud": AUDIENCE})


def signature(agent):
    return ask_signature(agent, b"bytes")


@dataclasses.dataclass
class Scene:
    """An agent, what is asked of it, and who is asked for that."""

    name: str
    asks: tuple
    upstreams: set
    config: str = ""
    file: str = None        # credentials, of FILES

    def __str__(self):
        return self.name


def flows(names):
    return f"[account default]\nflows = {names}\n"


REQUIRED = "[cache]\nverify = required\n"
OTHERS = f"[account billing]\nemail = {BILLING}\ndelegates = " \
    "hop-sa@example-proj-123.iam.gserviceaccount.com\n"
SCENES = [
    Scene("signblob", (token(),), ALL, flows("signblob") + REQUIRED),
    Scene("metadata", (token(),), {"metadata", "certs"}, flows("metadata")),
    Scene("generate", (token(),), ALL - {"token-endpoint"}, flows("generate") + REQUIRED),
    Scene("both", (token(),), ALL, REQUIRED),
    Scene("access", (access(),), {"metadata"}),
    Scene("jwt and sign", (jwt, signature), {"metadata", "iam"}),
    Scene("another account", (token("billing"), access("billing")), {"metadata", "iam"}, OTHERS),
    Scene("quota project", (token(), jwt, access("billing")), ALL - {"certs"},
          "[upstream]\nquota-project = example-quota\n" + OTHERS),
    Scene("keyfile", (token(), access(), jwt), {"token-endpoint", "certs"}, REQUIRED, "keyfile"),
    Scene("user", (lambda agent: agent.get(
        "/v1/token?audience=123456789012-abcdefghijklmnopqrstuvwxyz012345"
        ".apps.googleusercontent.com"), access()),
        {"token-endpoint"}, "", "user"),
    Scene("impersonated by key", (token(), access()), {"iam", "token-endpoint"}, "",
          "impersonated by key"),
    Scene("impersonated by user", (token(), access()), {"iam", "token-endpoint"}, "",
          "impersonated by user"),
]


@pytest.fixture
def start(start_agent, emulator, place):
    emulator.set(accounts=[BILLING, TARGET])

    def start(scene, timing=""):
        if not scene.file:
            return start_agent(HURRY + timing + scene.config, RULES)
        path = write(place / "credentials.json", FILES[scene.file](emulator))
        upstream = emulator.agent_config().replace(f"metadata = {emulator.metadata}\n", "")
        return start_agent(HURRY + timing + f"[account default]\ncredentials = {path}\n" + scene.config,
                           RULES, upstream=upstream, prefix=ELSEWHERE)
    return start


def carried(emulator):
    """How many requests carried one, all of them as they should."""
    bearers = [text for text, what in emulator.secrets().items()
               if what in ("access token", "bearer")]
    count = 0
    for record in emulator.requests():
        shown = [f"{name}: {value}" for name, value in record["headers"]
                 if name.lower() in CREDENTIALS]
        rest = " ".join([record["target"], record["body"], *(
            value for name, value in record["headers"] if name.lower() not in CREDENTIALS)])
        if record["service"] == "iam":
            assert len(shown) == 1 and shown[0].startswith("Authorization: Bearer "), shown
            count += 1
        else:
            assert shown == [], (record["service"], record["target"])
            assert "x-goog-user-project" not in str(record["headers"]).lower(), record["target"]
        assert not [bearer for bearer in bearers if bearer in rest], record["target"]
    return count


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_bearer_is_seen_at_iam_and_nowhere_else(start, emulator, scene):
    agent = start(scene)
    for ask in scene.asks:
        wait_for(lambda: ask(agent).status == 200, "an answer")
    assert (carried(emulator) > 0) == ("iam" in scene.upstreams)
    asked = {record["service"] for record in emulator.requests()}
    assert scene.upstreams <= asked | {"certs"}


def seen_at(emulator, kind):
    """The services that were shown a secret of this kind."""
    secrets = [value for value, what in emulator.secrets().items() if what == kind]
    assert secrets, f"no {kind} was ever made"
    return {request["service"] for request in emulator.requests()
            if any(value in text for value in secrets for text in (
                request["target"], request["body"], *(v for _, v in request["headers"])))}


@pytest.mark.parametrize("flow", ["signblob metadata", "generate metadata"])
def test_each_secret_is_shown_to_whom_it_is_for_and_nobody_else(start, emulator, flow):
    agent = start(Scene("all", (), ALL, flows(flow) + REQUIRED + OTHERS))
    for account in ("default", "billing"):
        for target in (f"/v1/token?audience={AUDIENCE}&account={account}", f"{ROOT}{account}/token",
                       f"{ROOT}{account}/identity?audience={AUDIENCE}/2&format=full"):
            assert agent.get(target).status == 200, target
        assert ask_jwt(agent, {"aud": AUDIENCE}, f"?account={account}").status == 200
        assert ask_signature(agent, b"any bytes", f"?account={account}").status == 200
    assert agent.get("/computeMetadata/v1/?recursive=true").status == 200
    assert {request["service"] for request in emulator.requests()} >= {"metadata", "iam", "certs"}
    # Bearers are IAM's alone, assertions the token endpoint's, and ID tokens nobody's.
    assert carried(emulator) > 0
    assert seen_at(emulator, "assertion") == ({"token-endpoint"} if "signblob" in flow else set())
    assert seen_at(emulator, "ID token") == set()


@pytest.mark.parametrize("scene, upstream, to", [
    *((scene, upstream, "https") for scene in SCENES for upstream in sorted(scene.upstreams)),
    *((SCENES[0], upstream, "http") for upstream in sorted(ALL))], ids=str)
def test_bearer_follows_no_redirect(start, emulator, scene, upstream, to):
    with Listener() as listener:
        # Its certificate would do, and it would be let in.
        location = emulator.app + "/stolen" if to == "https" else f"http://{listener.address}/"
        emulator.fault(upstream, "redirect", status=307, location=location)
        agent = start(scene, "wait = 300ms\n")
        for ask in scene.asks:
            ask(agent)
        wait_for(lambda: emulator.faults()[0]["hits"] > 0, f"{upstream} is asked")
        carried(emulator)
        assert emulator.requests("app") == []
        assert listener.seen == []


@pytest.mark.parametrize("wrong", [
    {"service": "certs", "header": "Authorization"}, {"service": "token-endpoint", "header": "Cookie"},
    {"service": "metadata", "header": "X-Other"}], ids=lambda wrong: wrong["header"])
def test_bearer_elsewhere_would_be_seen(wrong):
    class Told:
        @staticmethod
        def secrets():
            return {"ya29.c.secret": "access token"}

        @staticmethod
        def requests():
            return [{"service": wrong["service"], "target": "/", "body": "",
                     "headers": [(wrong["header"], "Bearer ya29.c.secret")]}]

    with pytest.raises(AssertionError):
        carried(Told)
