# SPDX-License-Identifier: Apache-2.0
"""The end-to-end tests' fixtures, and an agent that outlives a test: what one
fault leaves behind is the next one's trouble, and so it is found."""

import pytest

from e2e.conftest import *  # noqa: F401,F403 (the fixtures)
from e2e.conftest import ANYONE, Agent
from matrix import SIGNBLOB
from resources import Resources
from stage import Stage
from timing import TIMING


class Bench:
    """The agent of a file's tests; after a failure the next test gets another."""

    def __init__(self, program, emulator):
        self._program = program
        self._emulator = emulator
        self._agent = None
        self._way = None
        self.before = None      # Resources.look() of the shared agent, when idle

    def start(self, config="", way=SIGNBLOB, prefix=()):
        """An agent for one test; whoever asks for it finishes it."""
        agent = Agent(self._program, "\n".join((
            self._emulator.agent_config(), way, TIMING, config, ANYONE)), prefix=prefix)
        agent.wait_ready()
        return agent

    def agent(self, way=SIGNBLOB):
        if self._agent is not None and way != self._way:
            self.replace()
        if self._agent is None:
            self._agent, self._way = self.start(way=way), way
        return self._agent

    @staticmethod
    def resources_of(agent):
        return Resources(agent.pid)

    def replace(self):
        """The next test gets an agent that knows nothing."""
        agent, self._agent, self.before = self._agent, None, None
        wrong = agent.finish() if agent else []
        assert not wrong, "; ".join(wrong)


@pytest.fixture(scope="module")
def bench(build_dir, emulator_process):
    bench = Bench(build_dir / "gce-oidc-agent", emulator_process)
    yield bench
    bench.replace()


@pytest.fixture
def stage(bench, emulator):
    return Stage(bench, emulator)
