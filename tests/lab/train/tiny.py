"""A recipe that trains in a second on people made by code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.train.recipe import Recipe

Plain = dict[str, Any]


def tiny(folder: Path, **changes: Any) -> Plain:
    """The recipe as plain values: timm's smallest network on 32-pixel crops of ``folder``/people, one stage.

    ``losses``, ``optimiser``, ``schedule``, ``iterations``, ``epochs``, ``batch_size``, ``distil`` and
    ``train_backbone`` change its stage, ``data``, ``augment`` and ``network`` parts of these; the rest its own keys.
    """
    stage: Plain = {
        "batch_size": 8,
        "losses": [{"loss": "cosface", "numbers": {"scale": 16.0, "margin": 0.2}}],
        "optimiser": {"rate": 0.05, "clip_norm": 5.0},
    }
    for key in ("losses", "optimiser", "schedule", "iterations", "epochs", "batch_size", "distil", "train_backbone"):
        if key in changes:
            stage[key] = changes.pop(key)
    data = {"path": folder / "people", "input_px": 32, "cache": folder / "cache", "workers": 0}
    return {
        "description": "tiny",
        "source": "the tests",
        "network": {"backbone": "timm:test_efficientnet", "dimension": 16, **changes.pop("network", {})},
        "data": {**data, **changes.pop("data", {})},
        "augment": changes.pop("augment", {"flip": 0.5, "colour": 0.5, "erase": 0.5}),
        "stages": changes.pop("stages", [stage]),
        "device": "cpu",
        "validate_every": None,
        "checkpoint_every": 3,
        "log_every": 2,
        **changes,
    }


def tiny_recipe(folder: Path, **changes: Any) -> Recipe:
    """See `tiny`."""
    return Recipe.model_validate(tiny(folder, **changes))
