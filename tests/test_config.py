"""Configuration: precedence, and faults named with file, line, key and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from attendance.config import Settings, check, load
from attendance.errors import ConfigError
from tools.config_docs import PAGE, SAMPLE, keys, page, sample, sections


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
    assert settings.decide.target_fpir == 0.003


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


def test_every_fault_of_a_file_is_found_in_its_order(tmp_path: Path) -> None:
    path = write(tmp_path, "model:\n  threads: 0\ndetect:\n  name: haar\n  scale: 2\n")
    found = check(path, environment={})
    assert isinstance(found, list)
    assert [(p.origin, p.line, p.key, p.value) for p in found] == [
        (str(path), 2, "model.threads", "0"),
        (str(path), 4, "detect.name", "'haar'"),
        (str(path), 5, "detect.scale", "2"),
    ]
    with pytest.raises(ConfigError, match=r"line 2: model\.threads: .* got 0 \(and 2 more: see .* check-config\)"):
        load(path, environment={})


@pytest.mark.parametrize(("text", "environment", "expected"), [
    ("search: {url: http://host/}", {}, lambda s: s.search.url == "http://host:8001"),
    ("search: {url: 'https://[::1]:9'}", {}, lambda s: s.search.url == "https://[::1]:9"),
    ("cameras: [{source: 1}]", {}, lambda s: s.cameras[0].source == "1"),
    ("quality: {level: off}", {}, lambda s: s.quality.level == "off"),
    ("", {"ATTENDANCE_QUALITY__LEVEL": "off"}, lambda s: s.quality.level == "off"),
    ("attendance: {cooldown_s: 60}", {}, lambda s: s.attendance.cooldown_s == 60.0),
    ("\ufeffdecide: {margin: 0}", {}, lambda s: s.decide.margin == 0.0),
    ("", {"ATTENDANCE_DECIDE__MARGIN": "null", "ATTENDANCE_HOME": "x"}, lambda s: s.decide.margin is None),
])  # fmt: skip
def test_what_yaml_makes_of_a_value_is_understood(
    tmp_path: Path, text: str, environment: dict[str, str], expected: Callable[[Settings], bool]
) -> None:
    assert expected(load(write(tmp_path, text), environment=environment))


@pytest.mark.parametrize(("text", "line", "part"), [
    ("attendance:\n  cooldown_s: .inf\n", 2, "finite number"),
    ("attendance:\n  cooldown_s: yes\n", 2, "got True"),
    ('attendance:\n  cooldown_s: "60"\n', 2, "got '60'"),
    ("model: {threads: 2}\ntrack:\nmodel: {threads: 1}\n", 3, "model: the key is there twice"),
    ("cameras: []\n", 1, "cameras: expected one or more"),
    ("ledger:\n  url: mysql://host\n", 2, "mongodb://"),
    ("ledger:\n  url: mongodb://host\n  url_file: file\n", 1, "keep one"),
    ("search:\n  backend: chroma\n", 1, "search: backend chroma needs search.url"),
    ("search:\n  url: host:8001\n", 2, "http://host:8001, without user, password or path"),
    ("search:\n  url: http://host:80010\n", 2, "without user, password or path"),
    ("search:\n  url: http://host:8001/chroma\n", 2, "without user, password or path"),
    ("search:\n  url: http://user:word@host:8001\n", 2, "without user, password or path"),
    ("search:\n  collection: a b\n", 2, "search.collection"),
    ("track:\n  max_frames: 2\n", 1, "must not be below min_frames"),
    ("sites: [{id: a}, {id: a}]\ncameras: [{site: a}]", None, "id a is there twice"),
    ("- a\n", 1, "expected a mapping of sections, got list"),
    ("store: &a [*a]\n", 1, "store"),
    ("log: 2026-13-45\n", None, "not valid YAML"),
    ("log: {level: \x00}\n", None, "not valid YAML"),
    ("log: {\n", 2, "not valid YAML"),
    ("log:\n\tlevel: info\n", 2, "not valid YAML"),
])  # fmt: skip
def test_more_faults_are_told_in_one_line(tmp_path: Path, text: str, line: int | None, part: str) -> None:
    found = check(write(tmp_path, text), environment={})
    assert isinstance(found, list)
    assert found[0].line == line
    assert part in str(found[0])
    assert "\n" not in str(found[0])


def test_a_file_that_is_no_text_and_a_folder_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "binary.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read \(.*\): give --config a YAML file"):
            load(path, environment={})


def test_a_list_in_the_environment_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"ATTENDANCE_CAMERAS__0__SOURCE.*set it in the file"):
        load(environment={"ATTENDANCE_CAMERAS__0__SOURCE": "1"})


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
    shown = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    assert written(shown) == leaves(Settings)
    assert load(SAMPLE, environment={}) == load(environment={})


def test_the_committed_file_and_page_are_what_the_tool_makes_of_the_types() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == sample(), "run python -m tools.config_docs"
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.config_docs"


def test_every_key_has_a_sentence_and_stands_on_the_page() -> None:
    for key in sorted(leaves(Settings)):
        assert f"| `{key}` |" in page()
    assert all(key.sentence.endswith(".") for _, model, _ in sections() for key in keys(model))
