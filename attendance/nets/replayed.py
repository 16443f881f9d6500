"""A network's work on a CUDA device recorded once for each of a few batch sizes, and replayed (CUDA graphs).

Starting a small network's many kernels one by one takes the processor longer than the device needs to run them; a graph
starts them all at once. It reads and writes the same memory each time, so batches are copied in and results out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Work on ``given``, of a fixed shape, that ``replay`` does again; its result is then in ``found``."""

    given: Tensor
    found: Tensor
    replay: Callable[[], None]


def record_graph(network: Network, given: Tensor) -> Recording:
    """Record the network's work as a CUDA graph.

    Raises:
        RuntimeError: the device or an operator cannot be recorded, or memory is short.
    """
    side = torch.cuda.Stream(given.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(given.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            # Libraries choose their kernels and get their memory in the first calls, which cannot be recorded.
            network(given)
    torch.cuda.current_stream(given.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile: what they do is neither recorded nor forbidden.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        found = network(given)
    return Recording(given, found, graph.replay)


class Replayed:
    """Calls ``network`` by recordings, one for each of ``sizes`` that a batch came in, made when it is first needed.

    A batch is filled up to the next size with zeros. Larger ones than all sizes, and all of them once a recording has
    failed, are plain calls. Each row of the result must depend on its row of the batch alone, and a network's batches
    must be alike but for their number of rows. Safe to use from several threads at once.
    """

    def __init__(
        self,
        network: Network,
        sizes: Sequence[int],
        *,
        record: Callable[[Network, Tensor], Recording] = record_graph,
    ) -> None:
        self._network = network
        self._sizes = sorted(sizes)
        self._record = record
        self._lock = threading.Lock()
        self._recordings: dict[int, Recording] = {}
        self._is_possible = True

    def __call__(self, batch: Tensor) -> Tensor:
        """The network's result for a batch (N, ...), N at least 1, as a tensor of the caller's own."""
        size = next((size for size in self._sizes if size >= len(batch)), None)
        if size is not None:
            # The memory of a recording belongs to one batch at a time.
            with self._lock:
                recording = self._of(size, batch)
                if recording is not None:
                    recording.given[: len(batch)].copy_(batch)
                    recording.given[len(batch) :].zero_()
                    recording.replay()
                    return recording.found[: len(batch)].clone()
        return self._network(batch)

    def _of(self, size: int, batch: Tensor) -> Recording | None:
        if self._is_possible and size not in self._recordings:
            # In the batch's order of numbers in memory too.
            given = batch.new_zeros(size, *batch.shape[1:]).contiguous(memory_format=_order(batch))
            try:
                self._recordings[size] = self._record(self._network, given)
            except RuntimeError as error:
                logger.warning("a network's work cannot be recorded on the device and is called each time: %s", error)
                self._is_possible = False
        return self._recordings[size] if self._is_possible else None


def _order(batch: Tensor) -> torch.memory_format:
    is_inside = batch.dim() == 4 and batch.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_inside else torch.contiguous_format
