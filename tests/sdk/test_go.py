# SPDX-License-Identifier: Apache-2.0
"""cloud.google.com/go/compute/metadata and google.golang.org/api/idtoken: as new as the go in PATH builds them, and
those that Debian's does."""

import json

import pytest

from claims import AUDIENCE, check_id_token


@pytest.fixture(params=["go", "go-debian"])
def go(sdk, request):
    return sdk(request.param)


def test_idtoken_gets_the_agents(go, emulator):
    check_id_token(emulator, go.ask("idToken", AUDIENCE))


def test_metadata_finds_and_reads_the_agent(go, emulator):
    answer = go.ask("metadata")
    assert answer["available"] is True
    assert answer["email"] == emulator.email
    assert answer["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert answer["project"] == emulator.project
    assert answer["number"] == "123456789012"
    assert "default/" in answer["accounts"].split()
    assert answer["undefined"] is True


def test_access_token_is_passed_on(go):
    answer = json.loads(go.ask("accessToken"))
    assert answer["access_token"].startswith("ya29.") and answer["expires_in"] > 225
    assert answer["token_type"] == "Bearer"


def test_validate_believes_what_was_served(go, emulator, sdk_agent):
    claims = go.ask("verify", sdk_agent.token(AUDIENCE).text, AUDIENCE)
    assert claims["email"] == emulator.email


def test_dial_context_reaches_the_unix_socket(go, emulator, sdk_agent):
    check_id_token(emulator, go.ask("unix", sdk_agent.socket, AUDIENCE))
