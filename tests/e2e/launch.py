# SPDX-License-Identifier: Apache-2.0
"""Starts a program as a service manager, or other firmware, would have it; its
process id stays ours.

usage: launch.py [--listen-fd=FD]... [--listen-pid=PID] [--firmware=NAME] [--uptime=S]
                 [--no-peerpidfd] [--run=DIRECTORY] PROGRAM ARGUMENTS"""

import argparse
import ctypes
import fcntl
import os
import signal
import struct
import time

CLONE_NEWTIME, CLONE_NEWNS = 0x80, 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
BPF_LOAD, BPF_JUMP_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06
SECCOMP_ALLOW, SECCOMP_ERRNO = 0x7fff0000, 0x00050000
SO_PEERPIDFD, ENOPROTOOPT = 77, 92
GETSOCKOPT = {"x86_64": 55, "aarch64": 209}
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def own_mounts():
    call("unshare", CLONE_NEWNS)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)


def set_run(directory):
    """What is /run, for us and ours only."""
    own_mounts()
    call("mount", os.fsencode(directory), b"/run", None, MS_BIND, None)


def set_firmware(name):
    """The machine's product name, for us and ours only."""
    own_mounts()
    call("mount", b"none", b"/sys/class", b"tmpfs", 0, None)
    os.makedirs("/sys/class/dmi/id")
    with open("/sys/class/dmi/id/product_name", "w", encoding="ascii") as file:
        file.write(name + "\n")


def set_uptime(seconds):
    """Seconds since boot, for us and ours only."""
    offset = seconds - int(time.clock_gettime(time.CLOCK_BOOTTIME))
    call("unshare", CLONE_NEWTIME)
    with open("/proc/self/timens_offsets", "w", encoding="ascii") as file:
        file.write(f"boottime {offset} 0\n")
    namespace = os.open("/proc/self/ns/time_for_children", os.O_RDONLY)
    call("setns", namespace, CLONE_NEWTIME)
    os.close(namespace)


def forget_peerpidfd():
    """A kernel before 6.5, which knows no SO_PEERPIDFD, for us and ours only."""
    program = [(BPF_LOAD, 0, 0, 0),         # the number of the call
               (BPF_JUMP_EQUAL, 0, 3, GETSOCKOPT[os.uname().machine]),
               (BPF_LOAD, 0, 0, 32),        # its third argument
               (BPF_JUMP_EQUAL, 0, 1, SO_PEERPIDFD),
               (BPF_RETURN, 0, 0, SECCOMP_ERRNO | ENOPROTOOPT),
               (BPF_RETURN, 0, 0, SECCOMP_ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
         struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    parser.add_argument("--listen-pid", type=int)
    parser.add_argument("--firmware")
    parser.add_argument("--uptime", type=int)
    parser.add_argument("--no-peerpidfd", action="store_true")
    parser.add_argument("--run")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.listen_fd:
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in options.listen_fd]
        for number, fd in enumerate(high, 3):
            os.dup2(fd, number)
        os.environ["LISTEN_FDS"] = str(len(high))
        os.environ["LISTEN_PID"] = str(options.listen_pid or os.getpid())
    if options.firmware is not None:
        set_firmware(options.firmware)
    if options.uptime is not None:
        set_uptime(options.uptime)
    if options.no_peerpidfd:
        forget_peerpidfd()
    if options.run is not None:
        set_run(options.run)
    # Python ignores it, and the program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(options.command[0], options.command)


if __name__ == "__main__":
    main()
