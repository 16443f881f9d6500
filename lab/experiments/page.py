"""The leaderboard in the lab's README, and the page with its pictures: written from the finished rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from attendance.errors import UsageError
from lab.experiments.figures import PairPeople, Row, Value, accuracy, difference, judged, spread
from lab.experiments.findings import claim_lines, sentences, signed
from lab.experiments.pictures import draw_accuracies, draw_curves
from lab.experiments.plan import Entry, Experiment
from lab.experiments.results import Results
from lab.experiments.runner import Laboratory

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- leaderboard -->", "<!-- end of the leaderboard -->"
PENDING = "not run yet"
COMMAND = "python -m lab experiments report"

WIDTH = 118
ABOUT = (
    "Trained on the tune half of LFW's development people (1,448 people, 3,326 photos) less a fifth of the people, the "
    "validation part. What of the recipes was chosen by trials was chosen on it, see the tables of trials; the rest "
    "(schedules, margins, lengths) was set beforehand. Judged once, at the end, on the 2,756 pairs of the report half, "
    "whose people no network saw: ten-fold accuracy, as LFW's protocol has it. Intervals are 95 % over people. Of "
    "several seeds the mean is given, with the mean's interval. Differences are taken pair by pair; one whose interval "
    "holds 0 is none that these photos can show. Own faces: how many of the training faces the classes' directions "
    "name rightly; own faces and gallery are the first seed's. Times of a step and of a face, on one thread, are taken "
    "apart from the runs on a machine that does nothing else (`python -m lab experiments time`). Its other guests only "
    "add to them: of most rows they were taken twice, and the lower is shown. Between rows of one network a "
    "millisecond a face and half of a step's time are still the machine's."
)
HISTORY = (
    "Not quite once: five runs of two earlier recipes (48 pixels, and 32 pixels with scale 24) were judged on the "
    "report half too, and are not shown. A fall from the first to the second set off the search that found faces "
    "judged half a pixel beside where the networks had learnt them, and validation pairs nearly all of one person. "
    "With both mended the trials' validation figures were taken again of their kept weights, by hand, and scale 16 was "
    "chosen by them where it had been 24. The trials' curves are by the old pairs. The exported files were judged in "
    "the product once before, with cards that said nothing of galleries: at the product's own target all of the 50 "
    "people were missed, after which exported cards came to say more, and the loose target was added."
)
EXPORT_NOTE = (
    "The exported files in the product, by their cards, whose thresholds were measured on the validation part: a "
    "gallery of 50 people with five photos each, misses and strangers accepted at the threshold that the product "
    "computes for its own target and for a loose one, and one photo of each of the 50 shown to "
    "`realtime_attendance.py` for eight frames. What a match needs falls with its lead over the next person "
    "(docs/thresholds.md): one above 1 can be met by a match with a lead alone. A file stays in its own store: "
    "`ATTENDANCE_MODEL__ID=ID ATTENDANCE_DECIDE__TARGET_FPIR=0.1 python realtime_attendance.py --store "
    "build/lab/experiments/stores/ID`."
)
PUBLISHED_NOTE = (
    "The course project's split of LFW is not published, nor what its networks had seen before: its column and ours "
    "are not one experiment."
)


class Board:
    """Rows by experiment and entry, of the plan as it is now."""

    def __init__(self, experiments: dict[str, Experiment], results: Results, fingerprints: dict[str, str]) -> None:
        self.experiments, self.results = experiments, results
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for row in results.rows():
            if fingerprints.get(row["name"]) == row["fingerprint"]:
                self._rows.setdefault((row["experiment"], row["row"]), []).append(row)
        self._fingerprints = fingerprints
        people = results.people()
        self.people = None if people is None else PairPeople(people)

    def rows(self, experiment: str, entry: str) -> list[Row]:
        """The finished runs of an entry, one a seed."""
        return sorted(self._rows.get((experiment, entry), []), key=lambda row: int(row["seed"]))

    def value(self, experiment: str, entry: str) -> Value | None:
        """The entry's accuracy."""
        return accuracy(self.rows(experiment, entry), self.people)

    def times(self, experiment: str, entry: str) -> dict[str, Any]:
        """``seconds_a_step`` and ``milliseconds_a_face`` of a quiet machine, empty where they were not taken."""
        name = f"{experiment}/{entry}"
        known = self.results.times().get(name, {})
        planned = [self._fingerprints[run] for run in self._fingerprints if run.startswith(f"{name}/")]
        return known if known.get("fingerprint") in planned else {}

    def seeds(self, experiment: str, entry: Entry) -> int:
        """How many runs the entry is to have."""
        return len(self.experiments[experiment].seeds if entry.seeds is None else entry.seeds)


