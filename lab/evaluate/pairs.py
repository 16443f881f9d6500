"""Pair lists: ``image_a,image_b,same[,fold]``, or the layout of a published set."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from attendance.errors import UsageError
from lab.evaluate.pair_layouts import Pair, cfp_pairs, published_pairs

COLUMNS = ("image_a", "image_b", "same")
FOLDS_WITHOUT_COLUMN = 10


def read_pairs(path: Path) -> list[Pair]:
    """Read a pair list, in file order: a CSV, or a layout of `lab.evaluate.pair_layouts`.

    Without a column ``fold``, folds are ten contiguous tenths.

    Raises:
        UsageError: one line with file and line: unreadable, other columns, an empty image, a ``same`` that is neither
            0 nor 1, an empty fold, fewer than two folds, or pairs of one kind only.
    """
    try:
        if path.is_dir():
            pairs = cfp_pairs(path)
        else:
            text = path.read_bytes().decode("utf-8-sig")
            published = published_pairs(path, text.splitlines())
            pairs = (
                _rows(path, csv.reader(io.StringIO(text, newline=""), strict=True)) if published is None else published
            )
    except OSError as error:
        raise UsageError(f"--pairs {path}: cannot be read ({error.strerror}); name a CSV file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--pairs {path}: expected UTF-8 text, got other bytes; save it as UTF-8") from error
    if not any(pair.same for pair in pairs) or all(pair.same for pair in pairs):
        kind = "different" if pairs and pairs[0].same else "same"
        raise UsageError(f"--pairs {path}: expected same and different pairs, got no {kind} one")
    pairs = _with_folds(pairs)
    if len({pair.fold for pair in pairs}) < 2:
        raise UsageError(
            f"--pairs {path}: expected two folds or more, got one; number the folds or leave the column out"
        )
    return pairs


def people_of(pairs: Sequence[Pair]) -> tuple[list[int], list[int], int]:
    """Whom each pair shows, as indices of people: those of the first images, of the second, and how many people.

    Images of a same pair show one person, and so do images of one folder, unless a different pair lies within a folder:
    then folders are no people and only the same pairs tell.
    """
    by_folder = not any(not p.same and _folder(p.image_a) == _folder(p.image_b) != "" for p in pairs)
    parents: dict[str, str] = {}
    for pair in pairs:
        for image in (pair.image_a, pair.image_b):
            _join(parents, image, image)
            if by_folder and _folder(image):
                _join(parents, image, f"{_folder(image)}/")
        if pair.same:
            _join(parents, pair.image_a, pair.image_b)
    index: dict[str, int] = {}
    first = [index.setdefault(_root(parents, pair.image_a), len(index)) for pair in pairs]
    second = [index.setdefault(_root(parents, pair.image_b), len(index)) for pair in pairs]
    return first, second, len(index)


def _rows(path: Path, reader: Any) -> list[Pair]:
    """``reader`` is a ``csv.reader``, whose class has no public name."""
    try:
        return list(_parsed(path, reader))
    except csv.Error as error:
        raise UsageError(f"--pairs {path}: line {reader.line_num}: expected CSV ({error}); mend the line") from error


def _parsed(path: Path, reader: Any) -> Iterator[Pair]:
    header: list[str] = next(reader, [])
    if tuple(header) not in (COLUMNS, (*COLUMNS, "fold")):
        raise UsageError(
            f"--pairs {path}: line 1: expected the columns image_a,image_b,same[,fold], got {','.join(header)}"
        )
    for row in reader:
        if row:
            yield _pair(f"--pairs {path}: line {reader.line_num}", header, row)


def _pair(where: str, header: Sequence[str], row: Sequence[str]) -> Pair:
    if len(row) != len(header):
        raise UsageError(f"{where}: expected {len(header)} values, got {len(row)}")
    values = dict(zip(header, row, strict=True))
    for column in ("image_a", "image_b", "fold"):
        if not values.get(column, "-").strip():
            raise UsageError(f"{where}: {column}: expected a value, got none")
    if values["same"] not in ("0", "1"):
        raise UsageError(f"{where}: same: expected 1 or 0, got {values['same']!r}")
    return Pair(values["image_a"], values["image_b"], values["same"] == "1", values.get("fold", ""))


def _with_folds(pairs: list[Pair]) -> list[Pair]:
    if pairs[0].fold:
        return pairs
    count = len(pairs)
    return [
        Pair(pair.image_a, pair.image_b, pair.same, str(index * FOLDS_WITHOUT_COLUMN // count))
        for index, pair in enumerate(pairs)
    ]


def _folder(image: str) -> str:
    parent = str(PurePath(image).parent)
    return "" if parent == "." else parent


def _root(parents: dict[str, str], name: str) -> str:
    while parents[name] != name:
        parents[name] = parents[parents[name]]
        name = parents[name]
    return name


def _join(parents: dict[str, str], one: str, other: str) -> None:
    parents.setdefault(one, one)
    parents.setdefault(other, other)
    parents[_root(parents, one)] = _root(parents, other)
