"""``report``: who came, when; by person or by day; as a table, CSV or JSON."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.cli.table import render, to_csv
from attendance.errors import UsageError
from attendance.ledger.port import PunchQuery
from attendance.report import (
    DAY_COLUMNS,
    ENTRY_COLUMNS,
    PERSON_COLUMNS,
    ReportFilter,
    as_dict,
    by_day,
    by_person,
    entries,
)

_SHOWN = {
    "punch": ("day", "at", "identity_id", "name", "site", "camera_id", "direction"),
    "person": PERSON_COLUMNS,
    "day": DAY_COLUMNS,
}
_COLUMNS = {"punch": ENTRY_COLUMNS, "person": PERSON_COLUMNS, "day": DAY_COLUMNS}


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        summary="who came, and when",
        example="python -m attendance report --by day --from 2026-03-01 --to 2026-03-31",
        command=report,
    )
    parser.add_argument("--by", choices=tuple(_COLUMNS), default="punch", help="a row per punch, person or day (punch)")
    parser.add_argument("--from", dest="first_day", metavar="YYYY-MM-DD", help="first local day")
    parser.add_argument("--to", dest="last_day", metavar="YYYY-MM-DD", help="last local day")
    parser.add_argument("--person", metavar="ID", help="only this person")
    parser.add_argument("--department", metavar="NAME", help="only people of this department")
    parser.add_argument("--site", metavar="ID", help="only punches at this site")
    parser.add_argument(
        "--error-budget",
        action="store_true",
        help="instead: the wrong punches that a month is expected to bring; needs both numbers of passes",
    )
    parser.add_argument("--people-passes", type=float, metavar="N", help="passes of enrolled people a day")
    parser.add_argument("--stranger-passes", type=float, metavar="M", help="passes of strangers a day")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="what is printed (table)")


def report(arguments: argparse.Namespace, context: Context) -> int:
    """Read the attendance table and print it, or tell the error budget."""
    if arguments.error_budget:
        from attendance.cli.budgeting import report_budget

        return report_budget(arguments, context)
    if arguments.people_passes is not None or arguments.stranger_passes is not None:
        raise UsageError("--people-passes and --stranger-passes belong to --error-budget: add it, or leave them out")
    first_day, last_day = _day("--from", arguments.first_day), _day("--to", arguments.last_day)
    if first_day is not None and last_day is not None and last_day < first_day:
        raise UsageError(f"--to {last_day} lies before --from {first_day}")
    from attendance.images import normalise_identity

    identity_id = None if arguments.person is None else normalise_identity(arguments.person)
    wanted = ReportFilter(identity_id, arguments.department, arguments.site, first_day, last_day)
    query = PunchQuery(first_day=first_day, last_day=last_day, identity_id=identity_id, site=arguments.site)
    with context.open_store() as app:
        found = entries(app.ledger.attendance(query), app.ledger.people(), wanted)
    rows: list[dict[str, Any]] = [
        as_dict(row)
        for row in (by_person(found) if arguments.by == "person" else by_day(found) if arguments.by == "day" else found)
    ]
    _print(context, arguments, rows)
    context.write_json(rows)
    return EXIT_OK


def _print(context: Context, arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if arguments.format == "csv":
        context.say(to_csv(rows, columns=_COLUMNS[arguments.by]).rstrip("\n"))
    elif arguments.format == "json":
        context.say_json(rows)
    else:
        context.say(render(rows, columns=_SHOWN[arguments.by]))


def _day(flag: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{flag} expects a date as YYYY-MM-DD, got {text!r}") from error
