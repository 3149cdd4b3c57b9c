# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: each kind is one small coroutine that spoils one exchange.

A fault catches requests of one service whose "METHOD target" contains `match`, lets the first `after` of them
pass, then spoils `times` of them (for ever where not given), each `seconds` late. Earlier faults go first.
"""

import asyncio
import base64
import dataclasses
import json
import re
import urllib.parse

import wire


@dataclasses.dataclass
class Exchange:
    """One request on its way to an answer."""

    service: object
    request: wire.Request
    connection: wire.Connection
    record: dict

    async def normal(self):
        return await self.service.answer(self.request)

    async def send(self, response):
        self.record["status"] = response.status
        await self.connection.send(self.request, response)


class Fault:
    COMMON = ("service", "kind", "match", "times", "after", "seconds")

    def __init__(self, number, world, description):
        """ValueError says what is wrong with the description."""
        self.number = number
        self._world = world
        self.kind = description.get("kind")
        if self.kind not in KINDS:
            raise ValueError(f"kind: one of {', '.join(KINDS)}")
        self.options = {key: value for key, value in description.items() if key not in self.COMMON}
        for key in self.options:
            if key not in KINDS[self.kind].options:
                raise ValueError(f"{self.kind} has no option {key!r}")
        for key in KINDS[self.kind].needs:
            if key not in description:
                raise ValueError(f"{self.kind} needs {key!r}")
        self.service = description["service"]
        self.match = description.get("match", "")
        self.times = description.get("times")
        self.seconds = description.get("seconds", 0)
        self.hits = 0
        self.lifted = asyncio.Event()
        self._to_pass = description.get("after", 0)

    def describe(self):
        return {"id": self.number, "service": self.service, "kind": self.kind, "match": self.match,
                "times": self.times, "seconds": self.seconds, "hits": self.hits, **self.options}

    def catches(self, service, line):
        """Counts: to be asked once for each request."""
        if self.kind in ("tls", "refuse") or service != self.service or self.match not in line:
            return False
        return self._count()

    def catches_handshake(self, service):
        return service == self.service and self._count()

    def _count(self):
        if self._to_pass > 0:
            self._to_pass -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    async def perform(self, exchange):
        exchange.request.fault = self
        if self.seconds:
            await asyncio.sleep(self.seconds)
        await KINDS[self.kind].perform(self, exchange)
        if exchange.request.wants_close():
            exchange.connection.closing = True

    def spoil_claims(self, claims):
        """What the `claims` fault makes of an ID token's claims."""
        if self.kind != "claims":
            return claims
        spoilt = {**claims, **WRONG_CLAIMS[self.options.get("wrong", "nothing")](claims, self._world.now()),
                  **self.options.get("claims", {})}
        return {key: value for key, value in spoilt.items() if value is not None}


# What POST /fault {"kind": "claims", "wrong": NAME} puts in place; null takes a claim away.
WRONG_CLAIMS = {
    "nothing": lambda claims, now: {},
    "aud": lambda claims, now: {"aud": "https://somebody-else.example.com"},
    "aud-array": lambda claims, now: {"aud": [claims["aud"]]},
    "iss": lambda claims, now: {"iss": "https://accounts.example.com"},
    "no-email": lambda claims, now: {"email": None, "email_verified": None},
    "email": lambda claims, now: {"email": "somebody-else@example-proj-123.iam.gserviceaccount.com"},
    "email-unverified": lambda claims, now: {"email_verified": False},
    "expired": lambda claims, now: {"iat": int(now) - 7200, "exp": int(now) - 3600},
    "not-yet-valid": lambda claims, now: {"iat": int(now) + 7200, "exp": int(now) + 10800},
    "no-exp": lambda claims, now: {"exp": None},
    "life": lambda claims, now: {"exp": int(now) + 10 * 365 * 86400},
    "three-megabyte": lambda claims, now: {"padding": "x" * (3 << 20)},
}


# --- the kinds


