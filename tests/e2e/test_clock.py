# SPDX-License-Identifier: Apache-2.0
"""Whose clock is believed: this machine's, Google's, and what nobody can set.

CLOCK_REALTIME has no namespace, so it is Google's clock that is moved here; that
this machine's is set is in the unit tests."""

import base64
import contextlib
import email.utils
import json
import pathlib
import re
import time

import pytest

from conftest import ANYONE, wait_for
from raw_http import ACCESS_FACE
from signing import rule
from steps import COLD, FAST, FIRST, HURRY, steps, warm_up

FACE = "/computeMetadata/v1/instance/service-accounts/default/identity"
NOTHING_REMEMBERED = FAST + "unavailable = 0\ndenied = 0\n"
SLACK = 15              # seconds: dates are cut, machines are busy
BACKDATE = 10


def assertions(emulator):
    """The claims of all that were to be signed, the latest last."""
    found = []
    for record in emulator.requests("iam"):
        assertion = base64.b64decode(json.loads(record["body"])["payload"]).decode()
        claims = assertion.split(".")[1]
        found.append(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))))
    return found


def dated_by(claims, ahead):
    return abs(claims["iat"] - (time.time() + ahead - BACKDATE)) < SLACK


def max_age(answer):
    assert answer.status == 200, answer
    return int(re.fullmatch(r"private, max-age=(\d+)", answer.headers["Cache-Control"])[1])


def unavailable(answer, *words):
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (503, "unavailable"), answer
    assert "eyJ" not in answer.text
    for text in words:
        assert text in answer.text
    return answer


@pytest.fixture
def hurried(start_agent):
    return start_agent(NOTHING_REMEMBERED)


@pytest.mark.parametrize("ahead", [300, -300])
def test_with_a_clock_five_minutes_off_tokens_are_served_and_dated_by_google(
        hurried, emulator, ahead):
    emulator.set(clock_offset=ahead)
    for name in ("first", "second"):
        asked = time.time()
        answer = hurried.token(f"https://{name}.example.com")
        claims = emulator.verify(answer.text, f"https://{name}.example.com")
        # The least that any clock gives it.
        left = min(3600, claims["exp"] - asked)
        assert left - SLACK < max_age(answer) <= left + 1
        assert hurried.token(f"https://{name}.example.com").headers["Gce-Oidc-Cache"] == "hit"
    first, second = assertions(emulator)
    assert dated_by(first, 0)
    assert dated_by(second, ahead)


@pytest.mark.parametrize("ahead", [300, -300])
def test_access_token_with_minutes_left_is_served_for_these_minutes(start_agent, emulator, ahead):
    """It comes with seconds to live: whoever has the right time, they are as long."""
    agent = start_agent(NOTHING_REMEMBERED, ANYONE + rule("access", name="access"))
    emulator.set(clock_offset=ahead, access_token_life=290, refresh_at=100)
    for name in ("first", "second"):
        agent.token(f"https://{name}.example.com")
    for cache in ("miss", "hit"):
        answer = agent.get(ACCESS_FACE)
        assert 200 < max_age(answer) <= 290
        assert 200 < json.loads(answer.text)["expires_in"] <= 290
        assert answer.headers["Gce-Oidc-Cache"] == cache


def test_assertion_that_is_refused_for_its_date_is_made_once_more_with_googles(hurried, emulator):
    emulator.set(clock_offset=-300, skew_tolerance=30)
    emulator.verify(hurried.token("https://first.example.com").text, "https://first.example.com")
    assert steps(emulator) == FIRST | {step: 2 for step in COLD}
    first, second = assertions(emulator)
    assert dated_by(first, 0) and dated_by(second, -300)
    # From now on it is known.
    assert hurried.token("https://second.example.com").status == 200
    assert steps(emulator) == FIRST | {step: 3 for step in COLD}


