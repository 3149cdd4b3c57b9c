# SPDX-License-Identifier: Apache-2.0
"""Numbers that do not depend on how busy the machine is, or hardly."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time

from e2e.timers import seconds_to_a_timer
from servers import ANYONE, CONNECTIONS, TOKEN, cpu_seconds, need, read_answer, request

STARTS = 60


class Fact:
    """good is None where there is no target."""

    def __init__(self, what, number, target="", good=None, hard=True):
        self.what = what
        self.number = number
        self.target = target
        self.good = good
        self.hard = hard        # missing it is a failure of the bench


# --- system calls


def can_trace():
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-o", "/dev/null", "true"], check=False,
        capture_output=True).returncode == 0


def is_traced(server, by):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    return f"TracerPid:\t{by.pid}\n" in status


@contextlib.contextmanager
def traced(server, file):
    """strace at the server, counting."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-o", str(file), "-p", str(server.pid)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 10
        while not is_traced(server, tracer):
            need(tracer.poll() is None and time.monotonic() < end,
                 "strace cannot attach")
            time.sleep(0.01)
        time.sleep(0.1)         # it has to let the server go on, too
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()


def count_calls(file):
    """calls by name; the line of strace -c ends in [errors] and the name."""
    calls = {}
    for line in file.read_text(encoding="ascii").splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[3].isdigit():
            calls[words[-1]] = int(words[3])
    calls.pop("total", None)
    calls.pop("restart_syscall", None)
    return calls


def calls_per_request(bench, server, n, connections, *options):
    """Of n requests on connections that are there already."""
    command = bench.load_command(server, bench.token, "-s", "-n", n,
                                 "-c", connections, *options)
    file = bench.directory / "strace"
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE) as load:
        need(load.stdout.readline() == "connected\n", "load does not connect")
        with traced(server, file):
            load.stdin.write("\n")
            load.stdin.flush()
            said = load.stdout.readline()
            need(said.startswith("{"), "load has failed")
            hold_on(server)
        load.stdin.close()
        load.wait(10)
    return sum(count_calls(file).values()) / n


