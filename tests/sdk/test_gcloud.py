# SPDX-License-Identifier: Apache-2.0
"""gcloud, where it is installed: it is in none of the registries."""

import pytest

from claims import AUDIENCE, check_id_token

ITS_OWN = "32555940559.apps.googleusercontent.com"      # the audience of whoever names none


@pytest.fixture
def gcloud(sdk, emulator, tmp_path):
    """gcloud(WORD ...) -> what it prints, without newline."""
    client = sdk("gcloud")
    client.env.update({
        "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": emulator.ca_file,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1", "CLOUDSDK_COMPUTE_GCE_METADATA_CHECK_TIMEOUT_SEC": "60"})
    return lambda *words: client.ask(*words).strip()


def test_account_and_project_are_the_machines(gcloud, emulator):
    assert gcloud("auth", "list", "--format=value(account,status)") == f"{emulator.email}\t*"
    assert gcloud("config", "get-value", "project") == emulator.project


@pytest.mark.parametrize("words, audience", [([f"--audiences={AUDIENCE}"], AUDIENCE), ([], ITS_OWN)])
def test_identity_token_is_the_agents(gcloud, emulator, words, audience):
    check_id_token(emulator, gcloud("auth", "print-identity-token", *words), audience)


def test_access_token_is_passed_on(gcloud, emulator):
    assert gcloud("auth", "print-access-token") in emulator.secrets()
