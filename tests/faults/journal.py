# SPDX-License-Identifier: Apache-2.0
"""Starts a program whose standard error is the journal, as it believes; the journal's
socket is the one in DIRECTORY, for this program only.

usage: journal.py DIRECTORY PROGRAM ARGUMENTS"""

import os
import sys

from launch import CLONE_NEWNS, MS_PRIVATE, MS_REC, call

MS_BIND = 0x1000
JOURNAL = "/run/systemd/journal"


def main():
    directory, *command = sys.argv[1:]
    call("unshare", CLONE_NEWNS)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"none", b"/run", b"tmpfs", 0, None)
    os.makedirs(JOURNAL)
    call("mount", directory.encode(), JOURNAL.encode(), None, MS_BIND, None)
    stderr = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{stderr.st_dev}:{stderr.st_ino}"
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
