"""The measurement of the ledger, run small: it copies both ways, asks both, and writes what it found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attendance.ledger.sqlite import SqliteLedger
from benchmarks import ledger
from benchmarks.ledger_questions import compare_answers
from benchmarks.ledger_set import ZONES, fill


def test_a_file_and_a_server_answer_random_questions_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONGODB_URL", raising=False)
    assert ledger.main(["--punches", "300", "--people", "20", "--questions", "20", "--folder", str(tmp_path)]) == 0
    found = json.loads(next(tmp_path.glob("*-ledger.json")).read_text("utf-8"))
    assert [copy["records"] for copy in found["data"]["copies"]] == ["319"] * 3
    assert [answer["questions"] for answer in found["data"]["answers"]] == [20, 20]
    assert all(answer["records"] > 50 for answer in found["data"]["answers"])
    assert "to SQLite" in capsys.readouterr().out


def test_one_other_field_is_found(tmp_path: Path) -> None:
    with (
        SqliteLedger(tmp_path / "one.sqlite", cooldown_s=300.0, time_zones=ZONES) as one,
        SqliteLedger(tmp_path / "other.sqlite", cooldown_s=300.0, time_zones=ZONES) as other,
    ):
        fill(one, 200, 5)
        fill(other, 200, 5)
        assert compare_answers(one, other, questions=20, people=5).questions == 20
        person = other.people()[0]
        other.replace_person(replace(person, version=2, department="elsewhere"))
        with pytest.raises(AssertionError, match="department is workshop and elsewhere"):
            compare_answers(one, other, questions=20, people=5)
