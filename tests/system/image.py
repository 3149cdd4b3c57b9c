# SPDX-License-Identifier: Apache-2.0
"""A machine's image, made as image builders do: a Debian's tree, and the agent put
into it, by its package or from make install's tree; then a disk of it."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

GUEST = pathlib.Path(__file__).parent / "guest"
TESTS = "usr/lib/gce-oidc-test"

# What installing may touch: the product below /usr, the links that presets ask for,
# the user, and what the package manager writes about itself.
EXPECTED = re.compile(r"""
    usr/.*
    | etc/systemd/system/(multi-user|sockets)\.target\.wants
        (/gce-oidc-agent\.(service|socket))?
    | etc/(passwd|group|shadow|gshadow)-?
    | etc/\.pwd\.lock
    | var/lib/dpkg/.*
    | var/lib/systemd/deb-systemd-helper-enabled(/.*)?
    | var/lib/systemd/catalog/database         # made of what is below /usr
    | var/log/dpkg\.log
""", re.X)

# What tells one machine from another, or outlives it.
IDENTITY = ("etc/hostname", "etc/ssh/ssh_host_*", "var/lib/dbus/machine-id",
            "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret")


def inventory(root):
    """{name: all that changes when it is written}; of directories only that they are
    there, and whose."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            it = os.lstat(path)
            facts = (it.st_mode, it.st_uid, it.st_gid)
            if not stat.S_ISDIR(it.st_mode):
                facts += (it.st_size, it.st_mtime_ns, it.st_ino)
            found[os.path.relpath(path, root)] = facts
    return found


class Image:
    def __init__(self, base, directory):
        self.root = pathlib.Path(directory) / "root"
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "--numeric-owner", "-xpf", base], check=True)
        self.seal()
        self.before = inventory(self.root)

    def seal(self):
        """What boots from it is a machine of its own."""
        (self.root / "etc/machine-id").write_text("uninitialized\n")
        for pattern in IDENTITY:
            for path in self.root.glob(pattern):
                path.unlink()

    def touched(self):
        """What is there now, or is not as it was, since the base was unpacked."""
        now = inventory(self.root)
        gone = self.before.keys() - now.keys()
        return sorted(gone | {name for name, facts in now.items()
                              if self.before.get(name) != facts})

    def unexpected(self):
        return [name for name in self.touched() if not EXPECTED.fullmatch(name)]

    def chroot(self, *command):
        done = subprocess.run(
            ["chroot", self.root, *command], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                 "DEBIAN_FRONTEND": "noninteractive"})
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def install_package(self, package):
        shutil.copy(package, self.root / "tmp/agent.deb")
        try:
            self.chroot("dpkg", "--force-unsafe-io", "--install", "/tmp/agent.deb")
        finally:
            (self.root / "tmp/agent.deb").unlink()

    def install_tree(self, stage):
        shutil.copytree(stage, self.root, symlinks=True, dirs_exist_ok=True)
        self.chroot("systemd-sysusers")
        self.chroot("systemctl", "preset", "gce-oidc-agent.socket", "gce-oidc-agent.service")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            file.unlink()
        file.write_text(text)

    def connect(self):
        """To a network as Compute Engine's is."""
        self.write("usr/lib/systemd/network/80-test.network",
                   "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n")
        self.write("etc/resolv.conf", "nameserver 169.254.169.254\n")
        self.chroot("systemctl", "--quiet", "enable", "systemd-networkd.service")
        for timer in ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all",
                      "fstrim"):
            (self.root / f"etc/systemd/system/{timer}.timer").symlink_to("/dev/null")

    def add_tests(self, client, **files):
        """All below /usr; they do nothing but where the kernel's command line asks for
        them.  files: more of them, from where they are."""
        tests = self.root / TESTS
        tests.mkdir()
        for name, path in dict(files, client=client, shell=GUEST / "shell",
                               early=GUEST / "early").items():
            shutil.copy(path, tests / name)
        wants = self.root / "usr/lib/systemd/system/sysinit.target.wants"
        for unit in GUEST.glob("*.service"):
            shutil.copy(unit, wants.parent)
            (wants / unit.name).symlink_to(f"../{unit.name}")

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def write_disk(self, path):
        with open(path, "wb") as disk:
            disk.truncate(1 << 30)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E",
                        "lazy_itable_init=1,nodiscard,root_owner=0:0", "-d", self.root, path],
                       check=True, env=dict(os.environ, PATH=os.environ["PATH"] + ":/sbin:/usr/sbin"))