def write_pages(laboratory: Laboratory, experiments: dict[str, Experiment], folder: Path | None) -> list[Path]:
    """Write lab/README.md's leaderboard, docs/lab/experiments.md and its pictures; the files written."""
    root = ROOT if folder is None else folder
    fingerprints = {run.name: run.fingerprint() for run in laboratory.runs}
    board = Board(experiments, laboratory.results, fingerprints)
    pictures = root / "docs" / "lab"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = draw_accuracies(board, pictures) + draw_curves(board, pictures)
    page = pictures / "experiments.md"
    page.write_text("\n".join(page_lines(board, [path.name for path in drawn])) + "\n", encoding="utf-8")
    readme = root / "lab" / "README.md"
    _replace(readme, leaderboard_lines(board))
    return [readme, page, *drawn]


def leaderboard_lines(board: Board) -> list[str]:
    """One line an entry: loss, backbone, set, value, date, commit, recipe, machine, and the run's name."""
    lines = [
        "| loss | backbone | set | accuracy % [95 % over people] | seeds | date | commit | recipe | machine | run |",
        "|---|---|---|---|---:|---|---|---|---|---|",
    ]
    for name, experiment in board.experiments.items():
        for entry in () if experiment.trial else experiment.rows:
            lines.append(_board_line(board, name, entry))
    return lines


def page_lines(board: Board, pictures: Sequence[str]) -> list[str]:
    """The page."""
    done = sum(len(board.rows(name, entry.name)) for name, e in board.experiments.items() for entry in e.rows)
    planned = sum(board.seeds(name, entry) for name, e in board.experiments.items() for entry in e.rows)
    lines = [
        "# Experiments",
        "",
        f"Written by `{COMMAND}` from `lab/results/`. {done} of {planned} runs are finished; the others say so.",
        "",
        fill(ABOUT, WIDTH),
        "",
        *_seed_lines(board),
        fill(HISTORY, WIDTH),
    ]
    for name, experiment in board.experiments.items():
        lines += ["", f"## {experiment.title}", "", fill(experiment.about.strip(), WIDTH), ""]
        if experiment.trial:
            lines += _trial_table(board, name, experiment)
            continue
        lines += _table(board, name, experiment)
        if told := sentences(board, name, experiment):
            lines += ["", fill(" ".join(told), WIDTH, break_long_words=False, break_on_hyphens=False)]
        lines += claim_lines(board, name, experiment)
        lines += [
            f"\n![{experiment.title}]({picture})"
            for picture in pictures
            if picture.rpartition("-")[0] == f"experiments-{name}"
        ]
        if any(entry.published is not None for entry in experiment.rows):
            lines += ["", fill(PUBLISHED_NOTE, WIDTH)]
        lines += _cross_lines(board, name, experiment)
        lines += _export_lines(board, name, experiment)
    return lines


def _seed_lines(board: Board) -> list[str]:
    """What the intervals do not hold."""
    ranges = [
        found
        for name, experiment in board.experiments.items()
        for entry in experiment.rows
        if not experiment.trial and (found := spread(board.rows(name, entry.name))) is not None
    ]
    if not ranges:
        return []
    text = (
        "The intervals are of these people alone. They do not hold what another seed would change: of the rows with "
        f"several seeds best and worst differ by {100.0 * min(ranges):.1f} to {100.0 * max(ranges):.1f} points. "
        "A difference of two rows with one seed each is to be read with that in mind."
    )
    return [fill(text, WIDTH), ""]


