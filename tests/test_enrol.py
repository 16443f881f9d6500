"""Enrolment that is killed, interrupted, crowded or out of disk: the next run ends where an undisturbed one does."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from attendance.config import load
from attendance.enrol import Enroller, EnrolPolicy, PersonPhotos, Probe, Refusal, evaluate_probes, template_id
from attendance.errors import GalleryError
from attendance.ledger.sqlite import SqliteLedger
from attendance.people_csv import PersonRow
from attendance.pipeline import FaceReader
from attendance.search.exact import ExactGallery
from attendance.search.lock import hold
from attendance.stills import StillOptions, StillReader
from attendance.types import GalleryEntry, RefusalReason
from tests.building import BrightDetector, FakeApp, Site, build_in_child, colour_of, photo
from tests.fakes import MORNING, ColourEmbedder

RED, GREEN, BLUE = (colour_of(number) for number in (0, 1, 2))
PEOPLE = 70
# How many people must be in, and how many seconds later the builder dies.
DEATHS = [(0, 0.02), (15, 0.004), (50, 0.01)]


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={})


@pytest.fixture
def processes() -> ForkServerContext:
    """Builders are forked from a process that has imported everything, which saves seconds for each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromadb", "tests.building"])
    return context


class FailingGallery(ExactGallery):
    """Fails as it is told to: the gallery of a full disk."""

    fails = False

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        if self.fails:
            raise GalleryError("the disk is full")
        super().upsert(entries)


