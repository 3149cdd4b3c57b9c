# SPDX-License-Identifier: Apache-2.0
"""The metadata server of a Compute Engine VM."""

import asyncio
import hashlib
import html
import json
import urllib.parse

import wire
from places import GKE_ERRORS, PLACES

TEXT = "application/text"
JSON = "application/json"
HTML = "text/html"
PAGE = "text/html; charset=UTF-8"

ROOT = "/computeMetadata/v1/"
# Keys whose children are data, not names of ours: they are left as they are where JSON camel-cases names.
DATA = ("service-accounts", "attributes")
# These leaves are made when asked for, and are never part of a recursive answer.
TOKEN, IDENTITY = object(), object()
SECRET = (TOKEN, IDENTITY)
# A client that sends one of these to the metadata server has leaked something.
NEVER_SENT = ("Authorization", "Cookie")

NO_ACCOUNT = {"error": "invalid_request",
              "error_description": "Service account not enabled on this instance"}


def is_true(text):
    return text.lower() in ("true", "on", "yes", "1")


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def camel_case(name):
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def as_json(node, are_data=False):
    """A tree or a leaf as recursive=true shows it."""
    if not isinstance(node, dict):
        return node
    return {name if are_data else camel_case(name): as_json(child, name in DATA)
            for name, child in sorted(node.items()) if child not in SECRET}


def as_lines(node, path=()):
    """The same for alt=text: `dashed/path value`, list elements repeating the path."""
    if isinstance(node, dict):
        return "".join(as_lines(child, path + (name,)) for name, child in sorted(node.items())
                       if child not in SECRET)
    elements = node if isinstance(node, list) else [node]
    return "".join(f"{'/'.join(path)} {element}\n" for element in elements)


def leaf_text(value):
    return "".join(f"{line}\n" for line in value) if isinstance(value, list) else str(value)


def listing(node):
    return "".join(f"{name}/\n" if isinstance(child, dict) else f"{name}\n"
                   for name, child in sorted(node.items()))


class Gone(Exception):
    """No such key."""