def test_assertion_is_made_once_more_and_no_oftener(hurried, emulator):
    emulator.set(clock_offset=-300)
    emulator.fault("token-endpoint", "status", reason="time")
    unavailable(hurried.token("https://first.example.com"), "ahead of Google's",
                "chronyc makestep")
    assert steps(emulator) == FIRST | {step: 2 for step in COLD}
    # Its date is Google's already: another one would be the same.
    unavailable(hurried.token("https://second.example.com"))
    assert steps(emulator) == FIRST | {step: 3 for step in COLD}


@pytest.mark.parametrize("ahead, words", [(1200, "s behind Google's"), (-1200, "s ahead of Google's")])
def test_with_a_clock_twenty_minutes_off_there_are_no_new_tokens_until_it_is_set(
        hurried, emulator, ahead, words):
    emulator.set(clock_offset=ahead)
    answer = unavailable(hurried.token("https://first.example.com"), words, "this machine's clock is 1",
                         "timedatectl status; chronyc makestep", "systemd-timesyncd")
    assert re.search(r"clock is (119\d|120\d) s", answer.text)
    hurried.wait_log("no new tokens: this machine's clock is ")
    # Nobody is asked more than once for that.
    assert steps(emulator) == FIRST
    assert dated_by(assertions(emulator)[-1], 0)
    emulator.set(clock_offset=0)
    wait_for(lambda: hurried.token("https://first.example.com").status == 200, "a token")
    hurried.wait_log("near enough to Google's again")


def test_tokens_in_the_cache_outlive_a_google_that_is_wrong(hurried, emulator):
    first = hurried.token("https://first.example.com")
    emulator.set(clock_offset=7200)
    for name in ("second", "third"):
        unavailable(hurried.token(f"https://{name}.example.com"), "behind Google's")
    again = hurried.token("https://first.example.com")
    assert again.headers["Gce-Oidc-Cache"] == "hit"
    assert again.body == first.body


def test_limits_are_options(start_agent, emulator):
    agent = start_agent(FAST + "unavailable = 0\nclock-correct = 30s\nclock-limit = 1min\n")
    emulator.set(clock_offset=20)
    for name in ("first", "second"):
        assert agent.token(f"https://{name}.example.com").status == 200
    assert dated_by(assertions(emulator)[-1], 0)
    emulator.set(clock_offset=40)
    for name in ("third", "fourth"):
        assert agent.token(f"https://{name}.example.com").status == 200
    assert dated_by(assertions(emulator)[-1], 40)
    emulator.set(clock_offset=80)
    unavailable(agent.token("https://fifth.example.com"), "no more than 60 s are made up for")


def test_one_bad_date_counts_nothing(hurried, emulator):
    warm_up(hurried, emulator)
    late = email.utils.formatdate(time.time() + 7200, usegmt=True)
    emulator.fault("token-endpoint", "status", reason="malformed", times=1, headers={"Date": late})
    assert hurried.token("https://first.example.com").status == 403
    for name in ("first", "second"):
        answer = hurried.token(f"https://{name}.example.com")
        assert max_age(answer) > 3600 - SLACK
    assert all(dated_by(claims, 0) for claims in assertions(emulator))
    assert "no new tokens" not in hurried.log()


def test_date_of_the_metadata_server_counts_nothing(start_agent, emulator):
    emulator.set(metadata_date_offset=300)
    agent = start_agent(HURRY)
    for name in ("first", "second"):
        assert agent.token(f"https://{name}.example.com").status == 200
        assert agent.get(f"{FACE}?audience=https://{name}.example.com&format=full").status == 200
    assert all(dated_by(claims, 0) for claims in assertions(emulator))
    emulator.set(metadata_date_offset=7200)
    for name in ("third", "fourth"):
        assert agent.get(f"{FACE}?audience=https://{name}.example.com&format=full").status == 200
    assert "no new tokens" not in agent.log()


def descriptors(pid):
    """What the kernel says of each that is open; those closed while we look are passed over."""
    for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield path.read_text()


def test_kernel_is_asked_to_tell_when_the_clock_is_set(agent):
    # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, of CLOCK_REALTIME, and no other of that
    wait_for(lambda: [re.search(r"settime flags: (\d+)", text)[1] for text in descriptors(agent.pid)
                      if "clockid: 0\n" in text] == ["03"], "the timer")
