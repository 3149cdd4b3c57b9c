# SPDX-License-Identifier: Apache-2.0
"""test_pid1.py once more, with the systemd of Debian 13."""

import pytest

from test_pid1 import *  # noqa: F401,F403 (the tests and their fixtures)


@pytest.fixture(scope="module")
def suite():
    return "trixie"
