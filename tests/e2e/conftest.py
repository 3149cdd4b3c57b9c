# SPDX-License-Identifier: Apache-2.0
"""Fixtures: Google on loopback, and agents that talk to it.

Each file runs in a network namespace of its own (tests/run-pytest).  Nothing
here sleeps for the sake of it: every wait has a condition and a deadline."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from emulator.client import Emulator  # noqa: E402
from unix_http import UnixConnection  # noqa: E402

# Patience, not a promise: sanitizers, two cores and other suites on them.
DEADLINE = 60.0

ANYONE = """
[rule anyone]
peer = anyone
host = any
kind = id
audience = **
"""

SANITIZER = re.compile(r"Sanitizer|runtime error:")


def wait_for(condition, what, deadline=DEADLINE, poll=0.005):
    """The first true value of condition(), asked until the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        time.sleep(poll)


class Response:
    def __init__(self, response):
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers     # names in any case
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


class Askable:
    """What has a connection(timeout), and is asked by one for each request."""

    def get(self, target, headers=None, method="GET", flavor=True, body=None,
            timeout=DEADLINE):
        fields = {"Metadata-Flavor": "Google"} if flavor else {}
        fields.update(headers or {})
        connection = self.connection(timeout)
        try:
            # An agent that has answered unasked, as it does when it is full, takes no more.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=fields)
            return Response(connection.getresponse())
        finally:
            connection.close()


class Agent(Askable):
    """One gce-oidc-agent, its configuration, socket and log."""

    def __init__(self, program, text, args=(), env=None, user=None, socket=True,
                 prefix=(), pass_fds=()):
        # Short: a socket's path ends at 107 bytes.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="goa-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.run = self.dir / "run"
        self.run.mkdir(mode=0o755)
        if user is not None:
            shutil.chown(self.run, user)
        self.config = self.dir / "agent.conf"
        self.configure(text)
        self.log_file = self.dir / "log"
        self.socket = str(self.run / "agent.sock")
        self.code = None
        command = [*map(str, prefix), str(program), f"--config={self.config}"]
        if socket:
            command.append(f"--socket={self.socket}")
        as_user = {} if user is None else {"user": user, "extra_groups": []}
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                command + list(args), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=dict(os.environ, **(env or {})),
                pass_fds=pass_fds, **as_user)
        self.pid = self.process.pid

    def configure(self, text):
        """Writes the configuration; the agent reads it at start and on reload."""
        self.config.write_text(text)
        self.config.chmod(0o644)

    def connect(self, timeout=DEADLINE):
        """A socket, connected, for whoever speaks for himself."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(self.socket)
        except OSError:
            sock.close()
            raise
        return sock

    def connection(self, timeout=DEADLINE):
        """An http.client connection: several requests, kept alive."""
        return UnixConnection(self.socket, timeout)

    def token(self, audience, **headers):
        """GET /v1/token; cache_control="no-cache" becomes Cache-Control."""
        fields = {k.replace("_", "-"): v for k, v in headers.items()}
        query = urllib.parse.urlencode({"audience": audience})
        return self.get(f"/v1/token?{query}", fields)

    def raw(self, data, timeout=DEADLINE):
        """Sends bytes, and returns all that comes until the agent closes."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            return answer

    def log(self):
        return self.log_file.read_text(errors="backslashreplace")

    def running(self):
        return self.process.poll() is None

    def accepts(self):
        """Does it not only listen: who hangs up is hung up on by its event loop.  All
        that it says at its start is said then, and it holds no connection of ours."""
        try:
            with self.connect() as sock:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            if not self.running():
                raise AssertionError(f"the agent exited {self.process.returncode}"
                                     f" before it listened:\n{self.log()}") from None
            return False

    def wait_ready(self):
        wait_for(self.accepts, f"a connection to {self.socket}")

    def wait_log(self, text, deadline=DEADLINE):
        """Until the log contains the text; returns the log."""
        wait_for(lambda: text in self.log(), f"{text!r} in the log", deadline)
        return self.log()

    def wait(self, deadline=DEADLINE):
        """The exit code of an agent that ends by itself."""
        self.code = self.process.wait(deadline)
        return self.code

    def stop(self, deadline=DEADLINE):
        """SIGTERM; the exit code."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        return self.wait(deadline)

    def finish(self):
        """At the end of the test: whoever was not stopped must stop well, and
        nothing may remain.  Returns what is wrong."""
        wrong = []
        if self.code is None:
            try:
                if self.stop() != 0:
                    wrong.append(f"the agent exited {self.code}")
            except subprocess.TimeoutExpired:
                wrong.append("the agent did not stop on SIGTERM")
        if self.running():
            self.process.kill()
            self.process.wait()
        log = self.log()
        if SANITIZER.search(log):
            wrong.append("a sanitizer complained")
        if log:
            print(f"log of agent {self.pid}:\n{log[-20000:]}")
        shutil.rmtree(self.dir, ignore_errors=True)
        return wrong


@pytest.fixture
def place():
    """A directory with a short name: a socket's path ends at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="goa-", dir="/tmp") as name:
        yield pathlib.Path(name)


@pytest.fixture(scope="session")
def build_dir():
    return pathlib.Path(os.environ["abs_builddir"])


@pytest.fixture(scope="module")
def emulator_process():
    with Emulator() as emulator:
        # An agent of another user reads it, too.
        os.chmod(os.path.dirname(emulator.ca_file), 0o755)
        yield emulator


@pytest.fixture
def emulator(emulator_process):
    """Google on loopback, as new: one process a file, reset for each test."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture
def start_agent(build_dir, emulator):
    """start_agent(config="", rules=ANYONE, ...) -> Agent.  The configuration is
    the emulator's [upstream], then config, then rules; upstream="" leaves the
    first out.  wait=False returns at once: for agents that refuse to start.
    prefix: a command in front of the agent, see launch.py."""
    assert os.environ.get("GCE_OIDC_TEST_NETNS"), "run by tests/run-pytest"
    agents = []

    def start(config="", rules=ANYONE, args=(), wait=True, env=None, user=None,
              upstream=None, socket=True, prefix=(), pass_fds=()):
        if upstream is None:
            upstream = emulator.agent_config()
        agent = Agent(build_dir / "gce-oidc-agent",
                      "\n".join((upstream, config, rules)), args, env, user, socket,
                      prefix, pass_fds)
        agents.append(agent)
        if wait:
            agent.wait_ready()
        return agent

    yield start
    wrong = [text for agent in agents for text in agent.finish()]
    assert not wrong, "; ".join(wrong)


@pytest.fixture
def agent(start_agent):
    """An agent that gives anyone anything."""
    return start_agent()
