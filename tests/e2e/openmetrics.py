# SPDX-License-Identifier: Apache-2.0
"""OpenMetrics 1.0 text, read strictly: what the specification calls MUST, for the
types that the agent writes."""

import re

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([0-9]+)\Z")
LABEL = re.compile(rf'({NAME})="((?:[^"\\\n]|\\[\\"n])*)"(,|\Z)')
SUFFIX = {"counter": "_total", "gauge": "", "info": "_info"}
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def unescape(text):
    assert not re.search(r"(?<!\\)(?:\\\\)*\\[^\\\"n]", text), text
    return re.sub(r"\\.", lambda m: ESCAPED[m[0]], text)


def labels(text):
    found = {}
    while text:
        match = LABEL.match(text)
        assert match, f"labels: {text!r}"
        name, value, comma = match.groups()
        assert name not in found, f"twice: {name}"
        found[name] = unescape(value)
        text = text[match.end():]
        assert bool(comma) == bool(text), "a comma at the end"
    return found


class Family:
    def __init__(self):
        self.type = self.unit = self.help = None
        self.samples = {}


def parse(text):
    """{family: Family}; samples are {frozenset(labels): value}."""
    assert text.endswith("# EOF\n") and "\r" not in text
    families, name = {}, None
    for line in text[:-len("# EOF\n")].splitlines():
        if line.startswith("#"):
            _, word, family, rest = line.split(" ", 3)
            assert word in ("TYPE", "UNIT", "HELP"), line
            if family != name:
                assert family not in families, f"{family} comes twice"
                assert not families or families[name].samples, f"{name} is empty"
                name = family
                families[name] = Family()
            assert re.fullmatch(NAME, family), line
            about = families[name]
            assert not about.samples, f"{line}: behind its samples"
            assert getattr(about, word.lower()) is None, f"twice: {line}"
            setattr(about, word.lower(), unescape(rest))
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        about = families[name]
        assert about.type in SUFFIX and about.help, f"untold: {line}"
        assert match[1] == name + SUFFIX[about.type], line
        found = frozenset(labels(match[2] or "").items())
        assert found not in about.samples, f"twice: {line}"
        about.samples[found] = int(match[3])
    for name, about in families.items():
        assert about.samples, f"{name} is empty"
        assert not about.unit or name.endswith("_" + about.unit), name
        assert not name.endswith(("_total", "_info")), name
        same = {frozenset(k for k, _ in found) for found in about.samples}
        assert len(same) == 1, f"{name}: {same}"
        assert about.type != "info" or set(about.samples.values()) == {1}, name
    return families
