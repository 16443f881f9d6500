"""A run that is killed goes on and is kept once; a diverging one is kept as such; the pages say what there is."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from attendance.errors import UsageError
from lab.__main__ import main
from lab.experiments.photos import Photos
from lab.experiments.plan import read_experiments, runs_of
from lab.experiments.results import Results
from lab.experiments.runner import Laboratory, preferred
from tests.lab.experiments.made_lfw import WholePicture, made_lfw, made_plan

ROOT = Path(__file__).resolve().parents[3]
STEPS = 12
NAME = "tiny/n-softmax/seed-0"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose faces were found before, and a plan."""
    folder = tmp_path_factory.mktemp("experiments")
    made_plan(folder / "plan", iterations=STEPS)
    photos = Photos(made_lfw(folder / "data"), folder / "work", WholePicture())
    for half in ("tune", "report"):
        photos.found(half)
    return folder


def flags(place: Path) -> list[str]:
    names = ("plan", "data", "work", "results")
    return [word for name in names for word in (f"--{name}", str(place / name))]


def rows_of(place: Path) -> list[dict[str, Any]]:
    path = place / "results" / "experiments.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def log_of(place: Path) -> Path:
    return place / "work" / "runs" / NAME.replace("/", "--") / "log.jsonl"


def kill_in_the_middle(place: Path) -> None:
    words = [sys.executable, "-m", "lab", "experiments", "run", NAME, *flags(place)]
    process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    checkpoints = log_of(place).parent / "checkpoints"
    while not list(checkpoints.glob("step-*")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() < 0


def test_a_killed_run_goes_on_and_is_kept_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kill_in_the_middle(place)
    assert rows_of(place) == []
    assert main(["experiments", "next", *flags(place)]) == 0
    assert NAME in capsys.readouterr().out
    assert main(["experiments", "run", *flags(place)]) == 0
    assert main(["experiments", "run", NAME, *flags(place)]) == 0
    [row] = rows_of(place)
    assert (row["name"], row["steps"], row["diverged"]) == (NAME, STEPS, False)
    steps = [
        json.loads(line)["step"]
        for line in log_of(place).read_text().splitlines()
        if '"loss"' in line and "stage" in line
    ]
    assert steps == list(range(1, STEPS + 1))
    curve = (place / "results" / "curves" / f"{NAME.replace('/', '--')}.csv").read_text().splitlines()
    assert curve[0] == "step,loss,auc,eer" and curve[-1].startswith(f"{STEPS},") and not curve[-1].endswith(",,")


def test_the_others_are_run_until_nothing_is_left(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "run", "--all", *flags(place)]) == 0
    assert "tiny/wild/seed-0" in capsys.readouterr().out
    wild, trial = rows_of(place)[-2:]
    assert (wild["diverged"], "pairs" in wild) == (True, False)
    assert trial["experiment"] == "chosen" and "pairs" not in trial and 0.0 <= trial["validation"]["auc"] <= 1.0
    assert main(["experiments", "next", *flags(place)]) == 0
    assert "nothing is outstanding" in capsys.readouterr().out


def test_a_run_whose_plan_was_changed_begins_anew(place: Path) -> None:
    recipe = place / "plan" / "recipes" / "tiny.yaml"
    before = recipe.read_text()
    recipe.write_text(before.replace(f"iterations: {STEPS}", "iterations: 2"))
    assert main(["experiments", "run", NAME, *flags(place)]) == 0
    recipe.write_text(before)
    rows = rows_of(place)
    assert [row["steps"] for row in rows if row["name"] == NAME] == [STEPS, 2]


def test_a_row_names_what_is_needed_to_repeat_it(place: Path) -> None:
    row = rows_of(place)[0]
    for key in ("date", "commit", "machine", "threads", "torch", "recipe", "fingerprint", "seconds_a_step"):
        assert row[key], key
    assert row["right"] and row["gallery"]["people"] == 8


def test_the_pages_show_finished_and_outstanding_rows(place: Path, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    readme = tmp_path / "lab" / "README.md"
    readme.write_text("before\n<!-- leaderboard -->\nold\n<!-- end of the leaderboard -->\nafter\n")
    assert main(["experiments", "report", *flags(place), "--pages", str(tmp_path)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert f"{100 * rows_of(place)[0]['pairs']['accuracy']:.2f} [" in text
    page = (tmp_path / "docs" / "lab" / "experiments.md").read_text()
    flowing = page.replace("\n", " ")
    assert "diverged (1 of 1)" in page and "not one experiment" in flowing and "1 of wild diverged" in flowing
    assert "/chosen/" not in text and "| as it is | " in page
    assert (tmp_path / "docs" / "lab" / "experiments-tiny-curves.png").stat().st_size > 1000
    empty = ["--results", str(tmp_path / "none")]
    assert main(["experiments", "report", *flags(place), *empty, "--pages", str(tmp_path)]) == 0
    assert readme.read_text().count("not run yet") == 2
    assert main(["experiments", "report", *flags(place), "--pages", str(tmp_path / "nowhere")]) == 2


def test_times_are_taken_apart_and_shown(place: Path, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "README.md").write_text("<!-- leaderboard -->\n<!-- end of the leaderboard -->\n")
    assert main(["experiments", "time", "tiny/n-softmax", *flags(place)]) == 0
    times = json.loads((place / "results" / "times.json").read_text())["tiny/n-softmax"]
    kept = (place / "results" / "times.json").read_bytes()
    assert main(["experiments", "time", "tiny/n-softmax", *flags(place)]) == 0
    assert (place / "results" / "times.json").read_bytes() == kept
    assert 0.0 < times["seconds_a_step"] < 60.0 and times["milliseconds_a_face"] > 0.0
    assert main(["experiments", "report", *flags(place), "--pages", str(tmp_path)]) == 0
    page = (tmp_path / "docs" / "lab" / "experiments.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("| N-softmax |")]
    assert f" {times['seconds_a_step']:.3f} |" in line and f" {times['milliseconds_a_face']:.1f} |" in line


def test_the_run_that_validation_prefers_is_exported(place: Path, tmp_path: Path) -> None:
    runs = tuple(run for run in runs_of(read_experiments(place / "plan"), place / "plan") if run.experiment == "tiny")
    laboratory = Laboratory(Photos(place / "data", place / "work"), Results(tmp_path), runs, 1)
    plain, wild = runs
    with pytest.raises(UsageError, match="diverged"):
        preferred(laboratory, runs)
    for run, figures in ((plain, {"validation": {"auc": 0.8}, "pairs": {"accuracy": 0.9}}), (wild, {"diverged": True})):
        laboratory.results.append({"name": run.name, "fingerprint": run.fingerprint(), **figures})
    assert preferred(laboratory, runs) is plain
    better = {"validation": {"auc": 0.9}, "pairs": {"accuracy": 0.7}}
    twin = dataclasses.replace(plain, seed=1)
    laboratory.results.append({"name": twin.name, "fingerprint": twin.fingerprint(), **better})
    assert preferred(laboratory, (plain, twin, wild)) is twin


@pytest.mark.parametrize(
    "words", [["--until", "soon"], ["--until", "25:00"], ["--threads", "0"], ["no/such"], ["--data", "nowhere"]]
)
def test_wrong_use_is_one_line(
    place: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    assert main(["experiments", "run", *flags(place), *fresh, *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
