"""Walk-pasts through the kiosk: are enrolled people recorded under the right name, and strangers not at all?

For each seed, fixed beforehand, people of the half kept for reporting are drawn: some are enrolled from photos, then
they and many strangers walk past the camera one by one, in videos made by code from another photo each (`demo`). The
kiosk's own path runs on every frame and writes to its ledger; what is judged is the attendance on record.

Passes lie ten minutes apart, longer than the cooldown, so that no wrong punch can hide as a repetition. A seed that is
done is kept as one line of the work folder and not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from attendance.app import App
from attendance.cli import build
from attendance.config import Settings, load
from attendance.events import EventLog
from attendance.faces import choose_face
from attendance.images import read_photo
from attendance.kiosk import Identifiers, Kiosk
from attendance.pipeline import FrameResult
from attendance.stream import Lane, OnResult, Station, Stream
from attendance.types import AttendanceRow, Frame, RGBImage
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw, materialise
from benchmarks.played import Played
from benchmarks.report import Table, share, write_result
from benchmarks.walkpast_passes import (
    PHOTOS_AT_LEAST,
    TEMPLATES_AT_MOST,
    Draw,
    Seen,
    Walk,
    draw_people,
    judge,
    outcome,
)
from demo.walkpast import SIZE_PX, STANDARD, render_pass

COMMAND = "python -m benchmarks walkpast"
WORK = Path(__file__).parents[1] / "build" / "walkpast"
SEEDS = tuple(range(1, 11))
ENROLLED, STRANGERS = 20, 100
FPS, SECONDS = 12.0, 2.5
BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
APART = timedelta(minutes=10)
CENTRED_FACE = (0.31, 0.28, 0.69, 0.76)
"""Where the face lies in a photo of this set, as shares of its sides; used where the detector finds none."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play every seed, write the result; 1 where a promise is missed."""
    arguments = _parser().parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    settings = load(None, environment={}, overrides=_decide(arguments))
    design = design_of(arguments, settings)
    done = [_seed_result(seed, design, lfw, settings, arguments.work) for seed in arguments.seeds]
    data = {"design": design, **judge(done), "seeds": done}
    for line in summary_lines(data):
        print(line)
    if arguments.half != "report" or tuple(arguments.seeds) != SEEDS or _decide(arguments):
        print("no result is written: that takes the half `report`, all ten seeds and the default operating point")
        return 0
    title = "Generated walk-pasts of enrolled people and strangers"
    files = write_result(
        "walkpast", title, tables=_tables(data), data=data, command=COMMAND, threads=settings.model.threads
    )
    print(f"written: {files[0].name}, {files[1].name}")
    return 0 if all(data["promises"].values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Walk-pasts through the kiosk.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="where finished seeds are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, metavar="N", help="seeds to play (1 to 10)")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos (report); tune writes no result")
    parser.add_argument("--fps", type=float, default=FPS, help=f"frames a second ({FPS:g})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length of a pass ({SECONDS:g})")
    parser.add_argument("--enrolled", type=int, default=ENROLLED, help=f"people enrolled a seed ({ENROLLED})")
    parser.add_argument("--strangers", type=int, default=STRANGERS, help=f"strangers a seed ({STRANGERS})")
    parser.add_argument("--threshold", type=float, help="a fixed cosine instead of the card's (for tuning)")
    parser.add_argument("--target-fpir", type=float, help="another target than the default (writes no result)")
    return parser


def _decide(arguments: argparse.Namespace) -> dict[str, Any]:
    chosen = {"decide.threshold": arguments.threshold, "decide.target_fpir": arguments.target_fpir}
    return {key: value for key, value in chosen.items() if value is not None}


