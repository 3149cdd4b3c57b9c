# SPDX-License-Identifier: Apache-2.0
"""An agent on loopback TCP, beside its Unix socket."""

import http.client
import re
import socket

import pytest

from conftest import DEADLINE, Response, wait_for
from steps import FAST

FAMILIES = {"127.0.0.1": socket.AF_INET, "[::1]": socket.AF_INET6}
LISTEN = tuple(f"--listen={name}:0" for name in FAMILIES)

ANY_TCP = """
[rule anyone]
peer = anyone
host = any
audience = **
"""


class Loopback:
    """One address of an agent.  Where others connect to an agent, they may to this."""

    def __init__(self, agent, name="127.0.0.1"):
        pattern = re.compile(rf"listening on {re.escape(name)}:(\d+)$", re.M)
        self.port = int(wait_for(lambda: pattern.search(agent.log()), "a port")[1])
        self.agent = agent
        self.name, self.family = name, FAMILIES[name]
        self.host = f"{name}:{self.port}"
        self.address = (name.strip("[]"), self.port)

    def connect(self, timeout=DEADLINE, source=None):
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if source:
            sock.bind(source)
        sock.connect(self.address)
        return sock

    def connection(self, timeout=DEADLINE):
        return http.client.HTTPConnection(*self.address, timeout=timeout)

    def get(self, target, headers=None, method="GET", flavor=True, body=None,
            timeout=DEADLINE):
        fields = {"Metadata-Flavor": "Google"} if flavor else {}
        fields.update(headers or {})
        connection = self.connection(timeout)
        try:
            connection.request(method, target, body=body, headers=fields)
            return Response(connection.getresponse())
        finally:
            connection.close()


@pytest.fixture
def start_loopback(start_agent):
    """start_loopback(config="", rules=ANY_TCP, name="127.0.0.1") -> Loopback."""
    def start(config="", rules=ANY_TCP, name="127.0.0.1", **more):
        return Loopback(start_agent(FAST + config, rules=rules, args=LISTEN, **more), name)
    return start


@pytest.fixture(params=FAMILIES)
def loopback(request, start_loopback):
    """One that gives anyone anything, by each of its addresses."""
    return start_loopback(name=request.param)
