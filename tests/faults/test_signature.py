# SPDX-License-Identifier: Apache-2.0
"""The IAM Credentials API, asked for a signature: signBlob."""

import pytest

from matrix import SIGN_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(SIGN_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