def design_of(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Everything that a seed's result depends on besides the code; results of another design are not reused."""
    with App(settings) as app:
        card = app.card
    decided = {"threshold": settings.decide.threshold, "target_fpir": settings.decide.target_fpir}
    return {
        "half": arguments.half,
        "enrolled": arguments.enrolled,
        "strangers": arguments.strangers,
        "photos_at_least": PHOTOS_AT_LEAST,
        "templates_at_most": TEMPLATES_AT_MOST,
        "fps": arguments.fps,
        "seconds": arguments.seconds,
        "size_px": list(SIZE_PX),
        "style": json.loads(json.dumps(asdict(STANDARD))),
        "model": {"id": card.id, "sha256": card.sha256, "margin": card.margin},
        "thresholds": {f"{rate:g}": cosine for rate, cosine in card.thresholds.items()},
        "stranger_tail": None if card.strangers is None else json.loads(json.dumps(asdict(card.strangers))),
        "decide": decided,
        "track": settings.track.model_dump(mode="json"),
        "detect": settings.detect.model_dump(mode="json"),
    }


def _seed_result(seed: int, design: dict[str, Any], lfw: Lfw, settings: Settings, work: Path) -> dict[str, Any]:
    """The result of one seed, from the work folder where it is there already."""
    kept = work / "seeds.jsonl"
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []:
        found: dict[str, Any] = json.loads(line)
        if found["seed"] == seed and found["design"] == design:
            kept_result: dict[str, Any] = found["result"]
            return kept_result
    draw = draw_people(
        lfw.people(design["half"]),
        seed=seed,
        enrolled=design["enrolled"],
        strangers=design["strangers"],
        left_out=lfw.errata(),
    )
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        store = settings.store.model_copy(update={"path": here / "store"})
        result = play_seed(seed, draw, design, settings.model_copy(update={"store": store}), here)
    work.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"seed": seed, "design": design, "result": result}) + "\n")
    return result


def play_seed(seed: int, draw: Draw, design: dict[str, Any], settings: Settings, folder: Path) -> dict[str, Any]:
    """Enrol, play all passes through one kiosk, and judge the attendance on record."""
    built = _build_database(materialise(folder / "people", draw.enrolled), settings.store.path, folder)
    seen = [Seen() for _ in draw.walks]
    with App(settings) as app:
        follower = app.follower()
        kiosk = Kiosk(
            app.ledger,
            directory=follower,
            place=app.place(app.camera(None)),
            card_id=app.card.id,
            events=EventLog(None),
            identifiers=Identifiers(lambda: str(uuid.uuid4()), lambda: datetime.now(UTC), f"seed-{seed}"),
            announce=lambda event, label: _note_event(seen[_pass_of(event.observed_at)], event.to_json()),
        )
        camera = Played(_frames(app, draw.walks, design), camera_id=app.camera(None).id)
        station = Station(camera.camera_id, lambda: nullcontext(camera))
        with Stream([station], telemetry=app.telemetry, prepare=app.share_processor) as stream:
            stream.open()
            stream.run([Lane(station, app.live_path(follower.mirror), kiosk)], on_result=_watcher(seen, seed))
        stream.raise_fault()
        if station.error is not None:
            raise station.error
        summary = kiosk.summary
        for row in app.ledger.attendance():
            seen[_pass_of(row.observed_at)].counted.append(_who(row))
        threshold = app.rule(follower.mirror)().threshold
    passes = [outcome(walk, found) for walk, found in zip(draw.walks, seen, strict=True)]
    return {
        "seed": seed,
        "threshold": round(threshold, 4),
        "templates": built["templates"],
        "photos_refused": len(built["refused"]),
        "frames": summary.frames,
        "not_recorded": summary.not_recorded,
        "passes": passes,
    }


def _build_database(people: Path, store: Path, folder: Path) -> dict[str, Any]:
    result = folder / "built.json"
    flags = [str(people), "--store", str(store), "--face", "centre", "--quiet", "--json", str(result)]
    code = build.main(flags)
    if code != 0:
        raise SystemExit(f"{COMMAND}: build_database.py ended with exit code {code}")
    built: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return built


def _frames(app: App, walks: Sequence[Walk], design: dict[str, Any]) -> Iterator[Frame]:
    """The frames of all passes, one after the other, ten minutes apart; made while others are looked at."""
    camera_id = app.camera(None).id
    max_pixels = app.settings.enrol.max_pixels
    # Found beforehand: the detector is not for two threads.
    boxes = [face_box(app, read_photo(walk.photo, max_pixels=max_pixels).image) for walk in walks]

    def made() -> Iterator[Frame]:
        index = 0
        for number, (walk, box) in enumerate(zip(walks, boxes, strict=True)):
            photo = read_photo(walk.photo, max_pixels=max_pixels).image
            frames = render_pass(photo, box, seed=walk.seed, fps=design["fps"], seconds=design["seconds"])
            for i, image in enumerate(frames):
                yield Frame(image, BEGIN + number * APART + timedelta(seconds=i / design["fps"]), index, camera_id)
                index += 1

    return made()


def face_box(app: App, photo: RGBImage) -> tuple[float, float, float, float]:
    """The box of the person that the photo stands for, by the detector; the middle of the photo where it finds none."""
    height, width = photo.shape[:2]
    face = choose_face(app.reader.detect([photo])[0], (height, width), "centre").face
    if face is None:
        x1, y1, x2, y2 = CENTRED_FACE
        return x1 * width, y1 * height, x2 * width, y2 * height
    x1, y1, x2, y2 = (float(value) for value in face.box)
    return x1, y1, x2, y2


