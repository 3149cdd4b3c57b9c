# SPDX-License-Identifier: Apache-2.0
"""Keys, JSON Web Tokens and the test certificate authority."""

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import re
import ssl

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_decode(text):
    """Base64url without padding, as JWTs have it; anything else is a ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64_decode(text):
    """Standard base64 with its padding; anything else is a ValueError."""
    return base64.b64decode(text, validate=True)


def compact_json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class SigningKey:
    """An RSA key that signs as Google and its service accounts do: RSASSA-PKCS1-v1_5, SHA-256."""

    def __init__(self):
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER,
                                        serialization.PublicFormat.SubjectPublicKeyInfo)
        self.kid = hashlib.sha1(der).hexdigest()
        self._certificates = {}

    def sign(self, data):
        return self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def verifies(self, signature, data):
        try:
            self._public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return True
        except InvalidSignature:
            return False

    def jwk(self):
        n = self._public.public_numbers().n
        return {"alg": "RS256", "e": "AQAB", "kid": self.kid, "kty": "RSA",
                "n": b64url(n.to_bytes((n.bit_length() + 7) // 8, "big")), "use": "sig"}

    def pem(self):
        """The private key as key files have it: PKCS#8."""
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()).decode()

    def certificate(self, common_name):
        """The key as a self-signed X.509 certificate in PEM, the older form of publication."""
        if common_name not in self._certificates:
            # A common name has room for 64 characters; Google cuts longer account names too.
            name = _name(common_name[:64])
            builder = _builder(name, name, self._public, -1, 16)
            self._certificates[common_name] = _pem(builder.sign(self._private, hashes.SHA256()))
        return self._certificates[common_name]


def encode_jwt(key, claims, with_kid=True):
    header = {"alg": "RS256", "kid": key.kid, "typ": "JWT"}
    if not with_kid:
        del header["kid"]
    signing_input = b64url(compact_json(header)) + "." + b64url(compact_json(claims))
    return signing_input + "." + b64url(key.sign(signing_input.encode()))


def encode_unsigned_jwt(claims):
    return b64url(compact_json({"alg": "none", "typ": "JWT"})) + "." + b64url(compact_json(claims)) + "."


def spoil_signature(token):
    """Flips one bit in the middle of the signature."""
    head, _, signature = token.rpartition(".")
    spoilt = bytearray(b64url_decode(signature))
    spoilt[len(spoilt) // 2] ^= 1
    return head + "." + b64url(bytes(spoilt))


class Jwt:
    """A JWT taken apart, its signature not yet looked at. ValueError if it is none. `padded`: a segment may end as
    libraries of 2018 wrote it, with the padding that JWTs do without."""

    def __init__(self, text, padded=False):
        segments = text.split(".")
        if len(segments) != 3:
            raise ValueError("not three segments")
        header, claims, signature = [_without_padding(segment) for segment in segments] if padded else segments
        self.header = json.loads(b64url_decode(header))
        self.claims = json.loads(b64url_decode(claims))
        if not isinstance(self.header, dict) or not isinstance(self.claims, dict):
            raise ValueError("header and claims must be objects")
        self._signing_input = (segments[0] + "." + segments[1]).encode()
        self._signature = b64url_decode(signature)

    def is_signed_by(self, key):
        """RS256 by this key; a `kid`, where there is one, must name it."""
        return (self.header.get("alg") == "RS256"
                and self.header.get("kid", key.kid) == key.kid
                and key.verifies(self._signature, self._signing_input))


def _without_padding(segment):
    return segment.rstrip("=") if len(segment) % 4 == 0 and not segment.endswith("===") else segment


# --- the test certificate authority


def _name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _builder(subject, issuer, public_key, first_day, last_day):
    today = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return (x509.CertificateBuilder()
            .subject_name(subject).issuer_name(issuer).public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today + datetime.timedelta(days=first_day))
            .not_valid_after(today + datetime.timedelta(days=last_day)))


class Authority:
    """A certificate authority of its own key; it issues certificates for TLS servers."""

    def __init__(self, common_name):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(common_name)
        usage = x509.KeyUsage(digital_signature=False, content_commitment=False, key_encipherment=False,
                              data_encipherment=False, key_agreement=False, key_cert_sign=True,
                              crl_sign=True, encipher_only=False, decipher_only=False)
        self._certificate = (
            _builder(self._subject, self._subject, self._key.public_key(), -30, 30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256()))

    def pem(self):
        return _pem(self._certificate)

    def server_context(self, directory, names, first_day=-1, last_day=10):
        """An ssl.SSLContext that shows a certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name("gce-oidc-agent test server"), self._subject, key.public_key(), first_day, last_day)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256()))
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption()).decode()
        # The ssl module takes keys from files only; this one is gone as soon as it is read.
        path = os.path.join(directory, "tls-server.pem")
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(key_pem + _pem(certificate))
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A resumed session would skip the certificate, and with it the `tls` faults. (TLS 1.2 can still resume
        # by session id; whoever has 1.3 has no such thing.)
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return context


# As whom the emulator is asked where a name service leads here.
GOOGLE = ("iamcredentials.googleapis.com", "oauth2.googleapis.com", "www.googleapis.com")


def server_contexts(directory, authority):
    """One server's contexts, one for each certificate it can show; "right" is the normal one."""
    localhost = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                 *map(x509.DNSName, GOOGLE)]
    elsewhere = [x509.DNSName("elsewhere.example.com")]
    return {
        "right": authority.server_context(directory, localhost),
        "wrong-host": authority.server_context(directory, elsewhere),
        "expired": authority.server_context(directory, localhost, first_day=-20, last_day=-10),
        "unknown-ca": Authority("gce-oidc-agent unknown CA").server_context(directory, localhost),
    }


def named_context(directory, authority, names):
    """A server's only context, for these host names."""
    return authority.server_context(directory, [x509.DNSName(name) for name in names])
