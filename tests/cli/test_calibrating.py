"""``calibrate`` and ``report --error-budget`` as a user runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.building import photo
from tests.cli.conftest import GREEN, RED, Run


@pytest.fixture
def several(run: Run, tmp_path: Path) -> Run:
    """Red and green with eleven photos each, all alike."""
    for name, colour in (("red", RED), ("green", GREEN)):
        photos = [photo(tmp_path / f"{name}-{i}.png", colour) for i in range(11)]
        made = run("enrol", name, *photos)
        assert made.code == 0, made.err
    return run


def test_calibrate_tells_the_operating_point_and_writes_a_page_that_fetches_nothing(enrolled: Run, store: Path) -> None:
    ran = enrolled("calibrate", "--json", "-")
    assert ran.code == 0, ran.err
    found = ran.json
    assert (found["people"], found["templates"], found["target_fpir"]) == (2, 2, 0.003)
    assert 0.0 < found["threshold"]["at_full_lead"] <= found["threshold"]["at_no_lead"] <= 1.0
    low, high = found["fpir"]["interval"]
    assert low <= found["fpir"]["expected"] <= high <= 1.0
    page = (store / "calibration.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.count("<svg") >= 1
    assert not re.search(r"""(?:src|href)=["']https?://""", page)
    assert "2 people with 2 templates" in page


def test_the_page_goes_where_it_is_told(enrolled: Run, tmp_path: Path) -> None:
    page = tmp_path / "here.html"
    assert enrolled("calibrate", "--page", page, "--quiet").code == 0
    assert page.is_file()
    refused = enrolled("calibrate", "--page", tmp_path / "missing" / "here.html")
    assert refused.code == 1 and "--page" in refused.err and refused.err.count("\n") == 1


def test_with_nobody_enrolled_there_is_nothing_to_calibrate(enrolled: Run) -> None:
    for who in ("red", "green"):
        enrolled("people", "remove", who, "--yes")
    ran = enrolled("calibrate")
    assert (ran.code, "nobody is enrolled" in ran.err) == (2, True)


def test_the_error_budget_asks_how_many_come(enrolled: Run) -> None:
    for flags, named in (
        ((), "--people-passes"),
        (("--people-passes", 10), "--stranger-passes"),
        (("--people-passes", 10, "--stranger-passes", -1), "--stranger-passes"),
        (("--people-passes", "nan", "--stranger-passes", 1), "--people-passes"),
    ):
        ran = enrolled("report", "--error-budget", *flags)
        assert (ran.code, named in ran.err) == (2, True), ran.err
    assert enrolled("report", "--people-passes", 10).code == 2


def test_the_error_budget_is_passes_times_rates(several: Run) -> None:
    ran = several("report", "--error-budget", "--people-passes", 400, "--stranger-passes", 30, "--json", "-")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["days"] == 30 and found["fnir"]["source"] == "gallery"
    fpir, fnir = found["fpir"]["expected"], found["fnir"]["expected"]
    assert found["strangers"]["expected"] == pytest.approx(30 * 30 * fpir, rel=1e-4)
    assert found["mistaken"]["expected"] == pytest.approx(400 * 30 * fpir * fnir, rel=1e-4)
    assert found["wrong"]["low"] <= found["wrong"]["expected"] <= found["wrong"]["high"]
    text = several("report", "--error-budget", "--people-passes", 400, "--stranger-passes", 30).out
    assert "wrong punches" in text and "in 95 of 100 months" in text