def _trial_table(board: Board, name: str, experiment: Experiment) -> list[str]:
    """Recipes by what the validation part says of them."""
    columns = ["", "AUC, each seed", "EER %, each seed", "own faces %", "steps", "parameters (M)"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in experiment.rows:
        rows = [row for row in judged(board.rows(name, entry.name)) if "validation" in row]
        cells = [PENDING, "", "", "", ""]
        if rows:
            known = rows[0]["train_accuracy"]
            cells = [
                ", ".join(f"{row['validation']['auc']:.4f}" for row in rows),
                ", ".join(f"{100.0 * row['validation']['eer']:.2f}" for row in rows),
                "" if known is None else f"{100.0 * known:.1f}",
                str(rows[0]["steps"]),
                f"{rows[0]['parameters'] / 1e6:.2f}",
            ]
        lines.append(f"| {' | '.join([entry.label, *cells])} |")
    return lines


def _table(board: Board, name: str, experiment: Experiment) -> list[str]:
    published = any(entry.published is not None for entry in experiment.rows)
    labels = {entry.name: entry.label for entry in experiment.rows}
    against = experiment.against
    columns = ["", "accuracy %", "seeds", "spread"]
    columns += [f"against {labels[against]}"] if against else []
    columns += ["published %"] if published else []
    columns += ["own faces %", "gallery top-1 %", "steps", "s a step", "parameters (M)", "ms a face"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in experiment.rows:
        rows = board.rows(name, entry.name)
        cells = [entry.label, _value_text(board, name, entry), f"{len(rows)} of {board.seeds(name, entry)}"]
        range_ = spread(rows)
        cells.append("" if range_ is None else f"{100.0 * range_:.2f}")
        if against:
            other = difference(rows, board.rows(name, against), board.people)
            cells.append("" if other is None or entry.name == against else signed(other))
        if published:
            cells.append("" if entry.published is None else f"{100.0 * entry.published:.1f}")
        lines.append(f"| {' | '.join([*cells, *_common_cells(rows, board.times(name, entry.name))])} |")
    return lines


def _common_cells(rows: Sequence[Row], times: Mapping[str, Any]) -> list[str]:
    whole = judged(rows)
    if not whole:
        return [""] * 6
    row = whole[0]
    if "gallery" in row:
        top1 = Value(row["gallery"]["top1"], *row["gallery"]["interval"]).text()
    else:
        top1 = Value(row["at_targets"][0]["top1"], *row["at_targets"][0]["intervals"]["top1"]).text() + " (of 50)"
    parameters = row.get("parameters")
    known = row.get("train_accuracy")
    # A trained network's row may hold a figure that was taken beside other runs; a model of the product has no other.
    face = times.get("milliseconds_a_face", None if row["recipe"] else row.get("milliseconds_a_face"))
    return [
        "" if known is None else f"{100.0 * known:.1f}",
        top1,
        str(row.get("steps", "")),
        "" if "seconds_a_step" not in times else f"{times['seconds_a_step']:.3f}",
        "" if parameters is None else f"{parameters / 1e6:.2f}",
        "" if face is None else f"{face:.1f}",
    ]


def _cross_lines(board: Board, name: str, experiment: Experiment) -> list[str]:
    """The table of degraded probes, for entries that were judged on them."""
    found = [(entry, [row for row in board.rows(name, entry.name) if "cross" in row]) for entry in experiment.rows]
    found = [(entry, rows) for entry, rows in found if rows]
    if not found:
        return []
    conditions = list(found[0][1][0]["cross"])
    lines = ["", "Probes made worse, against photos as they are (accuracy %):", ""]
    lines += _cross_head(["", "as it is", *conditions])
    for entry, rows in found:
        values = [accuracy(rows, board.people, condition) for condition in (None, *conditions)]
        lines.append(f"| {entry.label} | {' | '.join('' if it is None else it.text() for it in values)} |")
    if experiment.cross_against is not None:
        lines += _cross_differences(board, name, experiment, found, conditions)
    return lines


def _cross_differences(
    board: Board, name: str, experiment: Experiment, found: list[tuple[Entry, list[Row]]], conditions: Sequence[str]
) -> list[str]:
    [own] = [entry for entry in experiment.rows if entry.name == experiment.cross_against]
    rows = board.rows(name, own.name)
    others = [(entry, theirs) for entry, theirs in found if entry.name != own.name]
    if not rows or not others:
        return []
    lines = [
        "",
        f"How much better {own.label} is there, pair by pair (points; bold where the interval leaves 0 out):",
        "",
    ]
    lines += _cross_head(["than", "as it is", *conditions])
    for entry, theirs in others:
        values = [difference(rows, theirs, board.people, condition) for condition in (None, *conditions)]
        lines.append(f"| {entry.label} | {' | '.join('' if it is None else signed(it) for it in values)} |")
    return lines


def _export_lines(board: Board, name: str, experiment: Experiment) -> list[str]:
    """The table of exported files, as the product runs them."""
    rows = [row for entry in experiment.rows if entry.export for row in board.rows(name, entry.name)]
    if not rows:
        return []
    columns = ["file", "MB", "ms a face", "target: strangers accepted %", "threshold at no lead", "FNIR %", "FPIR %"]
    lines = ["", fill(EXPORT_NOTE, WIDTH), "", *_cross_head([*columns, "walk-past: right, wrong, none"])]
    for row in rows:
        for place, told in enumerate(row["at_targets"]):
            file = [f"`{row['backbone']}`", f"{row['bytes'] / 1e6:.2f}", f"{row['milliseconds_a_face']:.1f}"]
            past = told["walk_past"]
            cells = [
                *(file if place == 0 else [""] * 3),
                f"{100.0 * told['target_fpir']:g}",
                f"{told['threshold']:.3f}",
                Value(told["fnir"], *told["intervals"]["fnir"]).text(),
                Value(told["fpir"], *told["intervals"]["fpir"]).text(),
                f"{past['right']}, {past['wrong']}, {past['none']} of {past['shown']}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cross_head(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _board_line(board: Board, name: str, entry: Entry) -> str:
    rows = board.rows(name, entry.name)
    seeds = board.seeds(name, entry)
    run = f"`{name}/{entry.name}`"
    if not rows:
        return f"| {entry.label} | | LFW, report half | {PENDING} | 0 of {seeds} | | | | | {run} |"
    last = rows[-1]
    cells = [
        entry.label,
        str(last.get("backbone", "")),
        "LFW, report half",
        _value_text(board, name, entry),
        f"{len(rows)} of {seeds}",
        last["date"],
        _commit_text(last["commit"]),
        "" if last["recipe"] is None else f"`{last['recipe']}`",
        f"{last['machine']}, {last['threads']} thread{'s' if last['threads'] > 1 else ''}",
        run,
    ]
    return f"| {' | '.join(cells)} |"


def _commit_text(commit: str) -> str:
    known, _, rest = commit.partition(" ")
    return f"`{known[:10]}` {rest}".strip()


def _value_text(board: Board, name: str, entry: Entry) -> str:
    rows = board.rows(name, entry.name)
    value = board.value(name, entry.name)
    diverged = len(rows) - len(judged(rows))
    if value is None:
        return f"diverged ({diverged} of {len(rows)})" if rows else PENDING
    return value.text() + (f"; {diverged} of {len(rows)} diverged" if diverged else "")


def _replace(path: Path, lines: Sequence[str]) -> None:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if BEGIN not in text or END not in text:
        raise UsageError(f"{path}: expected the lines {BEGIN} and {END}, between which the leaderboard is written")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    path.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")
