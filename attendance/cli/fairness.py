"""``fairness``: whether recognition works equally well for groups of the people enrolled."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.cli.calibrating import rate_json
from attendance.errors import AttendanceError, UsageError

if TYPE_CHECKING:
    from attendance.calibration import Rate
    from attendance.fairness import Fairness, Group, GroupRates

TARGETS = (0.01, 0.003, 0.001)


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "fairness",
        summary="misses and false matches by group of the people enrolled, with intervals",
        example="python -m attendance fairness --page fairness.md",
        command=report,
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the report as Markdown as well")


def report(arguments: argparse.Namespace, context: Context) -> int:
    """Measure and tell."""
    with context.open_store() as app:
        found, own_target = fairness_of(app)
        model = app.card.id
    lines = [*_opening(found), "", *_table(found, own_target), "", *_reading(found, own_target)]
    for line in lines:
        context.say(line)
    if arguments.page is not None:
        _write(arguments.page, ["# Error rates by group", "", *lines])
        context.say(f"written: {arguments.page}")
    page = None if arguments.page is None else str(arguments.page)
    context.write_json({"model": model, **to_json(found, own_target), "page": page})
    return EXIT_OK


def fairness_of(app: App) -> tuple[Fairness, float]:
    """The report of everybody enrolled, and the target at which they are recognised. UsageError where nobody is."""
    from attendance.decide import Rule
    from attendance.fairness import fairness
    from attendance.gallery import entries_of
    from attendance.operating import Chosen, operating_point, roster_of

    people = app.ledger.people()
    entries = [entry for person in people for entry in entries_of(person, app.space.text)]
    if not entries:
        raise UsageError("nobody is enrolled: there is nobody to compare; enrol with build_database.py")
    chosen, measured, roster = app.rulebook.chosen(), app.rulebook.measured(), roster_of(entries)

    def rule(target: float) -> Rule:
        return operating_point(roster, measured, Chosen(target, chosen.fixed, chosen.min_frames)).rule

    targets = [chosen.target_fpir] if chosen.fixed is not None else sorted({chosen.target_fpir, *TARGETS}, reverse=True)
    stated = {person.identity_id: person.group for person in people}
    return fairness(entries, stated, {target: partial(rule, target) for target in targets}), chosen.target_fpir


def _opening(found: Fairness) -> list[str]:
    by = (
        "by the group that people stated (column `group` of people.csv)"
        if found.by == "group"
        else "nobody stated a group: people who look alike to the model are put together, which says nothing of why"
    )
    return [f"{found.people} people with {found.photos} photos, {by}"]


def _table(found: Fairness, own_target: float) -> list[str]:
    lines = [
        "| group | people | photos | target | known photos missed | of these more than others | strangers taken for "
        "somebody | of these more than others |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in found.groups:
        if not group.rates:
            lines.append(f"| {_name(group)} | {group.people} | {group.photos} | | too few people to say | | | |")
        for target, rates in group.rates.items():
            mark = " (in force)" if target == own_target else ""
            cells = [_percent(each) for each in (rates.missed, rates.missed_more, rates.taken, rates.taken_more)]
            lines.append(
                f"| {_name(group)} | {group.people} | {group.photos} | {100 * target:g} %{mark} | {' | '.join(cells)} |"
            )
    return lines


def _name(group: Group) -> str:
    plain = group.name.replace("|", "/")
    return f"{plain} (few people)" if group.few and group.rates else plain


def _reading(found: Fairness, own_target: float) -> list[str]:
    """What stands out at the target in force, in sentences."""
    lines = []
    for group in found.groups:
        rates = group.rates.get(own_target)
        if rates is not None:
            lines += [f"{_name(group)}: {told}" for told in _differences(rates)]
    if len(found.groups) < 2:
        lines.append("there is one group alone: nothing to compare it with")
    elif not any(_compared(rates) for group in found.groups for rates in group.rates.values()):
        lines.append("no group could be compared with the others: too few people in them, or with two photos")
    elif not lines:
        lines.append("no group differs from the others by more than chance may do; small differences may be missed")
    if len(found.groups) > 2:
        lines.append(f"{2 * len(found.groups)} comparisons were made: one in twenty differs by chance alone")
    lines.append("photos are those enrolled: the same day's photo is easier than tomorrow's face, for every group")
    return lines


def _compared(rates: GroupRates) -> bool:
    return rates.missed_more is not None or rates.taken_more is not None


def _differences(rates: GroupRates) -> list[str]:
    told = []
    for what, more in (("missed", rates.missed_more), ("taken for somebody else", rates.taken_more)):
        if more is not None and (more.low > 0.0 or more.high < 0.0):
            told.append(f"{'more' if more.expected > 0.0 else 'less'} often {what} than the others: {_percent(more)}")
    return told


def to_json(found: Fairness, own_target: float) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "by": found.by,
        "people": found.people,
        "photos": found.photos,
        "target_fpir": own_target,
        "groups": [
            {
                "group": group.name,
                "people": group.people,
                "photos": group.photos,
                "few": group.few,
                "rates": [
                    {
                        "target_fpir": target,
                        "missed": _rate(rates.missed),
                        "missed_more": _rate(rates.missed_more),
                        "taken": _rate(rates.taken),
                        "taken_more": _rate(rates.taken_more),
                    }
                    for target, rates in group.rates.items()
                ],
            }
            for group in found.groups
        ],
    }


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else rate_json(rate)


def _percent(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    return f"{100 * rate.expected:.2f} % [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"


def _write(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise AttendanceError(f"{path}: the report could not be written: {error.strerror}") from error