class MeddledLedger(SqliteLedger):
    """Somebody edits a person just before each of the first writes."""

    meddle: Callable[[], None] | None = None

    def begin_template_change(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        super().begin_template_change()


def policy(*, source_label: str = "", threshold: float | None = None) -> EnrolPolicy:
    return EnrolPolicy("attested", "operator", "flag", threshold, source_label)


def stills() -> StillReader:
    return StillReader(lambda: FaceReader(BrightDetector(), ColourEmbedder()), StillOptions())


def enroller(ledger: SqliteLedger, gallery: ExactGallery, *, how: EnrolPolicy | None = None) -> Enroller:
    return Enroller(ledger, gallery, stills(), policy=policy() if how is None else how, now=lambda: MORNING)


def folder_of(identity_id: str, *paths: Path) -> PersonPhotos:
    return PersonPhotos(identity_id, {f"{identity_id}/{path.name}": path for path in paths}, {})


def test_a_template_id_is_the_same_for_ever() -> None:
    # What is in ledgers in the field depends on it.
    assert template_id("p1", "", "p1/a.jpg") == "0d69bffbfdf77c3c10a0f36ff0e50458"
    parts = [("p1", "", "p1/a.jpg"), ("p1", "x", "p1/a.jpg"), ("p2", "", "p1/a.jpg"), ("p1", "", "p1/b.jpg")]
    assert len({template_id(*part) for part in parts}) == 4


def test_a_write_that_fails_in_the_middle_leaves_the_mark_for_the_next_writer(
    tmp_path: Path, ledger: SqliteLedger
) -> None:
    gallery = FailingGallery("colours", 8)
    first = photo(tmp_path / "p1.png", RED)
    enroller(ledger, gallery).run([folder_of("p1", first)], {})
    assert (ledger.template_revision().revision, ledger.template_revision().pending) == (1, False)
    gallery.fails = True
    second = photo(tmp_path / "p2.png", GREEN)
    with pytest.raises(GalleryError):
        enroller(ledger, gallery).run([folder_of("p1", first), folder_of("p2", second)], {})
    # The ledger is ahead of the gallery, and followers are told to look again.
    assert sorted(ledger.person_versions()) == ["p1", "p2"]
    assert (gallery.counts(), ledger.template_revision().pending) == ((1, 1), True)


def test_a_run_that_has_nothing_to_write_makes_no_mark(tmp_path: Path, ledger: SqliteLedger) -> None:
    gallery = ExactGallery("colours", 8)
    people = [folder_of("p1", photo(tmp_path / "a.png", RED)), folder_of("p2", photo(tmp_path / "nobody.png"))]
    enroller(ledger, gallery).run(people, {})
    before = ledger.template_revision()
    result = enroller(ledger, gallery).run(people, {})
    assert [refusal.file for refusal in result.refused] == ["p2/nobody.png"]
    assert ledger.template_revision() == before


def test_who_is_edited_meanwhile_is_written_all_the_same(tmp_path: Path) -> None:
    ledger = MeddledLedger(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={})
    gallery = ExactGallery("colours", 8)
    first = photo(tmp_path / "a.png", RED)
    enroller(ledger, gallery).run([folder_of("p1", first)], {})

    def rename() -> None:
        found = ledger.person("p1")
        assert found is not None
        assert ledger.replace_person(replace(found, name="Edited", version=found.version + 1))

    ledger.meddle = rename
    result = enroller(ledger, gallery).run([folder_of("p1", first, photo(tmp_path / "b.png", RED))], {})
    person = ledger.person("p1")
    assert person is not None
    assert (person.name, len(person.templates), result.added, person.version) == ("Edited", 2, 1, 3)
    assert gallery.counts() == (1, 2)
    assert not ledger.template_revision().pending


def test_adding_single_photos_leaves_the_others(tmp_path: Path, ledger: SqliteLedger) -> None:
    gallery = ExactGallery("colours", 8)
    enroller(ledger, gallery).run([folder_of("p1", photo(tmp_path / "a.png", RED))], {})
    paths = [photo(tmp_path / "b.png", RED), photo(tmp_path / "nobody.png")]
    named = list(zip(["b.png", "nobody.png"], stills().read(paths), strict=True))
    row = PersonRow("p1", 0, name="Ann")
    result = enroller(ledger, gallery, how=policy(source_label="enrol")).add("p1", named, row=row)
    assert (result.added, [r.reason for r in result.refused], result.vanished) == (1, [RefusalReason.NO_FACE], [])
    person = ledger.person("p1")
    assert person is not None
    assert (person.name, [t.path for t in person.templates]) == ("Ann", ["p1/a.png", "b.png"])
    assert gallery.counts() == (1, 2)


def test_lookalikes_of_one_group_are_found_among_themselves_and_among_the_enrolled(
    tmp_path: Path, ledger: SqliteLedger
) -> None:
    gallery = ExactGallery("colours", 8)
    people = [folder_of(f"p{n}", photo(tmp_path / f"{n}.png", colour)) for n, colour in enumerate((RED, GREEN, RED))]
    result = enroller(ledger, gallery, how=policy(threshold=0.95)).run(people, {})
    assert [(pair.identity_id, pair.other) for pair in result.suspected_duplicates] == [("p2", "p0")]
    late = folder_of("p3", photo(tmp_path / "late.png", GREEN))
    result = enroller(ledger, gallery, how=policy(threshold=0.95)).run([*people, late], {})
    assert [(pair.identity_id, pair.other) for pair in result.suspected_duplicates] == [("p3", "p1")]


def test_probes_that_cannot_be_read_are_misses(tmp_path: Path) -> None:
    gallery = ExactGallery("colours", 8)
    vectors = {n: next(stills().read([photo(tmp_path / f"{n}.png", colour_of(n))])).vector for n in range(3)}
    gallery.upsert([GalleryEntry(f"t{n}", f"p{n}", v) for n, v in vectors.items() if v is not None])
    probes = [Probe(f"p{n}", f"{n}.png", tmp_path / f"{n}.png") for n in (0, 1, 7)]
    lost = Refusal("p2/x.jpg", RefusalReason.LINK_LOOP, "a loop")
    result = evaluate_probes(probes, unreadable=[lost], stills=stills(), gallery=gallery)
    assert (result.probes, [r.file for r in result.failed]) == (4, ["p2/x.jpg", "7.png"])
    assert (result.top1, result.top5) == (0.5, 0.5)


def crowd(folder: Path) -> Site:
    """A folder that takes several groups: 70 people with two photos each."""
    folder.mkdir(exist_ok=True)
    site = Site(folder)
    for number in range(PEOPLE):
        for name in ("a", "b"):
            site.photo(f"p{number:02d}/{name}.png", colour_of(number))
    return site


def start(context: ForkServerContext, site: Site, *, largest_file: int | None = None) -> ForkServerProcess:
    arguments = (site.arguments(), site.people.parent / "stderr", largest_file)
    process = context.Process(target=build_in_child, args=arguments)
    process.start()
    return process


def await_people(site: Site, process: ForkServerProcess, people: int) -> None:
    """Wait until so many people are in the ledger, or the builder has ended."""
    until = time.monotonic() + 60.0
    while process.is_alive() and time.monotonic() < until:
        if (site.store / "ledger.sqlite").exists():
            with site.ledger() as ledger:
                if len(ledger.person_versions()) >= people:
                    return
        time.sleep(0.005)


def stop_while_it_holds_the_gallery(site: Site, process: ForkServerProcess) -> None:
    """Hold the builder still (SIGSTOP) at a moment at which it has the gallery's lock."""
    holder = site.store / "chroma.lock.holder"
    assert process.pid is not None
    until = time.monotonic() + 60.0
    while process.is_alive() and time.monotonic() < until:
        if holder.exists():
            os.kill(process.pid, signal.SIGSTOP)
            if holder.exists():
                return
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.002)


