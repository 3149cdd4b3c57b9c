# SPDX-License-Identifier: Apache-2.0
"""Who is asked upstream x what goes wrong there x what the agent has in its cache.

One line each: an upstream in UPSTREAMS, a fault in FAULTS; and where an upstream
answers a fault in words of its own, or means something else by it, in DIFFERENT."""

import dataclasses
import itertools

from steps import ACCESS, ACCOUNT, GENERATED, ID_TOKEN, IDENTITY, KEYS, SIGNATURE
from timing import GOOGLE_TRIES, METADATA_TRIES

EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
STATES = ("cold", "warm", "near")

# How the agent comes by its tokens: sections of its configuration.
SIGNBLOB = "[account default]\nflows = signblob\n"
VERIFIED = SIGNBLOB + "[cache]\nverify = required\n"
GENERATE = "[account default]\nflows = generate\n[cache]\nverify = required\n"
BOTH = "[account default]\nflows = signblob metadata\n[cache]\nverify = required\n"
METADATA = "[account default]\nflows = metadata\n"      # by plain HTTP: verified, too


@dataclasses.dataclass(frozen=True)
class Upstream:
    name: str
    service: str            # the emulator's name for it
    match: str              # what its requests contain
    step: str               # what steps.step() calls them
    tries: int              # of one request, in one flight
    tls: bool = True
    tokens: bool = False    # ID tokens come from here
    stubborn: bool = False  # asks again, on a schedule of its own, whatever comes
    lasts: bool = False     # whoever has a token does not depend on it any more
    early: bool = False     # asked at the agent's start, too, before anybody comes
    settings: tuple = ()    # of the emulator, so that each flight asks it
    way: str = SIGNBLOB     # the agent's
    states: tuple = STATES


ACCOUNT_UPSTREAM = Upstream(
    "metadata account", "metadata", "recursive=true", ACCOUNT, 25, tls=False, stubborn=True,
    lasts=True)
ACCESS_UPSTREAM = Upstream(
    "metadata token", "metadata", "/default/token", ACCESS, METADATA_TRIES, tls=False,
    settings=(("access_token_life", 200), ("refresh_at", 0)))
IDENTITY_UPSTREAM = Upstream(
    "metadata identity", "metadata", "/default/identity", IDENTITY, METADATA_TRIES, tls=False,
    tokens=True, way=METADATA)
SIGN_UPSTREAM = Upstream("signBlob", "iam", ":signBlob", SIGNATURE, GOOGLE_TRIES)
GENERATE_UPSTREAM = Upstream("generateIdToken", "iam", ":generateIdToken", GENERATED, GOOGLE_TRIES,
                             tokens=True, way=GENERATE)
TOKEN_UPSTREAM = Upstream("token endpoint", "token-endpoint", "/token", ID_TOKEN, GOOGLE_TRIES,
                          tokens=True, way=VERIFIED)
# Keys that are there are good until others come, also past their time ("near"); but
# Google has begun to sign with a key that nobody has seen yet ("unknown").
CERTS_UPSTREAM = Upstream("certs", "certs", "/certs", KEYS, GOOGLE_TRIES, lasts=True, early=True,
                          way=VERIFIED, states=(*STATES, "unknown"))

UPSTREAMS = (ACCOUNT_UPSTREAM, ACCESS_UPSTREAM, IDENTITY_UPSTREAM, SIGN_UPSTREAM, GENERATE_UPSTREAM,
             TOKEN_UPSTREAM, CERTS_UPSTREAM)

# Those that make no ID tokens: see test_signing.py.
BILLING = "billing@example-proj-123.iam.gserviceaccount.com"
ACCOUNT_PATH = "iam POST /v1/projects/-/serviceAccounts/"
SIGN_JWT_UPSTREAM = Upstream("signJwt", "iam", ":signJwt", f"{ACCOUNT_PATH}{EMAIL}:signJwt", GOOGLE_TRIES,
                             states=("cold",))
GENERATE_ACCESS_UPSTREAM = Upstream("generateAccessToken", "iam", ":generateAccessToken",
                                    f"{ACCOUNT_PATH}{BILLING}:generateAccessToken", GOOGLE_TRIES,
                                    states=("cold", "warm"))


@dataclasses.dataclass(frozen=True)
class Expect:
    """What a caller with an empty cache gets: a token, or this error."""

    code: str = None        # None: a token
    words: tuple = ()       # all of them in the error: what mends it
    asks: int = None        # how often the upstream is asked in one flight, at most


TOKEN = Expect()
DOWN = Expect("unavailable", asks=1)            # and asked once: another try would be the same
DOWN_TRIED = Expect("unavailable")              # as often as it may be
LATE = Expect("timeout")


