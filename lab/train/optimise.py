"""Optimisers: which weights with which rate and decay, and one step with its precision and clipping."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from attendance.errors import UsageError
from lab.train.objective import Objective
from lab.train.processes import Processes
from lab.train.recipe import Optimiser

Groups = list[dict[str, object]]


def build_optimiser(how: Optimiser, net: nn.Module, objective: Objective, extra: nn.Module) -> torch.optim.Optimizer:
    """An optimiser of all weights that learn. Each group keeps its ``highest`` rate for `set_rates`.

    Args:
        how: the recipe's.
        net: the network, neither wrapped nor compiled, so that patterns meet its own names.
        objective: the losses.
        extra: what else learns, as a student's map to its teacher.

    Raises:
        UsageError: a pattern that no weight's name fits.
    """
    groups = _net_groups(how, net)
    rest = [*objective.others.named_parameters(), *extra.named_parameters()]
    if objective.classes is not None:
        rest.append(("classes", objective.classes.rows))
    for name, weight in rest:
        groups.append(_group([weight], how, name=name, rate=how.rate * how.class_rate_factor, factor=1.0))
    if how.name == "sgd":
        return torch.optim.SGD(groups, lr=how.rate, momentum=how.momentum)
    return torch.optim.AdamW(groups, lr=how.rate, betas=how.betas)


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Bring every group's rate to this share of its highest."""
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * factor


def average_gradients(weights: list[nn.Parameter], processes: Processes) -> None:
    """Make the gradients of weights that every process holds whole the mean of all processes' gradients."""
    if processes.world > 1:
        for weight in weights:
            if weight.grad is not None:
                processes.total(weight.grad).div_(processes.world)


class Stepper:
    """Turns a loss into one step: scaled back-propagation, shared gradients, clipping, the optimiser."""

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        net: nn.Module,
        objective: Objective,
        extra: nn.Module,
        *,
        scaler: torch.amp.GradScaler,
        clip_norm: float | None,
    ) -> None:
        self.optimiser, self.scaler, self.clip_norm = optimiser, scaler, clip_norm
        self._net = [weight for weight in net.parameters() if weight.requires_grad]
        self._objective = objective
        self._replicated = [*objective.replicated(), *extra.parameters()]

    def step(self, loss: Tensor) -> None:
        """One step down the loss. With fp16 a step whose gradients overflow is left out and the scale is halved."""
        processes, classes = self._objective.processes, self._objective.classes
        self.optimiser.zero_grad(set_to_none=True)
        if classes is not None:
            classes.lend(self.optimiser)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        average_gradients(self._replicated, processes)
        if self.scaler.is_enabled() and processes.world > 1:
            self._share_overflow(processes)
        if self.clip_norm is not None and self._net:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._net, self.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if classes is not None:
            classes.take_back(self.optimiser)
        if processes.world > 1:
            self._objective.agree()

    def _share_overflow(self, processes: Processes) -> None:
        # One process's classes can overflow alone. All must leave the step out, or their networks part.
        gradients = [w.grad for group in self.optimiser.param_groups for w in group["params"] if w.grad is not None]
        if processes.any(not all(bool(torch.isfinite(gradient).all()) for gradient in gradients)):
            gradients[0].fill_(torch.inf)


def _net_groups(how: Optimiser, net: nn.Module) -> Groups:
    fitted = set()
    groups: dict[float, list[nn.Parameter]] = {}
    for name, weight in net.named_parameters():
        if not weight.requires_grad:
            continue
        patterns = [pattern for pattern in how.decay_factors if fnmatchcase(name, pattern)]
        fitted.update(patterns)
        factor = how.decay_factors[patterns[-1]] if patterns else 1.0
        groups.setdefault(factor if how.decay_vectors or weight.ndim > 1 else 0.0, []).append(weight)
    missed = [pattern for pattern in how.decay_factors if pattern not in fitted]
    if missed and any(True for _ in _learning(net)):
        names = ", ".join(name for name, _ in list(net.named_parameters())[-4:])
        raise UsageError(f"decay_factors: no weight fits {missed[0]!r}; the network's last ones are {names}")
    return [_group(weights, how, name="net", rate=how.rate, factor=factor) for factor, weights in groups.items()]


def _learning(net: nn.Module) -> Iterator[nn.Parameter]:
    return (weight for weight in net.parameters() if weight.requires_grad)


def _group(weights: list[nn.Parameter], how: Optimiser, *, name: str, rate: float, factor: float) -> dict[str, object]:
    vector = all(weight.ndim < 2 for weight in weights) and not how.decay_vectors
    decay = 0.0 if vector else how.weight_decay * factor
    return {"params": weights, "highest": rate, "lr": rate, "weight_decay": decay, "part": name}
