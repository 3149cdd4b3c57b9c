# SPDX-License-Identifier: Apache-2.0
"""Where Google publishes public keys: its own, and those of service accounts."""

import re
import urllib.parse

from google_api import GoogleService

ACCOUNT_KEYS = re.compile(
    r"/(?:service_accounts/v1/(?:metadata/)?(jwk|x509|raw)|robot/v1/metadata/(x509))/([^/]+)")


class Certificates(GoogleService):
    name = "certs"

    def handle(self, request):
        if request.method not in ("GET", "HEAD"):
            return self.method_not_allowed(request, "GET, HEAD")
        settings = self.world.settings
        if request.path == "/oauth2/v3/certs":
            return self._published({"keys": [key.jwk() for key in self.world.google_keys]},
                                   settings.certs_max_age, settings.certs_age)
        if request.path == "/oauth2/v1/certs":
            return self._published({key.kid: key.certificate("federated-signon.system.gserviceaccount.com")
                                    for key in self.world.google_keys},
                                   settings.certs_max_age, settings.certs_age)
        match = ACCOUNT_KEYS.fullmatch(request.path)
        account = match and self.world.find_account(urllib.parse.unquote(match[3]))
        if not account or settings.account_state == "deleted":
            return self.not_found(request)
        key = self.world.account_key(account)
        if match[1] == "jwk":
            return self._published({"keys": [key.jwk()]}, 900)
        return self._published({key.kid: key.certificate(account)}, 900)

    def _published(self, value, max_age, age=None):
        response = self.json(200, value)
        response.chunked = False
        response.headers = [pair for pair in response.headers if pair[0] != "Cache-Control"]
        response.headers.append(("Cache-Control", f"public, max-age={max_age}, must-revalidate, no-transform"))
        if age is not None:
            response.headers.append(("Age", str(age)))
        return response
