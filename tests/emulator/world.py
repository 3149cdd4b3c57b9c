# SPDX-License-Identifier: Apache-2.0
"""What the emulated Google knows: settings, clock, keys, issued tokens, faults and records."""

import asyncio
import collections
import copy
import dataclasses
import hashlib
import secrets
import time
from typing import Optional

import keys
from places import PLACES

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
ISSUER = "https://accounts.google.com"
MAX_SECRETS, MAX_SECRET = 10_000, 8192  # some tokens have megabytes, to be refused


@dataclasses.dataclass
class Settings:
    """What POST /set changes. Lists and objects are replaced as a whole."""

    # The machine
    place: str = "gce"                      # or another one of places.PLACES
    annotated: bool = True                  # on GKE: the pod's Kubernetes service account, with `email`
    email: str = "app-sa@example-proj-123.iam.gserviceaccount.com"
    unique_id: str = "113456789012345678901"
    service_account: bool = True
    scopes: list = dataclasses.field(default_factory=lambda: [CLOUD_PLATFORM])
    project: str = "example-proj-123"
    project_number: int = 123456789012
    zone: str = "us-central1-a"
    instance_id: int = 5775171277418378000
    instance_name: str = "vm-1"
    instance_created: int = 1767139200
    attributes: dict = dataclasses.field(default_factory=dict)
    project_attributes: dict = dataclasses.field(default_factory=dict)
    licenses: list = dataclasses.field(default_factory=lambda: ["1000204"])
    universe: Optional[str] = "googleapis.com"  # in another one there is no token endpoint
    issuer: str = ISSUER                    # of ID tokens
    flavor: bool = True                     # whether the metadata server's answers carry Metadata-Flavor
    email_in_standard: bool = False         # whether format=standard tokens carry the email

    # Time, in seconds
    clock_offset: float = 0.0               # of all of Google from this machine
    metadata_date_offset: float = 0.0       # and of the metadata server's Date from that
    id_token_life: int = 3600
    access_token_life: int = 3600
    refresh_at: int = 300                   # the metadata server renews its access token with this much life left
    skew_tolerance: int = 300               # the token endpoint's, for an `iat` in the future

    # What is allowed
    role: bool = True                       # Service Account Token Creator, the account on itself
    api_enabled: bool = True
    account_state: str = "ok"               # or "disabled", "deleted"
    accounts: list = dataclasses.field(default_factory=list)    # others the caller may speak for
    delegates: list = dataclasses.field(
        default_factory=lambda: ["hop-sa@example-proj-123.iam.gserviceaccount.com"])
    grants: Optional[dict] = None           # account -> emails of its Token Creators; None: all of all above
    token_audiences: list = dataclasses.field(
        default_factory=lambda: ["https://oauth2.googleapis.com/token"])

    gullible: bool = False                  # see gullible.py: as bearer, and as assertion at the token endpoint

    # A person's desktop client
    user_email: str = "user@example.com"
    user_client_id: str = "123456789012-desktopclient.apps.googleusercontent.com"
    user_client_secret: str = "EXAMPLE-CLIENT-SECRET"
    user_refresh_token: str = "EXAMPLE/REFRESH-TOKEN"
    user_scopes: list = dataclasses.field(
        default_factory=lambda: ["openid", "https://www.googleapis.com/auth/userinfo.email", CLOUD_PLATFORM])
    user_state: str = "ok"                  # or "revoked", "rapt_required", "invalid_rapt"

    # The application behind Identity-Aware Proxy
    iap_mode: str = "today"                 # or "2018"
    iap_client_id: str = "123456789012-abcdefghijklmnopqrstuvwxyz012345.apps.googleusercontent.com"
    iap_programmatic_clients: list = dataclasses.field(default_factory=list)
    iap_members: Optional[list] = None      # emails; None: the account and the person above

    # Published keys
    certs_max_age: int = 21600
    certs_age: int = 120


