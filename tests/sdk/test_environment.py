# SPDX-License-Identifier: Apache-2.0
"""The environment that leads clients to the agent, as README and the manual page write it."""

import pytest

from conftest import HERE, documented_environment

MANUAL = HERE.parent.parent / "doc/gce-oidc-agent.8"
ROWS = ("Python", "Node", "Go", "Java", "gcloud")
EACH = pytest.mark.parametrize("client, words", [
    ("python", ["access_token"]), ("python-1.5.1", ["access_token"]), ("node", ["accessToken"]), ("go", ["accessToken"]),
    ("java", ["accessToken"]), ("gcloud", ["auth", "print-access-token"])])


def all_at_once(address):
    together = {}
    for row in ROWS:
        together |= documented_environment(row, address)
    return together | {"GCE_METADATA_ROOT": address}


@EACH
def test_all_variables_may_be_set_at_once(sdk, emulator, sdk_agent, tmp_path, client, words):
    its_own = {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": emulator.ca_file}
    answer = sdk(client).ask(*words, env=all_at_once(sdk_agent.at) | its_own)
    assert "ya29." in str(answer)


def test_manual_page_and_readme_name_the_same_variables(sdk_agent):
    block = MANUAL.read_text().partition(".Sh LOOPBACK")[2].partition(".Bd -literal")[2].partition(".Ed")[0]
    written = dict(line.split("=") for line in block.split() if "=" in line)
    assert {name: value.replace("127.0.0.1:254", sdk_agent.at) for name, value in written.items()} == \
        all_at_once(sdk_agent.at)


@pytest.mark.parametrize("client, what", [("python", "access_token"), ("java", "accessToken")])
def test_no_gce_check_hides_the_agent(sdk, client, what):
    assert "default credentials" in sdk(client).refused(what, env={"NO_GCE_CHECK": "true"}).lower()
