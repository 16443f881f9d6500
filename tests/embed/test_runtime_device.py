"""Where a model runs when nobody said where."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from attendance.embed.card import WeightFormat
from attendance.embed.registry import runtime_device
from tests.fakes import colour_card


@pytest.mark.parametrize(
    ("weights", "runtime_has", "expected"),
    [(WeightFormat.ONNX, False, "cpu"), (WeightFormat.ONNX, True, "cuda"), (WeightFormat.TORCH, False, "cuda")],
)
def test_a_runtime_without_the_card_uses_the_processor_and_says_so(
    weights: WeightFormat, runtime_has: bool, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    card = replace(colour_card(), format=weights)
    with caplog.at_level(logging.WARNING):
        assert runtime_device(card, "cuda", has_cuda=lambda: runtime_has) == expected
    assert ("runs on the processor" in caplog.text) == (expected == "cpu")
