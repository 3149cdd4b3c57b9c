# SPDX-License-Identifier: Apache-2.0
"""Finds pieces of secrets in what a program has put out.

Any 16 bytes of a secret count, as they are or in base64, base64url, hex or
percent form, wherever in the encoded text they came to stand."""

import base64
import binascii
import urllib.parse

PIECE = 16              # bytes
# Characters of base64 that stand for whole 6-bit groups of any 16 bytes: 128 bits
# less 4 at the worst.
BASE64_PIECE = 20


def signature_of(secret):
    """The bytes behind a JWT's last dot, or of a signature in base64."""
    if secret.count(b".") == 1:
        return b""              # not signed yet; what it claims is no secret
    text = secret.rpartition(b".")[2].replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""


def in_base64(raw):
    """As it stands in the base64 of texts that hold it, by what is in front; without
    the first and last groups, which depend on the neighbours."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        whole = encoded[(before * 8 + 5) // 6:(before + len(raw)) * 8 // 6]
        yield whole
        yield whole.replace(b"+", b"-").replace(b"/", b"_")


class Index:
    """Texts, of which any `size` bytes in a row are to be found.  Every second half
    of such a piece is remembered, and what stands around is compared."""

    def __init__(self, size):
        self._size = size
        self._part = size // 2 + 1
        self._places = {}       # part -> [(text, place in it, what)]

    def add(self, text, what):
        for i in range(0, len(text) - self._part + 1, self._size - self._part + 1):
            self._places.setdefault(text[i:i + self._part], []).append((text, i, what))

    def find(self, output):
        """(what, the piece) for each."""
        for at in range(len(output) - self._part + 1):
            for text, i, what in self._places.get(output[at:at + self._part], ()):
                first, last = 0, self._part
                while first < min(i, at) and text[i - first - 1] == output[at - first - 1]:
                    first += 1
                while (i + last < len(text) and at + last < len(output)
                       and text[i + last] == output[at + last]):
                    last += 1
                if first + last >= self._size:
                    yield what, output[at - first:at + last]


class Leaks:
    """What has been issued so far, and where it must not be."""

    def __init__(self, secrets=()):
        self._known = set()
        self._plain, self._hex = Index(PIECE), Index(2 * PIECE)
        self._base64 = Index(BASE64_PIECE)
        self.add(secrets)

    def add(self, secrets):
        """{text: what it is}; those that are known already cost nothing."""
        for text in set(secrets) - self._known:
            secret = text.encode("latin-1")
            for raw in {secret, signature_of(secret)}:
                self._plain.add(raw, secrets[text])
                self._hex.add(raw.hex().encode(), secrets[text])
                for encoded in set(in_base64(raw)):
                    self._base64.add(encoded, secrets[text])
        self._known |= set(secrets)

    def find(self, output):
        """What of it is in these bytes: a set of (what, form, the piece)."""
        unquoted = urllib.parse.unquote_to_bytes(output)
        looks = [("plain", output, self._plain), ("base64", output, self._base64),
                 ("hex", output.lower(), self._hex)]
        if unquoted != output:
            looks += [("percent", unquoted, self._plain),
                      ("base64, percent", unquoted, self._base64)]
        return {(what, form, piece) for form, text, index in looks
                for what, piece in index.find(text)}

    def check(self, **outputs):
        """AssertionError names each output that holds a piece, but not the piece
        whole: reports are output, too."""
        wrong = sorted({f"{name}: {what}, {form}: {piece[:6]!r}..."
                        for name, output in outputs.items()
                        for what, form, piece in self.find(output)})
        assert not wrong, "; ".join(wrong[:10])
