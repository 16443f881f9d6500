"""The keys of the configuration: each with its type, default, bounds and a sentence; unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from attendance.config.backup import BackupSection
from attendance.config.base import Fraction, Identifier, Real, Whole
from attendance.config.base import Section as _Section
from attendance.config.crops import CropsSection
from attendance.config.enrolment import EnrolSection, QualitySection
from attendance.config.kiosk import KioskSection
from attendance.config.service import ServiceSection
from attendance.types import Direction

CHROMA_PORT = 8001
"""The port of a Chroma server whose address names none; Chroma's own default is the service's."""


def _index_as_text(value: Any) -> Any:
    """A webcam's index may stand in the file as the number it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class StoreSection(_Section):
    """Where files live."""

    path: Path = Field(
        default=Path("store"), description="Folder of the ledger, the gallery and the models; --store sets it."
    )


class LedgerSection(_Section):
    """The record of people and punches."""

    url: str = Field(
        default="",
        description="Empty: SQLite in the store. Else a MongoDB server: mongodb://host:27017/attendance.",
    )
    url_file: Path | None = Field(
        default=None, description="File that holds the URL instead, with its password; mode 0600."
    )

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value and not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("expected nothing, or an address that begins with mongodb:// or mongodb+srv://")
        return value

    @model_validator(mode="after")
    def _is_one(self) -> LedgerSection:
        if self.url and self.url_file is not None:
            raise ValueError("url and url_file are both set: keep one")
        return self


class SearchSection(_Section):
    """The gallery of templates."""

    url: str = Field(
        default="",
        description="Empty: Chroma in the store. Else a Chroma server, which several builders and kiosks share: "
        "http://host:8001. It has no authentication: keep it on an internal network.",
    )
    collection: str = Field(
        default="templates",
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{2,99}$",
        description="Begins the names of the gallery's collections on a server; another one for each ledger.",
    )
    timeout_s: Real = Field(
        default=30.0,
        gt=0.0,
        le=600.0,
        description="Seconds that builders and commands wait for each answer of the server; a live lookup waits 1.",
    )
    cross_check: Fraction = Field(
        default=0.05,
        description="Share of the live lookups by a server that the mirror answers too, which measures the recall.",
    )
    backend: Literal["auto", "mirror", "chroma"] = Field(
        default="auto",
        description="Who answers live lookups: the exact mirror in memory (auto takes it), or the Chroma server.",
    )
    mirror_max_templates: Whole = Field(
        default=1_000_000,
        ge=1,
        description="Templates above which a kiosk refuses to hold the mirror in memory, at 4 bytes a number.",
    )
    follow_s: Real = Field(
        default=1.0,
        gt=0.0,
        le=60.0,
        description="Seconds between looks for people enrolled or changed by other processes.",
    )
    max_neighbors: Whole = Field(
        default=32, ge=2, le=512, description="Neighbours of a node in Chroma's graph; fixed when the gallery is made."
    )
    ef_construction: Whole = Field(
        default=200,
        ge=10,
        le=5000,
        description="Breadth of the search while Chroma builds its graph; fixed when the gallery is made.",
    )
    ef_search: Whole = Field(
        default=400,
        ge=10,
        le=5000,
        description="Breadth of Chroma's search at a query; acts when the gallery is opened.",
    )
    lock_wait_s: Real = Field(default=60.0, ge=0.0, description="Seconds to wait for another builder.")

    @field_validator("url")
    @classmethod
    def _is_server(cls, value: str) -> str:
        """Host and port of a server, without anything else; 8001 where no port is named."""
        if not value:
            return value
        fault = ValueError("expected nothing, or an address such as http://host:8001, without user, password or path")
        try:
            parts = urlsplit(value)
            port = CHROMA_PORT if parts.port is None else parts.port
        except ValueError:
            raise fault from None
        plain = "@" not in parts.netloc and parts.path in ("", "/") and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or parts.hostname is None or not plain or any(map(str.isspace, value)):
            raise fault
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}:{port}"

    @model_validator(mode="after")
    def _backend_fits(self) -> SearchSection:
        if self.backend == "chroma" and not self.url:
            raise ValueError("backend chroma needs search.url of a Chroma server: use auto or mirror without one")
        return self


class ModelSection(_Section):
    """The embedder."""

    id: str = Field(default="dlib-resnet29", description="Id of the model card to use.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the networks run; auto takes CUDA where there is one."
    )
    precision: Literal["auto", "fp32", "fp16"] = Field(
        default="auto",
        description="Numbers that PyTorch's networks compute in; auto is fp32; fp16 (not measured) needs CUDA.",
    )
    launch: Literal["calls", "graphs"] = Field(
        default="calls",
        description="How CUDA starts them: each time, or recorded once per batch size and replayed (not measured).",
    )
    batch_size: Whole = Field(default=32, ge=1, le=1024, description="Faces embedded at once when enrolling.")
    threads: Whole = Field(
        default=2, ge=1, le=256, description="Processor threads of the one pool that the networks share."
    )
    template_key_file: Path | None = Field(
        default=None,
        description="Keys that protect templates, from `protect new-key`; null: they are stored as they are.",
    )
    mirrors: tuple[str, ...] = Field(
        default=(),
        description="Addresses that hold <id>/<file> of models, asked before their own by `models pull`.",
    )

    @field_validator("mirrors")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            if not address.startswith(("http://", "https://")) or "@" in address or any(map(str.isspace, address)):
                raise ValueError("expected addresses that begin with http:// or https://, without user and password")
        return value


