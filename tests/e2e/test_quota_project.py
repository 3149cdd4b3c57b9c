# SPDX-License-Identifier: Apache-2.0
"""[upstream] quota-project: the project that requests to IAM count for."""

import pytest

from steps import HURRY, SIGNBLOB
from test_accounts import ALL, BILLING
from test_reload import reload

A, B = "https://a.example.com", "https://b.example.com"
HEADER = "x-goog-user-project"


def projects(emulator, service):
    """What each request there named, without regard to case."""
    return {{name.lower(): value for name, value in
             dict(record["headers"]).items()}.get(HEADER)
            for record in emulator.requests(service)}


def test_requests_to_iam_name_it_and_no_others_do(start_agent, emulator):
    agent = start_agent(SIGNBLOB + HURRY + "[upstream]\nquota-project = payer-123\n")
    assert agent.token(A).status == 200
    assert projects(emulator, "iam") == {"payer-123"}
    assert projects(emulator, "token-endpoint") == projects(emulator, "metadata") == {None}


@pytest.mark.parametrize("flow", ["signblob", "generate"])
def test_another_accounts_requests_name_it_too(start_agent, emulator, flow):
    emulator.set(accounts=[BILLING])
    agent = start_agent(HURRY + "[upstream]\nquota-project = 123456789012\n"
                        f"[account billing]\nemail = {BILLING}\nflows = {flow}\n", ALL)
    answer = agent.get(f"/v1/token?audience={A}&account=billing")
    assert answer.status == 200, answer
    assert projects(emulator, "iam") == {"123456789012"}


def test_without_it_none_is_named_and_a_reload_changes_it(start_agent, emulator):
    agent = start_agent(SIGNBLOB + HURRY)
    assert agent.token(A).status == 200
    assert projects(emulator, "iam") == {None}
    emulator.reset()
    agent.configure(agent.config.read_text() + "[upstream]\nquota-project = other\n")
    assert reload(agent).status == 204
    assert agent.token(B).status == 200
    assert projects(emulator, "iam") == {"other"}


@pytest.mark.parametrize("value", ["Payer", "a b", "a/b", "x" * 64, "\"a\tb\""])
def test_what_no_project_is_called_is_refused(start_agent, value):
    agent = start_agent(f"[upstream]\nquota-project = {value}\n", wait=False)
    assert agent.wait() == 78
    assert "quota-project" in agent.log() or "control" in agent.log()
