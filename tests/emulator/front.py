# SPDX-License-Identifier: Apache-2.0
"""Google under its own names, and those of another universe: one TLS listener for what clients reach by host name and
port 443.

Clients whose addresses cannot be configured are led here by an /etc/hosts of their own. Which service answers is
told by the request's Host, and for www.googleapis.com by its path; records and faults are those of that service.
"""

import dataclasses

import wire

UNIVERSE = "apis.example"       # another one; a machine is in it where the setting `universe` says so

NAMES = ("www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "iamcredentials.googleapis.com",
         "iam.googleapis.com", "app.example.com", f"iamcredentials.{UNIVERSE}", f"www.{UNIVERSE}")

# (host, path) -> (service, the path there); a path of None is any.
ROUTES = {
    ("iamcredentials.googleapis.com", None): ("iam", None),
    ("iam.googleapis.com", None): ("iam-v1", None),
    ("oauth2.googleapis.com", "/token"): ("token-endpoint", "/token"),
    ("www.googleapis.com", "/oauth2/v4/token"): ("token-endpoint", "/token"),
    ("accounts.google.com", "/o/oauth2/token"): ("token-endpoint", "/token"),
    ("www.googleapis.com", None): ("certs", None),
    ("app.example.com", None): ("app", None),
    # There is no token endpoint there.
    (f"iamcredentials.{UNIVERSE}", None): ("iam", None),
    (f"www.{UNIVERSE}", "/oauth2/v3/certs"): ("certs", None),
}


def route(request):
    """-> (name of the service, the request as it wants it); (None, request) where nobody is at home."""
    host = request.header("Host", "").removesuffix(":443")
    found = ROUTES.get((host, request.path)) or ROUTES.get((host, None))
    if not found:
        return None, request
    name, path = found
    if path and path != request.path:
        query = f"?{request.query}" if request.query else ""
        request.target, request.path = path + query, path
    return name, request


@dataclasses.dataclass
class Front:
    """exchanges: name of a service -> its exchange, as wire.Listener runs them."""

    exchanges: dict

    async def exchange(self, connection, request):
        name, request = route(request)
        if name:
            return await self.exchanges[name](connection, request)
        response = wire.Response(404, [("Content-Type", "text/html; charset=UTF-8")],
                                 wire.not_found_page(request.path))
        return await connection.send(request, response)

    @staticmethod
    def bad_request(error):
        return wire.Response(error.status, [("Content-Type", "text/html; charset=UTF-8")],
                             wire.html_error(error.status, str(error)))
