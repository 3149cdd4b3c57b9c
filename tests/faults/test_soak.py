# SPDX-License-Identifier: Apache-2.0
"""All sorts of callers while upstream fails at random: no answer that may not be, and
nothing grows.

SOAK_SECONDS (20) says how long, SOAK_SEED which course it takes; a long one wants
TEST_TIMEOUT, too, and says on the way how it goes where pytest runs with -s."""

import os
import time

import pytest

from e2e.conftest import wait_for
from load import FAMILIAR, Load
from matrix import BOTH
from resources import fds_left
from stage import SANITIZERS

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = os.environ.get("SOAK_SEED", "1")
CALLERS = 6
ROUNDS = 8
GROWTH = 1 << 20        # bytes, after the first quarter
OWN = 9 << 19           # bytes, but for libraries, with as many tokens as SMALL_CACHE lets live

# All that a load is meant to see and to do.
MEANT = ("hit", "miss", "shared", "unavailable", "timeout", "denied-by-google", "left", "babbled",
         "faults")

SMALL_CACHE = """
[cache]
entries = 256
per-peer = 256
"""


@pytest.fixture
def agent(bench):
    agent = bench.start(SMALL_CACHE, BOTH)
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
    stage.jwks = load.jwks
    began, looks = time.monotonic(), []

    for _ in range(ROUNDS):
        load.run(SECONDS / ROUNDS, CALLERS)
        looks.append(resources.look())
        print(f"seed {SEED}, {time.monotonic() - began:.0f} s: {looks[-1]}; {load.counts}")
        assert not load.wrong, load.wrong

    # A slow machine needs longer to come by all that.
    wait_for(lambda: set(MEANT) <= set(load.counts) or load.run(SECONDS / ROUNDS, CALLERS),
             "all sorts of answers")
    assert not load.wrong, load.wrong
    for audience in FAMILIAR:
        all_is_well(stage, audience)
    left = []

    def all_closed():
        left[:] = fds_left(before, resources.look())
        return not left

    wait_for(all_closed, left)
    looks.append(resources.look())
    print(f"{before}; then {looks[-1]}")
    grown = looks[-1].memory - looks[ROUNDS // 4 - 1].memory
    assert SANITIZERS or grown <= GROWTH, f"{grown >> 10} KiB more"
    own = max(look.memory for look in looks)
    assert SANITIZERS or own <= OWN, f"{own >> 10} KiB of its own"
