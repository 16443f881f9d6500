"""The configuration: every key with its default, bounds and a sentence; unknown keys are refused.

Precedence: flag, then environment ``ATTENDANCE_<SECTION>__<KEY>``, then file, then default. ``load`` does all four and
names file, line, key and value when something is wrong. ``configs/attendance.yaml`` shows every key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from attendance.errors import ConfigError
from attendance.types import Direction

ENVIRONMENT_PREFIX = "ATTENDANCE_"

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class StoreSection(_Section):
    """Where files live."""

    path: Path = Field(
        default=Path("store"),
        description="Folder of the ledger, the gallery and the models; --store sets it.",
    )


class LedgerSection(_Section):
    """People and punches."""

    url: str = Field(
        default="",
        description="Empty: SQLite in the store. A server comes as mongodb://...; not available yet.",
    )


class SearchSection(_Section):
    """The gallery of templates."""

    url: str = Field(
        default="",
        description="Empty: Chroma embedded in the store. A server comes as http://...",
    )
    backend: Literal["auto", "mirror", "chroma"] = Field(
        default="auto",
        description="Who answers live lookups: the exact mirror in memory, or a Chroma server.",
    )
    mirror_max_templates: int = Field(
        default=1_000_000,
        ge=1,
        description="Templates above which the mirror is refused and a Chroma server is needed.",
    )
    follow_s: float = Field(
        default=1.0,
        gt=0.0,
        le=60.0,
        description="Seconds between looks for enrolments by others.",
    )
    max_neighbors: int = Field(
        default=32,
        ge=2,
        le=512,
        description="Chroma's graph degree (HNSW M); fixed at creation.",
    )
    ef_construction: int = Field(default=200, ge=10, le=5000, description="Chroma's build breadth; fixed at creation.")
    ef_search: int = Field(
        default=400,
        ge=10,
        le=5000,
        description="Chroma's query breadth; acts when the store is opened.",
    )
    lock_wait_s: float = Field(
        default=60.0,
        ge=0.0,
        description="Seconds to wait for another builder before giving up.",
    )


class ModelSection(_Section):
    """The embedder."""

    id: str = Field(
        default="dlib-resnet29",
        description="Model card to use; `models list` names those there are.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where networks run; auto takes CUDA if there."
    )
    batch_size: int = Field(default=32, ge=1, le=1024, description="Faces embedded at once when enrolling.")
    threads: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Processor threads of the one pool that the networks share.",
    )


class DetectSection(_Section):
    """The detector."""

    name: Literal["mtcnn"] = Field(default="mtcnn", description="Which detector finds faces.")
    min_face_px: int = Field(
        default=40,
        ge=12,
        le=2000,
        description="Smallest face looked for, in pixels of the image.",
    )
    threshold_pnet: Fraction = Field(default=0.6, description="Score that a proposal needs in the first stage.")
    threshold_rnet: Fraction = Field(default=0.7, description="Score that a candidate needs in the second stage.")
    threshold_onet: Fraction = Field(default=0.7, description="Score that a face needs in the third stage.")
    scale_factor: float = Field(default=0.709, gt=0.3, lt=0.95, description="Ratio of neighbouring pyramid levels.")


class TrackSection(_Section):
    """One face followed over frames."""

    min_iou: Fraction = Field(default=0.3, description="Overlap that links a face to a track.")
    max_gap_s: float = Field(default=1.0, gt=0.0, description="Absence in seconds after which a track ends.")
    min_frames: int = Field(default=3, ge=1, description="Good frames needed before a track is decided.")
    max_frames: int = Field(
        default=10,
        ge=1,
        description="Good frames fused; a decided track is embedded no further.",
    )

    @model_validator(mode="after")
    def _frames_fit(self) -> TrackSection:
        if self.max_frames < self.min_frames:
            raise ValueError(f"max_frames {self.max_frames} must not be below min_frames {self.min_frames}")
        return self


class QualitySection(_Section):
    """Which faces are good enough to enrol or to decide by."""

    level: Literal["off", "standard"] = Field(default="standard", description="Gate for enrolment and live frames.")


class DecideSection(_Section):
    """The open-set rule."""

    target_fpir: float = Field(
        default=0.001,
        gt=0.0,
        lt=1.0,
        description="Share of strangers' passes that may be accepted; sets the threshold.",
    )
    threshold: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="A fixed cosine instead of the one computed from target_fpir.",
    )
    margin: float | None = Field(
        default=None,
        ge=0.0,
        le=2.0,
        description="Lead over the runner-up below which it is ambiguous; null: the card's.",
    )


class EnrolSection(_Section):
    """Building the gallery."""

    duplicates: Literal["flag", "refuse"] = Field(
        default="flag", description="What happens to a suspected duplicate person."
    )
    max_pixels: int = Field(
        default=120_000_000,
        ge=1_000_000,
        description="Photos with more pixels than this are refused.",
    )
    max_side_px: int = Field(
        default=1600,
        ge=200,
        description="Photos are shrunk to this longest side before detection.",
    )


class AttendanceSection(_Section):
    """Which punches count."""

    cooldown_s: float = Field(
        default=300.0,
        ge=0.0,
        description="Seconds in which a person counts once per site, direction.",
    )


class CameraSection(_Section):
    """One camera."""

    id: Identifier = Field(default="camera-1", description="Name of the camera in events and punches.")
    source: str = Field(
        default="0",
        description="Webcam index, file, folder of images, rtsp:// or http:// address.",
    )
    site: Identifier = Field(default="main", description="Site it stands at; one of sites.")
    direction: Direction = Field(
        default=Direction.UNSPECIFIED, description="Way it counts people: in, out, unspecified."
    )


class SiteSection(_Section):
    """One site."""

    id: Identifier = Field(default="main", description="Name of the site in events and punches.")
    time_zone: str = Field(default="UTC", description="IANA time zone that cuts its days, such as Europe/Berlin.")

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("expected an IANA time zone such as Europe/Berlin") from error
        return value


class ConsentSection(_Section):
    """How agreement is established."""

    policy: Literal["attested", "per_person"] = Field(
        default="attested",
        description="attested: the operator vouches for the folder; per_person: people.csv carries it.",
    )
    attested_by: str = Field(default="", description="Who vouches; empty: the operating system's user.")


class LogSection(_Section):
    """What is logged, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="warning", description="Least severity shown.")


