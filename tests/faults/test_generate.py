# SPDX-License-Identifier: Apache-2.0
"""The IAM Credentials API, asked for the ID token itself: generateIdToken."""

import pytest

from matrix import GENERATE_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(GENERATE_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
