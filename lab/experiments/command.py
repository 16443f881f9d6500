"""``python -m lab experiments``: what is outstanding, the next piece of it, and the pages made of what is finished."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attendance.errors import AttendanceError, UsageError
from lab.command import Context, add_command

EXAMPLE = "python -m lab experiments run --all --until 23:30 --threads 1"


def add_experiments(commands: Any) -> None:
    """The command `experiments` and its kinds."""
    parser = commands.add_parser(
        "experiments",
        help="run what is outstanding of the planned experiments",
        description="Run what is outstanding of the planned experiments, in pieces that may be stopped and killed.",
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    _add(kinds, "list", "name the runs, finished and outstanding", "One line a run.", list_command)
    _add(kinds, "next", "name the run that is due", "The first without a row.", next_command)
    report = _add(kinds, "report", "write the leaderboard and the page", "From the rows there are.", report_command)
    report.add_argument("--pages", type=Path, metavar="DIR", help="folder of the pages (the checkout)")
    timed = _add(
        kinds,
        "time",
        "take the times of a step and a face",
        "Of each row's network, loss and data; on a machine that does nothing else.",
        time_command,
    )
    timed.add_argument("names", nargs="*", metavar="RUN", help="experiment/row/seed-N, or the beginning of such names")
    timed.add_argument("--minutes", type=float, metavar="M", help="stop after so long")
    timed.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (1)")
    run = _add(
        kinds,
        "run",
        "go on with a run until its row is kept",
        "Without a name the run that is due. A stopped or killed run goes on from its last checkpoint; a finished one\n"
        "is one line of the results, appended whole. Several at once share the runs among them.",
        run_command,
    )
    run.add_argument("names", nargs="*", metavar="RUN", help="experiment/row/seed-N, or the beginning of such names")
    run.add_argument("--all", action="store_true", help="every outstanding run, one after the other")
    run.add_argument("--minutes", type=float, metavar="M", help="stop at a checkpoint after so long")
    run.add_argument("--until", metavar="HH:MM", help="stop at a checkpoint at this time (UTC)")
    run.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (1)")


def list_command(arguments: argparse.Namespace, context: Context) -> None:
    """The kind's body."""
    laboratory = _laboratory(arguments)
    rows = [(run, laboratory.results.row_of(run)) for run in laboratory.runs]
    for run, row in rows:
        context.say(f"{run.name:<52} {f'about {run.minutes:g} min' if row is None else _outcome(row)}")
    left = sum(run.minutes for run, row in rows if row is None)
    done = sum(row is not None for _, row in rows)
    context.say(f"{done} of {len(rows)} finished; the others take about {left / 60.0:.1f} h on one thread")
    context.write_json({"runs": [{"name": run.name, "minutes": run.minutes, "row": row} for run, row in rows]})


def next_command(arguments: argparse.Namespace, context: Context) -> None:
    """The kind's body."""
    from lab.experiments.runner import outstanding

    due = outstanding(_laboratory(arguments))
    context.say(f"{due[0].name}, about {due[0].minutes:g} min" if due else "nothing is outstanding")
    context.write_json({"next": due[0].name if due else None})


def run_command(arguments: argparse.Namespace, context: Context) -> None:
    """The kind's body."""
    stop_at = _stop_at(arguments.minutes, arguments.until)
    _use_threads(arguments.threads)
    from lab.experiments.runner import Ended, carry_on, outstanding

    laboratory = _laboratory(arguments, threads=arguments.threads, stop_at=stop_at)
    due = _chosen(outstanding(laboratory), [run.name for run in laboratory.runs], arguments)
    ended: dict[str, str] = {}
    failed: list[AttendanceError] = []
    for run in due:
        if laboratory.time_is_up():
            break
        try:
            how = carry_on(laboratory, run)
        except AttendanceError as error:
            if not arguments.all:
                raise
            failed.append(error)  # the others do not wait for this one
            context.say(f"{run.name}: failed: {error}")
            continue
        ended[run.name] = str(how)
        row = laboratory.results.row_of(run)
        context.say(f"{run.name}: {how if row is None else _outcome(row)}")
        if how is Ended.STOPPED or (how is Ended.FINISHED and not (arguments.all or arguments.names)):
            break
    context.write_json({"runs": ended})
    if failed:
        raise failed[0]


