# SPDX-License-Identifier: Apache-2.0
"""IAM Service Account Credentials API: signs as the account does, refuses as the API does."""

import base64
import json
import re
import time
import urllib.parse

import gullible
import keys
from google_api import GoogleService, Refusal
from world import CLOUD_PLATFORM, AccessToken

SERVICE = "iamcredentials.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam")
ACTIVATION = "https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project="
PATH = re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+)(?::([A-Za-z]+)|/(allowedLocations))")
DELEGATE = re.compile(r"projects/-/serviceAccounts/([^/]+)")
QUERY = ("alt", "$alt", "prettyPrint", "$prettyPrint", "fields", "key", "quotaUser")

# method -> (gRPC method, permission, {field: type})
METHODS = {
    "signBlob": ("SignBlob", "iam.serviceAccounts.signBlob",
                 {"payload": "TYPE_BYTES", "delegates": "repeated"}),
    "signJwt": ("SignJwt", "iam.serviceAccounts.signJwt",
                {"payload": "TYPE_STRING", "delegates": "repeated"}),
    "generateIdToken": ("GenerateIdToken", "iam.serviceAccounts.getOpenIdToken",
                        {"audience": "TYPE_STRING", "includeEmail": "TYPE_BOOL", "useEmailAzp": "TYPE_BOOL",
                         "organizationNumberIncluded": "TYPE_BOOL", "delegates": "repeated"}),
    "generateAccessToken": ("GenerateAccessToken", "iam.serviceAccounts.getAccessToken",
                            {"scope": "repeated", "lifetime": "TYPE_MESSAGE", "delegates": "repeated"}),
    "allowedLocations": ("GetAllowedLocations", "iam.serviceAccounts.get", {}),
}


# --- errors in google.rpc.Status


def rpc_error(code, status, message, *details):
    error = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Refusal(code, {"error": error})


def error_info(reason, domain, **metadata):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain,
            "metadata": metadata}


def invalid_argument(message, field=None):
    violation = {"field": field} if field else {}
    violation["description"] = message
    return rpc_error(400, "INVALID_ARGUMENT", message,
                     {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})


def method_name(request):
    match = PATH.fullmatch(request.path)
    method = match and (match[2] or match[3])
    return "google.iam.credentials.v1.IAMCredentials." + METHODS.get(method, METHODS["signBlob"])[0]


def permission(request):
    match = PATH.fullmatch(request.path)
    return METHODS.get(match and match[2], METHODS["signBlob"])[1]


def denied(_service, request):
    name = permission(request)
    return rpc_error(403, "PERMISSION_DENIED", f"Permission '{name}' denied on resource (or it may not exist).",
                     error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", permission=name))


def scope_insufficient(_service, request):
    return rpc_error(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.",
                     error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", service=SERVICE,
                                method=method_name(request)))


def service_disabled(service, _request):
    number = service.world.settings.project_number
    return rpc_error(
        403, "PERMISSION_DENIED",
        f"IAM Service Account Credentials API has not been used in project {number} before or it is disabled. "
        f"Enable it by visiting {ACTIVATION}{number} then retry. If you enabled this API recently, wait a few "
        f"minutes for the action to propagate to our systems and retry.",
        {"@type": "type.googleapis.com/google.rpc.Help",
         "links": [{"description": "Google developers console API activation", "url": f"{ACTIVATION}{number}"}]},
        error_info("SERVICE_DISABLED", "googleapis.com", service=SERVICE, consumer=f"projects/{number}"))


