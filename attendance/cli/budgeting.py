"""``report --error-budget``: the wrong punches that a month is expected to bring at this operating point."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from attendance.cli.base import EXIT_OK, Context
from attendance.cli.calibrating import calibration_of, rate_json
from attendance.errors import UsageError

if TYPE_CHECKING:
    from attendance.budget import Count
    from attendance.calibration import Rate


def report_budget(arguments: argparse.Namespace, context: Context) -> int:
    """Tell the budget; how many people come is asked for, never assumed."""
    from attendance.budget import Uncertain, error_budget

    known = _passes("--people-passes", arguments.people_passes)
    unknown = _passes("--stranger-passes", arguments.stranger_passes)
    with context.open_store() as app:
        found = calibration_of(app)
    misses = found.misses
    if misses is None:
        raise UsageError("the model's card has no same-person pairs and too few people have several photos: enrol more")

    def uncertain(rate: Rate) -> Uncertain:
        return Uncertain(rate.expected, min(rate.low, rate.expected), max(rate.high, rate.expected))

    budget = error_budget(
        fpir=uncertain(found.fpir),
        fnir=uncertain(misses.rate),
        people_passes=known,
        stranger_passes=unknown,
    )
    context.say(
        f"{found.point.people} people, {known:g} passes of theirs and {unknown:g} of strangers a day, "
        f"{budget.days} days:"
    )
    for count, what in (
        (budget.wrong, "wrong punches"),
        (budget.strangers, "  of these strangers punched as somebody"),
        (budget.mistaken, "  of these people punched as somebody else"),
        (budget.missed, "passes of enrolled people not recognised, if each were one photo"),
    ):
        context.say(f"{_text(count)} {what}")
    context.write_json(
        {
            "people": found.point.people,
            "people_passes": known,
            "stranger_passes": unknown,
            "fpir": rate_json(found.fpir),
            "fnir": {**rate_json(misses.rate), "source": misses.source},
            **asdict(budget),
        }
    )
    return EXIT_OK


def _passes(flag: str, value: float | None) -> float:
    if value is None:
        raise UsageError(f"--error-budget needs {flag}: how many pass a day is not assumed")
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{flag} must be a number of 0 or more, got {value}")
    return value


def _text(count: Count) -> str:
    return f"{count.expected:.3g} expected ({count.low} to {count.high} in 95 of 100 months):"
