"""From the first frame with a usable face to the punch in the ledger, by the program itself on a camera at 30 a second.

People of the half kept for reporting are enrolled from four photos each and walk past in videos made by code from
another one, which a motion JPEG stream sends at their real times. ``realtime_attendance.py`` watches it with its
defaults and writes to its SQLite ledger, synced. The first usable frame is the first in which the detector, run on
every frame, finds the person as good as a track's frames must be. Time runs from when that frame is sent. A followed
face can be good some frames before the detector alone finds it so: then the punch comes sooner than five frames after.

Some faces do not resemble their enrolled photos until many frames are fused. How much of the time is theirs and how
much is ours is told apart by a second moment: the frame on which the same path decides when it takes every frame of the
stream in its order, without a clock. From that frame sent to the punch written it is the machine that takes the time.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from attendance.app import App
from attendance.config import Settings, load
from attendance.detect.port import Region
from attendance.images import read_photo
from attendance.quality import judge
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import Frame, Outcome, RGBImage
from benchmarks.kiosk_run import NotedApp, enrol, watch
from benchmarks.paced_stream import PacedStream, decoded, encoded
from benchmarks.pieces import Measured, Options, Part, needs_photos, run
from benchmarks.tracking_videos import BEGIN, MAX_PIXELS, TILES
from benchmarks.walkpast import face_box
from benchmarks.walkpast_passes import PHOTOS_AT_LEAST, TEMPLATES_AT_MOST
from benchmarks.walkup_figures import FPS, conclude
from demo.walkpast import SIZE_PX, PassSpec, WalkPast

SECONDS, GAP_S = 2.5, 1.1
SEED = 23
ONE_PIECES, ONE_PASSES = 4, 15
EIGHT_PIECES, EIGHT_ROUNDS, TOGETHER = 4, 2, 8
WARM_FRAMES = 45


@dataclass(frozen=True, slots=True)
class Walker:
    """Who passes: identity id, the photo that makes the pass, the photos to enrol, the seed of the video."""

    identity_id: str
    photo: Path
    enrolled: Sequence[Path]
    seed: int


@dataclass(frozen=True, slots=True)
class Passing:
    """A pass in the stream: who, in which room, from which frame to which, and whether it is judged."""

    walker: Walker
    room: int
    begin: int
    end: int
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Usable:
    """Frames of the stream, counted from 0, with the first usable face of a person and the one that completes as many
    as a decision takes; None where there are not so many."""

    first: int | None
    enough: int | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    return run(PART, argv)


def walkers(options: Options, count: int) -> list[Walker]:
    """The people of all pieces, the same for both sizes."""
    rng = np.random.default_rng(SEED)
    out = options.lfw.errata()
    people = {
        name: [photo for photo in photos if f"{name}/{photo.name}" not in out]
        for name, photos in options.lfw.people("report").items()
    }
    names = [name for name in sorted(people) if len(people[name]) >= PHOTOS_AT_LEAST]
    chosen = []
    for index in rng.permutation(len(names))[:count].tolist():
        photos = [people[names[index]][i] for i in rng.permutation(len(people[names[index]])).tolist()]
        templates = photos[1 : 1 + TEMPLATES_AT_MOST]
        chosen.append(Walker(names[index], photos[0], templates, int(rng.integers(2**31))))
    return chosen


def one_face(number: int) -> Callable[[Options], Measured]:
    """People one after the other at 640x360."""

    def measure(options: Options) -> Measured:
        everybody = walkers(options, ONE_PIECES * ONE_PASSES + 1)
        # The first one warms the kiosk up and is not judged.
        mine = [everybody[-1], *everybody[number * ONE_PASSES : (number + 1) * ONE_PASSES]]
        passings = [_passing(walker, 0, index, delay_s=0.0) for index, walker in enumerate(mine)]
        with App(load(None, environment={})) as app:
            pictures = [encoded(image) for image in _rendered(app, mine, seed=number, delay_s=0.0).frames()]
        return _measured(pictures, passings, everybody)

    return measure


def eight_faces(number: int, *, at_once: bool) -> Callable[[Options], Measured]:
    """Eight people at 1920x1080, each in a room of their own, who come in at once or spread over the time of a pass."""

    def measure(options: Options) -> Measured:
        everybody = walkers(options, EIGHT_PIECES * EIGHT_ROUNDS * TOGETHER + TOGETHER)
        begin = number * EIGHT_ROUNDS * TOGETHER
        mine = [*everybody[-TOGETHER:], *everybody[begin : begin + EIGHT_ROUNDS * TOGETHER]]
        rounds = [mine[i : i + TOGETHER] for i in range(0, len(mine), TOGETHER)]
        delays = [0.0 if at_once else room * (SECONDS + GAP_S) / TOGETHER for room in range(TOGETHER)]
        passings = [
            _passing(walker, room, index, delay_s=delays[room])
            for index, people in enumerate(rounds)
            for room, walker in enumerate(people)
        ]
        with App(load(None, environment={})) as app:
            pictures = _tiled(app, rounds, delays, seed=number)
        return _measured(pictures, passings, everybody)

    return measure


def _passing(walker: Walker, room: int, turn: int, *, delay_s: float) -> Passing:
    begin = turn * (SECONDS + GAP_S) + delay_s
    return Passing(walker, room, round(begin * FPS), round((begin + SECONDS) * FPS), is_judged=turn > 0)


def _rendered(app: App, mine: Sequence[Walker], *, seed: int, delay_s: float) -> WalkPast:
    specs = []
    for index, walker in enumerate(mine):
        photo = read_photo(walker.photo, max_pixels=MAX_PIXELS).image
        start = index * (SECONDS + GAP_S) + delay_s
        specs.append(
            PassSpec(walker.identity_id, photo, face_box(app, photo), walker.seed, start_s=start, seconds=SECONDS)
        )
    return WalkPast(specs, seed=seed, fps=FPS, tail_s=GAP_S)


def _tiled(app: App, rounds: Sequence[Sequence[Walker]], delays: Sequence[float], *, seed: int) -> list[bytes]:
    videos = [
        _rendered(app, [people[room] for people in rounds], seed=100 * seed + room, delay_s=delay).frames()
        for room, delay in enumerate(delays)
    ]
    width, height = SIZE_PX
    whole: RGBImage = np.full((TILES * height, TILES * width, 3), 128, np.uint8)
    pictures = []
    # Rooms whose last person has left stay as they are.
    for images in itertools.zip_longest(*videos):
        for room, image in enumerate(images):
            left, top, right, bottom = _room(room)
            if image is not None:
                whole[top:bottom, left:right] = image
        pictures.append(encoded(whole))
    return pictures


def _room(room: int) -> Region:
    width, height = SIZE_PX
    row, column = divmod(room, TILES)
    return column * width, row * height, (column + 1) * width, (row + 1) * height


def _measured(pictures: Sequence[bytes], passings: Sequence[Passing], everybody: Sequence[Walker]) -> Measured:
    """Enrol everybody, play the stream to the program, and judge the passes."""
    with App(load(None, environment={})) as app:
        usable = usable_frames(app, pictures, passings)
        strangers_ms, _ = _path_alone(app, ExactGallery(app.card.id, app.card.dimension), pictures)
        min_frames = app.settings.track.min_frames
    with tempfile.TemporaryDirectory() as folder:
        store = enrol({walker.identity_id: walker.enrolled for walker in everybody}, Path(folder))
        with App(load(None, environment={}, overrides={"store.path": store})) as app:
            follower = app.follower()
            ms, faces = _path_alone(app, follower.mirror, pictures)
            deciding = deciding_frames(app, follower.mirror, pictures)
            follower.stop()
        stream, written, said = _play(store, pictures)
    return {
        "passes": [
            _pass(passing, found, deciding, stream.sent_at, written)
            for passing, found in zip(passings, usable, strict=True)
            if passing.is_judged
        ],
        "frames": len(pictures),
        "path_ms": ms,
        "path_faces": faces,
        "path_strangers_ms": strangers_ms,
        "min_frames": min_frames,
        "camera": said.get("camera", {}),
    }


def usable_frames(app: App, pictures: Sequence[bytes], passings: Sequence[Passing]) -> list[Usable]:
    """For each pass, by the detector on every frame in the room of those who have not been good often enough."""
    enough = app.settings.track.min_frames
    good: list[list[int]] = [[] for _ in passings]
    for index, picture in enumerate(pictures):
        awaited = {
            passing.room: found
            for passing, found in zip(passings, good, strict=True)
            if passing.begin <= index < passing.end and len(found) < enough
        }
        if not awaited:
            continue
        image = decoded(picture)
        for face in app.detector.detect_within(image, [_room(room) for room in awaited]):
            x, y = (float(value) / 2 for value in face.box[:2] + face.box[2:])
            found_in = awaited.get(int(y) // SIZE_PX[1] * TILES + int(x) // SIZE_PX[0])
            if found_in is not None and judge(face, image.shape[:2], level=app.rulebook.quality_limits().live).good:
                found_in.append(index)
    return [Usable(f[0] if f else None, f[enough - 1] if len(f) >= enough else None) for f in good]


def deciding_frames(app: App, gallery: Gallery, pictures: Sequence[bytes]) -> dict[str, list[int]]:
    """The frames on which the path comes to know each identity when it takes every frame."""
    path = app.live_path(gallery)
    found: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        frame = Frame(decoded(picture), BEGIN + timedelta(seconds=index / FPS), index, "camera-1")
        for change in path.process(frame).changes:
            decision = change.decision
            if decision is not None and decision.outcome is Outcome.KNOWN and decision.best is not None:
                found.setdefault(decision.best.identity_id, []).append(index)
    return found


def _path_alone(app: App, gallery: Gallery, pictures: Sequence[bytes]) -> tuple[float, float]:
    """ms a frame of the live path from the second round on, as fast as it goes, without camera and ledger; the first of
    two runs warms up. And the faces that it saw in a frame."""
    begin = round((SECONDS + GAP_S) * FPS)
    indices = range(begin, min(begin + round(SECONDS * FPS), len(pictures)))
    spent, faces = 0.0, 0
    for _ in range(2):
        path = app.live_path(gallery)
        spent, faces = 0.0, 0
        for index in indices:
            frame = Frame(decoded(pictures[index]), BEGIN + timedelta(seconds=index / FPS), index, "camera-1")
            start = time.perf_counter()
            faces += len(path.process(frame).views)
            spent += time.perf_counter() - start
    return 1e3 * spent / len(indices), faces / len(indices)


def _play(store: Path, pictures: Sequence[bytes]) -> tuple[PacedStream, list[tuple[float, str]], dict[str, Any]]:
    """Run the program on the stream; each punch's moment with the identity id it was written for."""
    apps: list[NotedApp] = []
    stream = PacedStream(pictures, fps=FPS, is_awaited=lambda: bool(apps) and apps[0].frames_taken() > WARM_FRAMES)

    def end() -> None:
        stream.ended.wait()
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    try:
        said = watch(store, stream.url, on_app=apps.append)
    finally:
        stream.close()
    settings: Settings = apps[0].settings
    with App(settings) as app:
        identities = {person.subject_ref: person.identity_id for person in app.ledger.people()}
    return stream, [(at, identities[punch.subject_ref]) for at, punch in apps[0].written], said


