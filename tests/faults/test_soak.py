# SPDX-License-Identifier: Apache-2.0
"""All sorts of callers while upstream fails at random: no answer that may not be, and
nothing grows.

SOAK_SECONDS (20) says how long, SOAK_SEED which course it takes; a long one wants
TEST_TIMEOUT, too."""

import os
import time

import pytest

from e2e.conftest import wait_for
from load import FAMILIAR, Load
from resources import fds_left
from stage import SANITIZERS

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = os.environ.get("SOAK_SEED", "1")
CALLERS = 6
GROWTH = 2 << 20        # bytes, after the first quarter

SMALL_CACHE = """
[cache]
entries = 256
per-peer = 256
"""


@pytest.fixture
def agent(bench):
    agent = bench.start(SMALL_CACHE)
    yield agent
    wrong = agent.finish()
    assert not wrong, "; ".join(wrong)


def all_is_well(stage, audience):
    stage.audience = audience
    stage.recovered()


def test_mixed_load_and_faults_leave_nothing_behind(stage, agent, bench, emulator):
    stage.agent = agent
    resources = bench.resources_of(agent)
    all_is_well(stage, FAMILIAR[0])
    before = resources.look()
    load = Load(agent, emulator, SEED)
    began = time.monotonic()

    load.run(SECONDS / 4, CALLERS)
    assert not load.wrong, load.wrong
    filled = resources.look().memory
    load.run(SECONDS * 3 / 4, CALLERS)
    assert not load.wrong, load.wrong
    print(f"seed {SEED}, {time.monotonic() - began:.0f} s: {load.counts}")

    for audience in FAMILIAR:
        all_is_well(stage, audience)
    left = []

    def all_closed():
        left[:] = fds_left(before, resources.look())
        return not left

    wait_for(all_closed, left)
    grown = resources.look().memory - filled
    print(f"{before}; then {resources.look()}")
    assert SANITIZERS or grown <= GROWTH, f"{grown >> 10} KiB more"
    # It was what it was meant to be.
    for what in ("hit", "miss", "shared", "unavailable", "timeout", "denied-by-google", "left",
                 "babbled", "faults"):
        assert load.counts.get(what, 0) > 0, load.counts
