# SPDX-License-Identifier: Apache-2.0
"""An agent that says what a test wants it to say: for what the library must
make of answers that no agent of ours gives."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading


def answer(status=200, body=b"", code=None, **fields):
    """Bytes of a well-formed answer; max_age=9 becomes Max-Age: 9."""
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/1.1 {status} Words", "Content-Type: text/plain",
            f"Content-Length: {len(body)}", "Connection: close"]
    head += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items()]
    if code:
        head.append(f"Gce-Oidc-Error: {code}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def token(text, max_age=3000):
    return answer(200, text, Cache_Control=f"private, max-age={max_age}")


class FakeAgent:
    """Answers every request with reply(request) -> bytes, one a connection; or
    with an iterable of bytes, sent one by one.  hang: reads, says nothing."""

    HANG = object()

    def __init__(self, reply):
        self.reply = reply if callable(reply) else lambda request: reply
        self.requests = []
        self.dir = tempfile.mkdtemp(prefix="gof-", dir="/tmp")
        self.socket = os.path.join(self.dir, "agent.sock")
        self.done = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,),
                             daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            self.requests.append(request.decode())
            reply = self.reply(self.requests[-1])
            if reply is self.HANG:
                self.done.wait(60)
            elif isinstance(reply, bytes):
                connection.sendall(reply)
            else:
                for piece in reply:
                    connection.sendall(piece)

    def close(self):
        self.done.set()
        # close() alone does not wake accept()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
