# SPDX-License-Identifier: Apache-2.0
"""The metadata server, asked for the account: once, before anything else."""

import pytest

from matrix import ACCOUNT_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(ACCOUNT_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
