"""Judging a run while it trains: closed-set accuracy on known people, verification on strangers and published pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance import metrics
from lab.data.loading import PlainFaces, plain_batches, to_input
from lab.data.pairs_bin import PairsFile
from lab.data.source import Ints, Source
from lab.train.faces import Faces, spread
from lab.train.objective import Objective
from lab.train.processes import Processes
from lab.train.recipe import Stage

BATCH = 128
MOST_TRAIN = 2048
"""Training faces that the closed-set accuracy is taken of."""
MOST_STRANGERS = 4000
MOST_OF_ONE = 5
"""Photos of one stranger that count: pairs grow with their square, and one person with a hundred would be all."""
FOLDS = 10
RATES = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}

Autocast = Callable[[], Any]


class Judge:
    """Judges networks on one run's held-out faces, every process a share of them."""

    def __init__(self, faces: Faces, processes: Processes, *, input_px: int, autocast: Autocast) -> None:
        self.faces, self.processes, self.input_px, self.autocast = faces, processes, input_px, autocast

    @torch.no_grad()
    def judge(self, net: nn.Module, objective: Objective, stage: int, how: Stage) -> dict[str, Any]:
        """Figures by name.

        ``train`` and ``validation``: ``accuracy`` (null without class directions) and ``loss`` of known people's faces,
        those of training unvaried. ``strangers`` and each verification set by its name: see `verification`.
        """
        was, objective_was = net.training, objective.training
        net.eval()
        objective.eval()
        for buffer in net.buffers():  # batch norms' statistics are each process's own between steps
            self.processes.as_first(buffer)
        split = self.faces.split
        figures: dict[str, Any] = {
            "train": self._closed(net, objective, stage, how, spread(split.train, MOST_TRAIN)),
        }
        if len(split.validation):
            figures["validation"] = self._closed(net, objective, stage, how, split.validation)
        if len(split.strangers):
            few = few_of_each(split.strangers, self.faces.source.labels)
            chosen = spread(few, MOST_STRANGERS)
            vectors = self.embed(net, self.faces.source, chosen)
            scores, same = all_pairs(vectors, self.faces.source.labels[chosen])
            if same.any() and not same.all():
                figures["strangers"] = verification(scores, same)
        for pairs in self.faces.verify:
            figures[pairs.name] = self._published(net, pairs)
        net.train(was)
        objective.train(objective_was)
        return figures

    def embed(self, net: nn.Module, source: Source, chosen: Ints) -> Tensor:
        """Embeddings (N, D) float32 of any length of the chosen faces, on the processor, for every process."""
        processes = self.processes
        device = processes.device
        rows = -(-len(chosen) // processes.world)
        # Padded with the last face, so that all shares are equally long.
        padded = np.pad(chosen, (0, rows * processes.world - len(chosen)), mode="edge")
        share = padded[processes.rank * rows : (processes.rank + 1) * rows]
        found = []
        for batch in plain_batches(PlainFaces(source, share, size_px=self.input_px), batch_size=BATCH):
            with self.autocast():
                found.append(net(to_input(batch.faces, device)).float())
        return processes.gathered(torch.cat(found)).cpu()[: len(chosen)]

    def _closed(
        self, net: nn.Module, objective: Objective, stage: int, how: Stage, chosen: Ints
    ) -> dict[str, float | None]:
        device = self.processes.device
        labels = torch.from_numpy(self.faces.split.classes[self.faces.source.labels[chosen]])
        right, judged, loss, seen = 0, 0, 0.0, 0
        embedded = self.embed(net, self.faces.source, chosen)
        for vectors, own in zip(torch.split(embedded, BATCH), torch.split(labels, BATCH), strict=True):
            value = objective(stage, vectors.to(device), own.to(device), step=0)
            loss += float(value.loss) * len(own)
            seen += len(own)
            if value.nearest is not None:
                right += int((value.nearest == value.labels).sum())
                judged += len(value.labels)
        return {"accuracy": right / judged if judged else None, "loss": loss / seen if how.losses else None}

    def _published(self, net: nn.Module, pairs: PairsFile) -> dict[str, Any]:
        vectors = functional.normalize(self.embed(net, _Pictures(pairs), np.arange(len(pairs.images))), dim=1)
        scores = (vectors[0::2] * vectors[1::2]).sum(dim=1).double().numpy()
        folds = np.arange(len(scores)) * FOLDS // len(scores)
        return verification(scores, pairs.same, folds if len(scores) >= FOLDS else None)


def few_of_each(chosen: Ints, labels: Ints) -> Ints:
    """Of chosen faces (N,) at most `MOST_OF_ONE` of each person, at equal distances;
    ``labels`` tell all faces' people."""
    people = labels[chosen]
    few = [spread(chosen[people == person], MOST_OF_ONE) for person in np.unique(people)]
    return np.sort(np.concatenate(few)) if few else chosen


def verification(scores: np.ndarray, same: np.ndarray, folds: np.ndarray | None = None) -> dict[str, Any]:
    """AUC, EER, TAR at FAR where the pairs allow it, and with folds LFW's accuracy, of cosines (N,) and truth (N,)."""
    curve = metrics.roc(scores, same)
    different = int((~same).sum())
    at_far = {key: metrics.tar_at_far(curve, rate) for key, rate in RATES.items() if different * rate >= 1.0}
    figures = {"auc": metrics.auc(curve), "eer": metrics.eer(curve), "tar_at_far": at_far, "pairs": len(scores)}
    if folds is not None:
        figures["accuracy"] = metrics.fold_accuracy(scores, same, folds).mean
    return figures


def all_pairs(vectors: Tensor, labels: Ints) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and truth of every pair of N faces, (N (N - 1) / 2,) each."""
    unit = functional.normalize(vectors, dim=1)
    above = np.triu_indices(len(labels), 1)
    return (unit @ unit.T).double().numpy()[above], (labels[:, None] == labels[None, :])[above]


class _Pictures(Source):
    """A verification set's crops as a source."""

    def __init__(self, pairs: PairsFile) -> None:
        self.pairs = pairs
        self.people, self.fingerprint = ("",), pairs.name
        self.labels = np.zeros(len(pairs.images), dtype=np.int64)

    def read(self, index: int, size_px: int) -> Any:
        return self.pairs.crop(index, size_px)

    def place(self, index: int) -> str:
        return f"{self.pairs.name}: picture {index}"
