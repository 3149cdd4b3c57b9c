# SPDX-License-Identifier: Apache-2.0
"""The metadata server, asked for the ID token itself."""

import pytest

from matrix import IDENTITY_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(IDENTITY_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
