"""How right the default model is: verification, identification and strangers, on the half kept for reporting."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attendance.cli import build
from attendance.config import Settings, load
from benchmarks.lfw import DEFAULT_DATA, Lfw, Roster, materialise, most_photographed
from benchmarks.report import Table, share, write_result
from lab.command import Context
from lab.evaluate.identification import Looked, enrol, judge_lookups, list_photos, look_up
from lab.evaluate.pairs import read_pairs
from lab.evaluate.shared import Model
from lab.evaluate.verification import judge_pairs, score_pairs
from lab.read import QUALITY_OFF, open_app, open_reader, read_vectors

HALF = "report"
PEOPLE, ENROLLED, PROBES = 50, 5, 5
COMMAND = "python -m benchmarks accuracy"
FLOORS = {"accuracy": 0.988, "top1": 0.992, "top3": 0.996}
"""What the project promises at least."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Accuracy of the default model on real photos.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    arguments = parser.parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        settings = load(None, environment={}, overrides={"store.path": Path(folder) / "store"})
        data = measure(lfw, settings, Path(folder))
    files = write_result(
        "accuracy",
        "Accuracy on photos of people kept for reporting",
        tables=_tables(data),
        data=data,
        command=COMMAND,
        threads=settings.model.threads,
    )
    missed = [name for name, reached in data["promises"].items() if not reached]
    print(
        f"written: {files[0].name}, {files[1].name}; "
        + (f"missed: {', '.join(missed)}" if missed else "all promises kept")
    )
    return 1 if missed else 0


def measure(lfw: Lfw, settings: Settings, folder: Path) -> dict[str, Any]:
    """Every number of the report, as plain values. ``folder`` is for links to photos and a store."""
    roster = most_photographed(lfw.people(HALF), count=PEOPLE, enrol=ENROLLED, probe=PROBES)
    people = materialise(folder / "people", roster.enrolled)
    probes = materialise(folder / "probes", roster.probes)
    strangers = materialise(folder / "strangers", roster.strangers)
    built = _build_database(people, probes, settings.store.path)
    context = Context(settings=settings, quiet=False, json_target=None)
    with open_app(settings, model_flag=None) as app:
        model = Model(app, app.card, open_reader(app, aligned=False, quality_level=QUALITY_OFF))
        verification = _verification(lfw, model, context)
        identification = _identification(model, context, (people, probes, strangers), lfw.errata())
        thresholds = {f"{rate:g}": value for rate, value in app.card.thresholds.items()}
    return {
        "model": {"id": model.card.id, "margin": model.card.margin, "thresholds": thresholds},
        "build_database": built,
        "verification": verification,
        "identification": identification,
        "roster": _roster_counts(roster),
        "promises": _promises(verification, built),
    }


def _build_database(people: Path, probes: Path, store: Path) -> dict[str, Any]:
    """Run the product's own command and return its result, without the photos' names."""
    target = people.parent / "built.json"
    arguments = [str(people), "--probes", str(probes), "--face", "centre", "--store", str(store)]
    code = build.main([*arguments, "--json", str(target), "--quiet"])
    if code != 0:
        raise SystemExit(f"{COMMAND}: build_database.py ended with {code}")
    result = json.loads(target.read_text(encoding="utf-8"))
    keys = ("people", "templates", "top1", "top3", "top5", "probes", "failed_reads", "model")
    return {**{key: result[key] for key in keys}, "refused": len(result["refused"])}


def _verification(lfw: Lfw, model: Model, context: Context) -> dict[str, Any]:
    pairs = read_pairs(lfw.pairs(HALF))
    images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
    read = read_vectors(
        model.reader,
        [lfw.images / image for image in images],
        model.card.dimension,
        progress=lambda items: context.progress(items, total=len(images), label="pairs' photos"),
    )
    errata = lfw.errata()
    without = [pair for pair in pairs if not {pair.image_a, pair.image_b} & errata]
    return {
        "all": judge_pairs(score_pairs(pairs, images, read)),
        "without_errata": judge_pairs(score_pairs(without, images, read)),
    }


