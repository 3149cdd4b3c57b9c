# SPDX-License-Identifier: Apache-2.0
"""Many processes that live for one connection, or less.

usage: swarm.py SOCKET TARGET NUMBER UID CGROUP EXPECTED

As UID in CGROUP: NUMBER children connect.  Some ask, and wait for the answer; some
leave without it, or without asking; some leave their connection to us, who ask on it
when they have exited: nobody's unit is known then.  Prints how many answers there
were, and fails on one that is not the EXPECTED status."""

import os
import pathlib
import socket
import sys

GONE = 403


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(path)
    return sock


def status(sock, request):
    sock.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(4096)
        if not piece:
            return 0
        answer += piece
    return int(answer.split()[1])


def child(path, request, what, ours):
    sock = connect(path)
    if what == 0:
        return status(sock, request) // 10
    if what == 1:
        sock.sendall(request)
    elif what == 2:
        socket.send_fds(ours, [b"x"], [sock.fileno()])
    return 0


def main():
    path, target, number, uid, cgroup, expected = sys.argv[1:]
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nMetadata-Flavor: Google\r\n\r\n".encode()
    pathlib.Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    ours, theirs = socket.socketpair()
    answers = left = 0
    for i in range(int(number)):
        what = i % 4
        pid = os.fork()
        if pid == 0:
            os._exit(child(path, request, what, theirs))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if what == 0:
            assert code == int(expected) // 10, (i, code)
            answers += 1
        else:
            assert code == 0, (i, code)
        if what == 2:
            _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
            with socket.socket(fileno=fd) as sock:
                sock.settimeout(60)
                found = status(sock, request)
            assert found == GONE, (i, found)
            left += 1
    print(answers, left)


if __name__ == "__main__":
    main()
