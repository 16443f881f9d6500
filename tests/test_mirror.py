"""A kiosk's mirror: loaded from the truth whatever state Chroma is in, and in step with other processes."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from attendance.errors import ConfigError, LedgerUnavailableError, ModelMismatchError
from attendance.gallery import PersonChange, announced, apply_changes, open_for_writing
from attendance.ledger.port import Ledger, PersonVersion, TemplateRevision
from attendance.ledger.sqlite import SqliteLedger
from attendance.mirror import Mirror, MirrorFollower, load_mirror
from attendance.rejected import rejected_of
from attendance.search.chroma import ChromaStore
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import GalleryEntry, Person
from tests.enrolled import CARD, DIMENSION, WHEN, chroma_store, open_ledger, person, template, vector

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as opened:
        yield opened


@pytest.fixture
def stored(ledger: Ledger, tmp_path: Path) -> ChromaStore:
    """A ledger and a Chroma gallery with ten people, three templates each."""
    store = chroma_store(tmp_path)
    with open_for_writing(ledger, store) as gallery:
        apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(10)])
    return store


def load(ledger: Ledger, store: ChromaStore, *, max_templates: int | None = None) -> Mirror:
    return load_mirror(ledger, store.open, card_id=CARD, dimension=DIMENSION, max_templates=max_templates)


def bits(gallery: Gallery) -> dict[str, bytes]:
    return {entry.template_id: entry.vector.tobytes() for entry in gallery.entries()}


def truth(*people: Person) -> dict[str, bytes]:
    return {t.template_id: t.vector.tobytes() for p in people for t in p.templates}


def test_the_mirror_holds_the_ledgers_very_bits(ledger: Ledger, stored: ChromaStore) -> None:
    mirror = load(ledger, stored)
    assert bits(mirror.gallery) == truth(*[person(n) for n in range(10)])
    assert (mirror.source, mirror.revision, len(mirror.people)) == ("gallery", 1, 10)
    assert mirror.differences is not None
    assert mirror.differences.clean


def test_where_they_differ_the_ledger_decides(
    ledger: Ledger, stored: ChromaStore, caplog: pytest.LogCaptureFixture
) -> None:
    with stored.open() as gallery:
        gallery.upsert([GalleryEntry("t-stray", "person-0009", vector(5))])
        gallery.remove(["t-0001-0", "t-0001-1", "t-0001-2"])
    mirror = load(ledger, stored)
    assert bits(mirror.gallery) == truth(*[person(n) for n in range(10)])
    assert "3 missing, 1 extra" in caplog.text


def test_damaged_missing_or_locked_the_ledger_alone_serves(
    ledger: Ledger, stored: ChromaStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stored.open():
        locked = load(ledger, replace(stored, lock_wait_s=0))
    missing = load(ledger, replace(stored, path=tmp_path / "nowhere"))
    next(stored.path.rglob("header.bin")).write_bytes(b"nonsense")
    damaged = load(ledger, stored)
    for mirror, why in [(locked, "is held by process"), (missing, "found none"), (damaged, "rebuild it")]:
        assert (mirror.source, mirror.differences) == ("ledger", None)
        assert mirror.gallery.counts() == (10, 30)
        assert why in caplog.text


def test_a_fresh_store_starts_empty_without_a_warning(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = load(ledger, chroma_store(tmp_path))
    assert mirror.gallery.counts() == (0, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_another_model_or_too_many_are_refused(ledger: Ledger, stored: ChromaStore) -> None:
    with pytest.raises(ModelMismatchError, match=r"model\.id"):
        load_mirror(ledger, replace(stored, card_id="card-b").open, card_id="card-b", dimension=DIMENSION)
    with pytest.raises(ConfigError, match=r"mirror_max_templates allows 29 .* has 30.*raise it"):
        load(ledger, stored, max_templates=29)
    assert load(ledger, stored, max_templates=30).gallery.counts() == (10, 30)


def follower_of(ledger: Ledger, *, follow_s: float = 0.05, resync_s: float = 3600.0) -> MirrorFollower:
    @contextmanager
    def nothing() -> Iterator[Gallery]:
        yield ExactGallery(CARD, DIMENSION)

    mirror = load_mirror(ledger, nothing, card_id=CARD, dimension=DIMENSION)
    return MirrorFollower(ledger, mirror, follow_s=follow_s, resync_s=resync_s)


def change(ledger: Ledger, *changes: tuple[Person | None, Person | None]) -> None:
    written = [PersonChange(before, after) for before, after in changes]
    assert apply_changes(ledger, ExactGallery(CARD, DIMENSION), written) == []


def test_every_kind_of_change_is_followed(ledger: Ledger) -> None:
    one, two, three, four = (person(n) for n in range(1, 5))
    change(ledger, (None, one), (None, two), (None, three))
    follower = follower_of(ledger)
    renamed = replace(one, version=2, name="Person One")
    fewer = replace(two, version=2, templates=(two.templates[0], template("t-more", vector(70))))
    resting = replace(three, version=2, deactivated_at=WHEN)
    change(ledger, (None, four), (one, renamed), (two, fewer), (three, resting))
    follower.look()
    assert bits(follower.mirror) == truth(renamed, fewer, four)
    assert follower.people["person-0001"].name == "Person One"
    assert follower.people["person-0003"].deactivated_at == WHEN
    assert follower.revision == ledger.template_revision().revision == 2
    change(ledger, (renamed, None), (resting, replace(three, version=3)))
    follower.look()
    assert bits(follower.mirror) == truth(fewer, three, four)
    assert sorted(follower.people) == ["person-0002", "person-0003", "person-0004"]


def test_a_rejected_face_reaches_the_kiosk_and_goes_again(ledger: Ledger) -> None:
    gallery = ExactGallery(CARD, DIMENSION)
    apply_changes(ledger, gallery, [PersonChange(None, person(1))])
    follower = MirrorFollower(ledger, load_mirror(ledger, None, card_id=CARD, dimension=DIMENSION), follow_s=60.0)
    faces_of = rejected_of(lambda: follower.people, CARD)
    rejecting = replace(person(1), version=2, rejected=(template("not-1", vector(7)),))
    apply_changes(ledger, gallery, [PersonChange(person(1), rejecting)])
    assert len(faces_of("person-0001")) == 0
    follower.look()
    assert faces_of("person-0001").tobytes() == vector(7).tobytes()
    assert bits(follower.mirror) == truth(person(1))
    apply_changes(ledger, gallery, [PersonChange(rejecting, None)])
    follower.look()
    assert len(faces_of("person-0001")) == 0


def test_only_changed_people_are_loaded_and_none_while_nothing_changes(tmp_path: Path) -> None:
    class Counting(SqliteLedger):
        loaded: list[list[str] | None]
        compared = 0

        def people(self, identity_ids: object = None) -> list[Person]:
            found = super().people(identity_ids)  # type: ignore[arg-type]
            self.loaded.append(None if identity_ids is None else [p.identity_id for p in found])
            return found

        def person_versions(self) -> dict[str, PersonVersion]:
            self.compared += 1
            return super().person_versions()

    with Counting(tmp_path / "ledger.sqlite", cooldown_s=300, time_zones={}) as ledger:
        ledger.loaded = []
        change(ledger, *[(None, person(n)) for n in range(5)])
        follower = follower_of(ledger)
        follower.look()
        assert (ledger.loaded, ledger.compared) == ([None], 0)
        change(ledger, (None, person(7)))
        follower.look()
        follower.look()
        assert (ledger.loaded, ledger.compared) == ([None, ["person-0007"]], 1)


def test_somebody_removed_and_enrolled_again_at_once_is_the_new_one(ledger: Ledger) -> None:
    change(ledger, (None, person(1)), (None, person(2)))
    follower = follower_of(ledger)
    again = replace(person(1), subject_ref="ref-new", templates=(template("t-new", vector(70)),))
    change(ledger, (person(1), None))
    change(ledger, (None, again))
    change(ledger, (None, person(3)))
    follower.look()
    assert follower.people["person-0001"].subject_ref == "ref-new"
    assert bits(follower.mirror) == truth(again, person(2), person(3))


def test_a_writer_in_the_middle_is_watched_and_a_forgetful_one_found(ledger: Ledger) -> None:
    follower = follower_of(ledger)
    ledger.begin_template_change()
    follower.look()
    ledger.insert_person(person(1))
    follower.look()
    assert follower.mirror.counts() == (1, 3)
    ledger.end_template_change()
    follower.look()
    ledger.insert_person(person(2))
    follower.look()
    assert follower.mirror.counts() == (1, 3)
    prompt = follower_of(ledger, resync_s=0.0)
    ledger.insert_person(person(3))
    prompt.look()
    assert prompt.mirror.counts() == (3, 9)


def test_somebody_enrolled_with_another_model_is_not_mixed_in(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    change(ledger, (None, person(1)))
    follower = follower_of(ledger)
    with announced(ledger):
        ledger.insert_person(person(2, card_id="card-b"))
        ledger.insert_person(person(3))
    follower.look()
    assert bits(follower.mirror) == truth(person(1), person(3))
    assert "templates of model card-b" in caplog.text
    assert "person-0002" not in caplog.text


def wait_for(reached: Callable[[], bool], seconds: float = 30.0) -> float:
    begun = time.monotonic()
    while not reached():
        assert time.monotonic() - begun < seconds, "not reached in time"
        time.sleep(0.01)
    return time.monotonic() - begun


def test_trouble_is_survived_and_told(tmp_path: Path) -> None:
    class Flaky(SqliteLedger):
        error: Exception | None = None

        def template_revision(self) -> TemplateRevision:
            if self.error is not None:
                raise self.error
            return super().template_revision()

    with Flaky(tmp_path / "ledger.sqlite", cooldown_s=300, time_zones={}) as ledger:
        follower = follower_of(ledger, follow_s=0.02)
        follower.start()
        try:
            for trouble in (LedgerUnavailableError("the ledger is away"), KeyError("unforeseen")):
                ledger.error = trouble
                wait_for(lambda said=str(trouble): follower.health.failures >= 2 and follower.health.error == said)  # type: ignore[misc]
                ledger.error = None
                wait_for(lambda: follower.health.failures == 0 and follower.health.error is None)
            change(ledger, (None, person(1)))
            wait_for(lambda: follower.mirror.counts() == (1, 3) and follower.health.revision == 1)
            assert follower.health.age_s < 30
        finally:
            follower.stop()
            follower.stop()


def test_another_process_enrols_while_a_follower_runs(tmp_path: Path, ledger: Ledger, stored: ChromaStore) -> None:
    """Each kind of change by another process arrives; the time it takes is measured by the benchmark, not here."""
    code = """