def hold_on(server):
    """Until the server sleeps again."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        state = pathlib.Path(f"/proc/{server.pid}/stat").read_text(encoding="ascii")
        if state.rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.001)


def system_calls(bench, quick):
    n = 480 if quick else 3200
    for server, targets in ((bench.token.limit, (3.0, 2.1)),
                            (bench.agent, (3.1, 2.25))):
        for connections, target in zip((1, 16), targets, strict=True):
            # Who comes too late for a turn is one for the next: the fewest count.
            found = min(calls_per_request(bench, server, n, connections)
                        for _ in range(1 if connections == 1 else 3))
            yield Fact(f"system calls per warm request, {connections} connection"
                       f"{'s' if connections > 1 else ''}: {server.name}",
                       f"{found:.2f}", f"≤ {target}", found <= target)
    for server in (bench.token.limit, bench.agent, bench.host):
        found = calls_per_request(bench, server, 200, 1, "-m", "connect")
        yield Fact(f"system calls to connect, ask, close: {server.name}",
                   f"{found:.2f}")


# --- memory


def memory(pid):
    """{name: bytes}"""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return {m[1]: int(m[2]) * 1024
            for m in re.finditer(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}


def idle_connections(bench):
    if not bench.can_hold():
        yield Fact(f"bytes per idle connection, {CONNECTIONS} of them",
                   "not measured: too few file descriptors")
        return
    # One of its own: what the rounds have left behind is not its memory.
    agent = bench.start_agent("idle", bench.agent_program, ANYONE)
    agent.ask(TOKEN)
    before = memory(agent.pid)["Private_Dirty"]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(agent.connect()) for _ in range(CONNECTIONS)]
        agent.ask(TOKEN)        # behind all of them
        silent = memory(agent.pid)["Private_Dirty"]
        for sock in held:
            sock.sendall(request(TOKEN))
        for sock in held:
            read_answer(sock)
        served = memory(agent.pid)["Private_Dirty"]
    for what, after in (("that never asked", silent), ("after a request", served)):
        found = (after - before) / CONNECTIONS
        yield Fact(f"bytes per idle connection {what}, {CONNECTIONS} of them",
                   f"{found:.0f}", "≤ 160", found <= 160)
    said = memory(bench.agent.pid)
    yield Fact("resident memory, and how much of it is private, MiB",
               f"{said['Rss'] / 2**20:.1f}, "
               f"{(said['Private_Dirty'] + said['Private_Clean']) / 2**20:.1f}",
               "≤ 14", said["Rss"] <= 14 * 2**20)
    agent.stop()


# --- time


def start_once(bench, config, number):
    """Seconds from exec to READY=1."""
    address = bench.directory / f"notify-{number}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.settimeout(10)
        notify.bind(str(address))
        program = str(bench.agent_program)
        began = time.perf_counter()
        pid = os.posix_spawn(
            program, [program, f"--config={config}",
                      f"--socket={bench.directory / 'ready.sock'}"],
            dict(os.environ, NOTIFY_SOCKET=str(address)),
            file_actions=[(os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.perf_counter() - began
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            address.unlink()


def ready(bench, quick):
    if os.geteuid() != 0:
        yield Fact("exec to READY=1, ms", "not measured: not root")
        return
    times = sorted(1000 * start_once(bench, bench.directory / "agent.conf", i)
                   for i in range(STARTS // 3 if quick else STARTS))
    median = statistics.median(times)
    yield Fact(f"exec to READY=1, ms: median of {len(times)} (least, greatest)",
               f"{median:.1f} ({times[0]:.1f}, {times[-1]:.1f})", "≤ 6",
               median <= 6, hard=False)


def cold(bench, quick):
    n = 10 if quick else 50
    bench.agent.ask(f"{TOKEN}-cold")
    before, cpu = bench.emulator.counts(), cpu_seconds(bench.agent.pid)
    for i in range(n):
        bench.agent.ask(f"{TOKEN}-cold-{i}")
    spent = (cpu_seconds(bench.agent.pid) - cpu) / n * 1000
    after = bench.emulator.counts()
    asked = {name: (after[name]["total"] - before[name]["total"]) / n
             for name in after if name != "control"}
    wanted = {name: {"iam": 1, "token-endpoint": 1}.get(name, 0) for name in asked}
    yield Fact("requests to Google for a cold token",
               ", ".join(f"{k} {v:g}" for k, v in asked.items() if v),
               "iam 1, token-endpoint 1", asked == wanted)
    yield Fact("own CPU per cold token, ms", f"{spent:.2f}", "≤ 1", spent <= 1,
               hard=False)


def switches(pid):
    """How often its threads have given up the CPU of their own will."""
    return sum(int(re.search(r"^voluntary_ctxt_switches:\t(\d+)$",
                             (task / "status").read_text(encoding="ascii"),
                             re.MULTILINE)[1])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def outlive_timers(agent, seconds):
    """Until none is due for so long: those of callers who have left fire once more."""
    end = time.monotonic() + 60
    while seconds_to_a_timer(agent.pid) <= seconds:
        need(time.monotonic() < end, "the agent always has a timer that is near")
        time.sleep(0.1)


def idle(bench, quick):
    seconds = 3 if quick else 10
    with bench.agent.connect() as sock:
        sock.sendall(request(TOKEN))
        read_answer(sock)
        outlive_timers(bench.agent, seconds + 1)
        hold_on(bench.agent)
        before = switches(bench.agent.pid)
        time.sleep(seconds)
        found = switches(bench.agent.pid) - before
    yield Fact(f"wake-ups in {seconds} idle seconds", f"{found}", "0", found == 0)


def measure(bench, quick):
    facts = []
    if can_trace():
        facts += system_calls(bench, quick)
    else:
        facts.append(Fact("system calls", "not measured: no strace, or no ptrace"))
    facts += idle_connections(bench)
    facts += ready(bench, quick)
    facts += cold(bench, quick)
    facts += idle(bench, quick)
    return facts
