# SPDX-License-Identifier: Apache-2.0
"""test_vm.py once more, with the kernel and the systemd of Debian 13."""

import pytest

from test_vm import *  # noqa: F401,F403 (the tests and their fixtures)


@pytest.fixture(scope="module")
def suite():
    return "trixie"
