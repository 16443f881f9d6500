"""The demo's own judgement: it must notice when what was recorded is not what was played."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from attendance.config import load as load_config
from attendance.errors import UsageError
from attendance.types import Direction
from demo import __main__ as demo
from demo.walkpast import Appearance

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
TRUTH = (Appearance("grace-hopper", 2.0, 4.0), Appearance("eileen-collins", 6.0, 8.0))


def event(second: float, kind: str, who: str | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "identity_id": who,
        "observed_at": f"2026-01-05T08:00:{second:06.3f}Z",
        "similarity": 0.9,
    }


GRACE, EILEEN = event(3, "punch", "grace-hopper"), event(7, "punch", "eileen-collins")


@pytest.mark.parametrize(
    ("known", "events"),
    [
        ({"grace-hopper"}, [GRACE, event(7, "unknown", None)]),
        ({"grace-hopper"}, [GRACE, event(3.9, "repeat", "grace-hopper"), event(7, "unknown", None)]),
        ({"grace-hopper", "eileen-collins"}, [GRACE, EILEEN]),
    ],
)
def test_what_was_played_passes(known: set[str], events: list[dict[str, Any]]) -> None:
    demo.check(demo.expectations(TRUTH, start=START, known=known), events)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([event(7, "unknown", None)], "Grace Hopper"),
        ([event(3, "punch", "eileen-collins"), event(7, "unknown", None)], "Grace Hopper"),
        ([GRACE, event(3.5, "punch", "grace-hopper"), event(7, "unknown", None)], "Grace Hopper"),
        ([GRACE, event(7, "punch", "grace-hopper")], "Eileen Collins"),
        ([GRACE, event(7, "repeat", "grace-hopper")], "taken for grace-hopper"),
        ([GRACE], "expected an unknown event"),
        ([GRACE, event(7, "unknown", None), event(12, "punch", "grace-hopper")], "expected 1 punches"),
    ],
)
def test_anything_else_fails_with_one_line(events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(demo.DemoError, match=message) as caught:
        demo.check(demo.expectations(TRUTH, start=START, known={"grace-hopper"}), events)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1


def test_description_names_what_became_of_the_pass() -> None:
    first, second = demo.expectations(TRUTH, start=START, known={"grace-hopper"})
    assert demo.describe(first, [GRACE]).split() == (
        ["Grace", "Hopper", "->", "punch", "grace-hopper", "at", "08:00:03", "(similarity", "0.90)"]
    )
    assert demo.describe(second, [GRACE]).split() == ["Eileen", "Collins", "->", "nothing"]


def test_a_store_with_something_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(UsageError, match="empty or new folder"):
        demo._fresh(tmp_path)
    assert demo.main(["--store", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_program_that_fails_ends_the_demo_with_its_last_line() -> None:
    with pytest.raises(demo.DemoError, match="exit code 3: what went wrong"):
        demo._run("-c", "import sys; print('what went wrong', file=sys.stderr); sys.exit(3)")


def test_the_demo_configuration_is_valid() -> None:
    settings = load_config(demo.CONFIG, environment={})
    assert [(c.id, c.direction) for c in settings.cameras] == [("entrance", Direction.IN)]
