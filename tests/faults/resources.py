# SPDX-License-Identifier: Apache-2.0
"""What a process holds: descriptors one by one, and memory."""

import collections
import os
import pathlib

HOST_CONNECTIONS = 4    # the agent keeps so many open to one host


class Look:
    """One look at a process."""

    def __init__(self, upstream, others, memory, resident):
        self.upstream = upstream    # remote port -> connections
        self.others = others        # what -> descriptors
        self.memory = memory        # bytes of its own, resident
        self.resident = resident    # bytes, libraries and all

    @property
    def fds(self):
        return sum(self.upstream.values()) + sum(self.others.values())

    def __repr__(self):
        return (f"{self.fds} fds: {dict(self.upstream)} upstream, else {dict(self.others)}; "
                f"{self.resident >> 10} KiB resident, {self.memory >> 10} of its own")


class Resources:
    def __init__(self, pid):
        self._proc = pathlib.Path(f"/proc/{pid}")

    def look(self):
        ports = self._ports()
        upstream, others = collections.Counter(), collections.Counter()
        for name in os.listdir(self._proc / "fd"):
            try:
                what = os.readlink(self._proc / "fd" / name)
            except FileNotFoundError:
                continue                # closed meanwhile
            kind, _, inode = what.partition(":")
            if kind == "socket" and inode.strip("[]") in ports:
                upstream[ports[inode.strip("[]")]] += 1
            else:
                others["socket" if kind == "socket" else what] += 1
        return Look(upstream, others, self._bytes("RssAnon"), self._bytes("VmRSS"))

    def _ports(self):
        """Inode -> remote port of every TCP connection in the namespace."""
        ports = {}
        for name in ("tcp", "tcp6"):
            for line in (self._proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                ports[fields[9]] = int(fields[2].rpartition(":")[2], 16)
        return ports

    def _bytes(self, name):
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
        raise AssertionError(f"no {name} in status")


def fds_left(before, now):
    """What is open now and was not before; connections kept alive are no leak."""
    left = [f"{count} more of {what}" for what, count in (now.others - before.others).items()]
    left += [f"{count} connections to port {port}" for port, count in now.upstream.items()
             if count > HOST_CONNECTIONS]
    return left
