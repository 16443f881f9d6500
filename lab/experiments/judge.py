"""The one judgement of a finished network: pairs and galleries of the report half, degraded probes where asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attendance import metrics
from attendance.types import Alignment, Float32, RGBImage
from lab.evaluate.pairs import read_pairs
from lab.evaluate.verification import ScoredPairs, judge_pairs, score_pairs
from lab.experiments.photos import CONDITIONS, Condition, Found, Photos, crops, kept_crops
from lab.read import Vectors

Embed = Callable[[RGBImage], Float32]
SEED, RESAMPLES = 0, 1000
KEPT_PX = 96


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A network's figures, and which people the pairs show."""

    figures: dict[str, Any]
    first: list[int]
    second: list[int]
    people: int


def judge(photos: Photos, embed: Embed, alignment: Alignment, *, cross: bool, resamples: int = RESAMPLES) -> Judged:
    """Judge an embedder on the report half.

    Args:
        photos: the data set.
        embed: RGB uint8 (N, S, S, 3) -> float32 (N, D) of unit length.
        alignment: how it wants faces cut.
        cross: also with the second photo of each pair, and the gallery's probes, degraded.
        resamples: draws of people for the intervals.
    """
    found = photos.found("report")
    chosen = np.flatnonzero(found.read)
    clean = _spread(found, chosen, embed(_cut(photos, found, chosen, alignment)))
    pairs = read_pairs(photos.root / "pairs_report.csv")
    scored = score_pairs(pairs, found.names, clean)
    figures: dict[str, Any] = {
        "pairs": judge_pairs(scored, resamples=resamples, seed=SEED),
        "right": right_pairs(scored),
        "gallery": gallery(found, clean, clean, resamples=resamples),
    }
    if cross:
        figures["cross"] = _cross(photos, found, clean, embed, alignment, resamples=resamples)
    return Judged(figures, scored.first.tolist(), scored.second.tolist(), scored.people)


def right_pairs(scored: ScoredPairs) -> str:
    """Which pairs were judged right at their fold's threshold, eight in two hexadecimal digits, the first one highest.

    Kept so that two runs can be compared pair by pair.
    """
    right = np.zeros(len(scored.scores), dtype=bool)
    for fold in np.unique(scored.folds):
        own = scored.folds == fold
        threshold = metrics.best_threshold(scored.scores[~own], scored.same[~own])
        accepted = (scored.scores[own] >= threshold) & (scored.scores[own] > metrics.FAILED)
        right[own] = accepted == scored.same[own]
    return np.packbits(right).tobytes().hex()


def unpacked(right: str, count: int) -> np.ndarray:
    """The other way: (count,) bool."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(right), dtype=np.uint8))[:count].astype(bool)


def gallery(found: Found, templates: Vectors, probes: Vectors, *, resamples: int) -> dict[str, Any]:
    """The first photo of everybody with two or more is enrolled, the others are looked for: top-1 over people."""
    people = np.array(found.people())
    names, labels, counts = np.unique(people, return_inverse=True, return_counts=True)
    firsts = np.unique(labels, return_index=True)[1]
    enrolled = np.flatnonzero(counts >= 2)
    place = np.full(len(names), -1)
    place[enrolled] = np.arange(len(enrolled))
    sought = np.setdiff1d(np.flatnonzero(counts[labels] >= 2), firsts)
    scores = probes.vectors[sought] @ templates.vectors[firsts[enrolled]].T
    scores[:, ~templates.read[firsts[enrolled]]] = metrics.FAILED
    own = place[labels[sought]]
    hits = (scores.argmax(axis=1) == own) & probes.read[sought]

    def top1(draws: metrics.Ints) -> list[float]:
        weights = draws[own].astype(np.float64)
        return [float((hits * weights).sum() / weights.sum())] if weights.sum() else [np.nan]

    interval = metrics.bootstrap_intervals(top1, [len(enrolled)], resamples=resamples, seed=SEED)[0]
    return {"top1": float(hits.mean()), "interval": interval.tolist(), "people": len(enrolled), "probes": len(sought)}


def _cross(
    photos: Photos, found: Found, clean: Vectors, embed: Embed, alignment: Alignment, *, resamples: int
) -> dict[str, Any]:
    """Each condition's accuracy and top-1: the probe is degraded, what it is compared with is clean."""
    pairs = read_pairs(photos.root / "pairs_report.csv")
    chosen = np.flatnonzero(found.read)
    result = {}
    for condition in CONDITIONS[1:]:
        vectors = embed(_cut(photos, found, chosen, alignment, condition))
        probes = _spread(found, chosen, vectors)
        scored = _one_side(score_pairs(pairs, found.names, clean), pairs, found, clean, probes)
        judged = judge_pairs(scored, resamples=resamples, seed=SEED)
        looked = gallery(found, clean, probes, resamples=resamples)
        result[condition.name] = {
            "accuracy": judged["accuracy"],
            "interval": judged["intervals"]["accuracy"],
            "right": right_pairs(scored),
            "top1": looked["top1"],
            "top1_interval": looked["interval"],
        }
    return result


def _cut(
    photos: Photos, found: Found, chosen: np.ndarray, alignment: Alignment, change: Condition | None = None
) -> RGBImage:
    """The crops: those of a size that many networks want are kept, those of a large model are not worth the space."""
    make = kept_crops if alignment.size_px <= KEPT_PX else crops
    return make(photos, found, chosen.tolist(), alignment, change=change)


def _one_side(scored: ScoredPairs, pairs: Sequence[Any], found: Found, clean: Vectors, probes: Vectors) -> ScoredPairs:
    place = {name: index for index, name in enumerate(found.names)}
    one = np.array([place[pair.image_a] for pair in pairs])
    two = np.array([place[pair.image_b] for pair in pairs])
    cosines = (clean.vectors[one].astype(np.float64) * probes.vectors[two]).sum(axis=1)
    read = clean.read[one] & probes.read[two]
    scores = np.where(read, np.maximum(cosines, np.nextafter(metrics.FAILED, 1.0)), metrics.FAILED)
    return ScoredPairs(scores, scored.same, scored.folds, scored.first, scored.second, scored.people)


def _spread(found: Found, chosen: np.ndarray, vectors: Float32) -> Vectors:
    whole = np.zeros((len(found.names), vectors.shape[1]), dtype=np.float32)
    whole[chosen] = vectors
    return Vectors(whole, found.read, ())
