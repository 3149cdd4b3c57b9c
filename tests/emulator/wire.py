# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 byte by byte: requests read strictly, responses written exactly as told."""

import asyncio
import html
import itertools
import re
import socket
import ssl
import struct
import sys
import traceback
import urllib.parse

REASONS = {
    200: "OK", 204: "No Content", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    411: "Length Required", 413: "Request Entity Too Large", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class ProtocolError(Exception):
    """The client does not speak HTTP as it should; the connection ends with this answer."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Request:
    def __init__(self, method, target, version, headers, body=b"", connection=None):
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers          # pairs, in the order and case they came
        self.body = body
        self.connection = connection
        self.fault = None               # the faults.Fault that has caught this request
        self.path, _, self.query = target.partition("?")

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def media_type(self):
        return self.header("Content-Type", "").partition(";")[0].strip().lower()

    def parameters(self):
        """The query as pairs, decoded; `+` is a space."""
        return urllib.parse.parse_qsl(self.query, keep_blank_values=True, encoding="utf-8", errors="replace")

    def wants_close(self):
        options = [word.strip().lower() for value in self.all("Connection") for word in value.split(",")]
        return "close" in options or (self.version == "HTTP/1.0" and "keep-alive" not in options)


class Response:
    """Headers are sent in this order. A Content-Length is added at the end unless the list has one."""

    def __init__(self, status, headers, body=b"", chunked=False):
        self.status = status
        self.headers = list(headers)
        self.body = body.encode() if isinstance(body, str) else body
        self.chunked = chunked
        self.reason = None              # the usual one of the status

    def has(self, name):
        return any(key.lower() == name.lower() for key, _ in self.headers)

    def replace_body(self, body):
        """Another body under the same headers, with the length that goes with it."""
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = [(key, str(len(self.body)) if key.lower() == "content-length" else value)
                        for key, value in self.headers]

    def head(self, version="HTTP/1.1", close=False):
        headers = list(self.headers)
        if self.chunked and version == "HTTP/1.1":
            headers.append(("Transfer-Encoding", "chunked"))
        elif not self.has("Content-Length") and self.status not in (204, 304):
            headers.append(("Content-Length", str(len(self.body))))
        if close:
            # The metadata server is known to write it with a capital in answers to HTTP/1.0.
            headers.append(("Connection", "Close" if version == "HTTP/1.0" else "close"))
        lines = [f"{version} {self.status} {self.reason or REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{key}: {value}" for key, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def encode(self, method="GET", version="HTTP/1.1", close=False):
        head = self.head(version, close)
        if method == "HEAD" or self.status in (204, 304):
            return head
        if self.chunked and version == "HTTP/1.1":
            # Two chunks at least, so that no reader gets away with reading only one.
            middle = len(self.body) // 2
            pieces = [piece for piece in (self.body[:middle], self.body[middle:]) if piece]
            return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return head + self.body


def html_error(status, text):
    """The page with the robot, as Google's front ends send it, without the robot."""
    title = f"{status} ({REASONS.get(status, 'Error')})"
    return (f"<!DOCTYPE html>\n<html lang=en>\n  <title>Error {title}!!1</title>\n"
            f"  <p><b>{status}.</b> <ins>That's an error.</ins>\n"
            f"  <p>{text} <ins>That's all we know.</ins>\n")


def not_found_page(path):
    return html_error(404, f"The requested URL <code>{html.escape(path)}</code> was not found on this server.")


# --- reading


def parse_head(head):
    """Everything up to and including the empty line -> Request without a body."""
    lines = head.decode("latin-1").split("\r\n")
    if any("\n" in line or "\r" in line or "\0" in line for line in lines):
        raise ProtocolError(400, "stray control character in the head")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]):
        raise ProtocolError(400, "malformed request line")
    method, target, version = parts
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise ProtocolError(505, f"version {version}")
    if not target.startswith("/") or not target.isascii() or not target.isprintable():
        raise ProtocolError(400, "malformed target")
    headers = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name):
            raise ProtocolError(400, "malformed header line")
        headers.append((name, value.strip(" \t")))
    request = Request(method, target, version, headers)
    if len(request.all("Host")) > 1 or (version == "HTTP/1.1" and not request.header("Host")):
        raise ProtocolError(400, "exactly one Host is required")
    return request


