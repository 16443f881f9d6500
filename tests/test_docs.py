"""The pages that users rely on name every command, flag, key and file that the code has, and no others."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.cli.main import build_parser
from attendance.enrol import EnrolResult
from attendance.kiosk import Summary
from attendance.report import DAY_COLUMNS, ENTRY_COLUMNS, PERSON_COLUMNS
from attendance.types import EventKind, RefusalReason
from tests.test_events import event

DOCS = Path(__file__).resolve().parent.parent / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that runs (groups left out), as its words, with its parser."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield words.strip(), parser
    for group in groups:
        for name, child in group.choices.items():
            yield from commands(child, f"{words} {name}")


COMMANDS = dict(commands(build_parser()))
COMMON = {"--help", "--config", "--store", "--json", "--quiet", "--version"}


def section(text: str, heading: str) -> str:
    """What stands below a heading, down to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no heading {heading!r}"
    return found[1]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_flag_stands_in_the_contract(words: str) -> None:
    row = next((line for line in page("contract.md").splitlines() if line.startswith(f"| `{words}")), None)
    assert row is not None, f"docs/contract.md has no row for {words}"
    flags = {flag for action in COMMANDS[words]._actions for flag in action.option_strings if flag.startswith("--")}
    assert set(re.findall(r"--[a-z][a-z0-9-]*", row)) == flags - COMMON


def test_the_contract_names_no_command_that_is_not_there() -> None:
    rows = re.findall(r"^\| `([a-z -]+)", section(page("contract.md"), "Commands"), re.MULTILINE)
    assert sorted(row.strip() for row in rows) == sorted(COMMANDS)


@pytest.mark.parametrize("program", ["build_database.py", "realtime_attendance.py"])
def test_every_flag_of_the_programs_stands_in_the_contract(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    from attendance.cli import build, realtime

    with pytest.raises(SystemExit):
        (build if program.startswith("build") else realtime).main(["--help"])
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section(page("contract.md"), f"`{program}`"))) == flags - COMMON


def test_common_flags_and_exit_codes_stand_in_the_contract() -> None:
    text = section(page("contract.md"), "Every command")
    assert set(re.findall(r"`(--[a-z]+)", text)) >= COMMON
    for code in "0123":
        assert f"| {code} |" in text


def test_the_keys_of_events_and_summaries_are_documented() -> None:
    text = page("json.md")
    for heading, keys in (
        ("Events", list(event().to_json())),
        ("realtime_attendance.py", [*Summary().to_json(), "model", "camera", "stats"]),
        ("report --by punch", list(ENTRY_COLUMNS)),
        ("report --by person", list(PERSON_COLUMNS)),
        ("report --by day", list(DAY_COLUMNS)),
    ):
        named = re.findall(r"^\| `([a-z_]+)`", section(text, heading), re.MULTILINE)
        assert named == keys, heading


def test_kinds_and_reasons_are_documented() -> None:
    text = page("json.md")
    for word in (*EventKind, *RefusalReason, "not_recorded", "not_active", "not_enrolled", "no_good_frame", "cooldown",
                 "match", "below_threshold", "margin", "empty_gallery"):  # fmt: skip
        assert f"`{word}`" in text, word


def test_the_keys_of_an_enrolment_are_documented() -> None:
    named = set(re.findall(r"^\| `([a-z0-9_]+)`", section(page("json.md"), "build_database.py"), re.MULTILINE))
    assert set(EnrolResult.__dataclass_fields__) <= named


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for path in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
