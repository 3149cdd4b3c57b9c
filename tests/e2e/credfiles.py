# SPDX-License-Identifier: Apache-2.0
"""Credential files as gcloud and the console write them, and where tests put them."""

import json

TARGET = "target-sa@example-proj-123.iam.gserviceaccount.com"
DESKTOP = "123456789012-desktopclient.apps.googleusercontent.com"


def user_file(**changes):
    return {"type": "authorized_user", "client_id": DESKTOP,
            "client_secret": "EXAMPLE-CLIENT-SECRET", "refresh_token": "EXAMPLE/REFRESH-TOKEN",
            "account": "", "universe_domain": "googleapis.com", **changes}


def impersonated_file(source, delegates=()):
    return {"type": "impersonated_service_account", "delegates": list(delegates),
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/"
            f"projects/-/serviceAccounts/{TARGET}:generateAccessToken",
            "source_credentials": source}


def write(path, content, mode=0o600):
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    path.chmod(mode)
    return path