def denied(*words, asks=1):
    return Expect("denied-by-google", words, asks)


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    kind: str               # the emulator's
    options: dict
    cold: Expect
    of: str = "all"         # "tokens", "tls", or an upstream, by its name or its service
    counted: bool = True    # the emulator can tell how often it struck


def status(number, **options):
    return {"status": number, **options}


def reason(name, **options):
    return {"reason": name, **options}


def api_error(number, name):
    """An error of the API's own that has no reason."""
    return status(number, body='{"error":{"code":%d,"message":"x","status":"%s"}}' % (number, name))


RETRY_LATER = {"Retry-After": "1"}

FAULTS = (
    Fault("refused", "refuse", {}, DOWN_TRIED, counted=False),
    Fault("hang", "hang", {}, LATE),
    Fault("reset", "reset", {}, DOWN_TRIED),
    Fault("400", "status", status(400), DOWN),
    Fault("401", "status", status(401), DOWN),
    Fault("403", "status", status(403), DOWN),
    Fault("404", "status", status(404), DOWN),
    Fault("429", "status", status(429, headers=RETRY_LATER), DOWN),
    Fault("500", "status", status(500), DOWN_TRIED),
    Fault("503-twice", "status", status(503, times=2), TOKEN),
    Fault("301", "redirect", status(301), DOWN),
    Fault("302", "redirect", status(302), DOWN),
    Fault("303", "redirect", status(303), DOWN),
    Fault("307", "redirect", status(307), DOWN),
    Fault("308", "redirect", status(308), DOWN),
    Fault("drip", "drip", {"interval": 0.01}, LATE),
    Fault("truncated", "truncate", {}, DOWN_TRIED),
    Fault("huge", "huge", {"megabytes": 4, "framing": "length"}, DOWN),
    Fault("huge-chunked", "huge", {"megabytes": 4, "framing": "chunked"}, DOWN),
    Fault("not-json", "not-json", {}, DOWN),
    Fault("wrong-type", "wrong-type", {}, DOWN),
    Fault("empty", "empty", {}, DOWN),

    Fault("aud", "claims", {"wrong": "aud"}, DOWN, of="tokens"),
    Fault("iss", "claims", {"wrong": "iss"}, DOWN, of="tokens"),
    Fault("no-email", "claims", {"wrong": "no-email"}, DOWN, of="tokens"),
    Fault("expired", "claims", {"wrong": "expired"}, DOWN, of="tokens"),
    Fault("not-yet-valid", "claims", {"wrong": "not-yet-valid"}, DOWN, of="tokens"),
    Fault("three-megabyte", "claims", {"wrong": "three-megabyte"}, DOWN, of="tokens"),
    Fault("wrong-signature", "wrong-signature", {}, DOWN, of="tokens"),
    Fault("alg-none", "alg-none", {}, DOWN, of="tokens"),

    # Where the server has just closed a connection, only another try tells.
    Fault("wrong-host", "tls", {"certificate": "wrong-host"}, DOWN_TRIED, of="tls"),
    Fault("expired-certificate", "tls", {"certificate": "expired"}, DOWN_TRIED, of="tls"),
    Fault("unknown-ca", "tls", {"certificate": "unknown-ca"}, DOWN_TRIED, of="tls"),

    Fault("403-front-end", "status", status(403), DOWN, of="iam"),
    Fault("404-front-end", "status", status(404), DOWN, of="iam"),
    Fault("403-scopes", "status", reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
          denied("gcloud compute instances set-service-account", "--scopes=cloud-platform"),
          of="iam"),
    Fault("403-api", "status", reason("SERVICE_DISABLED"),
          denied("gcloud services enable iamcredentials.googleapis.com --project=123456789012"),
          of="iam"),
    Fault("403-billing", "status", reason("BILLING_DISABLED"),
          denied("gcloud billing projects describe 123456789012"), of="iam"),
    Fault("401-account", "status", reason("ACCOUNT_STATE_INVALID"),
          denied(f"gcloud iam service-accounts enable {EMAIL}"), of="iam"),

    Fault("400-audience", "status", reason("scope"),
          denied("ask for the audience that the application expects"), of="token endpoint"),
    Fault("400-time", "status", reason("time"), Expect("unavailable", ("timedatectl status",), 2),
          of="token endpoint"),
    Fault("400-signature", "status", reason("signature"), Expect("unavailable", asks=2),
          of="token endpoint"),
    Fault("400-passing", "status", status(400, body='{"error":"internal_failure"}'), DOWN,
          of="token endpoint"),
    Fault("500-twice", "status", reason("internal_failure", times=2), TOKEN, of="token endpoint"),
)

