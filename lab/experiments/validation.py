"""What a network makes of the validation part: the tune half's people whom no run was trained on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from lab.data.cache import ABOUT, CROPS, LABELS
from lab.data.source import fitted
from lab.data.split import split_people
from lab.experiments.faces import HELD_OUT, SPLIT_SEED, make_crops
from lab.experiments.judge import Embed
from lab.experiments.photos import Photos
from lab.train.validate import all_pairs, few_of_each, verification


def validate(photos: Photos, embed: Embed, input_px: int) -> dict[str, Any] | None:
    """AUC and equal error rate of all pairs of the held-out people's photos, five of each person at most.

    Taken of the plain crops, whatever a run was trained on, so that runs on other faces compare. None where there are
    no two people, or nobody with two photos.
    """
    folder = make_crops(photos, photos.found("tune"))
    people = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["people"]
    labels, crops = np.load(folder / LABELS), np.load(folder / CROPS, mmap_mode="r")
    split = split_people(people, labels, seed=SPLIT_SEED, strangers=HELD_OUT)
    chosen = few_of_each(np.flatnonzero(split.classes[labels] < 0), labels)
    vectors = embed(np.stack([fitted(np.asarray(crops[index]), input_px) for index in chosen]))
    scores, same = all_pairs(torch.from_numpy(vectors), labels[chosen])
    if same.all() or not same.any():
        return None
    figures = verification(scores, same)
    return {"auc": figures["auc"], "eer": figures["eer"], "photos": len(chosen), "same": int(same.sum())}