import sys
from dataclasses import replace
from pathlib import Path
from attendance.gallery import PersonChange, apply_changes, open_for_writing
from tests.enrolled import WHEN, chroma_store, open_ledger, person
folder = Path(sys.argv[1])
with open_ledger(folder) as ledger, open_for_writing(ledger, chroma_store(folder)) as gallery:
    resting = replace(person(3), version=2, deactivated_at=WHEN)
    for before, after in [(None, person(50)), (person(50), None), (person(3), resting)]:
        assert apply_changes(ledger, gallery, [PersonChange(before, after)]) == []
        print("written", flush=True)
        sys.stdin.readline()
"""
    follower = MirrorFollower(ledger, load(ledger, stored), follow_s=0.1)
    follower.start()
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for counts in ((11, 33), (10, 30), (9, 27)):
            assert process.stdout.readline() == "written\n"
            wait_for(lambda counts=counts: follower.mirror.counts() == counts)  # type: ignore[misc]
            process.stdin.write("\n")
            process.stdin.flush()
    follower.stop()
    assert process.returncode == 0
    assert "person-0050" not in follower.people
    assert follower.people["person-0003"].deactivated_at == WHEN
    assert follower.mirror.nearest(vector(3000)[None], k=1)[0][0].identity_id != "person-0003"
