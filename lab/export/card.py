"""The card of an exported network, with what was measured of the file that is kept."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from attendance.align import arcface_112
from attendance.embed.card import ColourOrder, InputSpec, ModelCard, WeightFormat
from attendance.errors import UsageError
from attendance.threshold import threshold_at
from attendance.types import Float32, Float64, StrangerTail
from lab.data.folder import at_size
from lab.measure_card import (
    MARGIN_FPIR,
    MIN_EXCEEDING,
    RATES,
    Ints,
    choose_margin,
    look_up,
    measure_galleries,
    measured_card,
    person_impostors,
    split_roster,
    statistics_of,
)
from lab.train.weights import MIDDLE

FEWEST_PAIRS = int(MIN_EXCEEDING / RATES[1])
"""Impostor pairs that two measured rates need, which is what a threshold is read from."""


def unmeasured_card(
    model_id: str, data: bytes, *, input_px: int, dimension: int, licence: str, source: str
) -> ModelCard:
    """What is known of a file before it was run: the lab's networks eat RGB, (x - 127.5) / 127.5, ArcFace's cut."""
    return ModelCard(
        id=model_id,
        sha256=hashlib.sha256(data).hexdigest(),
        format=WeightFormat.ONNX,
        network="",
        input=InputSpec(input_px, ColourOrder.RGB, (MIDDLE,) * 3, (1.0 / MIDDLE,) * 3),
        alignment=at_size(arcface_112(), input_px),
        dimension=dimension,
        metric="cosine",
        license=licence,
        source=source,
        margin=0.0,
        thresholds={},
    )


def with_measures(card: ModelCard, vectors: Float32, people: Ints, *, data: str) -> ModelCard:
    """The card with everything that these photos are enough for.

    With as many people as ``python -m lab.measure_card`` asks for, that is everything a card can say. With fewer, the
    thresholds stop at the smallest rate that `MIN_EXCEEDING` pairs reach; and with still fewer the card says nothing of
    galleries: its ``strangers`` are None.

    Args:
        card: of the model.
        vectors: float32 (N, D) of unit length.
        people: (N,) whom each shows.
        data: what it was measured on.

    Raises:
        UsageError: there are too few pairs for two rates, or no same pair.
    """
    try:
        return measured_card(card, vectors, people, data=data)[0]
    except UsageError:  # too few people or pairs for all of it
        return _short(card, vectors, people, data=data)


def _short(card: ModelCard, vectors: Float32, people: Ints, *, data: str) -> ModelCard:
    first, second = np.triu_indices(len(vectors), 1)
    similarities = (vectors @ vectors.T)[first, second].astype(np.float64)
    same = people[first] == people[second]
    impostors = np.sort(similarities[~same])
    if len(impostors) < FEWEST_PAIRS or not same.any():
        raise UsageError(
            f"expected photos that make {FEWEST_PAIRS} pairs of different people and some of the same, got "
            f"{len(impostors)} and {int(same.sum())}: give more people, with two photos each"
        )
    thresholds = _reached(impostors)
    by_person = _reached(person_impostors(vectors, people))
    strangers, margin = _galleries(vectors, people, thresholds, data=data)
    return dataclasses.replace(
        card,
        margin=margin,
        thresholds=thresholds,
        person_thresholds=by_person if len(by_person) >= 2 else None,
        strangers=strangers,
        impostors=statistics_of(impostors, data),
        genuine=statistics_of(similarities[same], data),
    )


def _galleries(
    vectors: Float32, people: Ints, thresholds: dict[float, float], *, data: str
) -> tuple[StrangerTail | None, float]:
    """How near strangers come to galleries, None where the people are too few, and the margin."""
    try:
        return measure_galleries(vectors, people, data=data)[:2]
    except UsageError:
        return None, _margin(vectors, people, thresholds)


def _reached(impostors: Float64) -> dict[float, float]:
    """The cosine that a share of the pairs reaches, of cosines in rising order, where enough pairs reach it."""
    rates = [rate for rate in RATES if rate * len(impostors) >= MIN_EXCEEDING]
    return {rate: round(float(impostors[len(impostors) - round(rate * len(impostors))]), 5) for rate in rates}


def _margin(vectors: Float32, people: Ints, thresholds: dict[float, float]) -> float:
    templates, probes, _ = split_roster(people)
    enrolled = len(np.unique(people[templates]))
    if enrolled < 2:
        return 0.0
    known = look_up(vectors, people, templates=templates, probes=probes)
    return choose_margin(known, threshold_at(thresholds, MARGIN_FPIR / enrolled))
