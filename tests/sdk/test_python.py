# SPDX-License-Identifier: Apache-2.0
"""google-auth, of today and of 2018."""

import pytest

from claims import AUDIENCE, check_id_token, check_signature

BOTH = pytest.mark.parametrize("release", ["python", "python-1.5.1"])
OLD_ENDPOINT = "https://www.googleapis.com/oauth2/v4/token"     # what they name as an assertion's aud


@pytest.fixture
def python(sdk, emulator):
    emulator.set(token_audiences=["https://oauth2.googleapis.com/token", OLD_ENDPOINT])
    return sdk


def test_fetch_id_token_gets_the_agents(python, emulator):
    check_id_token(emulator, python("python").ask("fetch_id_token", AUDIENCE))


def test_id_token_credentials_by_the_identity_endpoint(python, emulator):
    check_id_token(emulator, python("python").ask("identity_endpoint", AUDIENCE))


@BOTH
def test_id_token_credentials_that_sign_for_themselves(python, emulator, release):
    check_id_token(emulator, python(release).ask("remote_signature", AUDIENCE))


@BOTH
def test_iam_signer_signs_as_the_account(python, emulator, release):
    answer = python(release).ask("signer", "any text")
    assert answer["email"] == emulator.email
    check_signature(emulator, "any text", answer["signature"])


@BOTH
def test_verify_oauth2_token_believes_what_was_served(python, emulator, sdk_agent, release):
    token = sdk_agent.token(AUDIENCE).text
    claims = python(release).ask("verify", token, AUDIENCE)
    assert claims["email"] == emulator.email and claims["aud"] == AUDIENCE


@BOTH
def test_the_page_of_2018_works_as_it_stands(python, emulator, release):
    check_id_token(emulator, python(release).ask("page_of_2018", emulator.iap_client_id), emulator.iap_client_id)


@BOTH
def test_default_credentials_name_account_and_project(python, emulator, release):
    answer = python(release).ask("access_token")
    assert answer["token"].startswith("ya29.")
    assert answer["email"] == emulator.email
    assert answer["project"] == emulator.project


def test_a_denial_reaches_the_program_in_words(python, sdk_agent):
    client = python("python")
    text = sdk_agent.config.read_text()
    sdk_agent.configure(text + "\n[rule nobody]\npeer = anyone\nhost = any\naudience = **\naction = deny\n")
    assert sdk_agent.get("/v1/reload", {"Content-Type": "application/json"}, "POST").status == 204
    assert "nobody" in client.refused("fetch_id_token", AUDIENCE)
