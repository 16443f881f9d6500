"""Values that travel along the path: frozen, and checked when they are made.

Arrays: images are RGB ``uint8`` of shape (H, W, 3); boxes are ``float32`` (4,) as x1, y1, x2, y2 in pixels of the
original image; points are ``float32`` (5, 2) as x, y in pixels: the eye, nose tip and mouth corners, the viewer's left
first; embeddings are ``float32`` of unit length. Similarity is the cosine, higher is closer. Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGBImage = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Direction(StrEnum):
    """Which way a camera counts the people who pass it."""

    IN = "in"
    OUT = "out"
    UNSPECIFIED = "unspecified"


class Outcome(StrEnum):
    """What the open-set rule says of one face or track."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


class EventKind(StrEnum):
    """What a track's event is: the contract's ``kind``."""

    PUNCH = "punch"
    REPEAT = "repeat"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    REFUSED = "refused"


class RefusalReason(StrEnum):
    """Why a photo or an identity was not enrolled."""

    UNREADABLE = "unreadable"
    EMPTY_FILE = "empty_file"
    TRUNCATED = "truncated"
    NOT_AN_IMAGE = "not_an_image"
    NO_DECODER = "no_decoder"
    TOO_LARGE = "too_large"
    LINK_LOOP = "link_loop"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    LOW_QUALITY = "low_quality"
    EMPTY_FOLDER = "empty_folder"
    BAD_IDENTITY = "bad_identity"
    NO_CONSENT = "no_consent"
    OUTLIER = "outlier"
    DUPLICATE_PERSON = "duplicate_person"
    IGNORED = "ignored"


class AlignmentKind(StrEnum):
    """How a face becomes a model's input."""

    SIMILARITY = "similarity"
    BOX = "box"


def require_utc(name: str, moment: datetime) -> None:
    """Raise ValueError unless ``moment`` is an aware datetime in UTC."""
    if moment.tzinfo is None or moment.utcoffset() != timedelta(0):
        raise ValueError(f"{name} must be an aware UTC datetime, got {moment!r}: use datetime.now(timezone.utc)")


