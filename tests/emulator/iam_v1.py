# SPDX-License-Identifier: Apache-2.0
"""IAM API v1, as far as libraries of 2018 still call it: signBlob, deprecated since 2020."""

import json
import re

from iam import IamCredentials, invalid_argument
import keys

PATH = re.compile(r"/v1/(projects/-/serviceAccounts/[^/:]+):signBlob")


class IamV1(IamCredentials):
    name = "iam-v1"

    def handle(self, request):
        """The same account, credential and permission; other names of fields."""
        if request.method != "POST" or not PATH.fullmatch(request.path):
            return self.not_found(request)
        answer = self.sign(request)
        return self.json(200, {"keyId": answer["keyId"], "signature": answer["signedBlob"]}, request)

    def sign(self, request):
        caller = self._authenticate(request)
        # These libraries name no Content-Type; this API takes the body for JSON all the same.
        try:
            payload = keys.b64_decode(json.loads(request.body)["bytesToSign"])
        except (ValueError, KeyError, TypeError):
            raise invalid_argument("Invalid JSON payload received.", "bytesToSign") from None
        account = self.world.find_account(PATH.fullmatch(request.path)[1].rpartition("/")[2].replace("%40", "@"))
        if account is None:
            raise self.refuse("NOT_FOUND", request)
        self._authorize(request, caller, [], account)
        return self._sign_blob(account, {"payload": payload}, request)
