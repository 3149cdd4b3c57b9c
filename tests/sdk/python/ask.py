# SPDX-License-Identifier: Apache-2.0
"""What programs do with google-auth, unmodified: ask.py WHAT [ARGUMENT ...] prints JSON."""

import base64
import collections
import collections.abc
import json
import sys

# Python took this name away in 3.10, and google-auth of 2018 reads it there.
collections.Mapping = collections.abc.Mapping

import google.auth
import google.auth.iam
from google.auth import compute_engine
from google.auth.transport.requests import Request
from google.oauth2 import _client, id_token, service_account

TOKEN_URI = "https://www.googleapis.com/oauth2/v4/token"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def fetch_id_token(audience):
    return id_token.fetch_id_token(Request(), audience)


def identity_endpoint(audience):
    credentials = compute_engine.IDTokenCredentials(Request(), audience, use_metadata_identity_endpoint=True)
    credentials.refresh(Request())
    return credentials.token


def remote_signature(audience):
    """The library's own chain of signBlob and exchange; only its access token and email are the agent's."""
    credentials = compute_engine.IDTokenCredentials(Request(), audience)
    credentials.refresh(Request())
    return credentials.token


def signer(text):
    credentials = compute_engine.Credentials()
    credentials.refresh(Request())
    email = credentials.service_account_email
    signature = google.auth.iam.Signer(Request(), credentials, email).sign(text.encode())
    return {"email": email, "signature": base64.b64encode(signature).decode()}


def verify(token, audience):
    return id_token.verify_oauth2_token(token, Request(), audience)


def access_token():
    credentials, project = google.auth.default(scopes=[IAM_SCOPE])
    credentials.refresh(Request())
    return {"token": credentials.token, "email": credentials.service_account_email, "project": project}


def universe():
    credentials, _ = google.auth.default()
    return credentials.universe_domain


def page_of_2018(client_id):
    """Authenticating from a Service Account: the page's program, with the constants that its text has lost."""
    bootstrap, _ = google.auth.default(scopes=[IAM_SCOPE])
    assert isinstance(bootstrap, compute_engine.credentials.Credentials)
    bootstrap.refresh(Request())
    email = bootstrap.service_account_email
    credentials = service_account.Credentials(
        google.auth.iam.Signer(Request(), bootstrap, email), email, token_uri=TOKEN_URI,
        additional_claims={"target_audience": client_id})
    body = {"assertion": credentials._make_authorization_grant_assertion(), "grant_type": JWT_BEARER}
    return _client._token_endpoint_request(Request(), TOKEN_URI, body)["id_token"]


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](*sys.argv[2:]), sys.stdout)