def require_array(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Raise ValueError unless ``array`` has this dtype and shape; -1 in ``shape`` stands for any size."""
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} of shape {array.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a camera. ``image`` is RGB uint8 (H, W, 3); ``observed_at`` its capture time, aware UTC."""

    image: RGBImage
    observed_at: datetime
    index: int
    camera_id: str

    def __post_init__(self) -> None:
        require_array("Frame.image", self.image, (-1, -1, 3), np.uint8)
        require_utc("Frame.observed_at", self.observed_at)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detected face: box (4,) px, detector score 0..1, five points (5, 2) px, both float32."""

    box: Float32
    score: float
    points: Float32

    def __post_init__(self) -> None:
        require_array("Face.box", self.box, (4,), np.float32)
        require_array("Face.points", self.points, (5, 2), np.float32)

    @property
    def width_px(self) -> float:
        """Box width in pixels."""
        return float(self.box[2] - self.box[0])

    @property
    def area_px(self) -> float:
        """Box area in square pixels; 0 for an inverted box."""
        return float(max(self.box[2] - self.box[0], 0.0) * max(self.box[3] - self.box[1], 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How a model wants its face cut out, part of its card.

    ``similarity``: the five points go onto ``template`` (5, 2), in pixels of the ``size_px`` square output.
    ``box``: the box with ``margin_px`` added (in output pixels, shared by both sides) is resized to ``size_px``.
    """

    kind: AlignmentKind
    size_px: int
    template: Float32 | None = None
    margin_px: int = 0

    def __post_init__(self) -> None:
        if (self.kind is AlignmentKind.SIMILARITY) != (self.template is not None):
            raise ValueError(f"an alignment has a template if and only if it is a similarity, got {self.kind}")
        if self.template is not None:
            require_array("Alignment.template", self.template, (5, 2), np.float32)


@dataclass(frozen=True, slots=True)
class DuplicateTail:
    """How strangers stand out in a gallery, as measured for a model: see `attendance.duplicates`.

    ``scores`` maps a share of strangers to the score that this share reaches; it holds from ``from_people`` people on.
    """

    data: str
    from_people: int
    lead_weight: float
    lead_cap: float
    crowd_weight: float
    scores: Mapping[float, float]
    everybody_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person of the gallery and the cosine similarity of their templates' mean direction to the query.

    ``rejected`` is the cosine of the query to the nearest face of which was said that it is not this person's; None
    where there is no such face.
    """

    identity_id: str
    similarity: float
    rejected: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The open-set decision on one query: the nearest person, the next one, and what follows.

    ``margin`` is best minus runner-up, None without a runner-up. ``reason`` is a code: ``match``,
    ``below_threshold``, ``margin``, ``look_alike``, ``rejected``, ``empty_gallery``. ``threshold`` is the similarity
    that was needed: at this lead, of so many frames.
    """

    outcome: Outcome
    best: Candidate | None
    runner_up: Candidate | None
    margin: float | None
    threshold: float
    reason: str


@dataclass(frozen=True, slots=True)
class StrangerTail:
    """How near strangers come to enrolled people: a model fitted to many random galleries, part of a model's card.

    With N people enrolled a stranger's score is the cosine of the nearest person plus ``lead_weight`` times the lead
    over the next one, which counts up to ``lead_cap``. A share p of strangers' photos scores at least

        base + per_people * log10(N) + per_rate * log10(-ln(1 - p)) + per_single * (mean over people of 1 / templates).

    The lead's weight is ``lead_base + lead_per_people * log10(N)``, held between 0 and 1. ``frames`` maps the number of
    good frames from which on a pass is decided, again at each further frame, to what has to be added then at p = 1 %;
    ``frames_per_rate`` is how much more a decade of log10(-ln(1 - p)) adds, down to 0.1 %: fused frames scatter less.

    ``likeness_*`` say in the same way how near the nearest other person of a random gallery is to an enrolled photo
    (the median), and ``likeness_deviation`` divided by the root of N how much that varies. ``deviations`` maps a rate p
    to the standard deviation of the fitted score, by halves of the people. Where one person stands under two ids, the
    lead of the one over the other is below ``look_alike_margin`` 99 times in 100.
    """

    data: str
    galleries: int
    base: float
    per_people: float
    per_rate: float
    per_single: float
    lead_base: float
    lead_per_people: float
    lead_cap: float
    likeness_base: float
    likeness_per_people: float
    likeness_per_single: float
    likeness_deviation: float
    look_alike_margin: float
    frames: Mapping[int, float]
    deviations: Mapping[float, float]
    frames_per_rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class GalleryEntry:
    """One template as the gallery holds it: vector (D,) float32 of unit length."""

    template_id: str
    identity_id: str
    vector: Float32

    def __post_init__(self) -> None:
        require_array("GalleryEntry.vector", self.vector, (-1,), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One enrolled photo as the ledger keeps it: vector (D,) float32 of unit length, and where it came from.

    ``template_id`` is derived from person, source label and path, so enrolling a photo again replaces its template.
    """

    template_id: str
    vector: Float32
    card_id: str
    source_label: str
    path: str
    sha256: str
    batch: str
    created_at: datetime

    def __post_init__(self) -> None:
        require_array("Template.vector", self.vector, (-1,), np.float32)
        require_utc("Template.created_at", self.created_at)


@dataclass(frozen=True, slots=True)
class Consent:
    """That the person agreed: under which policy, in which wording, when, and who says so."""

    policy: str
    version: str
    at: datetime
    by: str

    def __post_init__(self) -> None:
        require_utc("Consent.at", self.at)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One enrolled person: a single document together with its templates.

    ``version`` counts the writes of the document, from 1. ``subject_ref`` is random and all that punches know.
    ``templates`` are those in force; ``shelved`` those that another model, or key, made: kept, and not compared.
    ``rejected`` are faces of which somebody said that they are not this person's: a query nearer to one of them than to
    the person is not taken for them. They go when the person goes.
    """

    identity_id: str
    subject_ref: str
    version: int
    created_at: datetime
    consent: Consent
    name: str = ""
    department: str = ""
    site: str = ""
    group: str = ""
    active_from: date | None = None
    active_to: date | None = None
    deactivated_at: datetime | None = None
    templates: tuple[Template, ...] = ()
    shelved: tuple[Template, ...] = ()
    rejected: tuple[Template, ...] = ()

    def __post_init__(self) -> None:
        require_utc("Person.created_at", self.created_at)
        if self.active_from is not None and self.active_to is not None and self.active_to < self.active_from:
            raise ValueError(f"active_to {self.active_to} lies before active_from {self.active_from}")

    @property
    def label(self) -> str:
        """What a window or a report shows: the name, or the identity id where there is none."""
        return self.name if self.name else self.identity_id

    def active_on(self, day: date) -> bool:
        """Whether attendance counts on this local day."""
        begun = self.active_from is None or self.active_from <= day
        ended = self.active_to is not None and self.active_to < day
        return begun and not ended and self.deactivated_at is None


@dataclass(frozen=True, slots=True)
class Punch:
    """A recognised track on record: immutable, inserted once under its event id, naming no person.

    ``journal_id`` and ``journal_counter`` say which writer made it and as its how-manieth. ``liveness`` and
    ``chain_hash`` are places that stay empty for now.
    """

    event_id: str
    subject_ref: str
    journal_id: str
    journal_counter: int
    observed_at: datetime
    recorded_at: datetime
    site: str
    camera_id: str
    direction: Direction
    method: str
    similarity: float
    runner_up_ref: str | None
    runner_up_similarity: float | None
    margin: float | None
    threshold: float
    card_id: str
    template_revision: int
    track_id: int
    liveness: float | None = None
    chain_hash: str | None = None

    def __post_init__(self) -> None:
        require_utc("Punch.observed_at", self.observed_at)
        require_utc("Punch.recorded_at", self.recorded_at)


@dataclass(frozen=True, slots=True)
class AttendanceRow:
    """One counted punch of the derived ``attendance`` table. ``local_day`` is the day in the site's time zone.

    ``identity_id`` is None when the person was removed and the punch names nobody any more. ``rules`` tells which
    rules it was counted by (cooldown and time zone), so that a change of rules is seen and the table rebuilt.
    ``time_zone`` is the IANA name that ``local_day`` was cut with.
    """

    event_id: str
    subject_ref: str
    identity_id: str | None
    site: str
    camera_id: str
    observed_at: datetime
    local_day: date
    direction: Direction
    rules: str
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        require_utc("AttendanceRow.observed_at", self.observed_at)
