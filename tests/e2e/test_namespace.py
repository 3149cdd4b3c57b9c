# SPDX-License-Identifier: Apache-2.0
"""The ground that all other files stand on: no test leaves the machine."""

import errno
import socket

import pytest


def test_metadata_address_is_on_loopback():
    with socket.create_server(("169.254.169.254", 80)) as server:
        with socket.create_connection(("169.254.169.254", 80), timeout=60):
            peer, address = server.accept()
            peer.close()
    assert address[0] == "169.254.169.254"


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1", "169.254.169.253"])
def test_no_other_address_can_be_reached(address):
    with pytest.raises(OSError) as refused:
        socket.create_connection((address, 443), timeout=60)
    assert refused.value.errno == errno.ENETUNREACH
