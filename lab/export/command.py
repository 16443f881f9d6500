"""``python -m lab export``: from a run to a model that the product runs through its card."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attendance.embed.card import ModelCard
from attendance.embed.card_file import card_text
from attendance.embed.catalogue import CARD_FILE
from attendance.embed.onnx import OnnxEmbedder
from attendance.errors import StoreError, UsageError
from lab.command import Context, add_command, existing_folder
from lab.export.quantise import Precision

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WEIGHTS = "weights.onnx"
CALIBRATION_FACES = 128


def add_export(commands: Any) -> None:
    """The command's flags."""
    parser = add_command(
        commands,
        "export",
        summary="Write a trained network as ONNX with a measured card, ready for model.id.",
        details=(
            "The file is compared with the network it came from, and its thresholds are measured on the people of\n"
            "--images: people who took no part in the training, and whom no reported number is taken of."
        ),
        example="python -m lab export runs/one --to store/models/one --images people --licence 'CC0 1.0'",
        command=export_command,
    )
    parser.add_argument("trained", type=Path, metavar="RUN_OR_WEIGHTS", help="a run's folder, or its model.pt")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="STORE/models/ID, which must not exist")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="DIR/<person>/photos to measure on")
    parser.add_argument("--aligned", action="store_true", help="these are crops already: no detection")
    parser.add_argument("--licence", required=True, metavar="TEXT", help="who may use the weights, for the card")
    parser.add_argument("--source", metavar="TEXT", help="where they come from, for the card (the run and its commit)")
    parser.add_argument(
        "--precision",
        type=Precision,
        choices=list(Precision),
        default=Precision.FLOAT32,
        help="what the kept file computes with (float32)",
    )


