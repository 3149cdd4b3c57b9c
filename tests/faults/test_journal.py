# SPDX-License-Identifier: Apache-2.0
"""A journal that nobody reads: its socket's queue is full, and whoever waited for a
place in it would wait for ever."""

import contextlib
import pathlib
import socket
import sys

import pytest

LAUNCH = pathlib.Path(__file__).with_name("journal.py")
REQUESTS = 300


class Journal:
    """A datagram socket, and its queue."""

    def __init__(self, directory):
        self.path = str(directory / "socket")
        self.reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.reader.bind(self.path)
        pathlib.Path(self.path).chmod(0o666)
        self.writer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def fill(self):
        """How many lines more found a place."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.writer.sendto(b"MESSAGE=of somebody else\n", self.path)
                count += 1
        return count

    def read(self):
        lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(self.reader.recv(65536).decode())
        return lines

    def close(self):
        self.reader.close()
        self.writer.close()


@pytest.fixture
def journal(place):
    place.chmod(0o755)
    journal = Journal(place)
    yield journal
    journal.close()


@pytest.fixture
def agent(bench, journal):
    """It starts when the queue is full already."""
    assert journal.fill() > 0
    agent = bench.start("[agent]\nlog-level = debug\n",
                        prefix=(sys.executable, LAUNCH, pathlib.Path(journal.path).parent))
    yield agent
    wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


def test_unread_journal_holds_nobody_up(stage, agent, journal, emulator):
    stage.agent = agent
    token = stage.ask(wait=5).text
    for _ in range(REQUESTS):
        asked = stage.ask(wait=0)
        assert (asked.mark, asked.text) == ("hit", token)
    assert stage.ask("https://cold.example.com").mark == "miss"
    emulator.fault("iam", "status", reason="IAM_PERMISSION_DENIED")
    assert stage.ask("https://denied.example.com", wait=5).code == "denied-by-google"
    assert journal.fill() == 0, "the queue was not full all the time"

    # It had something to say all the while, and says how much is lost.
    assert not any("gce-oidc-agent" in line for line in journal.read())
    assert agent.stop() == 0
    assert any("log lines lost because nobody read them" in line for line in journal.read())
    assert agent.log() == ""
