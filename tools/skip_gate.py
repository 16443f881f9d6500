"""A pytest plugin that lists what was skipped and why, and can refuse a skip that nobody allowed.

A skipped test proves nothing, so a run says which ones they were. With `--allowed-skips FILE` a reason that matches no
pattern of that file makes the exit code 1: a test cannot fall silent because of a missing package or a typing error.
An expected failure (xfail) is held to the same list.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

PLUGIN_NAME = "skip-gate"


@dataclass(frozen=True, slots=True)
class Skip:
    """One test, or one whole file, that did not run."""

    file: str
    test: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}::{self.test}: {self.reason}" if self.test else f"{self.file}: {self.reason}"


def read_patterns(path: Path) -> tuple[str, ...]:
    """The patterns of a list of allowed reasons: one a line, without blank lines and comment lines."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


class SkipGate:
    """Collects the skips of one run; `patterns` is None where every reason is allowed."""

    def __init__(self, patterns: tuple[str, ...] | None) -> None:
        self._patterns = patterns
        self._skips: list[Skip] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            file, _, test = report.nodeid.partition("::")
            self._skips.append(Skip(file, test, _reason(report)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skips.append(Skip(report.nodeid, "", _reason(report)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._refused() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skips:
            terminalreporter.section("skipped, and why")
            for skip in self._skips:
                terminalreporter.line(str(skip))
        refused = self._refused()
        if refused:
            terminalreporter.section("skips that are not allowed", red=True)
            for skip in refused:
                terminalreporter.line(str(skip), red=True)
            terminalreporter.line(
                "Expected every reason to match a line of the list of allowed skips (missing hardware or outside data "
                "only); make these tests run, or add the reason there if it is one of the two.",
                red=True,
            )

    def _refused(self) -> list[Skip]:
        if self._patterns is None:
            return []
        return [skip for skip in self._skips if not any(fnmatchcase(skip.reason, p) for p in self._patterns)]


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected_failure = getattr(report, "wasxfail", None)
    if expected_failure is not None:
        return f"xfail: {expected_failure}"
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allowed-skips",
        type=Path,
        metavar="FILE",
        help="fail when a test is skipped for a reason that matches no pattern of FILE",
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--allowed-skips")
    try:
        patterns = None if path is None else read_patterns(path)
    except OSError as error:
        raise pytest.UsageError(f"--allowed-skips: expected a readable file, got {path} ({error.strerror})") from error
    config.pluginmanager.register(SkipGate(patterns), PLUGIN_NAME)