def _pass(
    passing: Passing,
    usable: Usable,
    deciding: Mapping[str, Sequence[int]],
    sent_at: Sequence[float],
    written: Sequence[tuple[float, str]],
) -> Measured:
    """One pass without its person's name."""
    identity_id = passing.walker.identity_id
    mine = [at for at, whose in written if whose == identity_id]
    if usable.first is None or not mine:
        return {"ms": None, "waiting_ms": None, "machine_ms": None, "usable": usable.first is not None}
    waiting = None if usable.enough is None else 1e3 * (sent_at[usable.enough] - sent_at[usable.first])
    decided = next((index for index in deciding.get(identity_id, ()) if index >= passing.begin), None)
    machine = None if decided is None else 1e3 * (mine[0] - sent_at[decided])
    return {"ms": 1e3 * (mine[0] - sent_at[usable.first]), "waiting_ms": waiting, "machine_ms": machine, "usable": True}


PART = Part(
    name="walkup",
    title="From the first usable frame to the punch on record",
    pieces={
        **{f"one-{number + 1}": one_face(number) for number in range(ONE_PIECES)},
        **{f"eight-{number + 1}": eight_faces(number, at_once=False) for number in range(EIGHT_PIECES)},
        "burst-1": eight_faces(0, at_once=True),
    },
    conclude=conclude,
    threads=2,
    needs=needs_photos,
)


if __name__ == "__main__":
    sys.exit(main())