async def status(fault, exchange):
    """An answer of this status; `reason` names one of the service's own errors."""
    options = fault.options
    service, request = exchange.service, exchange.request
    if "reason" in options:
        response = service.error(options["reason"], request)
        response.status = options.get("status", response.status)
    else:
        response = service.plain_error(options.get("status", 500), request)
    if "content_type" in options:
        response.headers = [(key, options["content_type"] if key.lower() == "content-type" else value)
                            for key, value in response.headers]
    if "body" in options:
        response.replace_body(options["body"])
    response.headers += list(options.get("headers", {}).items())
    await exchange.send(response)


async def delay(_fault, exchange):
    """The normal answer, `seconds` late."""
    await exchange.send(await exchange.normal())


async def hang(fault, exchange):
    """No answer until the fault is lifted; then the normal one, for whoever still waits."""
    await fault.lifted.wait()
    await exchange.send(await exchange.normal())


async def reset(fault, exchange):
    """TCP RST, in the middle of the body or, with where=before, instead of an answer."""
    if fault.options.get("where", "body") == "body":
        data = whole(await exchange.normal())
        await exchange.connection.write(data[:-1])
        # TLS and the kernel pass on at their leisure what a reset would throw away.
        await asyncio.sleep(0.05)
    exchange.connection.reset()


async def close(_fault, exchange):
    """The connection ends without an answer."""
    exchange.connection.closing = True


async def hang_up(_fault, exchange):
    """The normal answer promises keep-alive; then the connection ends all the same."""
    await exchange.send(await exchange.normal())
    exchange.connection.closing = True


async def truncate(_fault, exchange):
    """Content-Length promises all, half of the body comes, then an orderly end."""
    response = await exchange.normal()
    data = whole(response)
    await exchange.connection.write(data[:len(data) - (len(response.body) + 1) // 2])
    exchange.connection.closing = True


async def drip(fault, exchange):
    """The normal answer byte by byte, `interval` seconds apart."""
    response = await exchange.normal()
    for byte in response.encode(exchange.request.method):
        await exchange.connection.write(bytes([byte]))
        await asyncio.sleep(fault.options.get("interval", 0.01))


async def garbage(fault, exchange):
    """Bytes that are not HTTP."""
    text = fault.options.get("text", "\x16\x03\x01 220 mail.example.com ESMTP\r\n\r\n\0\xff")
    await exchange.connection.write(text.encode("latin-1"))
    exchange.connection.closing = True


async def not_json(fault, exchange):
    """The headers of a good answer over a body that JSON parsers refuse."""
    response = await exchange.normal()
    response.replace_body(fault.options.get("body", '{"id_token": "abc", <html>'))
    await exchange.send(response)


async def wrong_type(fault, exchange):
    """JSON whose members have other types than they should, or the JSON given as `value`."""
    response = await exchange.normal()
    if "value" in fault.options:
        value = fault.options["value"]
    else:
        try:
            value = with_other_types(json.loads(response.body))
        except ValueError:
            value = [1, 2, 3]
    response.replace_body(json.dumps(value))
    await exchange.send(response)


async def empty(_fault, exchange):
    """A good status and no body."""
    response = await exchange.normal()
    response.replace_body(b"")
    await exchange.send(response)


async def huge(fault, exchange):
    """A JSON string of `megabytes`, framed by "length" or "chunked" (`framing`)."""
    megabytes = fault.options.get("megabytes", 64)
    chunked = fault.options.get("framing", "length") == "chunked"
    response = await exchange.normal()
    response.replace_body(b"")
    response.chunked = chunked
    response.headers = [pair for pair in response.headers if pair[0].lower() != "content-length"]
    pieces = [b'{"padding":"'] + [b"a" * (1 << 20)] * megabytes + [b'"}']
    if not chunked:
        response.headers.append(("Content-Length", str(sum(map(len, pieces)))))
    await exchange.connection.write(response.head())
    for piece in pieces:
        await exchange.connection.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        await exchange.connection.write(b"0\r\n\r\n")


async def redirect(fault, exchange):
    """301 to 308, to `location`."""
    response = exchange.service.plain_error(fault.options.get("status", 302), exchange.request)
    response.headers.insert(0, ("Location", fault.options["location"]))
    await exchange.send(response)


# What an echo begins with, since readers cut: what the request's headers, its body or its good answer hold.
ECHO_FIRST = ("headers", "body", "answer")
ECHO_FORMS = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "middle": lambda text: text[20:],       # no beginning to know it by
}


async def echo(fault, exchange):
    """An error that shows all that the server knows, wherever an answer has room: reason phrase, headers, and a
    body of the service's own kind or, with page=true, a page. `code` takes the place of its error code."""
    options, request = fault.options, exchange.request
    good = await exchange.normal()
    shown = {"headers": " ".join(request.all("Authorization")).removeprefix("Bearer "),
             "body": "".join(member for member in strings_of(request.body)),
             "answer": "".join(member for member in strings_of(good.body))}
    first = options.get("first", ECHO_FIRST[0])
    text = " ".join([shown.pop(first), *shown.values(), request.target]).strip()
    text = ECHO_FORMS[options.get("form", "plain")](text)
    line = "".join(char if 0x20 <= ord(char) < 0x7f else "?" for char in text)[:1000]
    response = wire.Response(options.get("status", 500), [
        ("Metadata-Flavor", "Google"), ("Date", line), ("Retry-After", line), ("ETag", line), ("Server", line),
        ("Cache-Control", f"max-age={line}"), ("Age", line), ("WWW-Authenticate", f'Bearer error="{line}"'),
        ("Content-Type", "text/html" if options.get("page") else "application/json")])
    response.reason = line
    response.replace_body(f"<p>{text}\n" if options.get("page") else
                          json.dumps(error_with(exchange.service.name, response.status, text,
                                                options.get("code", text))))
    await exchange.send(response)


def strings_of(body):
    """The long words in a form, a JSON text or a plain one: what is worth stealing first."""
    return sorted(re.findall(r"[A-Za-z0-9._+/=-]{40,}", urllib.parse.unquote(body.decode("latin-1"))),
                  key=len, reverse=True)


def error_with(service, status, text, code):
    if service != "iam":
        return {"error": code, "error_description": text}
    return {"error": {"code": status, "message": text, "status": text, "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": text,
         "metadata": {"consumer": f"projects/{text}", "permission": text, "quota_metric": text, "service": text,
                      "email": text}}]}}


