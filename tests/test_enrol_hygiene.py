"""What an enrolment keeps out: photos that do not fit, more than needed, newcomers who are in; and its undoing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attendance.consistency import OutlierLimits
from attendance.duplicates import Standing
from attendance.enrol import Enroller, EnrolPolicy, EnrolResult, PersonPhotos, batches_of, undo
from attendance.ledger.sqlite import SqliteLedger
from attendance.pipeline import FaceReader
from attendance.search.exact import ExactGallery
from attendance.stills import Reading, StillOptions, StillReader
from attendance.types import Float32, RefusalReason
from tests.building import BrightDetector
from tests.cli.conftest import punch
from tests.fakes import MORNING, ColourEmbedder

LIMITS = OutlierLimits(pair=0.8, mean=0.85)
DIMENSION = 16


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={})


@pytest.fixture
def gallery() -> ExactGallery:
    return ExactGallery("colours", DIMENSION)


def look(who: int, variant: int = 0, noise: float = 0.3) -> Float32:
    """A person's vector, a little different each time."""
    own = np.random.default_rng(who).normal(size=DIMENSION)
    row = own / np.linalg.norm(own) + noise * np.random.default_rng((who, variant)).normal(size=DIMENSION) / 4
    return np.asarray(row / np.linalg.norm(row), np.float32)


def add(ledger: SqliteLedger, gallery: ExactGallery, who: str, *vectors: Float32, **policy: object) -> EnrolResult:
    """Enrol one person from vectors, named a0, a1 ..."""
    how = EnrolPolicy("attested", "operator", "flag", None, "enrol")
    stills = StillReader(lambda: FaceReader(BrightDetector(), ColourEmbedder()), StillOptions())
    enroller = Enroller(ledger, gallery, stills, policy=replace(how, **policy), now=lambda: MORNING)  # type: ignore[arg-type]
    return enroller.add(who, _readings(vectors), row=None)


def _readings(vectors: Sequence[Float32]) -> list[tuple[str, Reading]]:
    named = []
    for vector in vectors:
        name = hashlib.sha256(vector.tobytes()).hexdigest()
        named.append((name[:8], Reading(Path(name), name, vector, None, None, "")))
    return named


def names(*vectors: Float32) -> list[str]:
    return [name for name, _ in _readings(vectors)]


def test_a_photo_of_somebody_else_is_kept_out_and_it_is_said_of_whom(
    ledger: SqliteLedger, gallery: ExactGallery
) -> None:
    add(ledger, gallery, "p5", look(5), look(5, 1))
    wrong = look(5, 2)
    result = add(ledger, gallery, "p1", look(1), wrong, look(1, 1), look(1, 2), outliers=LIMITS)
    assert [(r.file, r.reason) for r in result.refused] == [(*names(wrong), RefusalReason.OUTLIER)]
    assert "looks like p5" in result.refused[0].detail
    assert (result.added, gallery.counts()) == (3, (2, 5))


