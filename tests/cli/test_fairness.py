"""``fairness``: a table without names, as text, JSON and a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.cli.conftest import Run, open_ledger
from tests.fakes import person

COLOURS = [(int(a), int(b), int(c)) for a, b, c in np.random.default_rng(4).integers(0, 256, (26, 3))]


def enrol_groups(store: Path, *, small: int = 0) -> None:
    """24 people of two groups with two photos each, and so many of a third."""
    with open_ledger(store) as ledger:
        for number, colour in enumerate(COLOURS[: 24 + small]):
            group = "other" if number >= 24 else ("day", "night")[number % 2]
            made = person(f"p-{number:02d}", colour, colour)
            assert ledger.insert_person(replace(made, name=f"Secret {number}", group=group))


def test_groups_are_compared_and_nobody_is_named(run: Run, store: Path, tmp_path: Path) -> None:
    enrol_groups(store, small=2)
    page = tmp_path / "fairness.md"
    ran = run("fairness", "--page", page, "--json", "-")
    assert ran.code == 0, ran.err
    assert (ran.json["by"], ran.json["people"], ran.json["page"]) == ("group", 26, str(page))
    assert [(g["group"], g["people"], g["few"], len(g["rates"]) > 0) for g in ran.json["groups"]] == [
        ("day", 12, True, True), ("night", 12, True, True), ("other", 2, True, False),
    ]  # fmt: skip
    rates = ran.json["groups"][0]["rates"]
    assert ran.json["target_fpir"] in [rate["target_fpir"] for rate in rates]
    assert rates[0]["missed"]["interval"][0] <= rates[0]["missed"]["expected"] <= rates[0]["missed"]["interval"][1]
    text = page.read_text(encoding="utf-8")
    assert "| other | 2 | 4 | | too few people to say | | | |" in text
    assert "day (few people)" in text
    for told in (ran.out, ran.err, text):
        assert "Secret" not in told
        assert "p-0" not in told


def test_a_fixed_threshold_has_one_row_a_group(run: Run, store: Path, tmp_path: Path) -> None:
    enrol_groups(store)
    config = tmp_path / "fixed.yaml"
    config.write_text("decide: {threshold: 0.9}\n")
    ran = run("fairness", "--config", config, "--json", "-")
    assert [len(group["rates"]) for group in ran.json["groups"]] == [1, 1]


def test_nobody_and_a_page_that_cannot_be_written_are_told(run: Run, store: Path, tmp_path: Path) -> None:
    store.mkdir()
    nobody = run("fairness")
    assert (nobody.code, "nobody is enrolled" in nobody.err) == (2, True)
    enrol_groups(store)
    refused = run("fairness", "--page", tmp_path / "missing" / "page.md")
    assert (refused.code, "could not be written" in refused.err) == (1, True)


def test_groups_too_small_to_be_told_are_not_said_to_be_alike(run: Run, store: Path) -> None:
    with open_ledger(store) as ledger:
        for number, colour in enumerate(COLOURS[:8]):
            made = person(f"p-{number:02d}", colour, colour)
            assert ledger.insert_person(replace(made, group=("day", "night")[number % 2]))
    ran = run("fairness")
    assert "no group could be compared" in ran.out, ran.out
    assert "no group differs" not in ran.out
