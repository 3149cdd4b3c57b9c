# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that prints the Test Anything Protocol and nothing else.

One line a test, named as automake's harness is to count it; what a failure has
to say follows as comments.  Tests that never ran make the plan come out wrong,
which the harness reports."""

import sys

import pytest


class Tap:
    def __init__(self):
        # Capturing replaces sys.stdout; the harness reads the real one.
        self.out = open(sys.stdout.fileno(), "w", buffering=1, closefd=False,
                        encoding="utf-8", errors="backslashreplace")
        self.count = 0
        self.reports = {}
        self.broken = []
        self.skipped = None

    def line(self, text):
        self.out.write(text + "\n")

    def comment(self, text):
        for line in str(text).splitlines():
            self.line("# " + line)

    def result(self, ok, name, directive=""):
        self.count += 1
        name = name.replace("#", "=23")   # "#" would begin a directive
        self.line(f"{'ok' if ok else 'not ok'} {self.count} - {name}{directive}")

    def failure(self, report):
        if report.longrepr is not None:
            self.comment(report.longrepr)
        for title, text in report.sections:
            if text.strip():
                self.comment(f"--- {title}")
                self.comment(text.rstrip())

    def pytest_collectreport(self, report):
        if report.failed:
            self.broken.append(report)
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.skipped = reason(report)

    def pytest_collection_finish(self, session):
        if self.broken:
            self.line(f"1..{len(self.broken)}")
            for report in self.broken:
                self.result(False, f"collection of {report.nodeid}")
                self.failure(report)
        elif session.items:
            self.line(f"1..{len(session.items)}")
        elif self.skipped:
            self.line(f"1..0 # SKIP {self.skipped}")
        else:
            self.line("Bail out! no tests collected")

    def pytest_runtest_logreport(self, report):
        reports = self.reports.setdefault(report.nodeid, [])
        reports.append(report)
        if report.when == "teardown":
            self.finished(report.nodeid.split("::", 1)[-1],
                          self.reports.pop(report.nodeid))

    def finished(self, name, reports):
        failed = [r for r in reports if r.failed]
        skipped = [r for r in reports if r.skipped]
        if failed:
            self.result(False, name)
            for report in failed:
                self.failure(report)
        elif skipped and hasattr(skipped[0], "wasxfail"):
            self.result(False, name, f" # TODO {skipped[0].wasxfail}")
        elif skipped:
            self.result(True, name, f" # SKIP {reason(skipped[0])}")
        else:
            self.result(True, name)
            # What was measured is told, not judged: record_property().
            for what, figure in reports[-1].user_properties:
                self.comment(f"{what}: {figure}")

    def pytest_internalerror(self, excrepr):
        self.comment(excrepr)
        self.line("Bail out! pytest: internal error")

    def pytest_keyboard_interrupt(self, excinfo):
        if self.broken:
            return      # pytest's way to say that collection failed
        self.comment(excinfo.getrepr())
        self.line("Bail out! interrupted")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if self.skipped and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK


def reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split()).replace("#", "")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(Tap(), "tap-output")
