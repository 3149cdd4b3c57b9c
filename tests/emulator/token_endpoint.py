# SPDX-License-Identifier: Apache-2.0
"""Google's OAuth 2.0 token endpoint: believes only assertions it has verified."""

import re
import urllib.parse

import gullible
import keys
from google_api import GoogleService, Refusal
from world import CLOUD_PLATFORM

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_LIFE = 3600

PARAMETERS = {
    JWT_BEARER: ("grant_type", "assertion"),
    "refresh_token": ("grant_type", "client_id", "client_secret", "refresh_token", "audience",
                      "target_audience", "scope"),
}


def oauth_error(error, description, status=400):
    return Refusal(status, {"error": error, "error_description": description})


def project_of(client_id):
    """The number in front of an OAuth client's id; None where it is none."""
    match = re.fullmatch(r"([0-9]+)-[a-z0-9]+\.apps\.googleusercontent\.com", client_id)
    return match and match[1]


def always(error, description, status=400):
    return lambda service, request: oauth_error(error, description, status)


def reauth(subtype):
    return lambda service, request: Refusal(400, {
        "error": "invalid_grant", "error_description": f"reauth related error ({subtype})", "error_subtype": subtype,
        "error_uri": "https://support.google.com/a/answer/9368756"})


class TokenEndpoint(GoogleService):
    name = "token-endpoint"
    json_type = "application/json; charset=utf-8"
    server = None
    errors = {
        "time": always("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
                       "reasonable timeframe. Check your iat and exp values in the JWT claim."),
        "signature": always("invalid_grant", "Invalid JWT Signature."),
        "audience": always("invalid_grant", "Invalid JWT: Failed audience check."),
        "account": always("invalid_grant", "Invalid grant: account not found"),
        "scope": always("invalid_scope", "Invalid OAuth scope or ID token audience provided."),
        "malformed": always("invalid_request", "Bad Request"),
        "unauthorized": always("unauthorized_client", "Client is unauthorized to retrieve access tokens using this "
                               "method, or client not authorized for any of the scopes requested.", 401),
        "client": always("invalid_client", "The OAuth client was not found.", 401),
        "revoked": always("invalid_grant", "Token has been expired or revoked."),
        "rapt_required": reauth("rapt_required"),
        "invalid_rapt": reauth("invalid_rapt"),
        "project": always("invalid_audience", "The audience client and the client need to be in the same project."),
        "internal_failure": always("internal_failure", "Backend Error", 500),
        "temporarily_unavailable": always("temporarily_unavailable", "Please try again later.", 503),
    }

    def refuse(self, reason):
        return self.errors[reason](self, None)

    def handle(self, request):
        if request.path != "/token" or self.world.universe() != "googleapis.com":
            return self.not_found(request)
        if request.method != "POST":
            return self.method_not_allowed(request, "POST")
        form = self._form(request)
        grant = form.get("grant_type", "")
        if grant not in PARAMETERS:
            raise oauth_error("unsupported_grant_type", f"Invalid grant_type: {grant}")
        for name in form:
            if name not in PARAMETERS[grant]:
                raise oauth_error("invalid_request", f"Parameter not allowed for this message type: {name}")
        answer = self._jwt_bearer(form, request) if grant == JWT_BEARER else self._refresh(form, request)
        return self.json(200, answer, request)

    def _form(self, request):
        if request.all("Authorization") or request.query:
            raise self.refuse("malformed")
        if request.media_type() != "application/x-www-form-urlencoded":
            raise self.refuse("malformed")
        try:
            pairs = urllib.parse.parse_qsl(request.body.decode("ascii"), keep_blank_values=True,
                                           strict_parsing=True, errors="strict")
        except ValueError:
            raise self.refuse("malformed") from None
        for name, _ in pairs:
            if len([other for other, _ in pairs if other == name]) > 1:
                raise oauth_error("invalid_request", f"OAuth 2 parameters can only have a single value: {name}")
        form = dict(pairs)
        for name in ("assertion", "client_secret", "refresh_token"):
            self.world.remember(name.replace("_", " "), form.get(name))
        return form

    # --- an account's assertion

    def _jwt_bearer(self, form, request):
        world = self.world
        email, claims = self._verify(form.get("assertion", ""))
        if "target_audience" in claims:
            audience = claims["target_audience"]
            if not isinstance(audience, str) or not audience:
                raise self.refuse("scope")
            granted = world.id_token_claims(audience, email, azp=email)
            return {"id_token": world.sign_id_token(granted, request.fault)}
        scopes = claims.get("scope")
        if not isinstance(scopes, str) or not scopes.split():
            raise self.refuse("scope")
        life = world.settings.access_token_life
        token = world.issue_access_token(email, scopes.split(), life)
        return {"access_token": token.value, "expires_in": life, "scope": scopes, "token_type": "Bearer"}

    def _verify(self, assertion):
        """The account that really made this assertion, and what it claims."""
        world = self.world
        if not assertion:
            raise oauth_error("invalid_request", "Missing required parameter: assertion")
        if world.settings.gullible:
            try:
                return gullible.account_of(world, assertion), {"scope": CLOUD_PLATFORM}
            except (ValueError, RecursionError):
                raise self.refuse("malformed") from None
        try:
            jwt = keys.Jwt(assertion, padded=True)
        except (ValueError, RecursionError):
            raise self.refuse("malformed") from None
        if jwt.header.get("alg") != "RS256" or jwt.header.get("typ", "JWT") != "JWT":
            raise self.refuse("malformed")
        claims = jwt.claims
        issuer = claims.get("iss")
        if issuer not in world.known_accounts() or world.settings.account_state != "ok":
            raise self.refuse("account")
        # A kid, where there is one, says which of its keys it is.
        if not any(jwt.is_signed_by(key) for key in world.keys_of(issuer)):
            raise self.refuse("signature")
        if claims.get("aud") not in world.settings.token_audiences:
            raise self.refuse("audience")
        if claims.get("sub", issuer) != issuer:
            raise self.refuse("unauthorized")
        issued, expires = claims.get("iat"), claims.get("exp")
        if type(issued) is not int or type(expires) is not int:
            raise self.refuse("time")
        now = world.now()
        if not (issued <= now + world.settings.skew_tolerance and issued < expires <= issued + MAX_LIFE
                and now < expires):
            raise self.refuse("time")
        return issuer, claims

    # --- a person's refresh token

    def _refresh(self, form, request):
        world, settings = self.world, self.world.settings
        if (form.get("client_id"), form.get("client_secret")) != (settings.user_client_id,
                                                                  settings.user_client_secret):
            raise self.refuse("client")
        if form.get("refresh_token") != settings.user_refresh_token:
            raise self.refuse("revoked")
        if settings.user_state != "ok":
            raise self.refuse(settings.user_state)
        audience = form.get("audience") or form.get("target_audience")
        if audience:
            if project_of(audience) != project_of(settings.user_client_id):
                raise self.refuse("project")
            claims = world.id_token_claims(audience, settings.user_email, azp=settings.user_client_id)
            claims.update(sub="107000000000000000001", hd=settings.user_email.partition("@")[2])
            return {"id_token": world.sign_id_token(claims, request.fault)}
        scopes = form.get("scope", " ".join(settings.user_scopes))
        life = settings.access_token_life
        token = world.issue_access_token(settings.user_email, scopes.split(), life)
        return {"access_token": token.value, "expires_in": life, "scope": scopes, "token_type": "Bearer"}
