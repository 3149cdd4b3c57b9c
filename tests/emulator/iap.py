# SPDX-License-Identifier: Apache-2.0
"""An application behind Identity-Aware Proxy, both in one.

Modes: "today" wants the OAuth client id as audience of Google-issued tokens, and takes JWTs that the account
has signed itself for the resource's URL; "2018" wants scheme://host[:port] as audience.
"""

import hashlib
import html
import json
import re
import urllib.parse

import keys
import wire
from world import ISSUER

CREDENTIALS = ("authorization", "proxy-authorization")
MAX_LIFE = 3600


class Unauthorized(Exception):
    """IAP does not know who asks; the text is its answer's."""


class Forbidden(Exception):
    """IAP knows who asks (the argument), and that they may not."""


def without_credentials(headers):
    """Headers fit to keep or show: of a credential only its SHA-256."""
    return [(name, "sha256:" + hashlib.sha256(value.encode("latin-1")).hexdigest())
            if name.lower() in CREDENTIALS else (name, value) for name, value in headers]


class ProtectedApplication:
    name = "app"
    errors = ()

    def __init__(self, world):
        self._world = world

    # --- Identity-Aware Proxy

    async def answer(self, request):
        try:
            email, used = self._authenticate(request)
        except Unauthorized as refusal:
            return self._unauthorized(request, str(refusal))
        except Forbidden as refusal:
            return self._from_iap(403, (
                "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 403</title>\n"
                f"  <h1>You don't have access</h1>\n  <p>{html.escape(str(refusal))} is not among the members "
                "of this application's access list.\n"))
        return self._application(request, email, used)

    def _authenticate(self, request):
        """-> (email, name of the header that convinced us)."""
        # Proxy-Authorization leaves Authorization to the application.
        name = "Proxy-Authorization" if request.all("Proxy-Authorization") else "Authorization"
        credentials = request.all(name)
        match = re.fullmatch(r"Bearer +(\S+)", credentials[0], re.IGNORECASE) if len(credentials) == 1 else None
        if not match:
            raise Unauthorized("empty token")
        try:
            jwt = keys.Jwt(match[1])
        except (ValueError, RecursionError):
            raise Unauthorized("Unable to parse JWT") from None
        email = self._signer(jwt)
        claims, now = jwt.claims, self._world.now()
        if type(claims.get("exp")) is not int or claims["exp"] <= now:
            raise Unauthorized("Invalid bearer token. JWT is expired.")
        if type(claims.get("iat")) is not int or claims["iat"] > now + self._world.settings.skew_tolerance:
            raise Unauthorized("Invalid bearer token. JWT is not yet valid.")
        if email is None:
            self._check_audience(request, claims)
            email = claims.get("email")
            if not isinstance(email, str) or claims.get("email_verified") is not True:
                raise Unauthorized("Invalid bearer token. JWT has no verified email.")
        else:
            self._check_own_claims(request, claims)
        settings = self._world.settings
        members = settings.iap_members
        if email not in ([settings.email, settings.user_email] if members is None else members):
            raise Forbidden(email)
        return email, name

    def _signer(self, jwt):
        """The email of the account that signed it itself; None where Google did."""
        world = self._world
        issuer = jwt.claims.get("iss")
        if issuer in (ISSUER, ISSUER[len("https://"):]):
            # Google's own tokens always name their key.
            if any(jwt.header.get("kid") == key.kid and jwt.is_signed_by(key) for key in world.google_keys):
                return None
        elif issuer in world.known_accounts() and world.settings.account_state == "ok":
            key = world.account_key(issuer)
            if jwt.header.get("kid") == key.kid and jwt.is_signed_by(key):
                return issuer
        raise Unauthorized("JWT signature is invalid")

    def _check_audience(self, request, claims):
        settings = self._world.settings
        wanted = [settings.iap_client_id, *settings.iap_programmatic_clients]
        if settings.iap_mode == "2018":
            wanted = [f"https://{request.header('Host')}"]
        if claims.get("aud") not in wanted:
            raise Unauthorized("Invalid bearer token. Invalid JWT audience.")

    def _check_own_claims(self, request, claims):
        """A JWT signed by the account: exactly five claims, for this URL or for a wildcard that covers it."""
        wrong = Unauthorized("Invalid bearer token. Invalid JWT audience.")
        if self._world.settings.iap_mode == "2018":
            raise wrong
        if set(claims) != {"iss", "sub", "aud", "iat", "exp"} or claims["sub"] != claims["iss"]:
            raise Unauthorized("Invalid bearer token. Invalid JWT claims.")
        if claims["exp"] - claims["iat"] > MAX_LIFE:
            raise Unauthorized("Invalid bearer token. Invalid JWT lifetime.")
        audience, origin = claims["aud"], f"https://{request.header('Host')}/"
        url = origin + request.path[1:]
        if not isinstance(audience, str) or not audience.startswith(origin):
            raise wrong
        if audience != url and not (audience.endswith("/*") and url.startswith(audience[:-1])):
            raise wrong

    def _unauthorized(self, request, why):
        text = f"Invalid IAP credentials: {why}"
        if why == "empty token" and request.method == "GET" and "text/html" in request.header("Accept", ""):
            query = urllib.parse.urlencode({
                "client_id": self._world.settings.iap_client_id, "response_type": "code", "scope": "openid email",
                "redirect_uri": "https://iap.googleapis.com/v1/oauth/clientIds/"
                                f"{self._world.settings.iap_client_id}:handleRedirect",
                "code_challenge_method": "S256", "access_type": "offline"})
            return self._from_iap(302, text, [
                ("Location", f"https://accounts.google.com/o/oauth2/v2/auth?{query}"),
                ("Set-Cookie", "GCP_IAP_XSRF_NONCE_AAAAAAAAAAAAAAAAAAAAAA=1; path=/; Secure; HttpOnly")])
        return self._from_iap(401, text)

    def _from_iap(self, status, body, headers=()):
        return wire.Response(status, [*headers, ("X-Goog-IAP-Generated-Response", "true"),
                                      ("Content-Type", "text/html"), ("Date", self._world.date()),
                                      ("Server", "Google Frontend")], body)

    # --- the application

    def _application(self, request, email, used):
        if request.path == "/echo":
            # IAP takes its credential away; everything else reaches the application.
            headers = [pair for pair in request.headers if pair[0].lower() != used.lower()]
            return self._from_application(200, "application/json", json.dumps({
                "line": f"{request.method} {request.target} {request.version}", "method": request.method,
                "email": email, "headers": without_credentials(headers), "length": len(request.body),
                "body": request.body[:65536].decode("utf-8", "replace")}) + "\n")
        match = re.fullmatch(r"/status/([2-5][0-9][0-9])", request.path)
        if match:
            response = self._from_application(int(match[1]), "text/plain", f"The application says {match[1]}.\n")
            response.headers.append(("X-Application", "yes"))
            return response
        return self._from_application(
            200, "text/plain", f"Hello {email}, this page is protected by Identity-Aware Proxy.\n{request.path}\n")

    def _from_application(self, status, content_type, body):
        return wire.Response(status, [("Content-Type", content_type), ("Date", self._world.date()),
                                      ("Via", "1.1 google")], body)

    def plain_error(self, status, _request):
        return self._from_application(status, "text/plain", f"The application says {status}.\n")

    def bad_request(self, error):
        return self._from_iap(error.status, wire.html_error(error.status, str(error)))