def _watcher(seen: list[Seen], seed: int) -> OnResult:
    """Notes the faces that are seen, and says how far it is."""
    begun: set[int] = set()

    def note(lane: Lane, frame: Frame, result: FrameResult) -> None:
        number = _pass_of(frame.observed_at)
        seen[number].frames_with_face += bool(result.views)
        seen[number].tracks.update(view.track_id for view in result.views)
        if number not in begun:
            begun.add(number)
            print(f"\rseed {seed}: pass {number + 1} of {len(seen)}", end="", file=sys.stderr, flush=True)

    return note


def _pass_of(moment: datetime) -> int:
    return int((moment - BEGIN) / APART)


def _note_event(seen: Seen, event: Mapping[str, Any]) -> None:
    seen.kinds[event["kind"]] += 1
    seen.reasons[event["reason"]] += 1
    similarity = event["similarity"]
    if similarity is not None and (seen.best_similarity is None or similarity > seen.best_similarity):
        seen.best_similarity = similarity


def _who(row: AttendanceRow) -> str:
    return "" if row.identity_id is None else row.identity_id


def summary_lines(data: Mapping[str, Any]) -> list[str]:
    """The result as three lines."""
    misses = ", ".join(f"{count} {reason}" for reason, count in data["misses"].items())
    return [
        f"enrolled: {data['recorded_right']} of {data['enrolled_passes']} passes recorded under the right name"
        f" ({share(data['recorded_right_share'])}); misses: {misses or 'none'}",
        f"strangers: {data['strangers_recorded']} of {data['stranger_passes']} passes recorded, "
        f"{data['strangers_ambiguous']} ambiguous",
        f"counted twice: {data['counted_twice']}; promises: {data['promises']}",
    ]


def _tables(data: Mapping[str, Any]) -> list[Table]:
    design = data["design"]
    note = (
        f"{design['enrolled']} people a seed with {design['photos_at_least']} photos or more: one makes the pass, "
        f"{design['templates_at_most']} others are enrolled. {round(design['fps'] * design['seconds'])} frames a pass "
        f"at {design['size_px'][0]}x{design['size_px'][1]}. A pass is made from one flat photo: it shows other sizes, "
        "light, blur, noise and small turns, not a face that turns or ages."
    )
    totals = [
        ("enrolled passes recorded under the right name", _of(data, "recorded_right", "enrolled_passes"), ">= 95 %"),
        ("stranger passes recorded", _of(data, "strangers_recorded", "stranger_passes"), "<= 0.5 %"),
        ("stranger passes ambiguous (asked)", _of(data, "strangers_ambiguous", "stranger_passes"), ""),
        ("passes counted twice", str(data["counted_twice"]), "0"),
        ("enrolled passes recorded under a wrong name", str(data["wrong_person"]), ""),
    ]
    misses = [(reason, str(count)) for reason, count in data["misses"].items()]
    return [
        Table("Passes", ("what", "measured", "promised"), totals, note),
        Table("Enrolled passes missed, by reason", ("reason", "passes"), misses or [("none", "0")]),
        Table(
            "By seed",
            (
                "seed",
                "threshold",
                "templates",
                "right",
                "strangers recorded",
                "similarity of enrolled (5 %, median)",
                "of strangers (median, 99 %)",
            ),
            [_seed_row(result) for result in data["seeds"]],
        ),
    ]


def _of(data: Mapping[str, Any], part: str, whole: str) -> str:
    return f"{data[part]} of {data[whole]} ({share(data[part] / data[whole])})"


def _seed_row(result: Mapping[str, Any]) -> tuple[str, ...]:
    enrolled = [p for p in result["passes"] if p["enrolled"]]
    strangers = [p for p in result["passes"] if not p["enrolled"]]
    return (
        str(result["seed"]),
        f"{result['threshold']:.4f}",
        str(result["templates"]),
        f"{sum(p['recorded_right'] > 0 for p in enrolled)} of {len(enrolled)}",
        f"{sum(p['recorded_wrong'] > 0 for p in strangers)} of {len(strangers)}",
        _quantiles(enrolled, (0.05, 0.5)),
        _quantiles(strangers, (0.5, 0.99)),
    )


def _quantiles(passes: Sequence[Mapping[str, Any]], shares: tuple[float, float]) -> str:
    found = [p["similarity"] for p in passes if p["similarity"] is not None]
    return ", ".join(f"{value:.3f}" for value in np.quantile(found, shares)) if found else "-"


if __name__ == "__main__":
    sys.exit(main())