def time_command(arguments: argparse.Namespace, context: Context) -> None:
    """The kind's body."""
    _use_threads(arguments.threads)
    from lab.experiments.timing import keep_times

    stop_at = _stop_at(arguments.minutes, None)
    laboratory = _laboratory(arguments, threads=arguments.threads)
    runs = _chosen(list(laboratory.runs), [run.name for run in laboratory.runs], arguments)
    for name in keep_times(laboratory, runs, stop_at=stop_at):
        times = laboratory.results.times()[name]
        context.say(f"{name:<52} {times['seconds_a_step']:.3f} s a step, {times['milliseconds_a_face']:.1f} ms a face")
    context.write_json({"times": laboratory.results.times()})


def report_command(arguments: argparse.Namespace, context: Context) -> None:
    """The kind's body."""
    from lab.experiments.page import write_pages
    from lab.experiments.plan import FOLDER, read_experiments

    experiments = read_experiments(FOLDER if arguments.plan is None else arguments.plan)
    for path in write_pages(_laboratory(arguments), experiments, arguments.pages):
        context.say(str(path))


def _add(kinds: Any, name: str, summary: str, details: str, command: Any) -> argparse.ArgumentParser:
    parser = add_command(
        kinds,
        name,
        summary=summary[0].upper() + summary[1:] + ".",
        details=details,
        example=EXAMPLE if name == "run" else f"python -m lab experiments {name}",
        command=command,
    )
    parser.add_argument("--plan", type=Path, metavar="DIR", help="folder of the experiments (configs/lab/experiments)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of images/, split.csv and pairs_report.csv")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for what is made (build/lab/experiments)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder of the finished rows (lab/results)")
    return parser


def _laboratory(arguments: argparse.Namespace, *, threads: int = 1, stop_at: float | None = None) -> Any:
    from lab.experiments.photos import DEFAULT_DATA, Photos
    from lab.experiments.plan import FOLDER, read_experiments, runs_of
    from lab.experiments.results import FOLDER as RESULTS
    from lab.experiments.results import Results
    from lab.experiments.runner import WORK, Laboratory

    plan = FOLDER if arguments.plan is None else arguments.plan
    return Laboratory(
        photos=Photos(
            DEFAULT_DATA if arguments.data is None else arguments.data,
            WORK if arguments.work is None else arguments.work,
        ),
        results=Results(RESULTS if arguments.results is None else arguments.results),
        runs=tuple(runs_of(read_experiments(plan), plan)),
        threads=threads,
        stop_at=stop_at,
    )


def _chosen(due: list[Any], known: list[str], arguments: argparse.Namespace) -> list[Any]:
    """The outstanding runs that were named, or all, in the order they are due."""
    for name in arguments.names:
        if not any(run == name or run.startswith(f"{name}/") for run in known):
            raise UsageError(f"{name}: there is no such run; `python -m lab experiments list` names them")
    if not arguments.names:
        return due
    return [run for run in due if any(run.name == name or run.name.startswith(f"{name}/") for name in arguments.names)]


def _stop_at(minutes: float | None, until: str | None) -> float | None:
    """The time of ``time.monotonic()`` at which to stop: the earlier of the two."""
    left = [] if minutes is None else [60.0 * minutes]
    if until is not None:
        now = datetime.now(UTC)
        left.append(_seconds_until(until, now))
    return time.monotonic() + min(left) if left else None


def _seconds_until(until: str, now: datetime) -> float:
    try:
        hour, minute = (int(part) for part in until.split(":"))
        then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError as error:
        raise UsageError(f"--until {until}: expected a time of day in UTC, as 23:30") from error
    return ((then if then > now else then + timedelta(days=1)) - now).total_seconds()


def _use_threads(threads: int) -> None:
    if threads < 1:
        raise UsageError(f"--threads {threads}: expected 1 or more")
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _outcome(row: dict[str, Any]) -> str:
    if row.get("diverged"):
        return f"{row['date']}: diverged at step {row['steps']}"
    if "pairs" not in row:
        return f"{row['date']}: validation AUC {row['validation']['auc']:.4f}, EER {row['validation']['eer']:.4f}"
    low, high = row["pairs"]["intervals"]["accuracy"]
    return f"{row['date']}: {row['pairs']['accuracy']:.4f} [{low:.4f}, {high:.4f}]"
