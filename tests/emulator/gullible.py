# SPDX-License-Identifier: Apache-2.0
"""The most gullible reader of a JWT that anybody might build, as the oracle of what the agent signs for callers.

What this one does not take for Google's own, no token endpoint does. It believes a signature only, as all do;
but it reads base64 of any alphabet, the first and the last of names given twice, names and audiences in any
spelling, arrays of them, and does not look at the time.
"""

import base64
import fnmatch
import json
import re
import unicodedata
import urllib.parse

ENDPOINT = "https://oauth2.googleapis.com/token"
HOSTS = ("googleapis.com", "accounts.google.com")


class Pairs(list):
    """A JSON object with all of its members."""


def loose_base64(text):
    text = re.sub(r"\s", "", text).replace("+", "-").replace("/", "_").rstrip("=")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def loose_json(data):
    """All values in it, one behind the other; at least one."""
    text, found = data.decode("utf-8", "replace"), []
    while text := text.lstrip("\ufeff\0 \t\r\n"):
        try:
            value, end = json.JSONDecoder(strict=False, object_pairs_hook=Pairs).raw_decode(text)
        except ValueError:
            break
        found.append(value)
        text = text[end:]
    if not found:
        raise ValueError("no JSON")
    return found


def fold(text):
    """One spelling for all that somebody might take for the same."""
    text = text.partition("\0")[0]
    while True:
        before = text
        text = unicodedata.normalize("NFKC", urllib.parse.unquote(text, errors="replace")).casefold()
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Zs", "Zl", "Zp"))
        text = text.replace("\u3002", ".").replace("\uff61", ".").replace("\\", "/")
        if text == before:
            return text


def hosts(text):
    """Whatever any reader of URLs might take for the host of this one."""
    for part in re.split(r"[/?#@,;\[\]]+", text):
        host = re.sub(r"\.+", ".", re.sub(r":[0-9]*$", "", part).removeprefix("https:").removeprefix("http:"))
        yield host.strip(".")


def means_google(text):
    for reading in {text, fold(text)}:
        # A query is nobody's idea of a host.
        before_query = re.split(r"[?#]", reading)[0]
        if any(host == domain or host.endswith("." + domain) for host in hosts(before_query) for domain in HOSTS):
            return True
        if "*" in reading and fnmatch.fnmatchcase(ENDPOINT, reading):
            return True
    return False


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, Pairs):
        for name, inner in value:
            yield name
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def objects(values):
    for value in values:
        if isinstance(value, Pairs):
            yield value
        elif isinstance(value, list):
            yield from objects(value)


def values(claims, name):
    return [value for key, value in claims if re.sub(r"[_-]", "", fold(key)) == name]


def account_of(world, text):
    """The account in whose name this JWT would be taken; ValueError where it is not."""
    parts = text.strip().split(".")
    if len(parts) != 3:
        raise ValueError("not three segments")
    signature, claims = loose_base64(parts[2]), loose_json(loose_base64(parts[1]))
    loose_json(loose_base64(parts[0]))
    signed = text.strip().rpartition(".")[0].encode("latin-1", "replace")
    signers = [email for email in world.known_accounts() if world.account_key(email).verifies(signature, signed)]
    if not signers:
        raise ValueError("not signed by an account")
    for member in objects(claims):
        if values(member, "scope") or values(member, "scopes") or values(member, "targetaudience"):
            return signers[0]
        if any(means_google(audience) for value in values(member, "aud") for audience in strings(value)):
            return signers[0]
        if any(issuer not in signers for value in values(member, "iss") + values(member, "sub") + values(member, "prn")
               for issuer in strings(value)):
            return signers[0]
    raise ValueError("not for Google")
