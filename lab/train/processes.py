"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from attendance.errors import UsageError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's number among ``world``, and its device. Alone, every exchange is what it was given."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()

    def total(self, x: Tensor) -> Tensor:
        """The sum over all processes, without a gradient; ``x`` is overwritten."""
        if self.world > 1:
            distributed.all_reduce(x, distributed.ReduceOp.SUM)
        return x

    def highest(self, x: Tensor) -> Tensor:
        """The maximum over all processes, without a gradient; ``x`` is overwritten."""
        if self.world > 1:
            distributed.all_reduce(x, distributed.ReduceOp.MAX)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """Everyone's rows (world * N, ...), by rank, without a gradient; all give equally many."""
        if self.world == 1:
            return x
        rows = [torch.empty_like(x) for _ in range(self.world)]
        distributed.all_gather(rows, x.contiguous())
        return torch.cat(rows)

    def as_first(self, x: Tensor) -> Tensor:
        """What the first process has; ``x`` is overwritten."""
        if self.world > 1:
            distributed.broadcast(x, 0)
        return x

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world == 1:
            return flag
        return bool(self.highest(torch.tensor(float(flag), device=self.device)).item())


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among its peers: torchrun says who they are in the environment; without it, alone.

    Raises:
        UsageError: a device that is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device: expected auto, cpu or cuda, got {name!r}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("device: expected a graphics card for cuda, found none: use auto or cpu")
    if name == "cpu" or not there:
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