class Settings(_Section):
    """The whole configuration."""

    store: StoreSection = Field(default_factory=StoreSection)
    ledger: LedgerSection = Field(default_factory=LedgerSection)
    search: SearchSection = Field(default_factory=SearchSection)
    model: ModelSection = Field(default_factory=ModelSection)
    detect: DetectSection = Field(default_factory=DetectSection)
    track: TrackSection = Field(default_factory=TrackSection)
    quality: QualitySection = Field(default_factory=QualitySection)
    decide: DecideSection = Field(default_factory=DecideSection)
    enrol: EnrolSection = Field(default_factory=EnrolSection)
    attendance: AttendanceSection = Field(default_factory=AttendanceSection)
    cameras: tuple[CameraSection, ...] = Field(default=(CameraSection(),), min_length=1)
    sites: tuple[SiteSection, ...] = Field(default=(SiteSection(),), min_length=1)
    consent: ConsentSection = Field(default_factory=ConsentSection)
    log: LogSection = Field(default_factory=LogSection)

    @model_validator(mode="after")
    def _ids_fit(self) -> Settings:
        for name, ids in (
            ("cameras", [c.id for c in self.cameras]),
            ("sites", [s.id for s in self.sites]),
        ):
            doubled = sorted({i for i in ids if ids.count(i) > 1})
            if doubled:
                raise ValueError(f"{name}: id {doubled[0]} is there twice")
        known = {site.id for site in self.sites}
        for camera in self.cameras:
            if camera.site not in known:
                raise ValueError(f"cameras: {camera.id} stands at site {camera.site}, known are {sorted(known)}")
        return self

    @model_validator(mode="after")
    def _backend_fits(self) -> Settings:
        if self.search.backend == "chroma" and not self.search.url:
            raise ValueError("search: backend chroma needs search.url of a Chroma server; use auto or mirror without")
        return self

    def time_zones(self) -> dict[str, ZoneInfo]:
        """Site id to time zone."""
        return {site.id: ZoneInfo(site.time_zone) for site in self.sites}


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the configuration.

    Args:
        path: YAML with any subset of the keys, or None for the defaults alone.
        environment: where ``ATTENDANCE_<SECTION>__<KEY>`` is looked up; None is the process's environment.
        overrides: values of flags by dotted key, such as ``{"store.path": Path("s")}``.

    Raises:
        ConfigError: one line with file, line, key, value and what was expected, for the first fault found.
    """
    values, lines = _read(path)
    origin = str(path) if path is not None else "defaults"
    sources: dict[str, str] = {}
    for name, text in _from_environment(os.environ if environment is None else environment):
        _put(values, name, _scalar(text))
        sources[name] = f"environment {ENVIRONMENT_PREFIX}{name.upper().replace('.', '__')}"
    for name, value in (overrides or {}).items():
        _put(values, name, value)
        sources[name] = "flag"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, origin, lines, sources)) from error


def _read(path: Path | None) -> tuple[dict[str, Any], dict[str, int]]:
    if path is None:
        return {}, {}
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}): give --config a YAML file") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ConfigError(f"{path}: line {line}: not valid YAML ({error.problem}): mend the file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({str(error).splitlines()[0]}): mend the file") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: line 1: expected a mapping of sections, got {type(values).__name__}")
    lines: dict[str, int] = {}
    _note_lines(node, "", lines)
    return values, lines


def _note_lines(node: yaml.Node | None, prefix: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            lines[name] = key.start_mark.line + 1
            _note_lines(value, f"{name}.", lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{prefix}{index}"] = value.start_mark.line + 1
            _note_lines(value, f"{prefix}{index}.", lines)


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            found.append((name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."), text))
    return found


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        child = values.get(parent)
        if not isinstance(child, dict):
            child = {}
            values[parent] = child
        values = child
    values[last] = value


def _explain(
    error: ValidationError,
    origin: str,
    lines: Mapping[str, int],
    sources: Mapping[str, str],
) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    line = _line_of(fault["loc"], lines)
    where = sources.get(key, f"{origin}: line {line}" if line is not None else origin)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(fault["loc"][:-1]))
        return f"{where}: {key}: unknown key; known here: {known}"
    if not key:
        return f"{where}: {message}"
    return f"{where}: {key}: {message}, got {fault['input']!r}"


def _line_of(location: Sequence[int | str], lines: Mapping[str, int]) -> int | None:
    for length in range(len(location), 0, -1):
        line = lines.get(".".join(str(part) for part in location[:length]))
        if line is not None:
            return line
    return None


def _known_keys(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", None)
        model = arguments[0] if arguments else annotation
    return list(model.model_fields)