class MetadataServer:
    name = "metadata"
    errors = ("no-service-account", "flavor", *GKE_ERRORS)

    def __init__(self, world):
        self._world = world

    def _place(self):
        return PLACES[self._world.settings.place]

    # --- answers

    def response(self, status, content_type, body, etag=None, location=None):
        """Headers and their order as captured on VMs."""
        body = body.encode()
        place = self._place()
        headers = [("Metadata-Flavor", "Google")] if self._world.settings.flavor else []
        headers += [("Location", location)] if location else []
        headers += [("Content-Type", content_type)]
        headers += [("ETag", etag)] if etag else []
        headers += [("Date", self._world.date(self._world.settings.metadata_date_offset)), ("Server", place.server),
                    ("Content-Length", str(len(body))),
                    ("X-XSS-Protection", "0"), ("X-Frame-Options", "SAMEORIGIN")]
        if place.mesh:
            headers = [(name.lower(), value) for name, value in reversed(headers) if name != "Date"]
        return wire.Response(status, headers, body)

    def value(self, content_type, body):
        """A value has an ETag of its own for each form it is asked in."""
        etag = hashlib.sha256(f"{content_type}\n{body}".encode()).hexdigest()[:16]
        return self.response(200, content_type, body, etag=etag)

    def plain_error(self, status, request):
        if status == 404:
            return self.response(404, PAGE, wire.not_found_page(request.path))
        return self.response(status, PAGE, wire.html_error(status, "The server encountered an error."))

    def error(self, reason, request):
        if reason == "no-service-account":
            return self.response(404, JSON, compact(NO_ACCOUNT))
        if reason in GKE_ERRORS:
            status, text = GKE_ERRORS[reason]
            return self.response(status, "text/plain; charset=utf-8", text)
        return self._no_permission(request, "Missing Metadata-Flavor:Google header.")

    def _no_permission(self, request, why):
        return self.response(403, PAGE, wire.html_error(
            403, f"Your client does not have permission to get URL <code>{html.escape(request.path)}</code> "
                 f"from this server. {why}"))

    def bad_request(self, error):
        return self.response(error.status, PAGE, wire.html_error(error.status, str(error)))

    # --- requests

    async def answer(self, request):
        for name in NEVER_SENT:
            if request.all(name):
                return self.response(400, PAGE, wire.html_error(400, f"{name} has no place here."))
        if any(name.lower().startswith("proxy-") for name, _ in request.headers):
            return self.response(400, PAGE, wire.html_error(400, "Proxy headers have no place here."))
        if request.all("X-Forwarded-For"):
            return self._no_permission(request, "X-Forwarded-For header is not allowed.")
        if request.method not in ("GET", "HEAD"):
            response = self.plain_error(405, request)
            response.headers.insert(0, ("Allow", "GET, HEAD"))
            return response
        if request.path == "/":
            return self.value(TEXT, "computeMetadata/\n")
        if request.all("Metadata-Flavor") != ["Google"]:
            return self._no_permission(request, "Missing Metadata-Flavor:Google header.")
        query = dict(reversed(request.parameters()))        # the first of a name counts
        try:
            if is_true(query.get("wait_for_change", "")):
                return await self._wait_for_change(request, query)
            return self._look_up(request, query)
        except Gone:
            return self.plain_error(404, request)

    async def _wait_for_change(self, request, query):
        """The answer as soon as its ETag is another than the one known, or when the time is up."""
        if not query.get("timeout_sec", "0").isdecimal():
            return self.response(400, HTML, "invalid timeout_sec\n")
        first = response = self._look_up(request, query, waiting=True)
        known = query.get("last_etag") or _etag(first)
        deadline = asyncio.get_running_loop().time() + int(query.get("timeout_sec", 0))
        # Tokens have no ETag: they are not waited for.
        while response.status == 200 and _etag(response) and _etag(response) == known:
            left = deadline - asyncio.get_running_loop().time() if "timeout_sec" in query else None
            changed = self._world.changed
            try:
                await asyncio.wait_for(changed.wait(), left)
            except asyncio.TimeoutError:
                break
            response = self._look_up(request, query, waiting=True)
        return response

    def _look_up(self, request, query, waiting=False):
        """One path -> its value. Gone where there is none."""
        segments = [urllib.parse.unquote(segment) for segment in request.path.split("/") if segment]
        is_directory_path = request.path.endswith("/")
        node = {"computeMetadata": {"v1": self._tree()}}
        if self._no_account_for(segments):
            return self.error("no-service-account", request)
        for segment in segments:
            if not isinstance(node, dict) or segment not in node:
                raise Gone
            node = node[segment]
        if isinstance(node, dict):
            if not is_directory_path:
                return self._redirect(request)
            return self._directory(node, query, waiting, are_data=bool(segments) and segments[-1] in DATA)
        if is_directory_path:
            raise Gone
        return self._leaf(node, query, request)

    def _no_account_for(self, segments):
        return (not self._world.settings.service_account
                and segments[:4] == ["computeMetadata", "v1", "instance", "service-accounts"]
                and segments[5:] in (["token"], ["identity"]))

    def _redirect(self, request):
        path = "/" + "/".join(segment for segment in request.path.split("/") if segment) + "/"
        query = f"?{request.query}" if request.query else ""
        return self.response(301, HTML, path + "\n",
                             location=f"http://{request.header('Host', '169.254.169.254')}{path}{query}")

    def _directory(self, node, query, waiting, are_data):
        if is_true(query.get("recursive", "")):
            alt = query.get("alt", "json")
            if alt == "text":
                return self.value(TEXT, as_lines(node))
            if alt == "json":
                return self.value(JSON, compact(as_json(node, are_data)))
        elif "alt" not in query and not waiting:
            return self.value(TEXT, listing(node))
        return self.response(400, HTML, "invalid query for a directory\n")

    def _leaf(self, node, query, request):
        if node is TOKEN:
            return self._token(query)
        if node is IDENTITY:
            return self._identity(query, request)
        alt = query.get("alt", "text")
        if alt not in ("text", "json"):
            return self.response(400, HTML, "invalid alt\n")
        return self.value(JSON, compact(node)) if alt == "json" else self.value(TEXT, leaf_text(node))

    def _tree(self):
        """Everything there is to read. Directories are dicts; leaves are strings, integers or lists."""
        settings, place = self._world.settings, self._place()
        accounts = {}
        if settings.service_account:
            email = settings.email if settings.annotated else f"{settings.project}.svc.id.goog"
            account = {"aliases": ["default"], "email": email, "scopes": settings.scopes,
                       "identity": IDENTITY, "token": TOKEN}
            accounts = {email: account, "default": account}
        project = {"numeric-project-id": settings.project_number, "project-id": settings.project}
        if place.instance:
            return {"instance": {**place.instance(settings), "service-accounts": accounts}, "project": project}
        return {
            "instance": {
                "attributes": settings.attributes,
                "hostname": f"{settings.instance_name}.{settings.zone}.c.{settings.project}.internal",
                "id": settings.instance_id,
                "name": settings.instance_name,
                "service-accounts": accounts,
                "zone": f"projects/{settings.project_number}/zones/{settings.zone}",
            },
            "project": {"attributes": settings.project_attributes, **project},
            "universe": {"universe-domain": settings.universe} if settings.universe is not None else {},
        }

    # --- tokens

    def _token(self, query):
        """`scopes` is ignored, as Compute Engine does, and honoured elsewhere; no ETag."""
        token = self._world.machine_access_token()
        scopes = [scope for scope in query.get("scopes", "").split(",") if scope]
        if scopes and not self._place().machine:
            token = self._world.issue_access_token(token.email, scopes, self._world.settings.access_token_life)
        answer = {"access_token": token.value, "expires_in": int(token.expires - self._world.now()),
                  "token_type": "Bearer"}
        if query.get("alt") == "text":
            return self.response(200, TEXT, as_lines(answer))
        return self.response(200, JSON, compact(answer))

    def _identity(self, query, request):
        world = self._world
        if not query.get("audience"):
            return self.response(400, HTML, "non-empty audience parameter required\n")
        if not world.settings.annotated:
            return self.error("gke-not-annotated", request)
        form, licenses = query.get("format", "standard"), query.get("licenses", "FALSE").upper()
        if form not in ("standard", "full") or licenses not in ("TRUE", "FALSE"):
            return self.response(400, HTML, "invalid format or licenses parameter\n")
        full = form == "full"
        claims = world.id_token_claims(query["audience"], world.settings.email,
                                       world.unique_id(world.settings.email),
                                       with_email=(full or world.settings.email_in_standard
                                                   or not self._place().machine))
        if full and self._place().machine:
            claims["google"] = {"compute_engine": self._compute_engine(licenses == "TRUE")}
        return self.response(200, HTML, world.sign_id_token(claims, request.fault))

    def _compute_engine(self, with_licenses):
        settings = self._world.settings
        claim = {
            "instance_creation_timestamp": settings.instance_created,
            "instance_id": str(settings.instance_id),
            "instance_name": settings.instance_name,
            "project_id": settings.project,
            "project_number": settings.project_number,
            "zone": settings.zone,
        }
        if with_licenses:
            claim["license_id"] = settings.licenses
        return claim


def _etag(response):
    return dict(response.headers).get("ETag")
