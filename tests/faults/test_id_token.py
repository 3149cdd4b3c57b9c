# SPDX-License-Identifier: Apache-2.0
"""The token endpoint, asked for the ID token."""

import pytest

from matrix import TOKEN_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(TOKEN_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