async def read_request(reader, writer):
    """The next request, or None where the client has left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ProtocolError(400, "the head ends early") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise ProtocolError(431, "the head is too large") from error
    request = parse_head(head)
    lengths, encodings = request.all("Content-Length"), request.all("Transfer-Encoding")
    if (lengths and encodings) or len(lengths) > 1 or len(encodings) > 1:
        raise ProtocolError(400, "ambiguous framing")
    if (lengths or encodings) and request.header("Expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if encodings:
        if encodings[0].lower() != "chunked":
            raise ProtocolError(501, "unknown transfer encoding")
        request.body = await _read_chunks(reader)
    elif lengths:
        if not re.fullmatch(r"[0-9]{1,10}", lengths[0]):
            raise ProtocolError(400, "malformed Content-Length")
        if int(lengths[0]) > MAX_BODY:
            raise ProtocolError(413, "the body is too large")
        request.body = await reader.readexactly(int(lengths[0]))
    elif request.method in ("POST", "PUT", "PATCH"):
        raise ProtocolError(411, f"{request.method} requests require a <code>Content-length</code> header.")
    return request


async def _read_chunks(reader):
    body = bytearray()
    while True:
        size = (await reader.readuntil(b"\r\n")).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            raise ProtocolError(400, "malformed chunk")
        length = int(size, 16)
        if len(body) + length > MAX_BODY:
            raise ProtocolError(413, "the body is too large")
        if length == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass                    # trailers
            return bytes(body)
        body += await reader.readexactly(length)
        if await reader.readexactly(2) != b"\r\n":
            raise ProtocolError(400, "malformed chunk")


# --- serving


class Connection:
    numbers = itertools.count(1)

    def __init__(self, reader, writer):
        self.number = next(self.numbers)
        self.reader = reader
        self.writer = writer
        self.idle = True
        self.closing = False

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, request, response):
        self.closing = self.closing or request.wants_close()
        await self.write(response.encode(request.method, request.version, self.closing))

    def reset(self):
        """Ends with a TCP RST, not with a FIN."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None:             # the other side has not left
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self):
        self.closing = True
        self.writer.transport.abort()


class Listener:
    """One service on one port. `exchange` is a coroutine: (connection, request) -> None."""

    def __init__(self, name, exchange, on_bad_request, contexts=None):
        self.name = name
        self.accepted = 0               # connections ready for a request: with TLS, after the handshake
        self.handshakes = 0             # TLS handshakes begun, however they ended
        self._exchange = exchange
        self._on_bad_request = on_bad_request
        self._contexts = contexts
        self._next_certificate = lambda: "right"
        self._socket = None
        self._server = None
        self._address = None
        self._connections = set()

    @property
    def port(self):
        return self._address[1]

    @property
    def open_connections(self):
        return len(self._connections)

    async def start(self, address="127.0.0.1", port=0, next_certificate=None):
        self._next_certificate = next_certificate or self._next_certificate
        self._bind((address, port))
        await self.reopen()

    async def reopen(self):
        if self._server is None:
            context = self._contexts and self._with_choice_of_certificate()
            self._server = await asyncio.start_server(self._serve, sock=self._socket, ssl=context,
                                                      limit=MAX_HEAD, backlog=1024)

    def refuse(self):
        """Connections are refused from now on, and those there are end."""
        if self._server is not None:
            self._server.close()
            self._server = None
            # Bound but not listening: refused, and the port stays ours.
            self._bind(self._address)
        self.drop_connections()

    def drop_connections(self, only_idle=False):
        for connection in list(self._connections):
            if connection.idle or not only_idle:
                connection.abort()

    def stop(self):
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        self.drop_connections()

    def _bind(self, address):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        self._address = self._socket.getsockname()[:2]

    def _with_choice_of_certificate(self):
        def choose(tls, _server_name, _context):
            self.handshakes += 1
            tls.context = self._contexts[self._next_certificate()]

        context = self._contexts["right"]
        context.sni_callback = choose
        return context

    async def _serve(self, reader, writer):
        connection = Connection(reader, writer)
        self.accepted += 1
        self._connections.add(connection)
        try:
            while not connection.closing:
                await self._serve_one(connection)
        except (OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
            pass                        # the client has left, or the emulator stops
        except Exception:
            # A bug in the emulator: say so where the test's output goes.
            traceback.print_exc(file=sys.stderr)
            connection.abort()
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _serve_one(self, connection):
        try:
            connection.idle = True
            request = await read_request(connection.reader, connection.writer)
        except ProtocolError as error:
            connection.closing = True
            await connection.write(self._on_bad_request(error).encode(close=True))
            return
        connection.idle = False
        if request is None:
            connection.closing = True
            return
        request.connection = connection
        await self._exchange(connection, request)
