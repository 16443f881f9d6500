"""Networks placed on their device, in the numbers asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from attendance.errors import ModelError
from attendance.nets.device import Mode, mode_for, placed


class Told(nn.Module):
    """A linear layer that tells in which numbers it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.asked: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.dtype)
        result: Tensor = self.inner(x)
        return result


@pytest.mark.parametrize(
    ("device", "precision", "numbers"),
    [
        ("cpu", "auto", torch.float32),
        ("cpu", "fp32", torch.float32),
        ("cuda", "auto", torch.float32),
        ("cuda", "fp32", torch.float32),
        ("cuda", "fp16", torch.float16),
    ],
)
def test_auto_is_float32_everywhere(device: str, precision: str, numbers: torch.dtype) -> None:
    assert mode_for(device, precision=precision, graphs=True) == Mode(numbers, graphs=True)


def test_half_precision_on_the_processor_and_unknown_words_are_refused() -> None:
    with pytest.raises(ModelError, match=r"fp32 or auto.* processor, got fp16.*model\.device to cuda"):
        mode_for("cpu", precision="fp16", graphs=False)
    with pytest.raises(ModelError, match="expected one of auto, fp32, fp16, got 'int8'"):
        mode_for("cpu", precision="int8", graphs=False)


def test_a_network_computes_in_other_numbers_and_takes_and_gives_float32() -> None:
    network = Told()
    given = torch.rand((5, 3), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(given)
        found = placed(network, "cpu", Mode(torch.bfloat16))(given)
    assert network.asked == [torch.float32, torch.bfloat16]
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_a_processor_records_nothing() -> None:
    call = placed(Told(), "cpu", Mode(graphs=True), sizes=(4,))
    seen = []
    with torch.inference_mode():
        seen.append(call(torch.zeros(3, 3)).shape)
    assert seen == [(3, 2)]