def _identification(
    model: Model, context: Context, folders: tuple[Path, Path, Path], errata: set[str]
) -> dict[str, Any]:
    people, probes, strangers = (list_photos(folder, folder.name) for folder in folders)
    gallery, _ = enrol(model, people, context)
    known = look_up(model, gallery, probes, context=context, label="probes")
    others = look_up(model, gallery, strangers, context=context, label="strangers")
    rule = model.app.rule(gallery)()
    kept = np.array([f"{path.parent.name}/{path.name}" not in errata for path in strangers.paths])
    cleared = Looked(
        people=tuple(person for person, keep in zip(others.people, kept, strict=True) if keep),
        candidates=tuple(found for found, keep in zip(others.candidates, kept, strict=True) if keep),
        failures=tuple(f for f in others.failures if f"{f.path.parent.name}/{f.path.name}" not in errata),
    )
    return {
        "all": {**judge_lookups(known, others, rule), "margin": rule.margin},
        "without_errata": {**judge_lookups(known, cleared, rule), "margin": rule.margin},
        "failed_probes": len(known.failures),
        "failed_strangers": len(others.failures),
    }


def _roster_counts(roster: Roster) -> dict[str, int]:
    return {
        "people": len(roster.enrolled),
        "enrolled_photos": sum(map(len, roster.enrolled.values())),
        "probe_photos": sum(map(len, roster.probes.values())),
        "strangers": len(roster.strangers),
        "stranger_photos": sum(map(len, roster.strangers.values())),
    }


def _promises(verification: Mapping[str, Any], built: Mapping[str, Any]) -> dict[str, bool]:
    return {
        "verification": verification["all"]["accuracy"] >= FLOORS["accuracy"],
        "top1": built["top1"] >= FLOORS["top1"],
        "top3": built["top3"] >= FLOORS["top3"],
        "no failed read": built["failed_reads"] == 0,
    }


def _tables(data: Mapping[str, Any]) -> list[Table]:
    return [_verification_table(data), _build_table(data), _open_set_table(data)]


def _verification_table(data: Mapping[str, Any]) -> Table:
    def row(name: str, result: Mapping[str, Any]) -> list[str]:
        intervals = result["intervals"]
        rates = [share(value, intervals["tar_at_far"][key]) for key, value in result["tar_at_far"].items()]
        accuracy = f"{share(result['accuracy'], intervals['accuracy'])} (folds +- {100 * result['accuracy_std']:.2f})"
        rest = [share(result["auc"], intervals["auc"]), share(result["eer"], intervals["eer"]), *rates]
        return [name, str(result["pairs"]), str(result["failed_pairs"]), accuracy, *rest]

    results = data["verification"]
    rates = [f"TAR at FAR {key}" for key in results["all"]["tar_at_far"]]
    return Table(
        "Verification",
        ["pairs", "number", "not read", "10-fold accuracy", "AUC", "EER", *rates],
        [row("all", results["all"]), row("without errata", results["without_errata"])],
        f"Promised: at least {share(FLOORS['accuracy'])} on all pairs. Intervals: 95 %, drawing people.",
    )


def _build_table(data: Mapping[str, Any]) -> Table:
    built, intervals = data["build_database"], data["identification"]["all"]["intervals"]
    counts = data["roster"]
    tops = [share(built[key], intervals[key]) for key in ("top1", "top3", "top5")]
    return Table(
        "Identification by build_database.py",
        ["people", "templates", "probes", "failed reads", "top-1", "top-3", "top-5"],
        [[str(built[key]) for key in ("people", "templates", "probes", "failed_reads")] + tops],
        f"The {counts['people']} people with most photos, photos by name: the first {ENROLLED} enrolled, up to "
        f"{PROBES} more as probes, --face centre. Promised: top-1 {share(FLOORS['top1'])}, top-3 "
        f"{share(FLOORS['top3'])}, no failed read.",
    )


def _open_set_table(data: Mapping[str, Any]) -> Table:
    def row(name: str, result: Mapping[str, Any]) -> list[str]:
        intervals = result["intervals"]
        sweep = [share(value, intervals["fnir_at_fpir"][key]) for key, value in result["fnir_at_fpir"].items()]
        own = [share(result[key], intervals[key]) for key in ("fnir", "fpir")]
        return [name, str(result["strangers"]), *sweep, f"{result['threshold']:.4f}", *own]

    results, counts = data["identification"], data["roster"]
    rates = [f"FNIR at FPIR {key}" for key in results["all"]["fnir_at_fpir"]]
    return Table(
        "Strangers at the same gallery",
        ["strangers' photos", "number", *rates, "own threshold", "own FNIR", "own FPIR"],
        [row("all", results["all"]), row("without errata", results["without_errata"])],
        f"{counts['strangers']} strangers: everybody else of the half. {results['failed_strangers']} of their photos "
        "could not be read and count as rejected. Own: the threshold that the system chose from its card, its target "
        f"FPIR and the number of people, with margin {results['all']['margin']:g}. A photo is judged alone here; a "
        "camera fuses several frames.",
    )


if __name__ == "__main__":
    sys.exit(main())
