"""Who walks past the camera in the walk-past benchmark, and what the passes come to. No video, no kiosk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attendance.types import EventKind

PHOTOS_AT_LEAST, TEMPLATES_AT_MOST = 5, 4
RIGHT_AT_LEAST, STRANGERS_AT_MOST = 0.95, 0.005


@dataclass(frozen=True, slots=True)
class Walk:
    """One pass to be played: who, from which photo, and the seed of its video."""

    identity_id: str
    photo: Path
    seed: int
    enrolled: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """The people of one seed: photos to enrol, and the passes in the order in which they are played."""

    enrolled: Mapping[str, Sequence[Path]]
    walks: Sequence[Walk]


@dataclass(slots=True)
class Seen:
    """What the kiosk made of one pass: faces found, events, and who was counted."""

    frames_with_face: int = 0
    tracks: set[int] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    best_similarity: float | None = None
    counted: list[str] = field(default_factory=list)


def draw_people(
    people: Mapping[str, Sequence[Path]], *, seed: int, enrolled: int, strangers: int, left_out: set[str]
) -> Draw:
    """Draw the people of a seed.

    Args:
        people: everybody with their photos.
        seed: everything follows from it.
        enrolled: how many to enrol, out of those with five photos or more. One photo makes the pass, four of
            the others are enrolled.
        strangers: how many more pass, each from any one photo of theirs.
        left_out: photos (``person/photo``) that stand under two names.

    Raises:
        ValueError: when there are too few people.
    """
    rng = np.random.default_rng(seed)
    usable = {
        name: [photo for photo in photos if f"{name}/{photo.name}" not in left_out] for name, photos in people.items()
    }
    several = [name for name, photos in usable.items() if len(photos) >= PHOTOS_AT_LEAST]
    if len(several) < enrolled or len([p for p in usable.values() if p]) < enrolled + strangers:
        raise ValueError(f"expected {enrolled} people with several photos and {strangers} others, got too few")
    chosen = [several[i] for i in rng.choice(len(several), enrolled, replace=False)]
    others = [name for name, photos in usable.items() if photos and name not in set(chosen)]
    unknown = [others[i] for i in rng.choice(len(others), strangers, replace=False)]
    templates: dict[str, list[Path]] = {}
    walks = []
    for name in (*chosen, *unknown):
        order = [usable[name][i] for i in rng.permutation(len(usable[name]))]
        if name in chosen:
            templates[name] = order[1 : 1 + TEMPLATES_AT_MOST]
        walks.append(Walk(name, order[0], int(rng.integers(2**31)), name in templates))
    return Draw(templates, [walks[i] for i in rng.permutation(len(walks))])


def outcome(walk: Walk, seen: Seen) -> dict[str, Any]:
    """What became of one pass, without names."""
    right = [who for who in seen.counted if walk.enrolled and who == walk.identity_id]
    return {
        "enrolled": walk.enrolled,
        "recorded_right": len(right),
        "recorded_wrong": len(seen.counted) - len(right),
        "reason": "" if right else miss_reason(seen),
        "similarity": seen.best_similarity,
        "frames_with_face": seen.frames_with_face,
        "tracks": len(seen.tracks),
        "repeats": seen.kinds[EventKind.REPEAT],
    }


def miss_reason(seen: Seen) -> str:
    """Why a pass was not recorded under the right name: what came nearest to it counts."""
    if seen.counted:
        return "wrong person"
    if seen.reasons["margin"] or seen.reasons["look_alike"]:
        return "ambiguous"
    if seen.reasons["below_threshold"]:
        return "below threshold"
    return "not enough good frames" if seen.frames_with_face else "not detected"


def judge(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers over all seeds, and which promises they keep."""
    enrolled = [p for result in seeds for p in result["passes"] if p["enrolled"]]
    strangers = [p for result in seeds for p in result["passes"] if not p["enrolled"]]
    right = sum(p["recorded_right"] > 0 for p in enrolled)
    punched = sum(p["recorded_wrong"] > 0 for p in strangers)
    doubled = sum(p["recorded_right"] + p["recorded_wrong"] > 1 for p in (*enrolled, *strangers))
    misses = Counter(p["reason"] for p in enrolled if p["recorded_right"] == 0)
    return {
        "enrolled_passes": len(enrolled),
        "recorded_right": right,
        "recorded_right_share": right / len(enrolled),
        "stranger_passes": len(strangers),
        "strangers_recorded": punched,
        "strangers_ambiguous": sum(p["reason"] == "ambiguous" for p in strangers),
        "counted_twice": doubled,
        "wrong_person": sum(p["recorded_wrong"] > 0 for p in enrolled),
        "misses": dict(misses.most_common()),
        "promises": {
            "recorded_right": right >= RIGHT_AT_LEAST * len(enrolled),
            "strangers_recorded": punched <= STRANGERS_AT_MOST * len(strangers),
            "counted_twice": doubled == 0,
        },
    }
