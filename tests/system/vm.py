# SPDX-License-Identifier: Apache-2.0
"""A virtual machine of Compute Engine: QEMU without any acceleration, a firmware that
says so, and a network that leads into this network namespace and no further: what
the machine connects to, QEMU connects to from here."""

import json
import os
import pathlib
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

from commands import Commands
from e2e.conftest import wait_for
from image import TESTS

GOOGLE = "Google Compute Engine"
METADATA = "169.254.169.254"
BOOT = 240.0
# Where Google's names lead, and which of the emulator's services is there.
PLACES = {"iamcredentials.googleapis.com": ("iam", "203.0.113.1"),
          "oauth2.googleapis.com": ("token-endpoint", "203.0.113.2"),
          "www.googleapis.com": ("certs", "203.0.113.3")}


def emulator_options():
    """By which the emulator is where an agent looks that nobody has told anything."""
    for _, address in PLACES.values():
        subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    return [f"--metadata-address={METADATA}", "--metadata-port=80",
            *(f"--at={service}={address}:443" for service, address in PLACES.values())]


class Names(threading.Thread):
    """The metadata server's name service: Google's names, and nobody else's."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((METADATA, 53))

    def run(self):
        while True:
            question, client = self.socket.recvfrom(512)
            try:
                self.socket.sendto(self.answer(question), client)
            except (IndexError, OSError, struct.error):
                pass

    @staticmethod
    def answer(question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("ascii", "replace"))
            at += 1 + question[at]
        kind, = struct.unpack_from("!H", question, at + 1)
        place = PLACES.get(".".join(labels).lower())
        found = b""
        if place and kind == 1:
            found = struct.pack("!HHHIH", 0xc00c, 1, 1, 60, 4) + socket.inet_aton(place[1])
        flags = 0x8180 if place else 0x8183
        return (question[:2] + struct.pack("!HHHHH", flags, 1, 1 if found else 0, 0, 0) +
                question[12:at + 5] + found)


class Monitor:
    """QEMU's own."""

    def __init__(self, path):
        self.socket = connect(path)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return

    def wait(self, event):
        """What happens to the machine."""
        while json.loads(self.file.readline()).get("event") != event:
            pass

    def close(self):
        self.file.close()
        self.socket.close()


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(BOOT)

    def try_it():
        try:
            sock.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    try:
        wait_for(try_it, f"QEMU listens at {path}")
    except BaseException:
        sock.close()
        raise
    return sock


class Vm(Commands):
    def __init__(self, kernel, disk, product=GOOGLE):
        assert os.environ.get("GCE_OIDC_TEST_NETNS"), "run by tests/run-pytest"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="goa-"))
        self.process = self.monitor = self.shell = None
        self.received = b""
        self.boot_id = None
        self.kernel, self.disk, self.product = kernel, disk, product

    def start(self, link=True):
        """link=False: the cable is out, until plug()."""
        with open(self.dir / "qemu", "wb") as log:
            self.process = subprocess.Popen(
                # It must not outlive a test that is killed.
                ["setpriv", "--pdeathsig=KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                 "-no-reboot", "-S", "-M", "q35,usb=off,vmport=off,smbus=off", "-accel",
                 # A second processor costs half as much again: they wait for each other.
                 "tcg", "-cpu", "max", "-smp", "1", "-m", "640", "-smbios",
                 f"type=1,manufacturer=Google,product={self.product}",
                 "-kernel", self.kernel, "-append",
                 "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet "
                 "no_timer_check systemd.show_status=0 systemd.firstboot=off "
                 "systemd.getty_auto=no "
                 "gce-oidc-test",
                 "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=unsafe",
                 "-device", "nvme,drive=disk,serial=root",
                 "-netdev", "user,id=net,net=10.128.0.0/20,ipv6-net=fd00:128::/64",
                 "-device", "virtio-net-pci,netdev=net,id=nic,romfile=",
                 "-device", "virtio-rng-pci",
                 "-serial", f"file:{self.dir}/console",
                 "-chardev", f"socket,id=shell,path={self.dir}/shell,server=on,wait=off",
                 "-serial", "chardev:shell",
                 "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.monitor = Monitor(self.dir / "qmp")
        self.shell = connect(self.dir / "shell")
        if not link:
            self.monitor.do("set_link", name="nic", up=False)
        self.monitor.do("cont")
        self.wait_ready()

    def plug(self):
        self.monitor.do("set_link", name="nic", up=True)

    def wait_ready(self):
        """Until the shell of a boot that is not the last one answers."""
        end = time.monotonic() + BOOT
        while True:
            word, _, boot_id = self.word(end)[-42:].partition(" ")
            if word == "ready" and boot_id != self.boot_id:
                self.boot_id = boot_id
                return

    def word(self, end):
        """What the shell sends, up to the next zero byte."""
        while b"\0" not in self.received:
            self.shell.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = self.shell.recv(65536)
            except TimeoutError:
                raise AssertionError(f"the machine does not answer:\n{self.console()}") \
                    from None
            assert piece, f"QEMU ended:\n{self.console()}"
            self.received += piece
        word, _, self.received = self.received.partition(b"\0")
        return word.decode(errors="replace")

    def send(self, script):
        self.shell.sendall(f"export LC_ALL=C.UTF-8; exec {script}\0".encode())

    def call(self, *command, timeout=120):
        self.send(shlex.join(map(str, command)))
        end = time.monotonic() + timeout
        status, output, errors = (self.word(end) for _ in range(3))
        return subprocess.CompletedProcess(command, int(status), output, errors)

    def sh(self, script, **more):
        return self.call("bash", "-c", script, **more)

    def suspend(self, wake_up):
        """To RAM, until wake_up() says so; -> for how many seconds by the machine's own
        clocks."""
        before = self.slept()
        self.send("bash -c 'echo deep >/sys/power/mem_sleep; echo mem >/sys/power/state'")
        self.monitor.wait("SUSPEND")
        wait_for(wake_up, "it is woken up", BOOT, 0.1)
        self.monitor.do("system_wakeup")
        status, _, errors = (self.word(time.monotonic() + BOOT) for _ in range(3))
        assert status == "0", errors
        return self.slept() - before

    def slept(self):
        return float(self.run(f"/{TESTS}/client", "slept"))

    def reboot(self):
        """QEMU ends at that, and another one begins: its own reset takes minutes where
        others want the processors, too."""
        self.end("systemctl reboot")
        self.start()

    def power_off(self):
        self.end("systemctl poweroff")

    def end(self, how):
        self.send(how)
        self.process.wait(BOOT)
        for it in (self.monitor, self.shell):
            it.close()
        self.monitor = self.shell = None
        self.received = b""

    def running(self):
        return self.process is not None and self.process.poll() is None

    def console(self):
        return "".join((self.dir / name).read_text(errors="replace")[-4000:]
                       for name in ("qemu", "console") if (self.dir / name).exists())

    def stop(self):
        for it in (self.monitor, self.shell):
            if it:
                it.close()
        if self.running():
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
