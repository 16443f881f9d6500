"""Pair lists as published sets bring them: LFW's text, CALFW's and CPLFW's text, CFP's folders.

- LFW, and what follows it: ``FOLDS N`` in the first line, then for each fold N lines ``name n m`` of one person and N
  lines ``name n other m``; its development lists have ``N`` alone and one such block. Images: ``name/name_0001.jpg``.
- CALFW, CPLFW: two lines ``image number`` a pair; 1 to 10 is the fold of a pair of one person, 0 a different pair,
  whose folds are the tenths of their order.
- CFP: a folder ``Protocol/Split/FP`` or ``FF`` with ``01`` ... ``10``, each with ``same.txt`` and ``diff.txt`` of lines
  ``i,j``: numbers of ``Protocol/Pair_list_F.txt`` and ``Pair_list_P.txt``, whose images lie beside ``Protocol``.

AgeDB-30 is published as image pairs in InsightFace's ``.bin``, which `lab.data.pairs_bin` reads.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from attendance.errors import UsageError

FOLDS = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images by their path relative to the images' folder, whether they show one person, and the fold."""

    image_a: str
    image_b: str
    same: bool
    fold: str


def published_pairs(path: Path, lines: Sequence[str]) -> list[Pair] | None:
    """The pairs of a text in LFW's or CALFW's layout; None where its first line is of neither.

    Raises:
        UsageError: a line of another form; file and line are named.
    """
    first = lines[0].split() if lines else []
    if first and len(first) <= 2 and all(part.isdigit() for part in first):
        return _lfw(path, lines)
    if len(first) == 2 and first[1].isdigit() and "," not in lines[0]:
        return _calfw(path, lines)
    return None


def cfp_pairs(split: Path) -> list[Pair]:
    """The pairs of a CFP folder, ``Protocol/Split/FP`` (frontal against profile) or ``FF``.

    Raises:
        UsageError: a file is missing or has a line of another form; it is named.
    """
    protocol = split.resolve().parent.parent
    frontal = _cfp_images(protocol / "Pair_list_F.txt")
    other = frontal if split.resolve().name.upper() == "FF" else _cfp_images(protocol / "Pair_list_P.txt")
    folds = sorted(folder for folder in split.iterdir() if folder.is_dir())
    if not folds:
        raise UsageError(f"--pairs {split}: expected CFP's folders 01 to 10, found none; name Protocol/Split/FP")
    pairs = []
    for fold in folds:
        for same, name in ((True, "same.txt"), (False, "diff.txt")):
            file = fold / name
            for number, line in _numbered(file):
                parts = line.split(",")
                if len(parts) != 2 or parts[0].strip() not in frontal or parts[1].strip() not in other:
                    raise _fault(file, number, "two numbers of CFP's lists", line)
                pairs.append(Pair(frontal[parts[0].strip()], other[parts[1].strip()], same, fold.name))
    return pairs


def _lfw(path: Path, lines: Sequence[str]) -> list[Pair]:
    header = [int(part) for part in lines[0].split()]
    each, blocks = header[-1], header[0] if len(header) == 2 else 1
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(rows) != 2 * each * blocks or each == 0:
        raise UsageError(f"--pairs {path}: line 1: expected {2 * each * blocks} pairs below it, got {len(rows)}")
    pairs = []
    for place, (number, line) in enumerate(rows):
        block, within = divmod(place, 2 * each)
        same = within < each
        words = line.split()
        if len(words) != (3 if same else 4) or not (words[-1].isdigit() and words[1 if same else -3].isdigit()):
            raise _fault(path, number, "name n m" if same else "name n other m", line)
        fold = block if len(header) == 2 else within % each * FOLDS // each
        other = words[0] if same else words[2]
        pairs.append(Pair(_lfw_image(words[0], words[1]), _lfw_image(other, words[-1]), same, str(fold)))
    return pairs


def _lfw_image(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _calfw(path: Path, lines: Sequence[str]) -> list[Pair]:
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, words in rows:
        if len(words) != 2 or not words[1].isdigit():
            raise _fault(path, number, "an image and a number", " ".join(words))
    if len(rows) % 2:
        raise UsageError(f"--pairs {path}: expected two lines a pair, got {len(rows)} lines")
    different = sum(words[1] == "0" for _, words in rows) // 2
    pairs: list[Pair] = []
    seen = 0
    for (_, one), (number, two) in zip(rows[::2], rows[1::2], strict=True):
        if one[1] != two[1]:
            raise _fault(path, number, f"the number {one[1]} of the pair's first line", " ".join(two))
        same = one[1] != "0"
        fold = int(one[1]) - 1 if same else seen * FOLDS // different
        seen += not same
        pairs.append(Pair(one[0], two[0], same, str(fold)))
    return pairs


def _cfp_images(path: Path) -> dict[str, str]:
    """Number to the image's path from the folder that Protocol lies in."""
    images = {}
    for number, line in _numbered(path):
        words = line.split()
        if len(words) != 2 or not words[0].isdigit():
            raise _fault(path, number, "a number and an image", line)
        images[words[0]] = os.path.normpath(PurePosixPath(path.parent.name, words[1]).as_posix())
    return images


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--pairs {path}: expected a readable list of CFP, got: {error}") from error
    return ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _fault(path: Path, number: int, expected: str, line: str) -> UsageError:
    return UsageError(f"--pairs {path}: line {number}: expected {expected}, got {line.strip()[:60]!r}")
