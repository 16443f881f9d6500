"""Configuration: precedence, and faults named with file, line, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from attendance.config import Settings, load
from attendance.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
EVERY_KEY = ROOT / "configs" / "attendance.yaml"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = write(tmp_path, "detect: {min_face_px: 50}\nattendance: {cooldown_s: 10}\nmodel: {threads: 1}\n")
    environment = {"ATTENDANCE_DETECT__MIN_FACE_PX": "60", "ATTENDANCE_ATTENDANCE__COOLDOWN_S": "20"}
    settings = load(path, environment=environment, overrides={"attendance.cooldown_s": 30})
    assert settings.attendance.cooldown_s == 30
    assert settings.detect.min_face_px == 60
    assert settings.model.threads == 1
    assert settings.decide.target_fpir == 0.001


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), environment={}) == load(environment={})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("detect:\n  min_face_px: small\n", ("line 2", "detect.min_face_px", "integer", "'small'")),
        ("detect:\n  min_face: 4\n", ("line 2", "detect.min_face", "unknown key", "min_face_px")),
        ("detection:\n  a: 4\n", ("line 1", "detection", "unknown key", "detect")),
        ("\ndecide:\n  target_fpir: 2\n", ("line 3", "decide.target_fpir", "less than 1", "2")),
        ("sites:\n  - id: main\n    time_zone: Mars/Olympus\n", ("line 3", "sites.0.time_zone", "IANA", "Mars")),
        ("cameras:\n  - id: a\n    site: nowhere\n", ("cameras", "nowhere", "main")),
        ("cameras:\n  - id: a\n  - id: a\n", ("cameras", "a is there twice")),
        ("cameras:\n  - ident: a\n", ("line 2", "cameras.0.ident", "unknown key", "direction")),
        ("search: {backend: chroma}\n", ("search", "search.url")),
        ("track: {min_frames: 5, max_frames: 4}\n", ("max_frames 4",)),
        ("detect: [1\n", ("line", "not valid YAML")),
        ("- 1\n", ("line 1", "mapping")),
        ("detect: 5\n", ("line 1", "detect", "5")),
    ],
)
def test_a_fault_is_one_line_that_says_where_and_what(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, environment={})
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message


def test_a_fault_in_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="environment ATTENDANCE_DETECT__MIN_FACE_PX"):
        load(environment={"ATTENDANCE_DETECT__MIN_FACE_PX": "tiny"})


def test_an_unknown_key_in_the_environment_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        load(environment={"ATTENDANCE_DETECT__MIN_FACES": "4"})


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml", environment={})


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        annotation = field.annotation
        inner = getattr(annotation, "__args__", (annotation,))[0]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= leaves(inner, f"{prefix}{name}.")
        else:
            found.add(f"{prefix}{name}")
    return found


def written(value: object, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        return {key for name, child in value.items() for key in written(child, f"{prefix}{name}.")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {key for child in value for key in written(child, prefix)}
    return {prefix.rstrip(".")}


def test_the_sample_file_shows_every_key_with_its_default() -> None:
    shown = yaml.safe_load(EVERY_KEY.read_text(encoding="utf-8"))
    assert written(shown) == leaves(Settings)
    assert load(EVERY_KEY, environment={}) == load(environment={})


def test_every_key_has_a_sentence_and_stands_in_the_docs() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for key in sorted(leaves(Settings)):
        assert f"`{key}`" in page, f"docs/configuration.md does not name {key}: run python -m tools.config_docs"