def whole(response):
    """Head and body framed by Content-Length, so that a reader knows what is missing."""
    response.chunked = False
    return response.encode()


def with_other_types(value):
    if isinstance(value, dict):
        return {key: with_other_types(member) for key, member in value.items()}
    if isinstance(value, str):
        return 1
    return str(value)


@dataclasses.dataclass
class Kind:
    perform: object
    options: tuple = ()
    needs: tuple = ()


KINDS = {
    "status": Kind(status, ("status", "reason", "body", "headers", "content_type")),
    "delay": Kind(delay, needs=("seconds",)),
    "hang": Kind(hang),
    "reset": Kind(reset, ("where",)),
    "close": Kind(close),
    "hang-up": Kind(hang_up),
    "truncate": Kind(truncate),
    "drip": Kind(drip, ("interval",)),
    "garbage": Kind(garbage, ("text",)),
    "not-json": Kind(not_json, ("body",)),
    "wrong-type": Kind(wrong_type, ("value",)),
    "empty": Kind(empty),
    "huge": Kind(huge, ("megabytes", "framing")),
    "echo": Kind(echo, ("status", "first", "form", "code", "page")),
    "redirect": Kind(redirect, ("status", "location"), needs=("location",)),
    # These three spoil the ID tokens made while the request is answered.
    "claims": Kind(delay, ("wrong", "claims")),
    "wrong-signature": Kind(delay),
    "alg-none": Kind(delay),
    # These two spoil connections, not requests: see Listener.
    "tls": Kind(None, ("certificate",), needs=("certificate",)),
    "refuse": Kind(None),
}
