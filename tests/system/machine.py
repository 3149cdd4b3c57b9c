# SPDX-License-Identifier: Apache-2.0
"""A machine without a hypervisor: systemd as PID 1 of a container, on this kernel
and in this network namespace, so that the emulator is within its reach."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from commands import Commands
from conftest import SCRATCH, base_path, find_one, is_root
from e2e.conftest import wait_for

HIERARCHIES = [pathlib.Path(path) for path in (
    "/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")]
BOOT = 120.0


def base_of(build_dir, suite):
    """The tree of a Debian that can be booted here; or the test is skipped."""
    if os.environ.get("SANITIZERS", "no") not in ("", "no"):
        pytest.skip("sanitizers want more memory than the unit gives, and the container "
                    "lacks them")
    if not is_root():
        pytest.skip("not root")
    if not shutil.which("systemd-nspawn"):
        pytest.skip("no systemd-nspawn: apt-get install systemd-container")
    probe = subprocess.run(["unshare", "--mount", "--pid", "--cgroup", "--fork", "mount",
                            "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True,
                           check=False)
    if probe.returncode:
        pytest.skip(f"no mounts of one's own here: {probe.stderr}")
    return base_path(build_dir, suite)


class Cgroup:
    """One of our own, in each hierarchy that systemd uses: nspawn leaves some below
    it, and two machines would find each other's."""

    def __init__(self, path=None):
        """path: below the root, at the end of which we are."""
        self.path = pathlib.Path(path or f"goa-{os.getpid()}")
        self.name = self.path.parts[0]
        self.tops = [top for top in HIERARCHIES if (top / "cgroup.procs").exists()]
        for top in self.tops:
            (top / self.path).mkdir(parents=True, exist_ok=True)

    def enter(self):
        for top in self.tops:
            (top / self.path / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        for top in self.tops:
            for path, _, _ in os.walk(top / self.name, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass


class Machine(Commands):
    def __init__(self, base, stage=None, options=(), cgroup=None):
        """stage: what make install put there; without, there is no agent yet.
        options: more of systemd-nspawn's.  cgroup: in which it is, by path."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="goa-", dir=SCRATCH))
        self.dir.chmod(0o755)
        self.root = self.dir / "root"
        self.agent = stage and "/" + str(find_one(stage / "usr", "gce-oidc-agent")
                                         .relative_to(stage))
        self.options = list(options)
        self.cgroup = Cgroup(cgroup)
        self.process = None
        self.leader = None
        try:
            self.install(base, stage)
        except BaseException:
            self.stop()
            raise

    def install(self, base, stage):
        """As an image is shipped: systemd makes the users and the presets' links."""
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "--numeric-owner", "-xpf", base],
                       check=True)
        if stage:
            shutil.copytree(stage, self.root, symlinks=True, dirs_exist_ok=True)
        (self.root / "etc/machine-id").write_text("uninitialized\n")

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def add_program(self, program, path):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, file)

    def chroot(self, *command):
        """Before it is booted."""
        subprocess.run(["chroot", self.root, *command], stdin=subprocess.DEVNULL, check=True)

    def boot(self):
        with open(self.dir / "console", "wb") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", f"--directory={self.root}",
                 f"--machine=goa-{os.getpid()}", "--boot", "--register=no", "--keep-unit",
                 "--resolv-conf=off", "--timezone=off", "--capability=CAP_NET_ADMIN",
                 *self.options,
                 "systemd.firstboot=off", "systemd.show_status=0",
                 "systemd.mask=systemd-networkd-wait-online.service"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                preexec_fn=self.cgroup.enter)
        wait_for(self.is_up, "systemd answers", BOOT, 0.05)

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended {self.process.returncode}:\n"
                                 f"{self.console()}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = children.read_text().split()
        if not found:
            return False
        self.leader = int(found[-1])
        return self.call("systemctl", "is-system-running").stdout.strip() in (
            "running", "degraded", "starting")

    def console(self):
        return (self.dir / "console").read_text(errors="replace")[-4000:]

    def call(self, *command, text=True, timeout=60, **more):
        """In the machine's namespaces, as its root; in the caller's cgroup, which is no
        unit's."""
        # Who is in it cannot enter it.
        user = [] if self.ours("self", "user") else ["--user"]
        return subprocess.run(
            ["nsenter", f"--target={self.leader}", *user, "--mount", "--uts", "--ipc",
             "--pid", "--cgroup", "--root", "--wd=/", *map(str, command)],
            stdin=subprocess.DEVNULL, capture_output=True, text=text, timeout=timeout,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                 "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"},
            check=False, **more)

    def pid(self, unit="gce-oidc-agent.service"):
        """In our own namespace, where the tests look at it; 0: none."""
        inner = self.prop("MainPID", unit)
        for path in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = path.read_text()
            except OSError:
                continue
            ids = next((line.split()[1:] for line in text.splitlines()
                        if line.startswith("NSpid:")), [])
            if len(ids) > 1 and ids[-1] == inner and self.ours(path.parent.name):
                return int(path.parent.name)
        return 0

    def ours(self, process, namespace="pid"):
        try:
            return os.readlink(f"/proc/{process}/ns/{namespace}") == os.readlink(
                f"/proc/{self.leader}/ns/{namespace}")
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            # Its own order to power off; at once where that does not do.
            self.call("systemctl", "poweroff", "--force", "--force")
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    os.kill(self.leader, signal.SIGKILL)
                    self.process.wait(10)
        wait_for(lambda: not self.cgroup_is_used(), "the cgroup is empty", 10)
        self.cgroup.remove()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_exception):
        """What it had to say belongs to the failure."""
        try:
            if kind:
                print(self.console())
        finally:
            self.stop()

    def cgroup_is_used(self):
        return any(path.exists() and path.read_text() for path in (
            top / self.cgroup.path / "cgroup.procs" for top in self.cgroup.tops))


# --- what all tests ask of one


def token(machine, audience, **properties):
    return machine.peer("gce-oidc", "token", audience, **properties)


def fresh(counter=iter(range(10 ** 6))):
    """An audience of root's that nobody has had."""
    return f"https://n{next(counter)}.example.com"


def active(machine, unit):
    return machine.prop("ActiveState", unit) == "active"