CHOICES = {"place": tuple(PLACES), "account_state": ("ok", "disabled", "deleted"), "iap_mode": ("today", "2018"),
           "user_state": ("ok", "revoked", "rapt_required", "invalid_rapt")}
MAY_BE_NULL = ("universe", "iap_members", "grants")


@dataclasses.dataclass
class AccessToken:
    value: str
    email: str
    scopes: list
    expires: float
    revoked: bool = False


class World:
    def __init__(self, initial_settings):
        self._initial = initial_settings
        self.settings = copy.deepcopy(initial_settings)
        self._key_of = {}
        self._file_keys = {}                        # email -> keys handed out as files, by kid
        self.account_key(initial_settings.email)
        self.google_keys = [keys.SigningKey()]      # the first one signs, all are published
        self._old_keys = collections.deque()        # Google's, no longer published
        self.access_tokens = {}
        self.secrets = {}                           # value -> what it is: see remember()
        self._current_access_token = None
        self.faults = []
        self.records = collections.deque(maxlen=200_000)
        self._recorded = 0
        self.changed = asyncio.Event()

    def reset(self):
        """Back to the start, but for keys and for tokens already issued."""
        self.records.clear()
        self.lift_faults()
        self.change(dataclasses.asdict(self._initial))

    # --- settings and clock

    def change(self, changes):
        """ValueError names the first change that cannot be made; then none is."""
        for name, value in changes.items():
            self._check(name, value)
        for name, value in changes.items():
            setattr(self.settings, name, copy.deepcopy(value))
        if {"scopes", "email", "access_token_life", "refresh_at"} & changes.keys():
            self._current_access_token = None
        # Long polls hold the old event; whoever comes next waits for the new one.
        self.changed.set()
        self.changed = asyncio.Event()

    def _check(self, name, value):
        if not hasattr(self._initial, name):
            raise ValueError(f"no setting {name!r}")
        if value is None and name in MAY_BE_NULL:
            return
        kinds = {"universe": str, "iap_members": list, "grants": dict, "clock_offset": (int, float),
                 "metadata_date_offset": (int, float)}
        kind = kinds.get(name, type(getattr(self._initial, name)))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{name}: wrong type")
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"{name}: one of {', '.join(CHOICES[name])}")

    def universe(self):
        return self.settings.universe or "googleapis.com"

    def now(self):
        return time.time() + self.settings.clock_offset

    def date(self, offset=0):
        """Now, as in a Date header. Not by strftime: the names are English in every locale."""
        t = time.gmtime(self.now() + offset)
        day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[t.tm_wday]
        month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[t.tm_mon - 1]
        return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"

    # --- accounts and keys

    def account_key(self, email):
        if email not in self._key_of:
            self._key_of[email] = keys.SigningKey()
        return self._key_of[email]

    def keys_of(self, email):
        """All keys that sign for an account: Google's own for it, and those in files."""
        return [self.account_key(email), *self._file_keys.get(email, {}).values()]

    def make_file_key(self, email):
        """What the console downloads for it."""
        key = keys.SigningKey()
        self._file_keys.setdefault(email, {})[key.kid] = key
        # What stands around it is the same in all keys.
        self.remember("private key", "".join(key.pem().splitlines()[2:-1]))
        return {
            "type": "service_account", "project_id": self.settings.project, "private_key_id": key.kid,
            "private_key": key.pem(), "client_email": email, "client_id": self.unique_id(email),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": f"https://oauth2.{self.universe()}/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{email}",
            "universe_domain": self.universe(),
        }

    def delete_file_key(self, email, kid):
        del self._file_keys[email][kid]

    def unique_id(self, email):
        if email == self.settings.email:
            return self.settings.unique_id
        digits = int.from_bytes(hashlib.sha256(email.encode()).digest(), "big") % 10**20
        return f"1{digits:020}"

    def known_accounts(self):
        settings = self.settings
        own = [settings.email] if settings.service_account else []
        return own + settings.accounts + settings.delegates

    def find_account(self, name):
        """By email or unique id; None where nobody is called so."""
        for email in self.known_accounts():
            if name in (email, self.unique_id(email)):
                return email
        return None

    def rotate(self, which, keep_old, make=True):
        """New keys. Google's old ones stay published if `keep_old`. Without `make` Google signs with the one that has
        been out of use for longest, where there are two: making keys takes a while."""
        if which == "google":
            key = self._old_keys.popleft() if not make and len(self._old_keys) > 1 else keys.SigningKey()
            self._old_keys += [] if keep_old else self.google_keys
            self.google_keys = [key] + (self.google_keys if keep_old else [])
        else:
            del self._key_of[self.settings.email]
            self.account_key(self.settings.email)

    # --- tokens

    def remember(self, kind, value):
        """Whatever grants access, or is a piece of what does: issued or received, GET /secrets lists it, so that
        tests can look for it where it must not be."""
        if value:
            self.secrets.setdefault(value[:MAX_SECRET], kind)
        while len(self.secrets) > MAX_SECRETS:
            del self.secrets[next(iter(self.secrets))]

    def issue_access_token(self, email, scopes, life):
        token = AccessToken("ya29.c." + secrets.token_urlsafe(150), email, list(scopes), self.now() + life)
        self.access_tokens[token.value] = token
        self.remember("access token", token.value)
        return token

    def machine_access_token(self):
        """The one the metadata server gives to everybody until it has but little life left."""
        token = self._current_access_token
        if token is None or token.expires - self.now() <= self.settings.refresh_at:
            token = self.issue_access_token(self.settings.email, self.settings.scopes,
                                            self.settings.access_token_life)
            self._current_access_token = token
        return token

    def revoke_access_tokens(self, renew):
        """With `renew` the metadata server has a new one; without, it goes on with the dead one."""
        for token in self.access_tokens.values():
            token.revoked = True
        if renew:
            self._current_access_token = None

    def id_token_claims(self, audience, email, azp, with_email=True):
        now = int(self.now())
        claims = {"aud": audience, "azp": azp, "exp": now + self.settings.id_token_life, "iat": now,
                  "iss": self.settings.issuer, "sub": self.unique_id(email)}
        if with_email:
            claims.update(email=email, email_verified=True)
        return claims

    def sign_id_token(self, claims, fault=None):
        """By Google's key, claims in alphabetical order as Google has them."""
        if fault is not None:
            claims = fault.spoil_claims(claims)
        claims = dict(sorted(claims.items()))
        if fault is not None and fault.kind == "alg-none":
            token = keys.encode_unsigned_jwt(claims)
        else:
            token = keys.encode_jwt(self.google_keys[0], claims)
        if fault is not None and fault.kind == "wrong-signature":
            token = keys.spoil_signature(token)
        self.remember("ID token", token)
        return token

    # --- faults and records

    def take_fault(self, service, request):
        for fault in self.faults:
            if fault.catches(service, f"{request.method} {request.target}"):
                return fault
        return None

    def take_certificate(self, service):
        """Which certificate the next TLS handshake of this service is to show."""
        for fault in self.faults:
            if fault.kind == "tls" and fault.catches_handshake(service):
                return fault.options["certificate"]
        return "right"

    def lift_faults(self, only=lambda fault: True):
        for fault in [fault for fault in self.faults if only(fault)]:
            self.faults.remove(fault)
            fault.lifted.set()

    def record(self, service, request, headers):
        self._recorded += 1
        entry = {
            "number": self._recorded, "service": service, "method": request.method, "target": request.target,
            "version": request.version, "headers": headers,
            "body": request.body[:65536].decode("utf-8", "replace"), "length": len(request.body),
            "time": self.now(), "connection": request.connection.number,
            "status": None,             # of the answer, once an orderly one has gone out
        }
        self.records.append(entry)
        return entry
