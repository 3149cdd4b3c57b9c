# SPDX-License-Identifier: Apache-2.0
"""Stock clients, unmodified: they know only the addresses that their environment gives them, and Google's names."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from e2e.conftest import *  # noqa: F401,F403 (the fixtures)
from emulator.client import Emulator
from loopback import LISTEN, Loopback

HERE = pathlib.Path(__file__).resolve().parent
GOOGLE = "127.0.0.2"            # where the names lead; port 443 is free there

# Whatever a client may want of the account, over TCP: what a deployment grants to SDKs that sign for themselves.
RULES = """
[rule sdks]
peer     = anyone
host     = any
tcp      = yes
kind     = id
audience = **

[rule sdks-as-the-account]
peer     = anyone
host     = any
tcp      = yes
kind     = access
account  = default
"""

# In front of a client: its own /etc/hosts, in a mount namespace that ends with it.
WITH_HOSTS = ("unshare", "--mount", "--", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


@pytest.fixture(scope="module")
def emulator_process():
    with Emulator(f"--front={GOOGLE}") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def clients():
    return pathlib.Path(os.environ["SDK_CLIENTS"])


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, emulator_process):
    file = tmp_path_factory.mktemp("etc") / "hosts"
    file.write_text("127.0.0.1 localhost\n" + "".join(f"{GOOGLE} {name}\n" for name in emulator_process.names))
    return file


class Sdk:
    """One language's client: what it is run with, and the environment that leads it to the agent."""

    def __init__(self, name, clients, hosts, emulator, agent, command, env):
        why, broken = clients / f"{name}.why", clients / f"{name}.broken"
        if why.exists():
            pytest.skip(f"{name}: {why.read_text().strip()}")
        assert not broken.exists(), broken.read_text()
        self._command = [word.replace("DIR", str(clients / name)) for word in command]
        self._prefix = (*WITH_HOSTS, str(hosts))
        self.env = {key: value.replace("DIR", str(clients / name)) for key, value in env.items()}
        self.env.update({"PATH": os.environ["PATH"], "HOME": str(hosts.parent), "LC_ALL": "C.UTF-8"})
        self.agent, self.emulator = agent, emulator

    def start(self, *words, env=None):
        return subprocess.Popen([*self._prefix, *self._command, *words], env={**self.env, **(env or {})},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, *words, env=None):
        """What the client answers; a failure of the client fails the test with its words."""
        process = self.start(*words, env=env)
        out, wrong = process.communicate(timeout=120)
        assert process.returncode == 0, f"{words[0]}: {wrong[-3000:]}"
        return self.read(out)

    @staticmethod
    def read(out):
        return json.loads(out)

    def refused(self, *words, env=None):
        """The words with which the client fails."""
        process = self.start(*words, env=env)
        out, wrong = process.communicate(timeout=120)
        assert process.returncode != 0, out
        return wrong


STORE_PASSWORD = "changeit"     # Java's own default; there is nothing secret in it
README = HERE.parent.parent / "README.md"
DOCUMENTED = "127.0.0.1:254"    # what README writes for the agent's address

# Row of README's table whose variables lead each to the agent; where it finds the emulator's certificate authority;
# what runs it.
SDKS = {
    "python": ("Python", "REQUESTS_CA_BUNDLE", ["DIR/bin/python", str(HERE / "python/ask.py")]),
    "python-1.5.1": ("Python", "REQUESTS_CA_BUNDLE", ["DIR/bin/python", str(HERE / "python/ask.py")]),
    "node": ("Node", "NODE_EXTRA_CA_CERTS", ["node", "DIR/ask.js"]),
    "go": ("Go", "SSL_CERT_FILE", ["DIR/ask"]),
    "go-debian": ("Go", "SSL_CERT_FILE", ["DIR/ask"]),
    "gcloud": ("gcloud", None, ["gcloud"]),
    "java": ("Java", None, [
        "java", "-XX:TieredStopAtLevel=1", "-Djavax.net.ssl.trustStore=TRUST",
        f"-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}", "-cp", "DIR/classes:DIR/jars/*", "Ask"]),
}


def documented_environment(language, address):
    """What README tells programs of this language to set: that is what is tried."""
    (row,) = [line for line in README.read_text().splitlines() if line.startswith(f"| {language} (")]
    variables = dict(re.findall(r"`([A-Z_]+)=([^`]+)`", row))
    assert DOCUMENTED in variables.values()
    return {name: value.replace(DOCUMENTED, address) for name, value in variables.items()}


class PlainSdk(Sdk):
    """One that prints no JSON."""

    @staticmethod
    def read(out):
        return out


@pytest.fixture
def sdk_agent(start_agent, request):
    """An agent that stock clients reach: its TCP address is `at`. May be given configuration."""
    agent = start_agent(getattr(request, "param", ""), rules=RULES, args=LISTEN)
    agent.at = Loopback(agent).host
    return agent


@pytest.fixture
def sdk(clients, hosts, emulator, sdk_agent, tmp_path):
    """sdk(NAME) -> Sdk, or the test is skipped with the reason."""
    def make(name):
        language, trusts, command = SDKS[name]
        env = documented_environment(language, sdk_agent.at)
        if name == "python-1.5.1":
            env["GCE_METADATA_ROOT"] = env.pop("GCE_METADATA_HOST")
        trust = emulator.ca_file
        if trusts:
            env[trusts] = trust
        elif name == "java":
            trust = str(tmp_path / "trust.p12")
            subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "emulator", "-storepass", STORE_PASSWORD,
                            "-file", emulator.ca_file, "-keystore", trust], check=True, capture_output=True,
                           stdin=subprocess.DEVNULL)
        command = [word.replace("TRUST", trust) for word in command]
        return (Sdk if trusts else PlainSdk)(name, clients, hosts, emulator, sdk_agent, command, env)
    return make
