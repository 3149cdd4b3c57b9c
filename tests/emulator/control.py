# SPDX-License-Identifier: Apache-2.0
"""How tests steer the emulator: JSON over plain HTTP. Every mistake is a 400 that says what is wrong.

GET  /requests[?service=S]   all requests since the last reset: service, method, target, headers, body, connection, ...
GET  /counts                 per service: requests by "METHOD path", total, connections, open, handshakes
GET  /settings               what POST /set can change, as it is now: see world.Settings
GET  /faults                 those in force, with their hits
GET  /keys                   {"google": JWK set, "account": JWK set}
GET  /secrets                {VALUE: what it is}: tokens, assertions, signatures, bearers issued or received so far
POST /set      {NAME: VALUE, ...}
POST /reset                  settings, faults, records and counts as at the start; keys and issued tokens stay
POST /fault    {"service", "kind", "match", "times", "after", "seconds", ...} -> {"id"}: see faults.py
POST /unfault  {} or {"service"} or {"id"}
POST /mint     {"claims", "key": "google" | "account" | "stranger"} -> {"token"}
POST /rotate   {"which": "google" | "account", "keep_old", "make"}: new signing keys; see World.rotate
POST /key      {"email"} -> a service_account file: a further key of the account's
POST /delete-key  {"email", "kid"}: one of those
POST /revoke   {"renew"}: all access tokens die; with "renew" the metadata server notices

Services: metadata, iam, token-endpoint, certs, app.
"""

import collections
import dataclasses
import itertools
import json

import faults
import keys
import wire


