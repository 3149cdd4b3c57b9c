# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured, each pinned to its core."""

import fcntl
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time
import urllib.parse

AUDIENCE = "https://app-7f3k2q-ew.a.run.app/reports"
TOKEN = "/v1/token?" + urllib.parse.urlencode({"audience": AUDIENCE})
IDENTITY = ("/computeMetadata/v1/instance/service-accounts/default/identity?"
            + urllib.parse.urlencode({"audience": AUDIENCE, "format": "full"}))
CONNECTIONS = 9000          # that are held open idle

LIMITS = """
[limits]
connections = 10000
connections-per-peer = 10000
peer-share = 100%
peer-share = 100%
requests-per-second = 10000
[timing]
idle = 10min
"""
# Asks nothing of /proc.
ANYONE = """
[rule anyone]
peer = anyone
host = any
audience = **
"""
# Asks whether the peer is a process of the host.
HOST = """
[rule host]
peer = anyone
audience = **
"""


class BenchError(SystemExit):
    pass


def need(condition, text):
    if not condition:
        raise BenchError(f"bench: {text}")


def lock():
    """One bench a machine: two at once measure each other.  The root directory
    can be locked by anyone, and leaves nothing behind."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    end = time.monotonic() + 300
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            need(time.monotonic() < end, "another one is running")
            time.sleep(0.1)


def cores():
    """(server's, client's): the same one where there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def cpu_seconds(pid):
    """The CPU clock of a process, as clock_getcpuclockid() would name it."""
    return time.clock_gettime((~pid << 3) | 2)


def request(target):
    """As curl would ask."""
    return (f"GET {target} HTTP/1.1\r\nHost: localhost\r\n"
            "User-Agent: curl/7.88.1\r\nAccept: */*\r\n"
            "Metadata-Flavor: Google\r\n\r\n").encode()


def read_answer(sock):
    """One answer's bytes, exactly."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        need(piece, f"closed within an answer: {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    need(head.startswith(b"HTTP/1.1 200 "), f"no token: {data!r}")
    (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                 if line.startswith(b"Content-Length:")]
    while len(body) < length:
        piece = sock.recv(65536)
        need(piece, f"closed within an answer: {data!r}")
        body += piece
    return head + b"\r\n\r\n" + body


class Server:
    """A process that listens on a Unix socket."""

    def __init__(self, name, address, command, log):
        self.name = name
        self.address = str(address)
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out)
        self.log = pathlib.Path(log)
        self.pid = self.process.pid
        os.sched_setaffinity(self.pid, {cores()[0]})
        self._wait()

    def _wait(self):
        end = time.monotonic() + 20
        while True:
            try:
                return self.connect().close()
            except (FileNotFoundError, ConnectionRefusedError):
                need(self.process.poll() is None and time.monotonic() < end,
                     f"{self.name} does not listen:\n{self.log.read_text()}")
                time.sleep(0.002)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(20)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, target):
        with self.connect() as sock:
            sock.sendall(request(target))
            return read_answer(sock)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Face:
    """A way of asking, its bytes, and a limit that answers with the same."""

    def __init__(self, bench, name, target, agent):
        agent.ask(target)       # from now on it is in the cache
        answer = agent.ask(target)
        need(b"Gce-Oidc-Cache: hit\r\n" in answer, "no warm answer")
        self.request = bench.directory / f"{name}.request"
        self.request.write_bytes(request(target))
        self.answer = bench.directory / f"{name}.answer"
        self.answer.write_bytes(answer)
        self.length = len(answer)
        address = bench.directory / f"{name}.limit"
        self.limit = bench.add(Server(
            "limit", address,
            [bench.programs / "limit", address, self.answer, len(request(target))],
            bench.directory / f"{name}.log"))


class Bench:
    """Everything that runs while the bench does."""

    def __init__(self, build, directory, emulator, also):
        self.programs = build / "tests" / "bench"
        self.agent_program = build / "gce-oidc-agent"
        for program in (self.agent_program, self.programs / "load",
                        self.programs / "limit"):
            need(program.exists(), f"{program} is missing: make bench")
        self.directory = directory
        self.emulator = emulator
        self.servers = []
        self._raise_limits()
        try:
            self._start(also)
        except BaseException:
            self.__exit__()
            raise

    def _start(self, also):
        self.agent = self.start_agent("agent", self.agent_program, ANYONE)
        self.host = self.start_agent("host", self.agent_program, HOST)
        self.also = [self.start_agent(name, program, ANYONE)
                     for name, _, program in (text.partition("=") for text in also)]
        self.token = Face(self, "token", TOKEN, self.agent)
        self.identity = Face(self, "identity", IDENTITY, self.agent)
        for agent in [self.host, *self.also]:
            need(len(agent.ask(TOKEN)) > 0 and agent.ask(IDENTITY), "no token")

    @staticmethod
    def _raise_limits():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        want = CONNECTIONS + 1000
        if hard == resource.RLIM_INFINITY or hard >= want:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))

    @staticmethod
    def can_hold():
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] > CONNECTIONS + 100

    def config(self, name, rules):
        path = self.directory / f"{name}.conf"
        path.write_text(self.emulator.agent_config() + LIMITS + rules)
        path.chmod(0o644)
        return path

    def start_agent(self, name, program, rules):
        address = self.directory / f"{name}.sock"
        return self.add(Server(
            name, address,
            [program, f"--config={self.config(name, rules)}", f"--socket={address}"],
            self.directory / f"{name}.log"))

    def add(self, server):
        self.servers.append(server)
        return server

    def load_command(self, server, face, *options, core=None):
        """load's command line, against a server."""
        words = [self.programs / "load", *options,
                 "-k", cores()[1] if core is None else core, "-p", server.pid,
                 server.address, face.request, face.length]
        return [str(word) for word in words]

    def load(self, server, face, *options, core=None):
        done = subprocess.run(self.load_command(server, face, *options, core=core),
                              stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)
        need(done.returncode == 0, f"{server.name}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for server in self.servers:
            server.stop()
