# SPDX-License-Identifier: Apache-2.0
"""HTTP spoken byte by byte, for what no well-behaved client would send."""

import contextlib
import select

FLAVOR = ("Metadata-Flavor", "Google")
ACCESS_FACE = "/computeMetadata/v1/instance/service-accounts/default/token"
TOKEN = "/v1/token?audience=https://app.example.com"


def request(target=TOKEN, *fields, method="GET", version="HTTP/1.1",
            host="localhost", flavor=True, body=None):
    """Bytes of a request that is well-formed where the caller is."""
    lines = [f"{method} {target} {version}"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += ["Metadata-Flavor: Google"] if flavor else []
    lines += fields
    lines += [f"Content-Length: {len(body)}"] if body is not None else []
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


class Answer:
    def __init__(self, head, body):
        line, *fields = head.decode("latin-1").split("\r\n")
        self.version, status, self.reason = line.split(" ", 2)
        self.status = int(status)
        self.fields = [tuple(field.split(": ", 1)) for field in fields]
        self.body = body

    def __getitem__(self, name):
        """The value of a field that is there once, named exactly; or None."""
        values = [v for n, v in self.fields if n == name]
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    @property
    def names(self):
        return sorted(name for name, _ in self.fields)

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:200]!r}>"


class Wire:
    """A connected socket: bytes out, answers in."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, data):
        # An agent that has answered and closed takes no more.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def ask(self, *args, **kwargs):
        self.send(request(*args, **kwargs))
        return self.answer(kwargs.get("method") == "HEAD")

    def more(self):
        piece = self.sock.recv(65536)
        self.buffer += piece
        return bool(piece)

    def answer(self, head_only=False):
        """The next answer; exactly its bytes are taken."""
        while b"\r\n\r\n" not in self.buffer:
            assert self.more(), f"closed before an answer: {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        answer = Answer(head, b"")
        length = 0 if head_only else int(answer["Content-Length"])
        while len(self.buffer) < length:
            assert self.more(), f"closed within an answer: {self.buffer!r}"
        answer.body, self.buffer = self.buffer[:length], self.buffer[length:]
        return answer

    def rest(self):
        """What comes until the agent closes; a reset is an error."""
        while self.more():
            pass
        return self.buffer

    def refused(self, status):
        """The answer, and that it is the last thing said."""
        answer = self.answer()
        assert answer.status == status, answer
        assert answer["Connection"] == "close"
        assert answer["Metadata-Flavor"] == "Google"
        assert self.rest() == b""
        return answer

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()


def wire(agent):
    return Wire(agent.connect())


def answered(wires):
    """Those that have something to read."""
    poll = select.poll()
    for it in wires:
        poll.register(it.sock, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(0)}
    return [it for it in wires if it.sock.fileno() in ready]