def test_what_is_refused_is_refused_again_and_changes_nothing(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    photos = [look(1), look(9), look(1, 1), look(1, 2)]
    add(ledger, gallery, "p1", *photos, outliers=LIMITS)
    before = ledger.person_versions()
    again = add(ledger, gallery, "p1", photos[1], outliers=LIMITS)
    assert ([r.file for r in again.refused], again.added) == (names(photos[1]), 0)
    assert ledger.person_versions() == before


def test_two_first_photos_that_disagree_are_both_refused_and_an_enrolled_one_stays(
    ledger: SqliteLedger, gallery: ExactGallery
) -> None:
    assert len(add(ledger, gallery, "p1", look(1), look(9), outliers=LIMITS).refused) == 2
    assert ledger.person("p1") is None
    add(ledger, gallery, "p1", look(9), outliers=LIMITS)
    # Three that agree outvote the one that was there; it is named, and left to whoever put it there.
    result = add(ledger, gallery, "p1", look(1), look(1, 1), look(1, 2), outliers=LIMITS)
    assert (result.added, result.refused, [s.file for s in result.suspects]) == (3, [], names(look(9)))
    assert gallery.counts() == (1, 4)


def test_of_two_that_disagree_the_one_that_is_somebody_else_goes(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    add(ledger, gallery, "p5", look(5), look(5, 1))
    wrong = look(5, 2)
    result = add(ledger, gallery, "p1", look(1), wrong, outliers=LIMITS, duplicate_threshold=0.9)
    assert ([r.file for r in result.refused], result.added) == (names(wrong), 1)


def test_a_folder_waits_until_everybody_else_tells_which_photo_is_wrong(
    tmp_path: Path, ledger: SqliteLedger, gallery: ExactGallery
) -> None:
    told = {tmp_path / name: vector for name, vector in (("a", look(1)), ("b", look(5, 2)), ("c", look(5)))}

    class Told(StillReader):
        def __init__(self) -> None:
            pass

        def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
            return (Reading(path, path.name, told[path], None, None, "") for path in paths)

    people = [
        PersonPhotos("p1", {"p1/a": tmp_path / "a", "p1/b": tmp_path / "b"}, {}),
        PersonPhotos("p5", {"p5/c": tmp_path / "c"}, {}),
    ]
    policy = EnrolPolicy("attested", "operator", "flag", 0.9, "", outliers=LIMITS)
    result = Enroller(ledger, gallery, Told(), policy=policy, now=lambda: MORNING).run(people, {})
    assert ([r.file for r in result.refused], result.suspected_duplicates) == (["p1/b"], [])
    assert {p.identity_id: [t.path for t in p.templates] for p in ledger.people()} == {"p1": ["p1/a"], "p5": ["p5/c"]}


def test_more_photos_than_needed_are_chosen_by_what_they_cover(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    same = [look(1, 1, 0.02), look(1, 2, 0.02), look(1, 3, 0.02)]
    other = look(1, 4, 0.8)
    result = add(ledger, gallery, "p1", *same, other, max_templates=2)
    assert (result.added, len(result.redundant), names(other)[0] in result.redundant) == (2, 2, False)
    full = add(ledger, gallery, "p1", look(1, 7), max_templates=2)
    assert (full.added, full.redundant) == (0, names(look(1, 7)))


def test_a_newcomer_who_stands_out_to_somebody_is_suspected_at_the_first_photo(
    ledger: SqliteLedger, gallery: ExactGallery
) -> None:
    standing = Standing(lead_weight=0.5, lead_cap=0.1, crowd_weight=0.3, from_people=5, least=0.8)
    for who in range(8):
        add(ledger, gallery, f"p{who}", look(who), look(who, 1))
    result = add(ledger, gallery, "new", look(3, 5), duplicate_threshold=1.01, standing=standing)
    assert [(d.identity_id, d.other) for d in result.suspected_duplicates] == [("new", "p3")]
    stranger = add(ledger, gallery, "stranger", look(99), duplicate_threshold=1.01, standing=standing)
    assert stranger.suspected_duplicates == []
    refused = add(ledger, gallery, "more", look(3, 6), duplicate_threshold=1.01, standing=standing, duplicates="refuse")
    assert [r.reason for r in refused.refused] in ([RefusalReason.DUPLICATE_PERSON], [])


def test_in_a_small_gallery_the_cosine_alone_decides(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    standing = Standing(lead_weight=0.5, lead_cap=0.1, crowd_weight=0.3, from_people=5, least=-1.0)
    for who in range(4):
        add(ledger, gallery, f"p{who}", look(who))
    assert add(ledger, gallery, "x", look(50), duplicate_threshold=1.01, standing=standing).suspected_duplicates == []


def test_a_batch_is_taken_back_with_the_people_it_made(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    first = add(ledger, gallery, "p1", look(1))
    second = add(ledger, gallery, "p2", look(2))
    third = add(ledger, gallery, "p1", look(1, 1))
    assert [(b.batch, b.people, b.templates) for b in batches_of(ledger.people())] == [
        (r.batch, 1, 1) for r in sorted((first, second, third), key=lambda r: r.batch)
    ]
    undone = undo(ledger, gallery, third.batch)
    assert (undone.templates, undone.people, undone.erased) == (1, ("p1",), ())
    undone = undo(ledger, gallery, second.batch)
    assert (undone.templates, undone.people, undone.erased) == (1, (), ("p2",))
    assert ledger.person("p2") is None
    assert gallery.counts() == (1, 1)
    assert undo(ledger, gallery, second.batch).templates == 0


def test_who_has_punched_stays_without_templates(ledger: SqliteLedger, gallery: ExactGallery) -> None:
    result = add(ledger, gallery, "p1", look(1))
    person = ledger.person("p1")
    assert person is not None
    punch(ledger, 1, "p1", 0.0)
    from attendance.ledger.port import PunchQuery

    if not ledger.punches(PunchQuery(identity_id="p1")):
        # The helper's subject is not this person's: give the punch theirs.
        found = ledger.punches()[0]
        ledger.record(replace(found, event_id="event-other", subject_ref=person.subject_ref, journal_counter=2))
    undone = undo(ledger, gallery, result.batch)
    assert (undone.people, undone.erased) == (("p1",), ())
    left = ledger.person("p1")
    assert left is not None
    assert (left.templates, gallery.counts()) == ((), (0, 0))
