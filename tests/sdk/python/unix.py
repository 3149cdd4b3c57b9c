# SPDX-License-Identifier: Apache-2.0
"""Python's own http.client over the Unix socket: unix.py SOCKET AUDIENCE prints JSON."""

import http.client
import json
import socket
import sys
import urllib.parse


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


connection = UnixConnection(sys.argv[1])
connection.request("GET", "/v1/token?audience=" + urllib.parse.quote(sys.argv[2], safe=""),
                   headers={"Metadata-Flavor": "Google"})
json.dump(connection.getresponse().read().decode(), sys.stdout)
