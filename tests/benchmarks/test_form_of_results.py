"""How benchmarks choose their photos, write their results and are run."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from benchmarks.__main__ import main, parts
from benchmarks.lfw import Lfw, materialise, most_photographed
from benchmarks.report import Table, share, write_result


def photos(*counts: tuple[str, int]) -> dict[str, list[Path]]:
    return {name: [Path(f"{name}_{i}.jpg") for i in range(count)] for name, count in counts}


def test_the_roster_is_the_most_photographed_ties_by_name() -> None:
    roster = most_photographed(photos(("c", 4), ("b", 4), ("d", 9), ("a", 3)), count=2, enrol=3, probe=2)
    assert {name: len(paths) for name, paths in roster.enrolled.items()} == {"b": 3, "d": 3}
    assert {name: [p.name for p in paths] for name, paths in roster.probes.items()} == {
        "b": ["b_3.jpg"],
        "d": ["d_3.jpg", "d_4.jpg"],
    }
    assert {name: len(paths) for name, paths in roster.strangers.items()} == {"a": 3, "c": 4}


def test_folders_are_made_of_links(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"x")
    root = materialise(tmp_path / "people", {"person-01": [photo]})
    assert (root / "person-01" / "photo.jpg").is_symlink()
    assert (root / "person-01" / "photo.jpg").read_bytes() == b"x"


def test_the_halves_of_the_data_set_share_nobody(shared_data: Path) -> None:
    lfw = Lfw(shared_data / "data" / "lfw-dev")
    tune, report = lfw.people("tune"), lfw.people("report")
    assert not tune.keys() & report.keys()
    assert len(report) == 1506
    assert lfw.errata() <= {
        f"{path.parent.name}/{path.name}" for half in (tune, report) for p in half.values() for path in p
    }


def test_a_result_says_what_was_measured_on_what_by_which_command(tmp_path: Path) -> None:
    table = Table("Numbers", ["name", "value"], [["a|b", "1"]], "A note.")
    files = write_result(
        "thing",
        "A thing",
        tables=[table],
        data={"value": 1},
        command="python -m benchmarks thing",
        threads=2,
        folder=tmp_path,
        day=date(2026, 1, 2),
    )
    assert [path.name for path in files] == ["2026-01-02-thing.md", "2026-01-02-thing.json"]
    text = files[0].read_text(encoding="utf-8")
    for line in (
        "# A thing",
        "| command | python -m benchmarks thing |",
        "| threads | 2 |",
        "| a\\|b | 1 |",
        "A note.",
    ):
        assert line in text.splitlines()
    content = json.loads(files[1].read_text(encoding="utf-8"))
    assert content["data"] == {"value": 1}
    assert {"commit", "processor", "python", "torch", "numpy", "command"} <= content["circumstances"].keys()


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (None, None, "-"),
        (0.9895, None, "98.95 %"),
        (0.9895, [0.98, 0.995], "98.95 % [98.00, 99.50]"),
        (0.5, [None, None], "50.00 %"),
    ],
)
def test_rates_as_a_person_reads_them(value: float | None, interval: list[float | None] | None, text: str) -> None:
    assert share(value, interval) == text


def test_parts_are_found_and_an_unknown_one_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert "accuracy" in parts()
    assert main(["--list"]) == 0
    assert "accuracy" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["nonesuch"])
    assert stopped.value.code == 2
    assert "accuracy" in capsys.readouterr().err
