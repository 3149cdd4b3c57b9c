# SPDX-License-Identifier: Apache-2.0
"""What is asked of a machine that systemd runs, however one gets there: a container
and a virtual machine have call() of their own."""

import json
import shlex


class Commands:
    def call(self, *command, timeout=60):
        """In the machine, as root; not in a unit of its own.  What it printed."""
        raise NotImplementedError

    def run(self, *command, **more):
        """The same; what it prints, and failure is the test's."""
        done = self.call(*command, **more)
        assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stdout}" \
                                     f"{done.stderr}"
        return done.stdout.strip()

    def peer(self, *command, name=None, **properties):
        """In a unit of its own, as a service is: its properties as keywords."""
        unit = [f"--unit={name}"] if name else []
        unit += [f"--property={key}={value}" for key, value in properties.items()]
        return self.call("systemd-run", "--quiet", "--wait", "--pipe", "--collect",
                         *unit, *command)

    def prop(self, name, unit="gce-oidc-agent.service"):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit)

    def journal(self, unit="gce-oidc-agent.service"):
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def entries(self, **fields):
        lines = self.run("journalctl", "--no-pager", "--output=json",
                         *(f"{key}={value}" for key, value in fields.items()))
        return [json.loads(line) for line in lines.splitlines()]

    def drop_in(self, text, unit="gce-oidc-agent.service", restart=True):
        """What stands there until undrop()."""
        self.write_in(f"/run/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")
        if restart:
            self.run("systemctl", "restart", unit)

    def undrop(self, unit="gce-oidc-agent.service"):
        self.run("rm", "-rf", f"/run/systemd/system/{unit}.d")
        self.run("systemctl", "daemon-reload")
        self.call("systemctl", "reset-failed", unit)
        self.run("systemctl", "restart", unit)

    def write_in(self, path, text):
        """Also below what is mounted over the tree."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', path, text)
