# SPDX-License-Identifier: Apache-2.0
"""What the agent has asked upstream, in the words of the flow, and a Google that
answers in a test's time."""

import collections
import contextlib
import socket
import threading

from conftest import wait_for

ACCOUNT, ACCESS, SIGNATURE, ID_TOKEN = "account", "access token", "signature", "ID token"
IDENTITY, KEYS, GENERATED = "identity", "keys", "generated ID token"
UNIVERSE = "universe"
COLD = {SIGNATURE: 1, ID_TOKEN: 1}
FIRST = {ACCOUNT: 1, ACCESS: 1, **COLD}

# The one flow that makes of every refusal an answer.
SIGNBLOB = """
[account default]
flows = signblob
"""

# Pauses between tries at 1:1000, and no limit on what one peer may ask.
HURRY = """
[upstream]
requests-per-minute = 1000000
[limits]
peer-share = 100%
requests-per-second = 10000
[timing]
denial-doubt = 20ms
certs-early = 0
certs-retry = 1ms
metadata-backoff = 1ms
metadata-backoff-max = 2ms
google-backoff = 1ms
google-backoff-max = 2ms
discover = 2ms
discover-max = 20ms
boot-grace = 0
"""
FAST = SIGNBLOB + HURRY


def step(record):
    path, _, query = record["target"].partition("?")
    if record["service"] == "metadata" and path.endswith("/default/") and "recursive=true" in query:
        return ACCOUNT
    if record["service"] == "metadata" and path.endswith("/default/token"):
        return ACCESS
    if record["service"] == "metadata" and path.endswith("/default/identity"):
        return IDENTITY
    if record["service"] == "metadata" and path.endswith("/universe/universe-domain"):
        return UNIVERSE
    if record["service"] == "certs" and path == "/oauth2/v3/certs":
        return KEYS
    if record["service"] == "iam" and path.endswith(":signBlob"):
        return SIGNATURE
    if record["service"] == "iam" and path.endswith(":generateIdToken"):
        return GENERATED
    if record["service"] == "token-endpoint":
        return ID_TOKEN
    return f"{record['service']} {record['method']} {path}"


def steps(emulator, keys=False, universe=False):
    """How often each step was asked for since the last reset; anything else is
    there under its own name, so that equality means nothing else.  Google's keys,
    which are fetched beside, and the universe, which each agent asks for once at its
    start, count only where asked for."""
    count = collections.Counter(map(step, emulator.requests()))
    if not keys:
        count.pop(KEYS, None)
    if not universe:
        count.pop(UNIVERSE, None)
    return dict(count)


def warm_up(agent, emulator, audience="https://warm-up.example.com"):
    """From here on account and access token are there, and nothing is recorded."""
    # Again: the test may have made waits so short that the first is in vain.
    wait_for(lambda: agent.token(audience).status == 200, "a first token")
    emulator.reset()


def spoil(how, emulator):
    """What a flow by IAM may meet; any other word is no trouble of Google's."""
    if how == "no account":
        emulator.set(service_account=False)
    elif how == "role":
        emulator.set(role=False)
    elif how == "down":
        emulator.fault("iam", "status", status=503)
    elif how == "hang":
        emulator.fault("iam", "hang")


class Listener:
    """A place to which nothing may come: it records every connection's first
    bytes, and answers 200 with a body that is no token."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.seen = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            # Whoever is stopped meanwhile, or gives up, is no end of this.
            with peer, contextlib.suppress(ConnectionError):
                self.seen.append(peer.recv(65536))
                peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                             b"Metadata-Flavor: Google\r\nContent-Length: 2\r\n\r\n{}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        # Closing alone does not wake a thread up.
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()
