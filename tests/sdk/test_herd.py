# SPDX-License-Identifier: Apache-2.0
"""What a machine full of stock clients costs Google; and clients without a library."""

import pathlib
import subprocess
import sys

import pytest

from claims import AUDIENCE, check_id_token

AT_ONCE = 10
UNIX = pathlib.Path(__file__).parent / "python/unix.py"


def finish(process):
    out, wrong = process.communicate(timeout=120)
    assert process.returncode == 0, wrong
    return out


def herd(client, processes):
    """The different answers that so many processes get, ten at a time."""
    answers = set()
    for _ in range(processes // AT_ONCE):
        running = [client.start("fetch_id_token", AUDIENCE) for _ in range(AT_ONCE)]
        answers |= {finish(process) for process in running}
    return answers


def token_of_all(client, processes):
    (answer,) = herd(client, processes)
    token = answer.strip('"')
    check_id_token(client.emulator, token)
    return token


def once_each(emulator, **counts):
    """So much was asked of Google, and of the metadata server nothing twice."""
    asked = emulator.counts()
    assert {name: asked[name.replace("_", "-")]["total"] for name in counts} == counts
    assert set(asked["metadata"]["requests"].values()) == {1}


@pytest.mark.parametrize("sdk_agent", ["[account default]\nflows = signblob"], indirect=True)
def test_a_hundred_processes_cause_one_chain(sdk, emulator):
    token_of_all(sdk("python"), 100)
    once_each(emulator, iam=1, token_endpoint=1)


# The library asks for a full token, which is the metadata server's where that flow is to be had.
@pytest.mark.parametrize("sdk_agent", ["[account default]\nflows = metadata"], indirect=True)
def test_ten_processes_cause_one_question_to_the_metadata_server(sdk, emulator):
    token_of_all(sdk("python"), 10)
    once_each(emulator, iam=0, token_endpoint=0)


def test_curl_reaches_the_unix_socket(sdk_agent, emulator):
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--unix-socket", sdk_agent.socket, "-H", "Metadata-Flavor: Google",
         f"http://localhost/v1/token?audience={AUDIENCE}"],
        check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    check_id_token(emulator, done.stdout)


def test_python_reaches_the_unix_socket(sdk_agent, emulator):
    done = subprocess.run([sys.executable, str(UNIX), sdk_agent.socket, AUDIENCE], check=True, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60)
    check_id_token(emulator, done.stdout.strip('"'))
