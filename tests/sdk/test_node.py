# SPDX-License-Identifier: Apache-2.0
"""google-auth-library and gcp-metadata for Node."""

import pytest

from claims import AUDIENCE, check_id_token, check_signature


@pytest.fixture
def node(sdk):
    return sdk("node")


def test_id_token_client_gets_the_agents(node, emulator):
    check_id_token(emulator, node.ask("idToken", AUDIENCE))


def test_request_headers_carry_it(node, emulator):
    scheme, token = node.ask("headers", AUDIENCE).split(" ")
    assert scheme == "Bearer"
    check_id_token(emulator, token)


def test_default_credentials_name_account_and_project(node, emulator):
    answer = node.ask("accessToken")
    assert answer["token"].startswith("ya29.")
    assert answer["project"] == emulator.project


def test_sign_signs_as_the_account(node, emulator):
    check_signature(emulator, "any text", node.ask("sign", "any text"))


@pytest.mark.parametrize("detection", ["assume-present", "ping-only"])
def test_gcp_metadata_finds_and_reads_the_agent(node, emulator, detection):
    answer = node.ask("metadata", env={"METADATA_SERVER_DETECTION": detection})
    assert answer["available"] is True
    assert answer["email"] == emulator.email
    assert "default/" in answer["accounts"].split()
    assert answer["account"]["email"] == emulator.email
    assert answer["number"] == "123456789012" and answer["id"] == "5775171277418378000"
    assert answer["zone"] == "projects/123456789012/zones/us-central1-a"


def test_verify_id_token_believes_what_was_served(node, emulator, sdk_agent):
    claims = node.ask("verify", sdk_agent.token(AUDIENCE).text, AUDIENCE)
    assert claims["email"] == emulator.email


def test_socket_path_reaches_the_unix_socket(node, emulator, sdk_agent):
    check_id_token(emulator, node.ask("unix", sdk_agent.socket, AUDIENCE))
