"""Partial FC: class directions divided among processes and drawn anew at every step (An et al. 2022)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance.errors import UsageError
from lab.losses.angles import widened
from lab.losses.classifier import INITIAL_DEVIATION, cosines_to, require_embeddings
from lab.train.processes import Processes

BLOCK = 4096
"""Classes that are drawn at once at birth, so that every division among processes starts from the same directions."""


class View(NamedTuple):
    """What a margin is given: ``cosines`` (N, C') of everyone's faces to the columns here, ``columns`` (N,) the own
    class's column or -1, ``norms`` (N,) the embeddings' lengths.
    """

    cosines: Tensor
    columns: Tensor
    norms: Tensor


class PartialFC(nn.Module):
    """The directions W (C, D) of all classes, of which this process holds an equal run.

    At ``rate`` 1 the loss and its gradients are those of the full softmax, however many processes there are. Below 1 a
    step in training sees the classes of its faces and others drawn at random, ``rate`` of those held in all; only
    these move, with their optimiser's state and weight decay. `rows` is what the optimiser is given. After each `view`
    goes `lend`, and after the optimiser's step `take_back`.
    """

    weight: Tensor

    def __init__(self, *, dimension: int, classes: int, processes: Processes, rate: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        if classes < processes.world:
            raise UsageError(f"expected a class for each of {processes.world} processes, got {classes}: start fewer")
        self.dimension, self.classes, self.rate, self.seed = dimension, classes, rate, seed
        self.processes = processes
        self.begin, self.end = _run_of(classes, processes.rank, processes.world)
        held = self.end - self.begin
        self.drawn = held if rate == 1.0 else min(held, max(1, int(rate * held)))
        weight = _first_directions(seed, self.begin, self.end, dimension)
        if rate == 1.0:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)
        self._index: Tensor | None = None
        # In a tuple, since as an attribute it would be a weight of this module's, and stand in its checkpoints.
        self._leaf = (nn.Parameter(weight[: self.drawn].clone()),)
        self._lent = self._leaf
        self._states: dict[str, Tensor] = {}

    @property
    def rows(self) -> nn.Parameter:
        """The directions that learn: all that are held, or those drawn."""
        return self.weight if isinstance(self.weight, nn.Parameter) else self._leaf[0]

    def view(self, embeddings: Tensor, labels: Tensor, *, step: int) -> View:
        """Unnormalised embeddings (N, D) and labels (N,) of this process -> those of all against the columns here.

        Every process has equally many faces. ``step`` decides what is drawn.
        """
        require_embeddings(embeddings, dimension=self.dimension)
        every = _gathered(widened(embeddings), self.processes) if self.processes.world > 1 else embeddings
        local = self.processes.gathered(labels) - self.begin
        columns = torch.where((local >= 0) & (local < self.end - self.begin), local, -1)
        if self.rate < 1.0 and self.training:
            columns = self._draw(columns, step)
        directions = self.rows if self.training else self.weight
        return View(cosines_to(every, directions), columns, torch.linalg.vector_norm(widened(every), dim=1))

    def cross_entropy(self, logits: Tensor, columns: Tensor) -> Tensor:
        """Mean over everyone's faces of -log softmax over everyone's columns: (N, C'), (N,) -> a scalar."""
        if self.processes.world == 1:
            return functional.cross_entropy(logits, columns)
        loss: Tensor = _CrossEntropy.apply(logits, columns, self.processes)  # type: ignore[no-untyped-call]
        return loss

    def nearest(self, view: View) -> Tensor:
        """The class (N,) of the highest cosine; without a gradient."""
        best, column = view.cosines.detach().max(dim=1)
        classes = column + self.begin
        if self.processes.world == 1:
            return classes
        highest = self.processes.highest(best.clone())
        return self.processes.highest(torch.where(best == highest, classes, torch.full_like(classes, -1)))

    def lend(self, optimiser: torch.optim.Optimizer) -> None:
        """Give the optimiser the drawn rows in place of the last ones, and their state."""
        if self._index is None:
            return
        for group in optimiser.param_groups:
            if group["params"][0] is self._lent[0]:
                group["params"][0] = self.rows
        state = optimiser.state.pop(self._lent[0], {})
        optimiser.state[self.rows] = {**state, **{name: kept[self._index] for name, kept in self._states.items()}}
        self._lent = self._leaf

    @torch.no_grad()
    def take_back(self, optimiser: torch.optim.Optimizer) -> None:
        """Take the drawn rows and their state back after the optimiser's step."""
        if self._index is None:
            return
        self.weight[self._index] = self.rows
        for name, value in optimiser.state[self.rows].items():
            if isinstance(value, Tensor) and value.shape == self.rows.shape:
                if name not in self._states:
                    self._states[name] = torch.zeros_like(self.weight)
                self._states[name][self._index] = value
        self._index = None

    def forget_states(self) -> None:
        """A new optimiser begins."""
        self._states.clear()

    def get_extra_state(self) -> dict[str, Tensor]:
        """The optimiser's state of all rows, for a checkpoint."""
        return dict(self._states)

    def set_extra_state(self, state: Any) -> None:
        """See `get_extra_state`."""
        self._states = {name: value.to(self.weight.device, copy=True) for name, value in state.items()}

    @torch.no_grad()
    def _draw(self, columns: Tensor, step: int) -> Tensor:
        """Choose the step's rows; the faces' columns among them."""
        held = self.end - self.begin
        device = columns.device
        number = (self.seed * 1_000_003 + step) * self.processes.world + self.processes.rank
        generator = torch.Generator(device).manual_seed(number)
        chance = torch.rand(held, generator=generator, device=device)
        own = torch.unique(columns[columns >= 0])
        chance[own] = 2.0
        self._index = torch.topk(chance, max(self.drawn, len(own))).indices.sort().values
        # A new leaf each time: faces of more classes than are drawn make it larger, which autograd forbids an old one.
        self._leaf = (nn.Parameter(self.weight[self._index]),)
        found = torch.searchsorted(self._index, columns.clamp(min=0))
        return torch.where(columns >= 0, found, -1)


def _gathered(rows: Tensor, processes: Processes) -> Tensor:
    every: Tensor = _Gather.apply(rows, processes)  # type: ignore[no-untyped-call]
    return every


class _Gather(torch.autograd.Function):
    """Everyone's rows. The gradient of a row is the sum of what all processes made of it, times their number.

    Times their number since the gradients of the network are averaged over the processes, and the loss here is one for
    all of them, not one of each.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, processes: Processes) -> Tensor:
        context.processes, context.count = processes, len(rows)
        return processes.gathered(rows)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        processes, count = context.processes, context.count
        summed = processes.total(gradients[0].contiguous().clone())
        return summed[processes.rank * count : (processes.rank + 1) * count] * processes.world, None


class _CrossEntropy(torch.autograd.Function):
    """Softmax over columns that lie in several processes; the gradient is p - 1 at the own column and p elsewhere."""

    @staticmethod
    def forward(context: Any, logits: Tensor, columns: Tensor, processes: Processes) -> Tensor:
        rows = torch.nonzero(columns >= 0)[:, 0]
        own = columns[rows]
        # Shifted by everyone's maximum, or exp overflows.
        shifted = logits - processes.highest(logits.detach().amax(dim=1))[:, None]
        target = logits.new_zeros(len(logits))
        target[rows] = shifted[rows, own]
        shares = shifted.exp_()
        total = processes.total(shares.sum(dim=1))
        processes.total(target)
        context.save_for_backward(shares.div_(total[:, None]), rows, own)
        return (total.log() - target).mean()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        shares, rows, own = context.saved_tensors
        shares[rows, own] -= 1.0  # in place, for it is as large as all logits; autograd refuses to come here twice
        return shares.mul_(gradients[0] / len(shares)), None, None


def _run_of(classes: int, rank: int, world: int) -> tuple[int, int]:
    """The classes [begin, end) of one process; the first ones hold one more where they do not divide."""
    size, more = divmod(classes, world)
    begin = rank * size + min(rank, more)
    return begin, begin + size + (rank < more)


def _first_directions(seed: int, begin: int, end: int, dimension: int) -> Tensor:
    """Normal draws (end - begin, D); a class's own do not depend on how the classes are divided."""
    directions = torch.empty(end - begin, dimension)
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + block)
        rows = torch.randn(BLOCK, dimension, generator=generator)
        first, after = max(begin, block * BLOCK), min(end, (block + 1) * BLOCK)
        directions[first - begin : after - begin] = rows[first - block * BLOCK : after - block * BLOCK]
    return directions.mul_(INITIAL_DEVIATION)
