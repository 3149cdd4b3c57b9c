# SPDX-License-Identifier: Apache-2.0
"""google-auth-library for Java."""

import pytest

from claims import AUDIENCE, check_id_token, check_signature


@pytest.fixture
def java(sdk):
    return sdk("java")


@pytest.mark.parametrize("what", ["idToken", "fullIdToken"])
def test_id_token_credentials_get_the_agents(java, emulator, what):
    check_id_token(emulator, java.ask(what, AUDIENCE))


def test_compute_engine_credentials_know_the_account(java, emulator):
    assert java.ask("email") == emulator.email


def test_access_token_is_passed_on(java):
    assert java.ask("accessToken").startswith("ya29.")


def test_sign_signs_as_the_account(java, emulator):
    check_signature(emulator, "any text", java.ask("sign", "any text"))


def test_token_verifier_believes_what_was_served(java, emulator, sdk_agent):
    assert java.ask("verify", sdk_agent.token(AUDIENCE).text, AUDIENCE) == emulator.email
