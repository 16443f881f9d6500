"""What the product itself makes of a model: the default embedder as it is, and students as exported files."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attendance.app import App
from attendance.config import Settings, load
from attendance.embed.port import Embedder
from attendance.errors import ModelError
from attendance.operating import RuleKeeper
from attendance.types import Float32, RGBImage
from lab.command import Context
from lab.data.split import split_people
from lab.evaluate.identification import enrol, judge_lookups, list_photos, look_up
from lab.evaluate.pairs import read_pairs
from lab.evaluate.shared import Model
from lab.evaluate.verification import judge_pairs, score_pairs
from lab.experiments.faces import HELD_OUT, SPLIT_SEED
from lab.experiments.judge import Judged, judge
from lab.experiments.photos import Photos, alone
from lab.read import QUALITY_OFF, open_app, open_reader, read_vectors

PEOPLE, ENROLLED, PROBES = 50, 5, 5
"""The gallery that the default model is judged on too: most photos first."""
LICENCE = "trained on photos of LFW, for research"
TIMED = 20
ROOT = Path(__file__).resolve().parents[2]
SHOWN, EMPTY, FRAMES_A_S = 8, 8, 5
"""Frames that a person is shown for and that nobody is, and their rate."""
BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)


def default_embedder(threads: int) -> Embedder:
    """The product's default model."""
    return App(load(None, overrides={"model.threads": threads})).embedder


def judge_model(
    photos: Photos, model: str, *, cross: bool, threads: int, stop_at: float | None
) -> tuple[Judged, dict[str, Any]]:
    """A model of the product on the same crops and pairs as the runs, cut as its card says."""
    with alone(photos.work, stop_at):
        photos.found("report", stop_at=stop_at)
    app = App(load(None, overrides={"model.id": model, "model.threads": threads}))
    embedder = app.embedder

    def embed(chips: RGBImage) -> Float32:
        return np.concatenate([embedder.embed(chips[at : at + 32]) for at in range(0, len(chips), 32)])

    judged = judge(photos, embed, app.card.alignment, cross=cross)
    face = np.zeros((1, app.card.input.size_px, app.card.input.size_px, 3), np.uint8)
    return judged, {"backbone": model, "milliseconds_a_face": _milliseconds(embedder, face)}