def export_command(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    target: Path = arguments.to
    if not ID.fullmatch(target.name):
        raise UsageError(f"--to {target}: expected a folder named as the model's id: letters, digits, dot, _ and -")
    if target.exists():
        raise UsageError(f"--to {target}: exists already; name another, or remove it first")
    trained, source = _trained(arguments.trained)
    existing_folder(arguments.images, "--images")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A folder deeper than where models are looked for: nobody opens a model that is half written.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as place:
            made = Path(place) / target.name
            made.mkdir()
            given = source if arguments.source is None else arguments.source
            result = _export(arguments, context, trained=trained, source=given, folder=made)
            made.replace(target)
    except OSError as error:
        raise StoreError(f"--to {target}: cannot be written ({error.strerror}): make room, or name another") from error
    for line in result_lines(result):
        context.say(line)
    context.write_json(result)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Makes cards and embedders of one network's files."""

    model_id: str
    input_px: int
    dimension: int
    licence: str
    source: str
    threads: int

    def open(self, path: Path) -> tuple[ModelCard, OnnxEmbedder]:
        """A file's card without measures, and the file run through it."""
        from lab.export.card import unmeasured_card

        data = path.read_bytes()
        card = unmeasured_card(
            self.model_id,
            data,
            input_px=self.input_px,
            dimension=self.dimension,
            licence=self.licence,
            source=self.source,
        )
        return card, OnnxEmbedder(card, data, device="cpu", threads=self.threads)


def _export(
    arguments: argparse.Namespace, context: Context, *, trained: Path, source: str, folder: Path
) -> dict[str, Any]:
    from lab.export.card import with_measures
    from lab.export.faces import read_faces
    from lab.export.measuring import agreement, file_figures
    from lab.export.onnx_file import require_parity, torch_embeddings, write_onnx
    from lab.measure_card import RATES
    from lab.train.weights import dimension_of, load_weights

    net, network, input_px = load_weights(trained)
    faces = read_faces(
        arguments.images,
        input_px=input_px,
        aligned=arguments.aligned,
        progress=lambda items: context.progress(items, total=len(items), label="faces"),  # type: ignore[arg-type]
    )
    threads = context.settings.model.threads
    writer = _Writer(folder.name, input_px, dimension_of(network), arguments.licence, source, threads)
    kept = folder / WEIGHTS
    write_onnx(net, kept, input_px=input_px)
    card, embedder = writer.open(kept)
    vectors, figures = file_figures(kept, embedder, faces.chips, faces.people)
    few = min(len(faces.chips), CALIBRATION_FACES)
    difference = require_parity(torch_embeddings(net, faces.chips[:few]), vectors[:few])
    files = {str(Precision.FLOAT32): figures}
    if arguments.precision is not Precision.FLOAT32:
        card, coarse, figures = _coarser(arguments.precision, writer, kept, faces)
        files[str(arguments.precision)] = {**figures, "cosine_to_float32": agreement(vectors, coarse)}
        vectors = coarse
    card = with_measures(card, vectors, faces.people, data=arguments.images.name)
    (folder / CARD_FILE).write_text(card_text(card), encoding="utf-8")
    return {
        "model": card.id,
        "sha256": card.sha256,
        "to": str(arguments.to),
        "precision": str(arguments.precision),
        "faces": len(faces.chips),
        "people": len(set(faces.people.tolist())),
        "unread": faces.unread,
        "largest_difference": difference,
        "files": files,
        "thresholds": {f"{rate:.0e}".replace("e-0", "e-"): value for rate, value in card.thresholds.items()},
        "card_is_whole": card.strangers is not None and RATES[-1] in card.thresholds,
        "tells_of_galleries": card.strangers is not None,
    }


def _coarser(precision: Precision, writer: _Writer, kept: Path, faces: Any) -> tuple[ModelCard, Any, dict[str, Any]]:
    """Replace the float file by its eight-bit version: its card, its embeddings and its figures."""
    from lab.export.measuring import file_figures
    from lab.export.quantise import quantise
    from lab.train.faces import spread

    coarse = kept.with_name("coarse.onnx")
    quantise(kept, coarse, precision, calibration=spread(faces.chips, CALIBRATION_FACES))
    coarse.replace(kept)
    card, embedder = writer.open(kept)
    vectors, figures = file_figures(kept, embedder, faces.chips, faces.people)
    return card, vectors, figures


def _trained(given: Path) -> tuple[Path, str]:
    """The weights' file, and what the card says of their source."""
    if not given.exists():
        raise UsageError(f"{given}: there is no such run or file; name a run's folder or its model.pt")
    if given.is_file():
        return given, f"trained by the lab, {given.name}"
    from lab.train.run_folder import ENVIRONMENT
    from lab.train.run_folder import WEIGHTS as NAME

    if not (given / NAME).is_file():
        raise UsageError(f"{given}: expected a run's folder with {NAME}, there is none; let the run finish")
    try:
        commit = json.loads((given / ENVIRONMENT).read_text(encoding="utf-8"))["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        commit = "unknown"
    return given / NAME, f"trained by the lab, run {given.resolve().name}, commit {commit}"


def result_lines(result: dict[str, Any]) -> list[str]:
    """The result for a person."""
    lines = [
        f"{result['to']}: {result['precision']}, measured on {result['faces']} faces of {result['people']} people",
        f"differs from the network by {result['largest_difference']:.1e} at most",
    ]
    for name, figures in result["files"].items():
        line = (
            f"{name}: {figures['bytes'] / 1e6:.2f} MB, {figures['ms_a_face']:.2f} ms a face, AUC {figures['auc']:.5f}"
        )
        line += f", EER {figures['eer']:.5f}"
        line += "".join(f", TAR at FAR {rate} {value:.4f}" for rate, value in figures["tar_at_far"].items())
        if "cosine_to_float32" in figures:
            cosines = figures["cosine_to_float32"]
            line += f"; cosine to float32 {cosines['mean']:.4f} on average, {cosines['worst']:.4f} at worst"
        lines.append(line)
    if not result["tells_of_galleries"]:
        lines.append(
            "too few people to tell how near strangers come to galleries: the threshold is that of target / people"
        )
    return lines