class Control:
    name = "control"

    def __init__(self, world, services, listeners):
        self._world = world
        self._services = services       # name -> service
        self._listeners = listeners     # name -> Listener
        self._numbers = itertools.count(1)
        self._routes = {
            ("GET", "/requests"): self._requests,
            ("GET", "/counts"): self._counts,
            ("GET", "/settings"): lambda request, body: dataclasses.asdict(self._world.settings),
            ("GET", "/faults"): lambda request, body: [fault.describe() for fault in self._world.faults],
            ("GET", "/keys"): self._keys,
            ("GET", "/secrets"): lambda request, body: self._world.secrets,
            ("POST", "/set"): self._set,
            ("POST", "/reset"): self._reset,
            ("POST", "/fault"): self._fault,
            ("POST", "/unfault"): self._unfault,
            ("POST", "/mint"): self._mint,
            ("POST", "/rotate"): self._rotate,
            ("POST", "/key"): lambda request, body: self._world.make_file_key(body["email"]),
            ("POST", "/delete-key"): self._delete_key,
            ("POST", "/revoke"): self._revoke,
        }

    async def answer(self, request):
        route = self._routes.get((request.method, request.path))
        if route is None:
            return self._json(404, {"error": f"no {request.method} {request.path}"})
        try:
            body = json.loads(request.body) if request.body else {}
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")
            result = route(request, body)
            if hasattr(result, "__await__"):
                result = await result
        except (ValueError, KeyError, TypeError) as error:
            return self._json(400, {"error": f"{type(error).__name__}: {error}"})
        return self._json(200, result)

    @staticmethod
    def _json(status, value):
        return wire.Response(status, [("Content-Type", "application/json")], json.dumps(value) + "\n")

    def bad_request(self, error):
        return self._json(error.status, {"error": str(error)})

    # --- looking

    def _requests(self, request, _body):
        service = dict(request.parameters()).get("service")
        return [record for record in self._world.records if service in (None, record["service"])]

    def _counts(self, _request, _body):
        """Per service: requests by "METHOD path", connections, TLS handshakes begun."""
        requests = collections.defaultdict(collections.Counter)
        for record in self._world.records:
            requests[record["service"]][record["method"] + " " + record["target"].partition("?")[0]] += 1
        return {name: {"requests": dict(requests[name]), "total": sum(requests[name].values()),
                       "connections": listener.accepted, "open": listener.open_connections,
                       "handshakes": listener.handshakes}
                for name, listener in self._listeners.items()}

    def _keys(self, _request, _body):
        world = self._world
        return {"google": {"keys": [key.jwk() for key in world.google_keys]},
                "account": {"keys": [world.account_key(world.settings.email).jwk()]}}

    # --- steering

    def _set(self, _request, body):
        self._world.change(body)
        return dataclasses.asdict(self._world.settings)

    async def _reset(self, _request, _body):
        self._world.reset()
        for listener in self._listeners.values():
            listener.accepted = listener.handshakes = 0
            await listener.reopen()
        return {}

    def _fault(self, _request, body):
        self._check(body)
        fault = faults.Fault(next(self._numbers), self._world, body)
        self._world.faults.append(fault)
        listener = self._listeners[fault.service]
        if fault.kind == "refuse":
            listener.refuse()
        if fault.kind == "tls":
            # Whoever has a connection already would not see the certificate.
            listener.drop_connections(only_idle=True)
        return {"id": fault.number}

    def _check(self, body):
        service = self._services.get(body.get("service"))
        if service is None:
            raise ValueError(f"service: one of {', '.join(self._services)}")
        for key, kinds in (("match", str), ("times", int), ("after", int), ("seconds", (int, float))):
            if key in body and (not isinstance(body[key], kinds) or body[key] is True):
                raise ValueError(f"{key}: wrong type")
        if body.get("kind") == "status" and body.get("reason") not in (None, *service.errors):
            raise ValueError(f"reason: one of {', '.join(service.errors)}")
        if body.get("first") not in (None, *faults.ECHO_FIRST):
            raise ValueError(f"first: one of {', '.join(faults.ECHO_FIRST)}")
        if body.get("form") not in (None, *faults.ECHO_FORMS):
            raise ValueError(f"form: one of {', '.join(faults.ECHO_FORMS)}")
        if "wrong" in body and body["wrong"] not in faults.WRONG_CLAIMS:
            raise ValueError(f"wrong: one of {', '.join(faults.WRONG_CLAIMS)}")
        if body.get("kind") == "tls" and (body.get("certificate") not in ("wrong-host", "expired", "unknown-ca")
                                          or service.name == "metadata"):
            raise ValueError("certificate: wrong-host, expired or unknown-ca, of a service with TLS")

    async def _unfault(self, _request, body):
        """All faults, those of one `service`, or the one with this `id`."""
        self._world.lift_faults(lambda fault: body.get("service") in (None, fault.service)
                                and body.get("id") in (None, fault.number))
        refusing = [fault.service for fault in self._world.faults if fault.kind == "refuse"]
        for name, listener in self._listeners.items():
            if name not in refusing:
                await listener.reopen()
        return {}

    def _mint(self, _request, body):
        """An ID token with the usual claims but for `claims`; null takes one away. `key`: who signs."""
        world = self._world
        email = world.settings.email
        claims = world.id_token_claims(world.settings.iap_client_id, email, azp=email)
        claims = {name: value for name, value in {**claims, **body.get("claims", {})}.items() if value is not None}
        by = {"google": lambda: world.google_keys[0], "account": lambda: world.account_key(email),
              "stranger": keys.SigningKey}
        token = keys.encode_jwt(by[body.get("key", "google")](), claims)
        world.remember("ID token", token)
        return {"token": token}

    def _rotate(self, _request, body):
        """{"which": "google" or "account", "keep_old": true, "make": true}"""
        if body.get("which", "google") not in ("google", "account"):
            raise ValueError("which: google or account")
        self._world.rotate(body.get("which", "google"), body.get("keep_old", True),
                           body.get("make", True))
        return self._keys(None, None)

    def _delete_key(self, _request, body):
        self._world.delete_file_key(body["email"], body["kid"])
        return {}

    def _revoke(self, _request, body):
        self._world.revoke_access_tokens(body.get("renew", True))
        return {}