def judge_export(
    photos: Photos, trained: Path, *, precision: str, targets: Sequence[float], threads: int
) -> dict[str, Any]:
    """Export a run through the lab's own command, measured on the validation part; judge the file in the product.

    The store stays under ``work``/stores: ``ATTENDANCE_MODEL__ID=ID realtime_attendance.py --store`` runs it.
    """
    model = f"{trained.name.split('--')[1]}-{precision}"
    store = (photos.work / "stores" / model).resolve()
    target = store / "models" / model
    shutil.rmtree(store, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        exported = _export(photos, trained, target, precision=precision, folder=root, threads=threads)
        settings = load(None, overrides={"store.path": store, "model.id": model, "model.threads": threads})
        figures = _in_the_product(photos, settings, root, targets)
        asked = [told["target_fpir"] for told in figures["at_targets"]]
        passed = walk_past(root, store, model, targets=asked, threads=threads)
        for told, past in zip(figures["at_targets"], passed, strict=True):
            told["walk_past"] = past
    return {"backbone": model, "export": exported, "bytes": target.joinpath("weights.onnx").stat().st_size, **figures}


def _export(
    photos: Photos, trained: Path, target: Path, *, precision: str, folder: Path, threads: int
) -> Mapping[str, Any]:
    from lab.__main__ import main

    people = _linked(folder / "validation", photos, _validation(photos))
    words = ["export", str(trained), "--to", str(target), "--images", str(people), "--licence", LICENCE]
    words += ["--precision", precision, "--quiet", "--json", str(folder / "export.json")]
    if main(words) != 0:
        raise ModelError(f"{trained}: the export failed; its message is above")
    result: Mapping[str, Any] = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    return result


def _in_the_product(photos: Photos, settings: Settings, folder: Path, targets: Sequence[float]) -> dict[str, Any]:
    names = photos.names("report")
    by_person = _by_person(names)
    ranked = sorted(by_person, key=lambda person: (-len(by_person[person]), person))
    chosen = ranked[:PEOPLE]
    enrolled = _linked(folder / "enrolled", photos, {who: by_person[who][:ENROLLED] for who in chosen})
    probes = _linked(folder / "probes", photos, {who: by_person[who][ENROLLED : ENROLLED + PROBES] for who in chosen})
    strangers = _linked(folder / "strangers", photos, {who: by_person[who] for who in ranked[PEOPLE:]})
    context = Context(settings=settings, quiet=True, json_target=None)
    pairs = read_pairs(photos.root / "pairs_report.csv")
    with open_app(settings, model_flag=settings.model.id) as app:
        model = Model(app, app.card, open_reader(app, aligned=False, quality_level=QUALITY_OFF))
        images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
        read = read_vectors(model.reader, [photos.root / "images" / name for name in images], model.card.dimension)
        gallery, _ = enrol(model, list_photos(enrolled, "--gallery"), context)
        known = look_up(model, gallery, list_photos(probes, "--probes"), context=context, label="probes")
        others = look_up(model, gallery, list_photos(strangers, "--strangers"), context=context, label="strangers")
        own = app.rulebook.chosen()
        asked = (own.target_fpir, *targets)
        rules = [RuleKeeper(gallery, app.rulebook.measured(), replace(own, target_fpir=target))() for target in asked]
        face = np.zeros((1, app.card.input.size_px, app.card.input.size_px, 3), np.uint8)
        speed = _milliseconds(app.embedder, face)
    return {
        "pairs": judge_pairs(score_pairs(pairs, images, read)),
        "at_targets": [
            {"target_fpir": target, **judge_lookups(known, others, rule)}
            for target, rule in zip(asked, rules, strict=True)
        ],
        "milliseconds_a_face": speed,
    }


def walk_past(folder: Path, store: Path, model: str, *, targets: Sequence[float], threads: int) -> list[dict[str, int]]:
    """Enrol ``folder``/enrolled and show ``folder``/probes to the kiosk, a photo of each person for eight frames.

    Args:
        folder: of the photos; what the kiosk says is laid there too.
        store: of the model and of those who are enrolled.
        model: its id.
        targets: shares of strangers that may pass (0 to 1); each is a day of its own.
        threads: of the model.

    Returns:
        At each target ``shown`` people, ``right`` and ``wrong`` punches, and ``none``: asked, unknown or not seen.
    """
    shown = _frames(folder / "probes", folder / "frames")
    environment = {**os.environ, "ATTENDANCE_MODEL__ID": model, "ATTENDANCE_MODEL__THREADS": str(threads)}
    _program("build_database.py", [str(folder / "enrolled"), "--store", str(store)], environment)
    found = []
    for day, target in enumerate(targets):
        begin, events = BEGIN + timedelta(days=day), folder / f"events-{day}.jsonl"
        words = ["--source", str(folder / "frames"), "--fps", str(FRAMES_A_S), "--start", begin.isoformat()]
        words += ["--headless", "--store", str(store), "--events", str(events)]
        _program("realtime_attendance.py", words, environment | {"ATTENDANCE_DECIDE__TARGET_FPIR": str(target)})
        found.append(_counted(events, begin, shown))
    return found


def _counted(events: Path, begin: datetime, shown: Sequence[str]) -> dict[str, int]:
    punches: dict[int, set[str]] = {}
    for line in events.read_text(encoding="utf-8").splitlines() if events.exists() else ():
        event = json.loads(line)
        seconds = (datetime.fromisoformat(event["observed_at"]) - begin).total_seconds()
        if event["kind"] == "punch":
            punches.setdefault(int(seconds * FRAMES_A_S / (SHOWN + EMPTY)), set()).add(event["identity_id"])
    right = sum(punches.get(place) == {person} for place, person in enumerate(shown))
    return {"shown": len(shown), "right": right, "wrong": len(punches) - right, "none": len(shown) - len(punches)}


def _frames(probes: Path, folder: Path) -> list[str]:
    """A folder of frames: each person's first probe for a while, then nobody; the people in that order."""
    folder.mkdir()
    people = sorted(path for path in probes.iterdir())
    for place, person in enumerate(people):
        photo = sorted(person.iterdir())[0].resolve()
        blank = folder.with_name("nobody.png")
        if not blank.exists():
            cv2.imwrite(str(blank), np.full((250, 250, 3), 128, np.uint8))
        for at in range(SHOWN + EMPTY):
            source = photo if at < SHOWN else blank
            os.symlink(source, folder / f"{place * (SHOWN + EMPTY) + at:06d}{source.suffix}")
    return [person.name for person in people]


def _program(name: str, words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run one of the product's programs as its user would."""
    done = subprocess.run([sys.executable, name, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise ModelError(f"{name} {' '.join(words)}: ended with {done.returncode}: {done.stderr.strip()[-300:]}")


def _validation(photos: Photos) -> dict[str, list[str]]:
    """The people of the tune half whom no run was trained on."""
    by_person = _by_person(photos.names("tune"))
    people = sorted(by_person)
    labels = np.repeat(np.arange(len(people)), [len(by_person[person]) for person in people])
    split = split_people(people, labels, seed=SPLIT_SEED, strangers=HELD_OUT)
    return {person: by_person[person] for person, kind in zip(people, split.classes, strict=True) if kind < 0}


def _by_person(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.split("/")[0], []).append(name)
    return found


def _linked(root: Path, photos: Photos, people: Mapping[str, Sequence[str]]) -> Path:
    """A folder of people made of symbolic links."""
    for person, names in people.items():
        if names:
            (root / person).mkdir(parents=True)
        for name in names:
            os.symlink((photos.root / "images" / name).resolve(), root / person / Path(name).name)
    return root


def _milliseconds(embedder: Embedder, face: RGBImage) -> float:
    embedder.embed(face)
    times = []
    for _ in range(TIMED):
        begun = time.perf_counter()
        embedder.embed(face)
        times.append(time.perf_counter() - begun)
    return 1000.0 * statistics.median(times)