def content(site: Site) -> dict[str, list[tuple[str, str, bytes]]]:
    """What must not depend on how often a build was disturbed."""
    return {
        identity_id: [(t.template_id, t.sha256, t.vector.tobytes()) for t in person.templates]
        for identity_id, person in site.enrolled().items()
    }


def test_killed_at_many_points_it_ends_where_an_undisturbed_build_does(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    site = crowd(tmp_path / "killed")
    seen = []
    for people, later_s in DEATHS:
        process = start(processes, site)
        await_people(site, process, people)
        time.sleep(later_s)
        process.kill()
        process.join()
        enrolled = site.enrolled()
        assert all(len(person.templates) == 2 for person in enrolled.values())
        with FakeApp(load(overrides={"store.path": site.store})) as app:
            assert app.mirror().gallery.counts() == (len(enrolled), 2 * len(enrolled))
        seen.append(len(enrolled))
    assert seen == sorted(seen)
    site.build()
    assert site.differences().clean
    with site.ledger() as ledger:
        assert not ledger.template_revision().pending
    quiet = crowd(tmp_path / "quiet")
    quiet.build()
    assert content(site) == content(quiet)


def test_interrupted_by_ctrl_c_it_says_so_and_goes_on_next_time(tmp_path: Path, processes: ForkServerContext) -> None:
    site = crowd(tmp_path / "site")
    site.store.mkdir()
    # While somebody else holds the gallery the builder waits, so the signal comes neither too early nor too late.
    with hold(site.store / "chroma.lock", wait_s=0.0):
        process = start(processes, site)
        until = time.monotonic() + 60.0
        while not (site.store / "ledger.sqlite").exists() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.3)
        assert process.pid is not None
        # Again after a while, as a person would: Python drops a signal that falls into a destructor.
        while process.is_alive() and time.monotonic() < until:
            os.kill(process.pid, signal.SIGINT)
            process.join(4.0)
    assert process.exitcode == 1
    assert (tmp_path / "site" / "stderr").read_text() == "build_database.py: interrupted; run it again to go on\n"
    assert site.build()["people"] == PEOPLE
    assert site.differences().clean


def test_a_full_disk_is_one_line_and_the_next_run_completes(tmp_path: Path, processes: ForkServerContext) -> None:
    site = crowd(tmp_path / "site")
    for largest in (20_000, 200_000):
        process = start(processes, site, largest_file=largest)
        process.join()
        error = (tmp_path / "site" / "stderr").read_text()
        assert (process.exitcode, error.count("\n")) == (1, 1), error
        assert os.strerror(errno.EFBIG) in error or "disk" in error, error
    assert site.build()["people"] == PEOPLE
    assert site.differences().clean


def test_of_two_builders_the_second_says_who_holds_the_lock_or_waits(
    tmp_path: Path,
    processes: ForkServerContext,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = crowd(tmp_path / "site")
    process = start(processes, site)
    stop_while_it_holds_the_gallery(site, process)
    assert process.pid is not None
    monkeypatch.setenv("ATTENDANCE_SEARCH__LOCK_WAIT_S", "0")
    assert site.run() == 1
    assert f"is held by process {process.pid} on " in capsys.readouterr().err
    monkeypatch.delenv("ATTENDANCE_SEARCH__LOCK_WAIT_S")
    os.kill(process.pid, signal.SIGCONT)
    result = site.build()
    process.join()
    assert process.exitcode == 0
    # The first one lets go of a gallery that it has only just made before it fills it: either may be the one that does.
    assert result["added"] in (0, 2 * PEOPLE)
    assert result["people"] == PEOPLE
    assert all(len(person.templates) == 2 for person in site.enrolled().values())
    assert site.differences().clean
