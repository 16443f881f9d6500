"""``calibrate``: what the threshold of this gallery is, why, and what errors are expected of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.errors import AttendanceError, UsageError

if TYPE_CHECKING:
    from attendance.calibration import Calibration, Rate

PAGE = "calibration.html"
_PAIRS_SHOWN = 20
_WORTH_SAYING = 5e-4


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "calibrate",
        summary="the threshold of this gallery, why it is that, and the errors to expect, with plots",
        example="python -m attendance calibrate --page calibration.html",
        command=calibrate,
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help=f"where the report with its plots goes (STORE/{PAGE})"
    )


def calibrate(arguments: argparse.Namespace, context: Context) -> int:
    """Measure the gallery and write the page."""
    with context.open_store() as app:
        found = calibration_of(app)
        page = app.store / PAGE if arguments.page is None else arguments.page
        model = app.card.id
    _write(page, found, model)
    for line in explanation(found):
        context.say(line)
    context.say(f"written: {page}")
    context.write_json({"model": model, **to_json(found), "page": str(page)})
    return EXIT_OK


def calibration_of(app: App) -> Calibration:
    """The calibration of everybody enrolled. UsageError where nobody is."""
    from attendance.calibration import calibrate as measure
    from attendance.gallery import entries_of

    entries = [entry for person in app.ledger.people() for entry in entries_of(person, app.space.text)]
    if not entries:
        raise UsageError("nobody is enrolled: there is nothing to calibrate; enrol with build_database.py")
    return measure(entries, app.rulebook.measured(), app.rulebook.chosen(), genuine=app.card.genuine)


def explanation(found: Calibration) -> list[str]:
    """The operating point in sentences."""
    point, rule = found.point, found.point.rule
    low, high = rule.required(0.0), rule.required(None)
    needed = f"a similarity of {low:.4f}"
    if rule.lead_weight > 0.0:
        needed += f" at no lead over the next person, {high:.4f} from a lead of {rule.lead_cap:g} on"
    lines = [
        f"{point.people} people with {point.templates} templates: a match needs {needed}, and a lead of {rule.margin:g}"
    ]
    if found.target_fpir is None:
        lines.append("the threshold is fixed by decide.threshold and does not follow the gallery")
    else:
        lines.append(f"computed for at most {100 * found.target_fpir:g} % of strangers accepted (decide.target_fpir)")
    added = rule.pass_shifts[-1] if rule.pass_shifts else 0.0
    if abs(added) >= _WORTH_SAYING:
        lines.append(
            "a pass before a camera, which is decided again at every frame, needs "
            f"{abs(added):.4f} {'more' if added > 0.0 else 'less'} than a photo"
        )
    if point.shift > 0.0:
        lines.append(
            f"the people here are more alike than usual (the nearest other person is at {point.likeness:.3f} in the "
            f"median), which adds {point.shift:.4f}"
        )
    lines.append(f"strangers expected to be accepted: {_percent(found.fpir)}")
    lines.append(_misses_line(found))
    lines.append(
        f"look-alikes: {len(point.pairs)} pairs of people (as near to each other as {rule.threshold:.4f}): they "
        f"are asked unless one leads by {rule.look_alike_margin:g}"
    )
    return lines


def _misses_line(found: Calibration) -> str:
    misses = found.misses
    if misses is None:
        return "known people expected to be missed: not known, too few people have several photos"
    if misses.source == "card":
        return f"known photos expected to be missed: {_percent(misses.rate)}, by the card: too few photos here to tell"
    return (
        f"known photos expected to be missed: {_percent(misses.rate)}, by leaving out {misses.photos} photos of "
        f"{misses.people} people in turn; {misses.wrong} taken for somebody else"
    )


def to_json(found: Calibration) -> dict[str, Any]:
    """The calibration as JSON values."""
    point, rule = found.point, found.point.rule
    misses = found.misses
    return {
        "people": point.people,
        "templates": point.templates,
        "target_fpir": found.target_fpir,
        "threshold": {
            "at_no_lead": round(rule.required(0.0), 6),
            "at_full_lead": round(rule.required(None), 6),
            "full_lead": rule.lead_cap,
            "added_for_passes": rule.pass_shifts[-1] if rule.pass_shifts else 0.0,
            "added_for_likeness": round(point.shift, 6),
        },
        "margin": rule.margin,
        "likeness": None if point.likeness is None else round(point.likeness, 6),
        "fpir": rate_json(found.fpir),
        "fnir": None
        if misses is None
        else {
            **rate_json(misses.rate),
            "source": misses.source,
            "photos": misses.photos,
            "people": misses.people,
            "wrong": misses.wrong,
        },
        "det": [
            {"fpir": at.fpir, "fnir": round(at.misses.expected, 6), "interval": _interval(at.misses)}
            for at in found.det
        ],
        "look_alikes": [
            {"one": pair.one, "other": pair.other, "similarity": round(pair.similarity, 6)} for pair in point.pairs
        ],
        "explanation": explanation(found),
    }


def rate_json(rate: Rate) -> dict[str, Any]:
    """A rate with its interval."""
    return {"expected": round(rate.expected, 8), "interval": _interval(rate)}


def _interval(rate: Rate) -> list[float]:
    return [round(rate.low, 8), round(rate.high, 8)]


def _percent(rate: Rate) -> str:
    return f"{100 * rate.expected:.3g} % (95 %: {100 * rate.low:.3g} to {100 * rate.high:.3g})"


def _write(path: Path, found: Calibration, model: str) -> None:
    from attendance.cli.calibration_page import page

    pairs = [f"{pair.one} and {pair.other}: {pair.similarity:.3f}" for pair in found.point.pairs[:_PAIRS_SHOWN]]
    if len(found.point.pairs) > _PAIRS_SHOWN:
        pairs.append(f"and {len(found.point.pairs) - _PAIRS_SHOWN} more: --json names them all")
    try:
        path.write_text(page(found, model=model, lines=explanation(found), pairs=pairs), encoding="utf-8")
    except OSError as error:
        raise AttendanceError(f"{path}: cannot be written ({error.strerror}): name another file with --page") from error