# (upstream, fault) -> what is another than in FAULTS: options, and what is expected.
DIFFERENT = {
    # Until the caller has no more time it is looked for, and nothing else is known.
    ("metadata account", "hang"): ({}, DOWN_TRIED),
    ("metadata account", "drip"): ({"interval": 0.01}, DOWN_TRIED),
    ("metadata account", "404"): (reason("no-service-account"), Expect(
        "not-found", ("gcloud compute instances set-service-account",), 1)),
    ("metadata account", "429"): (status(429, headers=RETRY_LATER), Expect("unavailable", asks=2)),

    ("metadata token", "hang"): ({}, DOWN_TRIED),
    ("metadata token", "drip"): ({"interval": 0.01}, DOWN_TRIED),
    ("metadata token", "403"): (status(403), denied("--scopes=cloud-platform")),
    ("metadata token", "404"): (reason("no-service-account"), Expect(
        "not-found", ("gcloud compute instances set-service-account",), 1)),

    ("metadata identity", "hang"): ({}, DOWN_TRIED),
    ("metadata identity", "drip"): ({"interval": 0.01}, DOWN_TRIED),
    ("metadata identity", "400"): (status(400), denied(
        "ask for the audience that the application expects")),
    # Full tokens are denied, and then standard ones.
    ("metadata identity", "403"): (status(403), denied("curl -i -H Metadata-Flavor:Google", asks=2)),
    ("metadata identity", "404"): (reason("no-service-account"), Expect(
        "not-found", ("gcloud compute instances set-service-account",), 1)),

    ("token endpoint", "400"): (reason("account"), denied(
        f"gcloud iam service-accounts describe {EMAIL}")),
    ("token endpoint", "401"): (reason("unauthorized"), denied("unauthorized_client")),
}

# The same in all methods.
IAM_ANSWERS = {
    "400": (api_error(400, "INVALID_ARGUMENT"), denied("was not understood")),
    # The bearer is fetched anew, once.
    "401": (reason("ACCESS_TOKEN_EXPIRED"), Expect("unavailable", asks=2)),
    # It may have been throttling: asked once more.
    "403": (reason("IAM_PERMISSION_DENIED"), denied(
        f"gcloud iam service-accounts add-iam-policy-binding {EMAIL} "
        f"--member=serviceAccount:{EMAIL} --role=roles/iam.serviceAccountTokenCreator", asks=2)),
    "404": (reason("NOT_FOUND"), denied("gcloud iam service-accounts describe")),
    "429": (reason("RATE_LIMIT_EXCEEDED", headers=RETRY_LATER), DOWN),
    "503-twice": (reason("UNAVAILABLE", times=2), TOKEN),
}
DIFFERENT.update({(method, name): how for method in ("signBlob", "generateIdToken")
                  for name, how in IAM_ANSWERS.items()})

DIFFERENT.update({(method, name): how for method in ("signJwt", "generateAccessToken")
                  for name, how in IAM_ANSWERS.items()})
DIFFERENT["generateAccessToken", "403"] = (reason("IAM_PERMISSION_DENIED"), denied(
    f"gcloud iam service-accounts add-iam-policy-binding {BILLING} "
    f"--member=serviceAccount:{EMAIL} --role=roles/iam.serviceAccountTokenCreator", asks=2))


@dataclasses.dataclass(frozen=True)
class Case:
    upstream: Upstream
    fault: Fault
    state: str

    def __str__(self):
        return f"{self.fault.name}-{self.state}"

    @property
    def expect(self):
        return self.fault.cold

    @property
    def asks(self):
        """How often the upstream may be asked in one flight."""
        if self.expect.asks is None or (self.upstream.stubborn and self.expect == DOWN):
            return self.upstream.tries
        return self.expect.asks

    @property
    def waits(self):
        """Whether the answer comes when the caller's time is up, and no sooner."""
        return self.expect == LATE or (self.upstream.stubborn and self.expect.code == DOWN.code)

    @property
    def beside(self):
        """How often it may be asked but for a caller."""
        return self.asks if self.upstream.early and self.alone else 0

    @property
    def strikes(self):
        """Whether the fault is in the way of a caller who needs a new token."""
        return self.state in ("cold", "unknown") or not self.upstream.lasts

    @property
    def alone(self):
        """Whether it takes an agent that has never had an answer."""
        return self.state == "cold" and self.upstream.lasts


def concerns(fault, upstream):
    return fault.of in ("all", upstream.name, upstream.service) or (fault.of == "tokens" and upstream.tokens) or (
        fault.of == "tls" and upstream.tls)


def cases(upstream):
    for fault, state in itertools.product(FAULTS, upstream.states):
        if concerns(fault, upstream):
            options, expect = DIFFERENT.get((upstream.name, fault.name), (fault.options, fault.cold))
            yield Case(upstream, dataclasses.replace(fault, options=options, cold=expect), state)
