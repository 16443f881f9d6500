"""What a run minimises: each stage's sum of losses. The class directions are one, whatever margins act on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attendance.errors import UsageError
from lab.losses.angles import widened
from lab.losses.center import CenterLoss
from lab.losses.classifier import Margin
from lab.losses.registry import LOSSES, MARGINS, build_loss, build_margin
from lab.losses.softmax import Softmax
from lab.train.partial_fc import PartialFC
from lab.train.processes import Processes
from lab.train.recipe import Stage, Term


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A stage's loss: the scalar to minimise, its terms by name, and the class taken for each face, where there is one.

    ``nearest`` (M,) goes with ``labels`` (M,): everyone's faces for margins, this process's for other classifiers.
    """

    loss: Tensor
    terms: Mapping[str, Tensor]
    nearest: Tensor | None
    labels: Tensor


class Objective(nn.Module):
    """The losses of all stages of a run, made at its start so that every checkpoint holds the same."""

    def __init__(
        self,
        stages: tuple[Stage, ...],
        *,
        dimension: int,
        classes: int,
        processes: Processes,
        class_rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.processes = processes
        every = [(_key(i, j), term) for i, stage in enumerate(stages) for j, term in enumerate(stage.losses)]
        margins = {key: term for key, term in every if term.loss in MARGINS}
        self.margins = nn.ModuleDict({key: build_margin(term.loss, **term.numbers) for key, term in margins.items()})
        self.others = nn.ModuleDict(
            {
                key: build_loss(term.loss, dimension=dimension, classes=classes, **term.numbers)
                for key, term in every
                if key not in margins
            }
        )
        self.classes: PartialFC | None = None
        if margins:
            self.classes = PartialFC(
                dimension=dimension, classes=classes, processes=processes, rate=class_rate, seed=seed
            )
        self._terms = {i: stage.losses for i, stage in enumerate(stages)}
        for key, term in every:
            _require_number(self, key, term)

    def forward(self, stage: int, embeddings: Tensor, labels: Tensor, *, step: int) -> Value:
        """The loss of stage ``stage`` at its step ``step``: unnormalised embeddings (N, D), labels (N,)."""
        terms: dict[str, Tensor] = {}
        nearest, judged = None, labels
        view = None
        for place, term in enumerate(self._terms[stage]):
            key = _key(stage, place)
            self._anneal(key, term, step)
            if key in self.margins:
                assert self.classes is not None
                if view is None:
                    view = self.classes.view(embeddings, labels, step=step)
                logits = self.margins[key](view.cosines, view.columns, view.norms)
                terms[f"{place}-{term.loss}"] = term.weight * self.classes.cross_entropy(logits, view.columns)
            else:
                terms[f"{place}-{term.loss}"] = term.weight * self.others[key](embeddings, labels)
                nearest = _linear_nearest(self.others[key], embeddings) if nearest is None else nearest
        if view is not None and self.classes is not None and not self.training:
            nearest, judged = self.classes.nearest(view), self.processes.gathered(labels)
        loss = torch.stack(list(terms.values())).sum() if terms else embeddings.new_zeros(())
        return Value(loss, terms, nearest, judged)

    def replicated(self) -> list[nn.Parameter]:
        """Weights that every process holds whole, so that their gradients must be averaged."""
        return list(self.others.parameters())

    @torch.no_grad()
    def agree(self) -> None:
        """Make what losses keep (centres) one for all processes; margins' statistics are one already."""
        for buffer in self.others.buffers():
            self.processes.total(buffer).div_(self.processes.world)

    def _anneal(self, key: str, term: Term, step: int) -> None:
        if term.anneal is not None and self.training:
            module = self.margins[key] if key in self.margins else self.others[key]
            setattr(module, term.anneal.number, term.anneal.at(step))


def _key(stage: int, place: int) -> str:
    return f"{stage}-{place}"


def _linear_nearest(loss: nn.Module, embeddings: Tensor) -> Tensor | None:
    if isinstance(loss, CenterLoss):
        loss = loss.softmax
    if isinstance(loss, Softmax):
        scores: Tensor = loss.linear(widened(embeddings.detach()))
        return scores.argmax(dim=1)
    return None


def _require_number(objective: Objective, key: str, term: Term) -> None:
    if term.loss not in LOSSES or term.anneal is None:
        return
    module = objective.margins[key] if key in objective.margins else objective.others[key]
    if not isinstance(getattr(module, term.anneal.number, None), float | int) or not isinstance(module, Margin):
        raise UsageError(f"anneal: {term.loss} has no number {term.anneal.number!r}: name one of its own, as blend")
