"""The skip gate lists every skip with its reason and fails a run only for a reason that nobody allowed."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="missing hardware: no camera")
def test_by_mark():
    pass

def test_by_call():
    pytest.skip("the moon is full")
"""

BOTH = """
# reasons

missing hardware: *
the moon is full
"""


def run(pytester: pytest.Pytester, tests: str, *, allowed: str | None = None) -> pytest.RunResult:
    """Runs the given test file with the plugin, and with a list of allowed reasons where one is given."""
    pytester.makepyfile(tests)
    args = ["-p", "tools.skip_gate"]
    if allowed is not None:
        args += ["--allowed-skips", str(pytester.makefile(".txt", allowed))]
    return pytester.runpytest(*args)


def test_every_skip_is_listed_with_file_test_and_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS)
    result.stdout.fnmatch_lines_random(
        [
            "*test_every_skip*.py::test_by_mark: missing hardware: no camera",
            "*test_every_skip*.py::test_by_call: the moon is full",
        ]
    )
    assert result.ret == pytest.ExitCode.OK


def test_the_run_ends_with_pytests_own_summary_line(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS, allowed=BOTH)
    assert "1 passed, 2 skipped" in result.outlines[-1]


def test_reasons_on_the_list_pass(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS, allowed=BOTH)
    assert result.ret == pytest.ExitCode.OK
    assert "not allowed" not in result.stdout.str()


def test_a_reason_that_is_not_on_the_list_fails_the_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS, allowed="missing hardware: *\n")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    listed = result.stdout.str().split("skips that are not allowed")[1]
    assert "the moon is full" in listed
    assert "no camera" not in listed
    assert "1 passed, 2 skipped" in result.outlines[-1]


def test_a_whole_file_that_skips_itself_is_held_to_the_list(pytester: pytest.Pytester) -> None:
    tests = "import pytest\npytest.skip('no such package', allow_module_level=True)"
    result = run(pytester, tests, allowed=BOTH)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_a_whole_file*.py: no such package"])


def test_an_expected_failure_is_held_to_the_list(pytester: pytest.Pytester) -> None:
    tests = "import pytest\n@pytest.mark.xfail(reason='later')\ndef test_it():\n    assert False"
    result = run(pytester, tests, allowed=BOTH)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*::test_it: xfail: later"])


def test_a_failure_keeps_its_exit_code(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS + "\ndef test_wrong():\n    assert False\n", allowed=BOTH)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_missing_list_is_wrong_use(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("-p", "tools.skip_gate", "--allowed-skips", "nowhere.txt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*expected a readable file, got nowhere.txt*"])
