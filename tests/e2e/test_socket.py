# SPDX-License-Identifier: Apache-2.0
"""The socket that the agent binds by itself: only in a safe place, and never at the
cost of one that lives."""

import os
import signal
import socket
import stat

import pytest

from conftest import wait_for
from steps import FAST

AUDIENCE = "https://app.example.com"


@pytest.fixture
def start_at(start_agent):
    """start_at(path, wait=True) -> an agent bound there."""
    def start(path, wait=True, **more):
        agent = start_agent(FAST, args=[f"--socket={path}"], socket=False, wait=False, **more)
        agent.socket = str(path)
        if wait:
            agent.wait_log("serves")
        return agent
    return start


def stale(path):
    """A socket's file whose owner has died."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()


def test_socket_is_open_to_all_and_gone_at_the_end(start_at, place):
    agent = start_at(place / "s")
    assert stat.S_IMODE(os.stat(place / "s").st_mode) == 0o666
    assert agent.token(AUDIENCE).status == 200
    assert agent.stop() == 0
    assert list(place.iterdir()) == []


def test_mode_does_not_depend_on_the_umask(start_at, place):
    start_at(place / "s", prefix=("sh", "-c", 'umask 777; exec "$@"', "sh"))
    assert stat.S_IMODE(os.stat(place / "s").st_mode) == 0o666


def test_stale_socket_is_replaced(start_at, place):
    stale(place / "s")
    agent = start_at(place / "s")
    assert agent.token(AUDIENCE).status == 200
    assert [entry.name for entry in place.iterdir()] == ["s"]


def test_agent_that_was_killed_does_not_stand_in_the_way(start_at, place):
    first = start_at(place / "s")
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert (place / "s").exists()
    assert start_at(place / "s").token(AUDIENCE).status == 200


def test_living_socket_is_never_unlinked(start_at, place):
    first = start_at(place / "s")
    before = os.stat(place / "s").st_ino
    second = start_at(place / "s", wait=False)
    assert second.wait() == 1
    assert f"somebody listens on {place}/s already" in second.log()
    assert os.stat(place / "s").st_ino == before
    assert first.token(AUDIENCE).status == 200
    assert [entry.name for entry in place.iterdir()] == ["s"]


def test_socket_with_a_full_queue_lives(start_at, place):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as slow, \
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        slow.bind(str(place / "s"))
        slow.listen(0)
        caller.connect(str(place / "s"))
        agent = start_at(place / "s", wait=False)
        assert agent.wait() == 1
        assert "somebody listens on" in agent.log()
        slow.accept()[0].close()


def test_of_many_that_find_a_stale_socket_one_wins(start_at, place):
    stale(place / "s")
    agents = [start_at(place / "s", wait=False) for _ in range(6)]
    wait_for(lambda: sum(not agent.running() for agent in agents) == 5, "five give way")
    (winner,) = [agent for agent in agents if agent.running()]
    assert {agent.wait() for agent in agents if agent is not winner} == {1}
    assert winner.token(AUDIENCE).status == 200
    assert [entry.name for entry in place.iterdir()] == ["s"]


def make_file(path):
    path.write_text("precious")


def make_link_to_file(path):
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)


@pytest.mark.parametrize("make", [
    make_file, make_link_to_file, lambda path: path.mkdir(), os.mkfifo,
    lambda path: path.symlink_to("nowhere")],
    ids=["file", "link", "directory", "fifo", "dangling link"])
def test_what_is_no_socket_is_left_alone(start_at, place, make):
    make(place / "s")
    before = {entry.name: os.lstat(entry) for entry in place.iterdir()}
    agent = start_at(place / "s", wait=False)
    assert agent.wait() == 78
    assert f"{place}/s is there and is no socket; it is left alone" in agent.log()
    assert {entry.name: os.lstat(entry) for entry in place.iterdir()} == before


def test_file_that_took_our_place_is_left_alone(start_at, place):
    agent = start_at(place / "s")
    os.unlink(place / "s")
    stale(place / "s")
    theirs = os.stat(place / "s").st_ino
    assert agent.stop() == 0
    assert os.stat(place / "s").st_ino == theirs


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757, 0o722])
def test_directory_that_others_can_write_to_is_refused(start_at, place, mode):
    place.chmod(mode)
    agent = start_at(place / "s", wait=False)
    assert agent.wait() == 78
    assert f"socket directory {place} is not safe" in agent.log()
    assert f"mode {mode:04o}" in agent.log()
    assert list(place.iterdir()) == []


def test_directory_of_another_user_is_refused(start_at, place):
    try:
        os.chown(place, 1234, 0)
    except OSError:
        pytest.skip("no other users here")
    agent = start_at(place / "s", wait=False)
    assert agent.wait() == 78
    assert "it belongs to uid 1234" in agent.log()


@pytest.mark.parametrize("path, code, words", [
    ("agent.sock", 78, "not an absolute path"),
    ("./run/agent.sock", 78, "not an absolute path"),
    ("", 78, "not an absolute path"),
    ("/tmp/", 78, "not an absolute path"),
    ("/nonexistent/agent.sock", 1, "socket directory /nonexistent: No such file or directory"),
    ("/etc/passwd/agent.sock", 1, "Not a directory")])
def test_impossible_path_is_refused_with_its_reason(start_at, path, code, words):
    agent = start_at(path, wait=False)
    assert agent.wait() == code
    assert words in agent.log()


def test_path_longer_than_a_socket_address_is_served(start_at, place):
    deep = place / ("d" * 120)
    deep.mkdir()
    agent = start_at(deep / "s")
    # As a client would that cannot spell it either.
    here = os.open(deep, os.O_RDONLY)
    agent.socket = f"/proc/self/fd/{here}/s"
    assert agent.token(AUDIENCE).status == 200
    os.close(here)


def test_agent_of_another_user_serves_in_a_directory_of_its_own(start_agent):
    try:
        os.setgroups(os.getgroups())
    except OSError:
        pytest.skip("no other users here")
    agent = start_agent(FAST, user=1234)
    assert agent.token(AUDIENCE).status == 200
    assert os.stat(agent.socket).st_uid == 1234