class DetectSection(_Section):
    """The detector."""

    name: Literal["mtcnn", "libfacedetection", "yunet", "scrfd"] = Field(
        default="mtcnn",
        description="Which detector finds faces; yunet and scrfd need a file of the zoo (`models pull`).",
    )
    model: str = Field(
        default="",
        description="Id of the file that yunet or scrfd runs; empty: yunet-2023mar or scrfd-500m-kps.",
    )
    min_score: Fraction | None = Field(
        default=None,
        description="Score that a face needs with another detector than mtcnn; null: the detector's own.",
    )
    min_face_px: Whole = Field(
        default=40, ge=12, le=2000, description="Smallest face looked for, in pixels of the image."
    )
    threshold_pnet: Fraction = Field(default=0.6, description="Score that a proposal needs in the first stage.")
    threshold_rnet: Fraction = Field(default=0.7, description="Score that a candidate needs in the second stage.")
    threshold_onet: Fraction = Field(default=0.7, description="Score that a face needs in the third stage.")
    scale_factor: Real = Field(
        default=0.709, gt=0.3, lt=0.95, description="Ratio of the sizes at which neighbouring steps of the search look."
    )


class TrackSection(_Section):
    """One face followed over frames."""

    min_iou: Fraction = Field(
        default=0.3, description="Overlap (intersection over union, 0 to 1) that links a face to a track."
    )
    max_gap_s: Real = Field(default=1.0, gt=0.0, description="Absence in seconds after which a track ends.")
    min_frames: Whole = Field(default=5, ge=1, description="Good frames needed before a track is decided.")
    max_frames: Whole = Field(
        default=10, ge=1, description="Good frames fused; a decided track is embedded no further."
    )
    detect_every: Whole = Field(
        default=10,
        ge=1,
        le=100,
        description="Frames between searches for faces where all is explained; 1 searches every frame.",
    )
    whole_every_s: Real = Field(
        default=2.0, gt=0.0, le=60.0, description="Seconds after which the whole picture is searched, moved or not."
    )

    @model_validator(mode="after")
    def _frames_fit(self) -> TrackSection:
        if self.max_frames < self.min_frames:
            raise ValueError(f"max_frames {self.max_frames} must not be below min_frames {self.min_frames}")
        return self


class DecideSection(_Section):
    """The open-set rule."""

    target_fpir: Real = Field(
        default=0.003,
        gt=0.0,
        lt=1.0,
        description="Share (0 to 1) of strangers' passes that may be accepted; sets the threshold.",
    )
    threshold: Real | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="A fixed cosine (-1 to 1) instead of the one computed from target_fpir; null: computed.",
    )
    margin: Real | None = Field(
        default=None,
        ge=0.0,
        le=2.0,
        description="Lead over the runner-up, in cosine, below which a face is ambiguous; null: the card's.",
    )


class AttendanceSection(_Section):
    """Which punches count."""

    cooldown_s: Real = Field(
        default=300.0, ge=0.0, description="Seconds in which a person counts once per site and direction."
    )


class CameraSection(_Section):
    """One camera."""

    id: Identifier = Field(default="camera-1", description="Name of the camera in events and punches.")
    source: Annotated[str, BeforeValidator(_index_as_text)] = Field(
        default="0", description="Webcam index, file, folder of images, rtsp:// or http:// address."
    )
    site: Identifier = Field(default="main", description="Site it stands at; one of sites.")
    direction: Direction = Field(default=Direction.UNSPECIFIED, description="Way in which it counts people.")


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
    format: Literal["text", "json"] = Field(
        default="text", description="text: for a person; json: one object a line, for a log collector."
    )


class MetricsSection(_Section):
    """What a kiosk tells Prometheus; the service has /metrics of its own."""

    port: Whole = Field(
        default=0, ge=0, le=65_535, description="Port of /metrics on loopback, each kiosk its own; 0: off."
    )


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
    crops: CropsSection = Field(default_factory=CropsSection)
    attendance: AttendanceSection = Field(default_factory=AttendanceSection)
    cameras: tuple[CameraSection, ...] = (CameraSection(),)
    sites: tuple[SiteSection, ...] = (SiteSection(),)
    consent: ConsentSection = Field(default_factory=ConsentSection)
    log: LogSection = Field(default_factory=LogSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    kiosk: KioskSection = Field(default_factory=KioskSection)
    backup: BackupSection = Field(default_factory=BackupSection)
    service: ServiceSection = Field(default_factory=ServiceSection)

    @field_validator("cameras", "sites")
    @classmethod
    def _is_not_empty(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("expected one or more")
        return value

    @model_validator(mode="after")
    def _ids_fit(self) -> Settings:
        for name, ids in (("cameras", [c.id for c in self.cameras]), ("sites", [s.id for s in self.sites])):
            doubled = sorted({i for i in ids if ids.count(i) > 1})
            if doubled:
                raise ValueError(f"{name}: id {doubled[0]} is there twice")
        known = {site.id for site in self.sites}
        for camera in self.cameras:
            if camera.site not in known:
                raise ValueError(f"cameras: {camera.id} stands at site {camera.site}, known are {sorted(known)}")
        return self

    def time_zones(self) -> dict[str, ZoneInfo]:
        """Site id to time zone."""
        return {site.id: ZoneInfo(site.time_zone) for site in self.sites}
