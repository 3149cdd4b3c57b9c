# SPDX-License-Identifier: Apache-2.0
"""A service manager of a hundred lines: a socket passed in, and what the service
says to NOTIFY_SOCKET, with who said it and when."""

import socket
import struct
import sys
import threading
import time

from conftest import TESTS
from e2e.conftest import wait_for

END = b"END"
LAUNCH = (sys.executable, TESTS / "e2e" / "launch.py")


class Manager:
    def __init__(self, directory):
        self.notify = str(directory / "notify")
        self.path = directory / "agent.sock"
        self.heard = []     # (time, pid, {name: value})
        self._messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._messages.bind(self.notify)
        self._messages.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(self.path))
        self.listening.listen(256)
        self.listen()

    def start(self, start_agent, config, *launch, watchdog_usec=None, **more):
        """An agent started as the unit does, its socket being ours."""
        env = {"NOTIFY_SOCKET": self.notify, **more.pop("env", {})}
        if watchdog_usec:
            env["WATCHDOG_USEC"] = str(watchdog_usec)
        agent = start_agent(config, socket=False, wait=False, env=env,
                            pass_fds=(self.listening.fileno(),),
                            prefix=(*LAUNCH, f"--listen-fd={self.listening.fileno()}",
                                    *launch), **more)
        agent.socket = str(self.path)
        return agent

    def listen(self):
        """To what is said, as it is said: the queue is short."""
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def deafen(self):
        """Hangs, until listen(): nobody finds room in the queue."""
        self._messages.sendto(END, self.notify)
        self._reader.join()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            try:
                while True:
                    filler.sendto(b"FILLER=1", self.notify)
            except BlockingIOError:
                pass

    def _listen(self):
        while True:
            data, extra, _, _ = self._messages.recvmsg(4096, 256)
            if data == END:
                return
            pid = struct.unpack("3i", extra[0][2])[0] if extra else None
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.heard.append((time.monotonic(), pid, words))

    def said(self, name, value=None):
        """Who said it: the pids, in order."""
        return [pid for _, pid, words in list(self.heard)
                if name in words and value in (None, words[name])]

    def wait(self, name, value=None):
        return wait_for(lambda: self.said(name, value), f"{name}={value}")[-1]

    def statuses(self):
        return [words["STATUS"] for _, _, words in list(self.heard) if "STATUS" in words]

    def beats(self):
        return [at for at, _, words in list(self.heard) if "WATCHDOG" in words]

    def close(self):
        if self._reader.is_alive():
            self._messages.sendto(END, self.notify)
            self._reader.join()
        self._messages.close()
        self.listening.close()
