"""``check-config`` and ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path

from attendance.config import Settings
from tests.cli.conftest import Run


def test_a_valid_configuration_is_shown_as_it_is_in_force(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("cameras: [{source: 'rtsp://user:secret@host/1'}]\ndecide: {margin: 0}\n", encoding="utf-8")
    ran = run("check-config", "--config", path, "--json", "-")
    assert (ran.code, ran.json["valid"], ran.json["problems"]) == (0, True, [])
    assert set(ran.json["settings"]) == set(Settings.model_fields)
    assert ran.json["settings"]["decide"]["margin"] == 0.0
    assert "decide.margin = 0.0" in ran.err
    assert "cameras.0.source = rtsp://***@host/1" in ran.err
    assert "secret" not in ran.err + ran.out


def test_every_fault_is_told_with_file_line_key_and_value(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("model:\n  threads: 0\nsites:\n  - id: main\n    time_zone: Mars\n", encoding="utf-8")
    ran = run("check-config", "--config", path, "--json", "-")
    assert ran.code == 2
    assert ran.err.splitlines()[0].startswith(f"{path}: line 2: model.threads: ")
    assert ran.json["valid"] is False
    first, second = ran.json["problems"]
    assert first == {
        "file": str(path), "line": 2, "key": "model.threads", "value": "0",
        "message": "Input should be greater than or equal to 1",
    }  # fmt: skip
    assert (second["line"], second["key"], second["value"]) == (5, "sites.0.time_zone", "'Mars'")
    assert run("people", "list", "--config", path).err.count("\n") == 1


def test_a_fault_in_the_environment_is_found_too(run: Run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ATTENDANCE_MODEL__THREADS", "many")
    ran = run("check-config", "--json", "-")
    assert (ran.code, ran.json["problems"][0]["file"]) == (2, "environment ATTENDANCE_MODEL__THREADS")


def findings(text: str) -> dict[str, tuple[str, str]]:
    return {row["subject"]: (row["state"], row["detail"]) for row in json.loads(text)}


def test_doctor_looks_at_everything_and_goes_on(enrolled: Run, tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text("cameras:\n  - {id: a, source: none.mp4}\n  - {id: b, source: 'file.xyz'}\n", encoding="utf-8")
    ran = enrolled("doctor", "--config", config, "--json", "-")
    found = findings(ran.out)
    assert ran.code == 1
    assert {"python", "processors", "torch", "numpy", "store", "model", "ledger", "gallery"} < set(found)
    assert found["ledger"] == ("ok", "2 people, template revision 2")
    assert found["gallery"] == ("ok", "2 people, 2 templates, in agreement with the ledger")
    assert [found[name][0] for name in ("camera a", "camera b")] == ["failure", "failure"]
    well = enrolled("doctor", "--no-cameras", "--json", "-")
    assert (well.code, [state for state, _ in findings(well.out).values() if state != "ok"]) == (0, [])


def test_doctor_before_anything_exists_makes_nothing(run: Run, store: Path) -> None:
    ran = run("doctor", "--no-cameras", "--json", "-")
    assert (ran.code, findings(ran.out)["store"][1]) == (0, f"{store}: not there yet; it can be made")
    assert not store.exists()


def test_doctor_tells_what_is_wrong_with_a_store(enrolled: Run, run: Run, store: Path, tmp_path: Path) -> None:
    (store / "chroma" / "chroma.sqlite3").write_bytes(b"nonsense" * 1000)
    (tmp_path / "file").write_text("", encoding="utf-8")
    found = findings(enrolled("doctor", "--no-cameras", "--json", "-").out)
    assert found["gallery"][0] == "failure"
    assert "gallery rebuild" in found["gallery"][1]
    (store / "ledger.sqlite").write_bytes(b"nonsense" * 100)
    found = findings(enrolled("doctor", "--no-cameras", "--json", "-").out)
    assert (found["ledger"][0], found["gallery"][0]) == ("failure", "failure")
    ran = run("doctor", "--no-cameras", "--store", tmp_path / "file", "--json", "-", with_store=False)
    assert findings(ran.out)["store"] == (
        "failure", f"expected a folder, {tmp_path / 'file'} is a file: name another with --store",
    )  # fmt: skip
