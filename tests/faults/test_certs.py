# SPDX-License-Identifier: Apache-2.0
"""Google's public keys, without which no token is let through that needs them."""

import pytest

from matrix import CERTS_UPSTREAM, cases


@pytest.mark.parametrize("case", cases(CERTS_UPSTREAM), ids=str)
def test_caller_gets_a_good_token_or_an_honest_error(stage, case):
    stage.play(case)
