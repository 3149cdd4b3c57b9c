# SPDX-License-Identifier: Apache-2.0
"""performance.md and performance.svg."""

import os
import pathlib
import platform
import re
import statistics

HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Made by "make bench"; changes made by hand are lost. -->
# Performance

The measure is `tests/bench/limit.c`: a bare epoll loop that reads nothing of what
it is asked and answers with the same bytes. CPU is the server process's own, user
and kernel, per request. Ratios are of neighbours in one round, and are given as the
median of all rounds with the least and the greatest; only they travel from machine
to machine. The server has a core of its own and the client another one, but for the
cases marked ¹, where both share one: there, one wake-up across cores would hide
everything else.

![CPU per request, as a ratio to the limit](performance.svg)

"""


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, "
            f"Linux {platform.release().split('-')[0]}")


def verdict(good):
    return "" if good is None else "yes" if good else "**no**"


def span(values, digits=2):
    return (f"{statistics.median(values):.{digits}f} "
            f"({values[0]:.{digits}f} to {values[-1]:.{digits}f})")


def others(result):
    return [name for name in result.rounds if name != "limit"]


def mark(case):
    return f"{case.name}{' ¹' if case.same_core else ''}"


def title(result, name):
    return mark(result.case) + (f", {name}" if name != "agent" else "")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def cpu_table(results):
    rows = []
    for result in results:
        for name in others(result):
            ratios = result.ratios(name)
            target = result.case.target
            good = None if target is None else statistics.median(ratios) <= target
            rows.append([title(result, name),
                         f"{result.median('limit', 'cpu_usec'):.2f}",
                         f"{result.median(name, 'cpu_usec'):.2f}", span(ratios),
                         f"≤ {target:.2f}" if target else "", verdict(good)])
    return table(["case", "limit, µs", "agent, µs", "ratio", "target", "met"], rows)


def latency_table(results):
    def said(result, name):
        return " / ".join(f"{result.median(name, what):.0f}"
                          for what in ("p50", "p99", "p999"))

    rows = [[title(result, name), said(result, "limit"), said(result, name),
             f"{result.median('limit', 'per_second') / 1000:.0f}",
             f"{result.median(name, 'per_second') / 1000:.0f}"]
            for result in results for name in others(result)]
    return table(["case", "limit: p50 / p99 / p99.9, µs", "agent", "limit, 1000/s",
                  "agent, 1000/s"], rows)


def fact_table(facts):
    return table(["what", "number", "target", "met"],
                 [[f.what, f.number, f.target, verdict(f.good)] for f in facts])


# --- the plot

LEFT, WIDTH, ROW, TOP = 250, 480, 26, 30


def svg_row(result, name, y, x):
    ratios = result.ratios(name)
    low, median, high = x(ratios[0]), x(statistics.median(ratios)), x(ratios[-1])
    parts = [f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">'
             f'{title(result, name)}</text>',
             f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" '
             'stroke="#4477aa" stroke-width="2"/>',
             f'<circle cx="{median:.1f}" cy="{y}" r="4.5" fill="#4477aa"/>',
             f'<text x="{LEFT + WIDTH + 10}" y="{y + 4}">'
             f'{statistics.median(ratios):.2f}</text>']
    if result.case.target:
        at = x(result.case.target)
        parts.append(f'<line x1="{at:.1f}" y1="{y - 9}" x2="{at:.1f}" y2="{y + 9}" '
                     'stroke="#cc3311" stroke-width="2"/>')
    return parts


def plot(results):
    rows = [(result, name) for result in results for name in others(result)]
    greatest = max([2.0] + [result.ratios(name)[-1] for result, name in rows]
                   + [result.case.target or 0 for result in results])
    least = min([0.9] + [result.ratios(name)[0] for result, name in rows])

    def x(ratio):
        return LEFT + WIDTH * (ratio - least) / (greatest - least)

    height = TOP + ROW * len(rows) + 40
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" '
             f'viewBox="0 0 {LEFT + WIDTH + 60} {height}" '
             'font-family="sans-serif" font-size="12">',
             '<!-- SPDX-License-Identifier: Apache-2.0; made by make bench -->',
             f'<rect width="100%" height="{height}" fill="#ffffff"/>']
    step = 0.25 if greatest < 3 else 0.5
    for i in range(int(1 / step), int(greatest / step) + 1):
        at, bold = x(i * step), i * step == 1
        parts += [f'<line x1="{at:.1f}" y1="{TOP - 8}" x2="{at:.1f}" '
                  f'y2="{height - 36}" stroke="{"#000000" if bold else "#dddddd"}"/>',
                  f'<text x="{at:.1f}" y="{TOP - 14}" text-anchor="middle">'
                  f'{i * step:g}</text>']
    for i, (result, name) in enumerate(rows):
        parts += svg_row(result, name, TOP + ROW * i + ROW / 2, x)
    parts.append(f'<text x="{LEFT}" y="{height - 12}">CPU per request, the limit '
                 'being 1: median, least and greatest; red: target</text>')
    return "\n".join(parts + ["</svg>", ""])


# --- the whole


def within_gates(results):
    good = True
    for result in results:
        gate = result.case.gate
        if gate and statistics.median(result.ratios("agent")) > gate:
            print(f"beyond its gate of {gate}: {result.case.name}")
            good = False
    return good


def write(directory, results, facts, arguments):
    how = (f"Machine: {machine()}; {len(results[0].values('limit', 'cpu_usec'))} "
           f"rounds{', quick' if arguments.quick else ''}.\n\n") if results else ""
    text = HEAD + how
    if results:
        text += "## CPU per request\n\n" + cpu_table(results)
        text += ("\n## Latency and throughput\n\nAll that is said above about other "
                 "machines holds twice here.\n\n" + latency_table(results))
    if facts:
        text += "\n## Exact numbers\n\n" + fact_table(facts)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "performance.md").write_text(text, encoding="utf-8")
    if results:
        (directory / "performance.svg").write_text(plot(results), encoding="utf-8")
    print(text[text.index("Machine:") if results else 0:])
    return within_gates(results) and all(f.good is not False or not f.hard
                                         for f in facts)
