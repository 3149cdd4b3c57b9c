# SPDX-License-Identifier: Apache-2.0
"""Several reloads in a row: whoever waits since before the first of them may by then
wait on what the first one brought, and the next one replaces that."""

import collections
import fcntl
import http.client
import json
import os
import struct
import termios
import threading

import pytest

from conftest import ANYONE, Response, wait_for
from steps import HURRY
from test_reload import reload
from test_reload_upstream import reloadable  # noqa: F401 (fixture)
from test_shares import SANITIZERS, memory

A, B = "https://a.example.com", "https://b.example.com"
EMAIL = "app-sa@example-proj-123.iam.gserviceaccount.com"
INSTANCE = "/computeMetadata/v1/instance/?recursive=true"
DEBUG = "[agent]\nlog-level = debug\n"
ALL = ANYONE.replace("kind = id", "kind = id jwt monitor") + """
[rule signer]
peer = anyone
host = any
kind = sign-any
account = default
"""


class Waiter:
    """Somebody who has asked: the agent has read it."""

    def __init__(self, agent, target, method="GET", body=None):
        self.connection = agent.connection()
        self.connection.request(method, target, body=body, headers={
            "Metadata-Flavor": "Google", "Content-Type": "application/octet-stream"})
        wait_for(lambda: self._unread() == 0, "the agent has read the request")

    def _unread(self):
        return struct.unpack("i", fcntl.ioctl(self.connection.sock, termios.TIOCOUTQ, bytes(4)))[0]

    def answer(self):
        """None: the agent has gone without one."""
        try:
            return Response(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            self.connection.close()


class Twice:
    """An agent that is reloaded again and again, and what it asks for kept hanging."""

    def __init__(self, reloadable, emulator, **options):
        self.emulator = emulator
        self.agent = reloadable(DEBUG, rules=ALL, **options)
        self.reloads = 0

    def reload(self):
        self.reloads += 1
        self.agent.change(f"{DEBUG}[timing]\niat-skew = {self.reloads}min\n", rules=ALL)

    def hang(self, service, match, **more):
        """-> the fault, for go_on()."""
        return self.emulator.fault(service, "hang", match=match, **more)

    def asked(self, text):
        wait_for(lambda: any(text in record["target"] for record in self.emulator.requests()), text)

    def go_on(self, fault):
        self.emulator.unfault(id=fault)

    def nothing_is_left(self):
        wait_for(lambda: self.agent.log().count("nobody waits any more on what") == self.reloads,
                 "all that was replaced is gone")
        assert self.agent.token("https://after.example.com").status == 200


@pytest.fixture
def twice(reloadable, emulator):  # noqa: F811
    it = Twice(reloadable, emulator)
    assert it.agent.token(A).status == 200
    emulator.reset()
    return it


def test_second_format_is_had_over_two_reloads(twice, emulator):
    signature = twice.hang("iam", ":signBlob")
    waiter = Waiter(twice.agent, f"/v1/token?audience={B}")
    twice.asked(":signBlob")
    twice.reload()
    full = twice.hang("metadata", "format=full")
    emulator.set(api_enabled=False)     # no signature; the metadata server's standard one has no email
    twice.go_on(signature)
    twice.asked("format=full")
    twice.reload()
    twice.go_on(full)
    answer = waiter.answer()
    assert answer and (answer.status, answer.headers["Gce-Oidc-Format"]) == (200, "full")
    assert emulator.verify(answer.text, B)["google"]
    emulator.set(api_enabled=True)
    twice.nothing_is_left()


def test_signature_by_email_is_had_over_two_reloads(reloadable, emulator):  # noqa: F811
    account = emulator.fault("metadata", "hang", match="recursive=true", times=1)
    twice = Twice(reloadable, emulator)
    twice.asked("recursive=true")
    waiter = Waiter(twice.agent, f"/v1/sign?account={EMAIL}", "POST", b"anything")
    twice.reload()
    twice.agent.wait_log("service account app-sa@")
    signature = twice.hang("iam", ":signBlob")
    twice.go_on(account)
    twice.asked(":signBlob")
    twice.reload()
    twice.go_on(signature)
    answer = waiter.answer()
    assert answer and answer.status == 200 and json.loads(answer.text)["signedBlob"]
    twice.nothing_is_left()


@pytest.mark.parametrize("target, options", [
    (f"/v1/sign?account={EMAIL}", ("POST", b"anything")),
    (f"/v1/token?account={EMAIL}&audience={B}", ()),
    (f"/computeMetadata/v1/instance/service-accounts/{EMAIL}/email", ()),
])
def test_email_is_sought_on_where_only_what_was_replaced_has_found_it(
        reloadable, emulator, target, options):  # noqa: F811
    old = emulator.fault("metadata", "hang", match="recursive=true", times=1)
    twice = Twice(reloadable, emulator)
    twice.asked("recursive=true")
    new = twice.hang("metadata", "recursive=true")
    waiter = Waiter(twice.agent, target, *options)
    twice.reload()
    wait_for(lambda: sum("recursive=true" in r["target"] for r in emulator.requests()) >= 2, "both")
    answered = len([r for r in emulator.requests() if r["status"]])
    twice.go_on(old)
    wait_for(lambda: len([r for r in emulator.requests() if r["status"]]) > answered, "one of them")
    twice.go_on(new)
    answer = waiter.answer()
    assert answer and answer.status == 200, answer
    twice.nothing_is_left()


def test_values_are_had_over_two_reloads(twice):
    first, later = twice.hang("metadata", "instance/id"), twice.hang("metadata", "instance/name")
    waiter = Waiter(twice.agent, INSTANCE)
    twice.asked("instance/id")
    twice.reload()
    twice.go_on(first)
    twice.asked("instance/name")
    twice.reload()
    twice.go_on(later)
    answer = waiter.answer()
    assert answer and answer.status == 200
    assert answer.text == twice.agent.get(INSTANCE).text
    twice.nothing_is_left()


def test_values_that_are_held_stay_over_two_reloads(twice):
    """wait_for_change: nothing changes, so the end of the agent is the end of the wait."""
    value = twice.hang("metadata", "instance/id")
    waiter = Waiter(twice.agent, INSTANCE + "&wait_for_change=true")
    twice.asked("instance/id")
    twice.reload()
    twice.go_on(value)
    twice.asked("instance/zone")
    expected = twice.agent.get(INSTANCE)
    twice.reload()
    assert twice.agent.get(INSTANCE).text == expected.text
    assert twice.agent.stop() == 0
    answer = waiter.answer()
    assert answer and (answer.status, answer.text) == (200, expected.text)


# --- many


class Load:
    """Callers of everything that asks upstream, until they are told to end; what was
    answered, or went wrong, is in seen."""

    def __init__(self, agent):
        self.agent, self.seen, self._stop = agent, [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(6)]

    def _ask(self, number, turn):
        what = turn % 4
        if what == 0:
            return f"/v1/token?audience=https://{number}.{turn}.example.com", {}
        if what == 1:
            return f"/v1/sign?account={EMAIL}", {"method": "POST", "body": b"anything"}
        if what == 2:
            return INSTANCE, {}
        return f"/v1/token?audience={A}", {}

    def _run(self, number):
        turn = number
        while not self._stop.is_set():
            target, more = self._ask(number, turn)
            turn += 1
            try:
                answer = self.agent.get(target, {"Content-Type": "application/octet-stream"}, **more)
                self.seen.append((target.partition("?")[0], answer.status))
            except (OSError, http.client.HTTPException) as error:
                self.seen.append((repr(error), None))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()


CHANGES = ["[timing]\niat-skew = 1min\n", "[account default]\nflows = signblob\n",
           "[timing]\niat-skew = 2min\n", "[account default]\nflows = metadata\n", ""]


def test_storm_of_reloads_under_load_leaves_nothing_and_loses_nothing(reloadable, emulator):  # noqa: F811
    bounded = "[cache]\nentries = 30\n"
    agent = reloadable(bounded, rules=ALL)
    upstream = emulator.agent_config()

    def storm(load, reloads):
        done = 0
        while done < reloads:
            before = len(load.seen)
            agent.configure("\n".join((upstream, HURRY + bounded + CHANGES[done % len(CHANGES)], ALL)))
            # Where too many are waited on, it is for the caller to come again.
            status = reload(agent).status
            assert status in (204, 503), status
            done += status == 204
            wait_for(lambda: len(load.seen) > before, "somebody is answered in between")

    with Load(agent) as load:
        storm(load, 50)
    settled = memory(agent)
    with Load(agent) as load_again:
        storm(load_again, 150)
    seen = collections.Counter(load.seen + load_again.seen)
    assert {status for _, status in seen} == {200}, seen
    grown = memory(agent) - settled
    assert SANITIZERS or grown < 2 << 20, f"{grown >> 10} KiB"
    wait_for(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) < 40, "descriptors closed")
