"""``identify`` and ``verify``: photos against the gallery, and against each other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command, existing_photo
from attendance.cli.table import render
from attendance.decide import decide
from attendance.errors import AttendanceError, UsageError
from attendance.faces import FaceRule
from attendance.rejected import beside_rejected, rejected_of
from attendance.threshold import VERIFY_FAR
from attendance.types import Decision, RefusalReason

if TYPE_CHECKING:
    from attendance.stills import Reading

_OF_A_PICTURE = (RefusalReason.NO_FACE, RefusalReason.SEVERAL_FACES, RefusalReason.LOW_QUALITY)


def register(commands: Any) -> None:
    """Add the commands."""
    identify_parser = add_command(
        commands,
        "identify",
        summary="who is on a photo",
        example="python -m attendance identify photo.jpg --top-k 3",
        command=identify,
    )
    identify_parser.add_argument("photo", type=Path, metavar="PHOTO")
    identify_parser.add_argument("--top-k", type=int, default=5, metavar="N", help="people to list (5)")
    identify_parser.add_argument(
        "--face", choices=[str(rule) for rule in FaceRule], default="largest", help="which face of a photo (largest)"
    )
    verify_parser = add_command(
        commands,
        "verify",
        summary="whether two photos show one person",
        example="python -m attendance verify a.jpg b.jpg",
        command=verify,
    )
    verify_parser.add_argument("photo_a", type=Path, metavar="A")
    verify_parser.add_argument("photo_b", type=Path, metavar="B")
    verify_parser.add_argument(
        "--face", choices=[str(rule) for rule in FaceRule], default="largest", help="which face of a photo (largest)"
    )


def identify(arguments: argparse.Namespace, context: Context) -> int:
    """Look one photo up; the decision is the kiosk's."""
    if arguments.top_k < 1:
        raise UsageError(f"--top-k must be 1 or more, got {arguments.top_k}")
    with context.open_store() as app:
        reading = _read(app, arguments.photo, arguments.face)
        mirror = app.mirror()
        assert reading.vector is not None
        candidates = mirror.gallery.nearest(reading.vector[None, :], k=max(arguments.top_k, 2))[0]
        of = rejected_of(lambda: mirror.people, mirror.gallery.card_id)
        decision = decide(beside_rejected(candidates, reading.vector, of), app.rule(mirror.gallery)())
        rows = [
            {
                "rank": rank,
                "identity_id": candidate.identity_id,
                "name": mirror.people[candidate.identity_id].name,
                "similarity": round(candidate.similarity, 6),
            }
            for rank, candidate in enumerate(candidates[: arguments.top_k], start=1)
        ]
        model = app.card.id
    context.say(_sentence(decision))
    context.say(render(rows, columns=("rank", "identity_id", "name", "similarity")))
    context.write_json(_identified(decision, rows, reading, model))
    return EXIT_OK


def verify(arguments: argparse.Namespace, context: Context) -> int:
    """Compare two photos at the card's one-to-one threshold."""
    with context.open_app() as app:
        first, second = (_read(app, path, arguments.face) for path in (arguments.photo_a, arguments.photo_b))
        assert first.vector is not None
        assert second.vector is not None
        similarity = float(first.vector @ second.vector)
        threshold = app.rulebook.verify_threshold()
        model = app.card.id
    match = similarity >= threshold
    context.say(
        f"{'the same person' if match else 'different people'}: similarity {similarity:.3f}, threshold {threshold:.3f} "
        f"(false-accept rate {VERIFY_FAR:g})"
    )
    context.write_json(
        {
            "match": match,
            "similarity": round(similarity, 6),
            "distance": round(1.0 - similarity, 6),
            "threshold": round(threshold, 6),
            "far": VERIFY_FAR,
            "model": model,
        }
    )
    return EXIT_OK


def _read(app: App, path: Path, rule: str) -> Reading:
    """A photo's reading; wrong use where there is no such file or no picture in it, failure where it shows no face."""
    reading = next(iter(app.stills(rule=FaceRule(rule), strict=False).read([existing_photo(path)])))
    if reading.vector is None:
        told = f"{path}: {reading.reason}: {reading.detail}"
        # Only a picture has a face that cannot be used; without one the source itself is at fault.
        raise AttendanceError(told) if reading.reason in _OF_A_PICTURE else UsageError(told)
    return reading


def _sentence(decision: Decision) -> str:
    best = decision.best
    if best is None:
        return "unknown: nobody is enrolled"
    who = best.identity_id if decision.outcome == "known" else str(decision.outcome)
    lead = "" if decision.margin is None else f", margin {decision.margin:.3f}"
    return f"{who}: similarity {best.similarity:.3f}, threshold {decision.threshold:.3f}{lead} ({decision.reason})"


def _identified(decision: Decision, rows: list[dict[str, Any]], reading: Reading, model: str) -> dict[str, Any]:
    assert reading.face is not None
    best, runner_up = decision.best, decision.runner_up
    return {
        "outcome": str(decision.outcome),
        "identity_id": best.identity_id if best is not None and decision.outcome == "known" else None,
        "similarity": None if best is None else round(best.similarity, 6),
        "runner_up": None
        if runner_up is None
        else {"identity_id": runner_up.identity_id, "similarity": round(runner_up.similarity, 6)},
        "margin": None if decision.margin is None else round(decision.margin, 6),
        "threshold": round(decision.threshold, 6),
        "reason": decision.reason,
        "box": [round(float(value) / reading.scale, 1) for value in reading.face.box],
        "candidates": rows,
        "model": model,
    }
