# SPDX-License-Identifier: Apache-2.0
"""Starts the emulator as a child process and steers it. For tests and for the demo."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "emulator.py")

# No proxy stands between a test and its own machine, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EmulatorError(Exception):
    """The emulator did not start, or refused what it was told."""


class Emulator:
    """The addresses in the line the emulator prints are attributes: `metadata`, `token_endpoint`, `ca_file`, ..."""

    def __init__(self, *options, prefix=(), start_timeout=120):
        """`options` go to the program; `prefix` goes before it, such as ("ip", "netns", "exec", NAME)."""
        self._directory = tempfile.mkdtemp(prefix="gce-oidc-emulator.")
        # The agent under test may be another user; there is nothing here but the authority's certificate.
        os.chmod(self._directory, 0o755)
        # Its standard input ends with us, however we end: so the emulator never outlives the test.
        self._process = subprocess.Popen(
            [*prefix, sys.executable, PROGRAM, "--stdin", f"--dir={self._directory}", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._addresses = json.loads(self._first_line(start_timeout))
        except BaseException:
            self.stop()
            raise
        for name, value in self._addresses.items():
            setattr(self, name.replace("-", "_"), value)

    def _first_line(self, timeout):
        """One line from a pipe, with a deadline; read by bytes, for nothing may be left in a buffer of ours."""
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise EmulatorError("the emulator did not start" if ready else "the emulator starts too slowly")
            line += data
        return line

    @property
    def pid(self):
        return self._process.pid

    # --- steering

    def requests(self, service=None):
        return self._call("GET", "/requests" + (f"?service={service}" if service else ""))

    def counts(self):
        return self._call("GET", "/counts")

    def fault(self, service, kind, **options):
        """-> the fault's id, for `unfault`."""
        return self._call("POST", "/fault", {"service": service, "kind": kind, **options})["id"]

    def faults(self):
        return self._call("GET", "/faults")

    def unfault(self, **which):
        self._call("POST", "/unfault", which)

    def set(self, **settings):
        return self._call("POST", "/set", settings)

    def reset(self):
        self._call("POST", "/reset")

    def rotate(self, which="google", keep_old=True, make=True):
        return self._call("POST", "/rotate", {"which": which, "keep_old": keep_old, "make": make})

    def key_file(self, email=None):
        """A service_account file for the account, with a key of its own."""
        return self._call("POST", "/key", {"email": email or self.email})

    def delete_key(self, kid, email=None):
        self._call("POST", "/delete-key", {"email": email or self.email, "kid": kid})

    def revoke(self, renew=True):
        self._call("POST", "/revoke", {"renew": renew})

    def mint(self, key="google", **claims):
        """An ID token for the application, with these claims instead of the usual; None takes one away."""
        return self._call("POST", "/mint", {"key": key, "claims": claims})["token"]

    def secrets(self):
        """{value: what it is} of all that grants access, issued or received since the start."""
        return self._call("GET", "/secrets")

    def keys(self):
        return self._call("GET", "/keys")

    def verify(self, token, audience):
        """The claims of an ID token that Google signed for this audience; AssertionError where it did not."""
        return verify(token, audience, self.keys()["google"]["keys"])

    def agent_config(self):
        """The agent's [upstream] section that leads it here."""
        return ("[upstream]\n"
                f"metadata = {self.metadata}\n"
                f"iam = {self.iam}\n"
                f"token-endpoint = {self.token_endpoint}\n"
                f"certs = {self.certs}\n"
                f"ca-file = {self.ca_file}\n"
                "test-endpoints = yes\n")

    def _call(self, method, path, value=None):
        body = json.dumps(value if value is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.control + path, data=body, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with _opener.open(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise EmulatorError(error.read().decode()) from None

    # --- the end

    def stop(self):
        process = self._process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdin.close()
        process.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.stop()


def verify(token, audience, jwks):
    """Checks RS256 by one of these keys, and the audience; returns the claims."""
    # Not at the top: who only steers the emulator needs nothing but the standard library.
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    def decode(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    head, body, signature = token.split(".")
    header, claims = json.loads(decode(head)), json.loads(decode(body))
    assert header["alg"] == "RS256", header
    (key,) = [key for key in jwks if key["kid"] == header["kid"]]
    numbers = rsa.RSAPublicNumbers(int.from_bytes(decode(key["e"]), "big"), int.from_bytes(decode(key["n"]), "big"))
    numbers.public_key().verify(decode(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert claims["aud"] == audience, claims
    return claims
