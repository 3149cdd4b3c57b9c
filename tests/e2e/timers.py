# SPDX-License-Identifier: Apache-2.0
"""What a process has asked the kernel to be woken for."""

import math
import pathlib
import re


def seconds_to_a_timer(pid):
    """Until the first of its timers, by descriptor; inf where none is armed."""
    lines = "".join(file.read_text() for file in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir())
    left = [int(s) + int(ns) / 1e9
            for s, ns in re.findall(r"^it_value: \((\d+), (\d+)\)", lines, re.MULTILINE)]
    return min((s for s in left if s > 0), default=math.inf)        # 0: not armed
