"""How large the networks are, against what was published of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lab.backbone_page import PAGE, comparison_line, count, our_line
from lab.nets.airface import AirFace
from lab.nets.bottleneck import Bottleneck
from lab.nets.counting import multiply_adds, parameters
from lab.nets.mobilefacenet import MobileFaceNet
from lab.nets.published import ROWS, Published
from lab.nets.registry import BACKBONES

# Published figures are rounded to two or three digits; a row that is further off says why on the page.
WITHIN = 0.02


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.backbone}, {row.source}")
def test_a_published_figure_is_met_or_the_page_says_why(row: Published) -> None:
    ours = count(row)
    pairs = [(row.parameters, ours.parameters), (row.cost, ours.cost)]
    met = [value is None or own == pytest.approx(value, rel=WITHIN) for value, own in pairs]
    assert all(met) or row.why


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("edgeface-xxs", 1.24), ("edgeface-xs", 1.77), ("edgeface-s", 3.65), ("edgeface-base", 18.23)],
)
def test_edgeface_has_the_published_parameters_to_the_last_digit(backbone: str, millions: float) -> None:
    (row,) = (row for row in ROWS if row.backbone == backbone)
    assert round(count(row).parameters, 2) == millions


def test_airface_costs_what_its_table_s_rows_cost_and_the_attention_little_more() -> None:
    with torch.device("meta"):
        net = AirFace()
    (row,) = (row for row in ROWS if row.backbone == "airface")
    with_attention = count(row).cost * 1e6 / 2  # of operations
    for module in net.modules():
        if isinstance(module, Bottleneck):
            module.attention = nn.Identity()
    assert multiply_adds(net, input_px=112) == plain_airface()
    assert plain_airface() / 1e6 == pytest.approx(527.2, abs=0.1)
    assert (with_attention - plain_airface()) / 1e6 == pytest.approx(1.4, abs=0.1)


def plain_airface() -> int:
    """Table 1 of the paper, multiplied out row by row."""
    table = [(2, 64, 1, 2), (2, 64, 9, 1), (4, 128, 1, 2), (2, 128, 16, 1), (8, 256, 1, 2), (2, 256, 6, 1)]
    size, channels = 56, 64
    total = 56 * 56 * 64 * 3 * 9 + 56 * 56 * 64 * 9
    for t, c, n, s in table:
        for index in range(n):
            stride = s if index == 0 else 1
            width = channels * t
            total += size * size * channels * width
            size //= stride
            total += size * size * width * (9 + c)
            channels = c
    return total + 49 * 256 * 1024 + 49 * 1024 + 1024 * 512


def test_mobilefacenet_s_slopes_are_what_the_published_count_leaves_out() -> None:
    net = MobileFaceNet()
    slopes = sum(module.weight.numel() for module in net.modules() if isinstance(module, nn.PReLU))
    assert (parameters(net), slopes) == (1_003_136, 7_552)


def test_counting_is_a_hand_count_and_leaves_the_network_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5))
    assert multiply_adds(net, input_px=4) == 2 * 2 * 8 * 27 + 32 * 5
    assert parameters(net) == 8 * 27 + 8 + 16 + 32 * 5 + 5
    assert net.training
    assert net[1].num_batches_tracked is not None and int(net[1].num_batches_tracked) == 0  # type: ignore[arg-type]


def test_the_page_has_the_counts_of_the_code() -> None:
    written = PAGE.read_text(encoding="utf-8")
    for row in ROWS:
        assert comparison_line(row, count(row)) in written
    for name in ("iresnet-34", "mobilefacenet", "edgeface-xs"):
        assert our_line(name) in written
    for name, entry in BACKBONES.items():
        assert f"| {name} | {entry.dimension} | " in written