def unauthenticated(reason, message="Request had invalid authentication credentials."):
    """401; the account's own errors carry its email."""
    def build(service, request):
        metadata = {"service": SERVICE, "method": method_name(request)}
        if reason == "ACCOUNT_STATE_INVALID":
            metadata["email"] = service.world.settings.email
        return rpc_error(
            401, "UNAUTHENTICATED",
            message + " Expected OAuth 2 access token, login cookie or other valid authentication credential. "
            "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            error_info(reason, "googleapis.com", **metadata))
    return build


def consumer_error(reason, message):
    def build(service, _request):
        return rpc_error(403, "PERMISSION_DENIED", message,
                         error_info(reason, "googleapis.com", service=SERVICE,
                                    consumer=f"projects/{service.world.settings.project_number}"))
    return build


def rate_limited(service, _request):
    number = service.world.settings.project_number
    return rpc_error(
        429, "RESOURCE_EXHAUSTED",
        f"Quota exceeded for quota metric 'SIGN_METRIC' and limit 'SIGN_LIMIT per minute' of service '{SERVICE}' "
        f"for consumer 'project_number:{number}'.",
        error_info("RATE_LIMIT_EXCEEDED", "googleapis.com", service=SERVICE, consumer=f"projects/{number}",
                   quota_metric=f"{SERVICE}/SIGN_METRIC", quota_limit="SIGN_LIMIT"))


def gaia_not_found(_service, request):
    match = PATH.fullmatch(request.path)
    email = urllib.parse.unquote(match[1]) if match else "unknown"
    return rpc_error(404, "NOT_FOUND", f"Not found; Gaia id not found for email {email}")


class IamCredentials(GoogleService):
    name = "iam"
    errors = {
        "IAM_PERMISSION_DENIED": denied,
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT": scope_insufficient,
        "SERVICE_DISABLED": service_disabled,
        "ACCESS_TOKEN_EXPIRED": unauthenticated("ACCESS_TOKEN_EXPIRED"),
        "ACCESS_TOKEN_TYPE_UNSUPPORTED": unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        "ACCOUNT_STATE_INVALID": unauthenticated("ACCOUNT_STATE_INVALID"),
        "CREDENTIALS_MISSING": unauthenticated(
            "CREDENTIALS_MISSING", "Request is missing required authentication credential."),
        "BILLING_DISABLED": consumer_error("BILLING_DISABLED", "This API method requires billing to be enabled."),
        "CONSUMER_SUSPENDED": consumer_error("CONSUMER_SUSPENDED", "Permission denied: Consumer has been suspended."),
        "CONSUMER_INVALID": consumer_error("CONSUMER_INVALID", "Project is invalid."),
        "USER_PROJECT_DENIED": consumer_error(
            "USER_PROJECT_DENIED", "Caller does not have required permission to use project."),
        "SECURITY_POLICY_VIOLATED": consumer_error(
            "SECURITY_POLICY_VIOLATED", "Request is prohibited by organization's policy."),
        "RATE_LIMIT_EXCEEDED": rate_limited,
        "NOT_FOUND": gaia_not_found,
        "INTERNAL": lambda service, request: rpc_error(500, "INTERNAL", "Internal error encountered."),
        "UNAVAILABLE": lambda service, request: rpc_error(
            503, "UNAVAILABLE", "The service is currently unavailable."),
        "DEADLINE_EXCEEDED": lambda service, request: rpc_error(
            504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    }

    def refuse(self, reason, request):
        return self.errors[reason](self, request)

    def handle(self, request):
        match = PATH.fullmatch(request.path)
        method = match and (match[2] or match[3])
        if method not in METHODS:
            return self.not_found(request)
        if request.method != ("GET" if method == "allowedLocations" else "POST"):
            # The real one knows no such route either.
            return self.not_found(request)
        caller = self._authenticate(request)
        fields = self._fields(request, METHODS[method][2]) if request.method == "POST" else {}
        account = self.world.find_account(urllib.parse.unquote(match[1]))
        if account is None:
            raise self.refuse("NOT_FOUND", request)
        self._authorize(request, caller, fields.get("delegates", []), account)
        handler = {"signBlob": self._sign_blob, "signJwt": self._sign_jwt,
                   "generateIdToken": self._generate_id_token, "generateAccessToken": self._generate_access_token,
                   "allowedLocations": self._allowed_locations}[method]
        return self.json(200, handler(account, fields, request), request)

    # --- who asks

    def _authenticate(self, request):
        """In the API's order: credential, service, scope; only the body and IAM come later."""
        world = self.world
        credentials = request.all("Authorization")
        if not credentials:
            raise self.refuse("CREDENTIALS_MISSING", request)
        match = re.fullmatch(r"[Bb]earer ([A-Za-z0-9._~+/=-]+)", credentials[0])
        token = world.access_tokens.get(match[1]) if match and len(credentials) == 1 else None
        if token is None and match and world.settings.gullible:
            token = self._as_the_gullible_do(match[1])
        if token is None and match and match[1].count(".") == 2:
            token = self._self_signed(match[1])
        if token is None:
            raise self.refuse("ACCESS_TOKEN_TYPE_UNSUPPORTED", request)
        if token.revoked or token.expires <= world.now():
            raise self.refuse("ACCESS_TOKEN_EXPIRED", request)
        if world.settings.account_state != "ok":
            raise self.refuse("ACCOUNT_STATE_INVALID", request)
        if not world.settings.api_enabled:
            raise self.refuse("SERVICE_DISABLED", request)
        if not set(token.scopes) & set(SCOPES):
            raise self.refuse("ACCESS_TOKEN_SCOPE_INSUFFICIENT", request)
        return token

    def _self_signed(self, text):
        """A JWT that an account signed itself, in an access token's place (AIP-4111): by a key of a file, which it
        names; with a scope, and no audience."""
        world = self.world
        try:
            jwt = keys.Jwt(text)
        except (ValueError, RecursionError):
            return None
        claims, email = jwt.claims, jwt.claims.get("iss")
        signers = [key for key in world.keys_of(email) if key.kid == jwt.header.get("kid") and jwt.is_signed_by(key)] \
            if email in world.known_accounts() else []
        issued, expires = claims.get("iat"), claims.get("exp")
        if jwt.header.get("alg") != "RS256" or not signers or claims.get("sub") != email or "aud" in claims or \
                type(issued) is not int or type(expires) is not int or not isinstance(claims.get("scope"), str) or \
                not issued <= world.now() + world.settings.skew_tolerance or not 0 < expires - issued <= 3600:
            return None
        world.remember("bearer", text)
        return AccessToken(text, email, claims["scope"].split(), expires)

    def _as_the_gullible_do(self, text):
        """Any JWT that an account signed, as the most careless of Google's services might take them."""
        try:
            email = gullible.account_of(self.world, text)
        except (ValueError, RecursionError):
            return None
        return AccessToken(text, email, [CLOUD_PLATFORM], self.world.now() + 60)

    def _authorize(self, request, caller, delegates, account):
        """The caller on the first delegate, each on the next, the last on the account."""
        settings, member = self.world.settings, caller.email
        for delegate in delegates:
            match = DELEGATE.fullmatch(delegate)
            if not match:
                raise invalid_argument(f"Invalid delegate name: {delegate}", "delegates")
            if match[1] not in settings.delegates or not self._grants(member, match[1]):
                name = "iam.serviceAccounts.implicitDelegation"
                raise rpc_error(403, "PERMISSION_DENIED",
                                f"Permission '{name}' denied on resource (or it may not exist).",
                                error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", permission=name))
            member = match[1]
        known = caller.email in [*self.world.known_accounts(), settings.user_email]
        if not settings.role or not known or not self._grants(member, account):
            raise self.refuse("IAM_PERMISSION_DENIED", request)

    def _grants(self, member, account):
        grants = self.world.settings.grants
        return grants is None or member in grants.get(account, ())

    # --- proto3 JSON

    def _fields(self, request, types):
        for name, _ in request.parameters():
            if name not in QUERY:
                raise self._cannot_bind(name)
        if request.media_type() != "application/json":
            # Taken for a form, whose one key is the whole text.
            raise self._cannot_bind(request.body.decode("utf-8", "replace"))
        try:
            fields = json.loads(request.body.decode("utf-8"), object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError):
            raise invalid_argument("Invalid JSON payload received. Unexpected token.") from None
        if not isinstance(fields, dict):
            raise invalid_argument("Invalid JSON payload received. Root element must be a message.")
        for name in fields:
            if name not in types:
                raise invalid_argument(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
        return {name: _typed(name, types[name], value) for name, value in fields.items() if value is not None}

    @staticmethod
    def _cannot_bind(name):
        return invalid_argument(f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query '
                                f"parameter. Field '{name}' could not be found in request message.")

    # --- methods

    def _sign_blob(self, account, fields, _request):
        if not fields.get("payload"):
            raise invalid_argument("The payload field is required.", "payload")
        key = self.world.account_key(account)
        signature = base64.b64encode(key.sign(fields["payload"])).decode()
        # What is to be signed becomes an assertion, which its signature is a piece of.
        self.world.remember("assertion", fields["payload"].decode("latin-1"))
        self.world.remember("signature", signature)
        return {"keyId": key.kid, "signedBlob": signature}

    def _sign_jwt(self, account, fields, _request):
        try:
            claims = json.loads(fields.get("payload", ""))
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise invalid_argument("Invalid JWT claims set: the payload must be a JSON object.", "payload")
        if "exp" in claims:
            now, expiry = self.world.now(), claims["exp"]
            if type(expiry) is not int or not now < expiry <= now + 12 * 3600:
                raise invalid_argument("Invalid value for exp: an integer, not past, at most 12 hours ahead.",
                                       "payload")
        key = self.world.account_key(account)
        signed = keys.encode_jwt(key, claims)
        self.world.remember("assertion", signed)
        return {"keyId": key.kid, "signedJwt": signed}

    def _generate_id_token(self, account, fields, request):
        world = self.world
        if not fields.get("audience"):
            raise invalid_argument("The audience field is required.", "audience")
        azp = account if fields.get("useEmailAzp") else world.unique_id(account)
        claims = world.id_token_claims(fields["audience"], account, azp, with_email=fields.get("includeEmail", False))
        if fields.get("organizationNumberIncluded"):
            claims["google"] = {"organization_number": 987654321098}
        return {"token": world.sign_id_token(claims, request.fault)}

    def _generate_access_token(self, account, fields, _request):
        if not fields.get("scope"):
            raise invalid_argument("The scope field is required.", "scope")
        lifetime = fields.get("lifetime", 3600)
        if not 0 < lifetime <= 3600:
            raise invalid_argument("The lifetime must be greater than 0 and at most 3600s.", "lifetime")
        token = self.world.issue_access_token(account, fields["scope"], lifetime)
        return {"accessToken": token.value,
                "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires))}

    def _allowed_locations(self, _account, _fields, _request):
        return {"locations": [], "encodedLocations": "0x0"}


def _without_duplicates(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate name")
    return dict(pairs)


def _typed(name, kind, value):
    """One field as proto3 JSON reads it. Stricter in one thing: bytes in base64url are refused."""
    shown = json.dumps(value, ensure_ascii=False)
    wrong = invalid_argument(f"Invalid value at '{name}' ({kind}), {shown}", name)
    if kind == "repeated":
        if not isinstance(value, list) or not all(isinstance(element, str) for element in value):
            raise invalid_argument(f"Invalid value at '{name}' (TYPE_STRING), {shown}", name)
        return value
    if kind == "TYPE_BOOL":
        if value is not True and value is not False and value not in ("true", "false"):
            raise wrong
        return value in (True, "true")
    if not isinstance(value, str):
        raise wrong
    if kind == "TYPE_MESSAGE":          # google.protobuf.Duration
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s", value)
        if not match:
            raise wrong
        return float(match[1])
    if kind == "TYPE_BYTES":
        try:
            return keys.b64_decode(value)
        except ValueError:
            raise invalid_argument(
                f"Invalid value at '{name}' ({kind}), Base64 decoding failed for {shown}", name) from None
    return value
