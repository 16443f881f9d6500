"""What the ledger holds lies under file, environment and flag, and over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attendance.config import Layer, Settings, check, load, unfit_for_ledger
from attendance.config.kiosk import valid_name
from attendance.errors import ConfigError

ALL = Layer(
    "the ledger's settings kiosk/*", {"decide": {"margin": 0.1, "target_fpir": 0.01}, "track": {"min_iou": 0.2}}
)
OWN = Layer("the ledger's settings kiosk/hall", {"decide": {"margin": 0.2}})


@pytest.mark.parametrize(("text", "environment", "overrides", "margin"), [
    ("", {}, {}, 0.2),
    ("decide: {margin: 0.3}", {}, {}, 0.3),
    ("decide: {margin: 0.3}", {"ATTENDANCE_DECIDE__MARGIN": "0.4"}, {}, 0.4),
    ("", {"ATTENDANCE_DECIDE__MARGIN": "0.4"}, {"decide.margin": 0.5}, 0.5),
    ("decide: {margin: null}", {}, {}, None),
])  # fmt: skip
def test_each_source_beats_those_below(
    tmp_path: Path, text: str, environment: dict[str, str], overrides: dict[str, Any], margin: float | None
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    found = load(path, environment=environment, overrides=overrides, layers=[ALL, OWN])
    assert (found.decide.margin, found.decide.target_fpir, found.track.min_iou) == (margin, 0.01, 0.2)


def test_lists_are_taken_whole(tmp_path: Path) -> None:
    layer = Layer("the ledger's cameras of kiosk hall", {"cameras": [{"id": "a"}, {"id": "b"}]})
    assert [camera.id for camera in load(environment={}, layers=[layer]).cameras] == ["a", "b"]
    path = tmp_path / "own.yaml"
    path.write_text("cameras: [{id: c}]", encoding="utf-8")
    assert [camera.id for camera in load(path, environment={}, layers=[layer]).cameras] == ["c"]


@pytest.mark.parametrize(("layer", "told"), [
    (Layer("the ledger's x", {"decide": {"margin": 9}}), "the ledger's x: decide.margin: Input should be less"),
    (Layer("the ledger's x", {"decide": {"other": 9}}), "the ledger's x: decide.other: unknown key"),
    (Layer("the ledger's x", {"nothing": {"other": 9}}), "the ledger's x: nothing.other: unknown section"),
    (Layer("the ledger's x", {"cameras": [{"id": "a", "direction": "up"}]}), "the ledger's x: cameras.0.direction"),
    (Layer("the ledger's x", {"service": {"token": "secret"}}), "the ledger's x: service.token"),
])  # fmt: skip
def test_a_fault_names_the_ledger_and_the_key(layer: Layer, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={}, layers=[layer])
    assert str(caught.value).startswith(told)


def test_a_fault_of_the_file_is_not_blamed_on_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("decide:\n  margin: 9\n", encoding="utf-8")
    problems = check(path, environment={}, layers=[ALL, OWN])
    assert not isinstance(problems, Settings)
    assert [(problem.origin, problem.line, problem.key) for problem in problems] == [(str(path), 2, "decide.margin")]


def test_what_the_ledger_may_hold() -> None:
    for key in ("decide.threshold", "search.follow_s", "log.level", "quality.level", "model.threads"):
        assert unfit_for_ledger(key) is None, key
    for key in ("store.path", "ledger.url", "ledger.url_file", "search.url", "kiosk.id", "service.token", "cameras",
                "sites.id", "attendance.cooldown_s", "decide", "decide.x.y", "x"):  # fmt: skip
        assert unfit_for_ledger(key), key


@pytest.mark.parametrize(("host", "name"), [
    ("hall-1.example.org", "hall-1.example.org"), ("-döor 2_", "d-or-2_"), ("", "kiosk"), ("...", "kiosk"),
    ("x" * 80, "x" * 64),
])  # fmt: skip
def test_a_hosts_name_becomes_a_valid_id(host: str, name: str) -> None:
    assert valid_name(host) == name
    assert load(environment={}, overrides={"kiosk.id": name}).kiosk.name == name


def test_a_kiosks_id_is_checked_and_the_host_stands_in_for_it() -> None:
    with pytest.raises(ConfigError, match=r"kiosk\.id: expected up to 64"):
        load(environment={}, overrides={"kiosk.id": "a/b"})
    assert load(environment={}).kiosk.name
