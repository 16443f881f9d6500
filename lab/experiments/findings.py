"""What an experiment's rows say, in sentences: made of the rows, so that they are true of whatever was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.experiments.figures import Row, Value, difference, judged
from lab.experiments.plan import Claim, Entry, Experiment

if TYPE_CHECKING:
    from lab.experiments.page import Board

FITTED = 0.5
"""Share of the training faces that a run must name for it to count as having converged."""

CHANCE = 0.05
"""Share of the differences that leave 0 out of their interval though there is none."""


def sentences(board: Board, name: str, experiment: Experiment) -> list[str]:
    """The best and the worst, whose intervals overlap, who differs from the row to compare with, who diverged."""
    found = [(entry, value) for entry in experiment.rows if (value := board.value(name, entry.name)) is not None]
    told = _extremes(board, name, found) if len(found) > 1 else []
    return [*told, *_against(board, name, experiment), *_convergence(board, name, experiment)]


def claim_lines(board: Board, name: str, experiment: Experiment) -> list[str]:
    """A table of the claims: what is said, what the rows say, and whether it shows; empty where none is made."""
    if not experiment.claims:
        return []
    labels = {entry.name: entry.label for entry in experiment.rows}
    lines = ["", "| said | here | shown |", "|---|---|---|"]
    for claim in experiment.claims:
        for where, what, verdict in _judge_claim(board, name, claim, labels):
            lines.append(f"| {claim.say}{where} | {what} | {verdict} |")
    return lines


def signed(value: Value) -> str:
    """A difference in points, bold where its interval leaves 0 out."""
    assert value.low is not None and value.high is not None
    text = f"{100.0 * value.mean:+.2f} [{100.0 * value.low:+.2f}, {100.0 * value.high:+.2f}]"
    return f"**{text}**" if value.excludes_zero() else text


def _extremes(board: Board, name: str, found: list[tuple[Entry, Value]]) -> list[str]:
    ranked = sorted(found, key=lambda item: -item[1].mean)
    (best, top), (second, _), (worst, low) = ranked[0], ranked[1], ranked[-1]
    told = [f"Highest is {best.label} with {top.text()} %, lowest {worst.label} with {low.text()} %."]
    apart = [entry.label for entry, value in ranked[1:] if not _overlap(top, value)]
    told.append(_overlapping(best.label, apart, others=len(ranked) - 1))
    gap = difference(board.rows(name, best.name), board.rows(name, second.name), board.people)
    if gap is not None and gap.excludes_zero():
        told.append(f"Pair by pair {best.label} is {signed(gap)} points above {second.label}, the second.")
    elif gap is not None and gap.low == gap.high == 0.0:
        told.append(f"{second.label}, the second, judges every pair as {best.label} does.")
    elif gap is not None:
        told.append(
            f"Pair by pair {best.label} and {second.label}, the second, cannot be told apart: {signed(gap)} points."
        )
    return told


def _overlapping(best: str, apart: Sequence[str], *, others: int) -> str:
    if others == 1:
        return f"Their intervals {'do not overlap' if apart else 'overlap'}."
    if not apart:
        return f"The intervals of all the other {others} overlap with that of {best}."
    if len(apart) == others:
        return f"None of the other {others} intervals overlaps with that of {best}."
    overlapping = f"The intervals of {others - len(apart)} of the other {others} overlap with that of {best}"
    return f"{overlapping}, those of {_listed(apart)} do not."


def _against(board: Board, name: str, experiment: Experiment) -> list[str]:
    if experiment.against is None:
        return []
    [own] = [entry for entry in experiment.rows if entry.name == experiment.against]
    theirs = board.rows(name, own.name)
    gaps = [
        (entry.label, gap)
        for entry in experiment.rows
        if entry is not own and (gap := difference(board.rows(name, entry.name), theirs, board.people)) is not None
    ]
    if not gaps:
        return []
    better = [label for label, gap in gaps if gap.excludes_zero() and gap.mean > 0.0]
    worse = [label for label, gap in gaps if gap.excludes_zero() and gap.mean < 0.0]
    text = f"Better than {own.label}: {_listed(better)}. Worse: {_listed(worse)}."
    rest = len(gaps) - len(better) - len(worse)
    if rest:
        text += f" {rest} of {len(gaps)} cannot be told from it."
    if (by_chance := round(CHANCE * len(gaps))) > 0:
        text += f" Of so many differences about {by_chance} would leave 0 out by chance alone."
    return [text]


def _convergence(board: Board, name: str, experiment: Experiment) -> list[str]:
    rows = [(entry.label, row) for entry in experiment.rows for row in board.rows(name, entry.name)]
    rows = [(label, row) for label, row in rows if "steps" in row]
    if not rows:
        return []
    gone = _counted([label for label, row in rows if row.get("diverged")])
    unfitted = [label for label, row in rows if not row.get("diverged") and not converged(row)]
    text = f"Of {len(rows)} runs {gone or 'none'} diverged to a loss that is no number"
    if len(unfitted) == len(rows):
        text += "; none knows half of its own training faces"
    elif unfitted:
        text += f"; less than half of their own training faces know {_counted(unfitted)}"
    return [text + "."]


def converged(row: Row) -> bool:
    """Whether a run came to know its own faces; one that has no class directions counts as such."""
    known = row.get("train_accuracy")
    return not row.get("diverged") and (known is None or known >= FITTED)


def _judge_claim(board: Board, name: str, claim: Claim, labels: dict[str, str]) -> list[tuple[str, str, str]]:
    rows = board.rows(name, claim.better)
    if isinstance(claim.than, float):
        value = board.value(name, claim.better)
        if value is None or value.low is None or value.high is None:
            return [("", "not run yet", "")]
        return [
            ("", f"{labels[claim.better]} {value.text()} %", _verdict(value.low - claim.than, value.high - claim.than))
        ]
    others = board.rows(name, claim.than)
    if not rows or not others:
        return [("", "not run yet", "")]
    if claim.converges:
        return [("", *_judge_convergence(labels[claim.better], rows, labels[claim.than], others))]
    conditions = list(judged(rows)[0].get("cross", {})) if claim.degraded and judged(rows) else [None]
    found = []
    for condition in conditions:
        gap = difference(rows, others, board.people, condition)
        where = f": {condition}" if condition else ""
        if gap is None or gap.low is None or gap.high is None:
            found.append((where, "one of the two has no accuracy", ""))
        else:
            found.append((where, f"{signed(gap)} points", _verdict(gap.low, gap.high)))
    return found or [("", "not judged on degraded probes", "")]


def _judge_convergence(better: str, rows: Sequence[Row], than: str, others: Sequence[Row]) -> tuple[str, str]:
    own, theirs = sum(map(converged, rows)), sum(map(converged, others))
    what = f"{better} converged in {own} of {len(rows)} runs, {than} in {theirs} of {len(others)}"
    shows = own == len(rows) and theirs < len(others)
    return what, "yes" if shows else "no: both converge" if theirs == len(others) and own == len(rows) else "no"


def _verdict(low: float, high: float) -> str:
    return "yes" if low > 0.0 else "no, the opposite" if high < 0.0 else "cannot be told"


def _overlap(one: Value, two: Value) -> bool:
    if one.low is None or one.high is None or two.low is None or two.high is None:
        return True
    return one.low <= two.high and two.low <= one.high


def _listed(labels: Sequence[str]) -> str:
    if len(labels) < 2:
        return labels[0] if labels else "none"
    return f"{', '.join(labels[:-1])} and {labels[-1]}"


def _counted(labels: Sequence[str]) -> str:
    return _listed([f"{labels.count(label)} of {label}" for label in dict.fromkeys(labels)]) if labels else ""
