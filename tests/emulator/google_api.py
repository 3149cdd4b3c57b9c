# SPDX-License-Identifier: Apache-2.0
"""What Google's HTTPS services have in common: pretty-printed JSON in chunks, and pages for what is not there."""

import json

import wire

JSON = "application/json; charset=UTF-8"


class Refusal(Exception):
    """Ends a request with this answer."""

    def __init__(self, status, value):
        super().__init__(status)
        self.status = status
        self.value = value


class GoogleService:
    name = None
    json_type = JSON
    server = ("Server", "ESF")
    errors = {}             # reason -> function of the request -> Refusal

    def __init__(self, world):
        self.world = world

    def json(self, status, value, request=None, headers=()):
        pretty = request is None or dict(request.parameters()).get("prettyPrint") != "false"
        text = json.dumps(value, indent=2, ensure_ascii=False) if pretty else \
            json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return wire.Response(status, [("Content-Type", self.json_type), *self._common(), *headers,
                                      ("Cache-Control", "private")], text + "\n", chunked=True)

    def page(self, status, text):
        return wire.Response(status, [("Content-Type", "text/html; charset=UTF-8"),
                                      ("Referrer-Policy", "no-referrer"), *self._common()],
                             wire.html_error(status, text))

    def _common(self):
        return [("Date", self.world.date())] + ([self.server] if self.server else [])

    def not_found(self, request):
        return wire.Response(404, [("Content-Type", "text/html; charset=UTF-8"), *self._common()],
                             wire.not_found_page(request.path))

    def method_not_allowed(self, request, allow):
        response = self.page(405, f"The request method <code>{request.method}</code> is inappropriate "
                                  f"for the URL <code>{request.path}</code>.")
        response.headers.append(("Allow", allow))
        return response

    def plain_error(self, status, _request):
        """A front end's failure: HTML, no JSON."""
        return self.page(status, "The server encountered an error and could not complete your request.")

    def error(self, reason, request):
        refusal = self.errors[reason](self, request)
        return self.json(refusal.status, refusal.value, request)

    def bad_request(self, error):
        return self.page(error.status, str(error))

    async def answer(self, request):
        try:
            return self.handle(request)
        except Refusal as refusal:
            return self.json(refusal.status, refusal.value, request)

    def handle(self, request):
        raise NotImplementedError
