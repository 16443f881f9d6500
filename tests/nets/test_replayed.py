"""Recordings by batch size, with a recorder that does on the processor what a CUDA graph does on its device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from attendance.nets.replayed import Network, Recording, Replayed


class Recorder:
    """Notes what is recorded; a replay reads and writes the same memory each time, as a graph's does."""

    def __init__(self, *, fails_at: int = 0) -> None:
        self.sizes: list[int] = []
        self.replays: list[Tensor] = []
        self._fails_at = fails_at

    def __call__(self, network: Network, given: Tensor) -> Recording:
        self.sizes.append(len(given))
        if len(given) == self._fails_at:
            raise RuntimeError("operation not permitted when stream is capturing")
        found = network(given)

        def replay() -> None:
            self.replays.append(given.clone())
            found.copy_(network(given))

        return Recording(given, found, replay)


class Counted:
    """(N, ...) -> (N, 2): sum and largest number of each row; counts its calls by batch size."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, batch: Tensor) -> Tensor:
        self.sizes.append(len(batch))
        rows = batch.flatten(1)
        return torch.stack((rows.sum(dim=1), rows.amax(dim=1)), dim=1)


def batch(count: int) -> Tensor:
    return torch.rand((count, 3, 4, 5), generator=torch.Generator().manual_seed(count)) + 1


def test_each_batch_takes_the_next_larger_recording_which_is_made_once() -> None:
    recorder, network = Recorder(), Counted()
    replayed = Replayed(network, (8, 1, 4), record=recorder)
    for count in (3, 4, 1, 2, 8, 5):
        replayed(batch(count))
    assert recorder.sizes == [4, 1, 8]
    assert [len(given) for given in recorder.replays] == [4, 4, 1, 4, 8, 8]


def test_results_are_the_plain_network_s_whatever_was_there_before_and_stay_the_caller_s() -> None:
    replayed = Replayed(Counted(), (4,), record=Recorder())
    given = [batch(4), batch(1), batch(3)]
    found = [replayed(each) for each in given]
    assert all(torch.equal(result, Counted()(each)) for result, each in zip(found, given, strict=True))


def test_a_batch_is_filled_up_with_zeros_not_with_the_faces_of_the_one_before() -> None:
    recorder = Recorder()
    replayed = Replayed(Counted(), (4,), record=recorder)
    replayed(batch(4))
    replayed(batch(1))
    assert torch.equal(recorder.replays[1], torch.cat((batch(1), torch.zeros(3, 3, 4, 5))))


def test_a_batch_larger_than_every_recording_is_a_plain_call() -> None:
    recorder, network = Recorder(), Counted()
    assert torch.equal(Replayed(network, (1, 4), record=recorder)(batch(5)), Counted()(batch(5)))
    assert (recorder.sizes, network.sizes) == ([], [5])


def test_after_a_recording_that_failed_all_are_plain_calls(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(fails_at=4)
    replayed = Replayed(Counted(), (1, 4), record=recorder)
    for count in (1, 4, 1, 3):
        assert torch.equal(replayed(batch(count)), Counted()(batch(count)))
    assert (recorder.sizes, len(recorder.replays)) == ([1, 4], 1)
    assert caplog.text.count("cannot be recorded") == 1


def test_the_recording_has_the_batch_s_order_in_memory() -> None:
    recorder = Recorder()
    strides = []

    def network(given: Tensor) -> Tensor:
        strides.append(given.stride())
        return given.sum(dim=(1, 2, 3))

    inside = batch(2).contiguous(memory_format=torch.channels_last)
    Replayed(network, (2,), record=recorder)(inside)
    Replayed(network, (2,), record=recorder)(batch(2))
    assert set(strides) == {inside.stride(), batch(2).stride()}


def test_threads_do_not_mix_their_batches() -> None:
    replayed = Replayed(Counted(), (2, 4), record=Recorder())
    counts = [1 + n % 4 for n in range(64)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda count: replayed(batch(count)), counts))
    assert all(torch.equal(result, Counted()(batch(count))) for result, count in zip(found, counts, strict=True))


def test_on_a_cuda_device_a_replay_gives_what_a_call_gives() -> None:
    if not torch.cuda.is_available():
        pytest.skip("hardware: no CUDA device")
    network = torch.nn.Conv2d(3, 8, 3).cuda()
    replayed = Replayed(network, (1, 4))
    with torch.inference_mode():
        for count in (1, 3, 4, 2):
            torch.testing.assert_close(replayed(batch(count).cuda()), network(batch(count).cuda()))
