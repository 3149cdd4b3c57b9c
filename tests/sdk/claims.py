# SPDX-License-Identifier: Apache-2.0
"""What a client was handed, checked by the emulator's keys and not by the client."""

import base64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "https://app.example.com"


def check_id_token(emulator, token, audience=AUDIENCE):
    claims = emulator.verify(token, audience)
    assert claims["email"] == emulator.email and claims["email_verified"] is True
    return claims


def check_signature(emulator, text, signature):
    """Of these bytes, by the account's key, in base64."""
    (key,) = emulator.keys()["account"]["keys"]
    e, n = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "=="), "big") for name in "en")
    rsa.RSAPublicNumbers(e, n).public_key().verify(
        base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
