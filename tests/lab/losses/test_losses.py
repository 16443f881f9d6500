"""The losses as a training loop calls them: embeddings (N, D) and labels (N,) to a scalar."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from attendance.errors import UsageError
from lab.losses.center import CenterLoss
from lab.losses.classifier import CosineClassifier, cosines_to
from lab.losses.registry import LOSSES, build_loss
from lab.losses.softmax import Softmax
from lab.losses.triplet import Triplet

EMBEDDINGS = torch.tensor(
    [[3.0, 0.5, -1.0], [2.0, 0.9, 0.1], [-0.5, 2.0, 1.0], [-1.5, 1.0, 1.0], [0.2, -1.0, 4.0]], dtype=torch.float64
)
LABELS = torch.tensor([0, 0, 1, 1, 2])


def plain_cross_entropy(logits: list[list[float]], labels: list[int]) -> float:
    losses = [-math.log(math.exp(row[y]) / sum(map(math.exp, row))) for row, y in zip(logits, labels, strict=True)]
    return sum(losses) / len(losses)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def plain_squared_distance(a: list[float], b: list[float]) -> float:
    unit_a = [x / math.sqrt(dot(a, a)) for x in a]
    unit_b = [x / math.sqrt(dot(b, b)) for x in b]
    return sum((x - y) ** 2 for x, y in zip(unit_a, unit_b, strict=True))


def test_softmax_is_its_equation() -> None:
    loss = Softmax(dimension=3, classes=4).double()
    weights, bias = loss.linear.weight.tolist(), loss.linear.bias.tolist()
    logits = [[dot(w, x) + b for w, b in zip(weights, bias, strict=True)] for x in EMBEDDINGS.tolist()]
    assert loss(EMBEDDINGS, LABELS).item() == pytest.approx(plain_cross_entropy(logits, LABELS.tolist()))


def test_a_margin_s_loss_is_the_cross_entropy_of_its_logits() -> None:
    loss = build_loss("cosface", dimension=3, classes=4, scale=8.0).double()
    assert isinstance(loss, CosineClassifier)
    logits: list[list[float]] = []
    for x, y in zip(EMBEDDINGS.tolist(), LABELS.tolist(), strict=True):
        cosines = [dot(w, x) / math.sqrt(dot(w, w) * dot(x, x)) for w in loss.weight.tolist()]
        logits.append([8.0 * (c - 0.35 * (j == y)) for j, c in enumerate(cosines)])
    assert loss(EMBEDDINGS, LABELS).item() == pytest.approx(plain_cross_entropy(logits, LABELS.tolist()))


def test_center_loss_is_its_equation_and_moves_its_centers_after_it() -> None:
    loss = CenterLoss(dimension=3, classes=4, weight=0.5, rate=0.25).double()
    loss.centers.copy_(torch.arange(12.0).reshape(4, 3))
    centers, x, labels = loss.centers.tolist(), EMBEDDINGS.tolist(), LABELS.tolist()
    squares = [sum((a - c) ** 2 for a, c in zip(x[i], centers[y], strict=True)) for i, y in enumerate(labels)]
    expected = loss.softmax(EMBEDDINGS, LABELS).item() + 0.5 * 0.5 * sum(squares) / len(squares)
    moved = [list(row) for row in centers]
    for j in range(4):
        own = [x[i] for i, y in enumerate(labels) if y == j]
        for k in range(3):
            moved[j][k] += 0.25 * sum(a[k] - centers[j][k] for a in own) / (1 + len(own))
    assert loss.eval()(EMBEDDINGS, LABELS).item() == pytest.approx(expected)
    assert loss.centers.tolist() == centers
    assert loss.train()(EMBEDDINGS, LABELS).item() == pytest.approx(expected)
    torch.testing.assert_close(loss.centers, torch.tensor(moved, dtype=torch.float64))
    assert "centers" in loss.state_dict()


def plain_batch_hard(x: list[list[float]], labels: list[int], margin: float) -> float:
    losses = []
    for a, y in enumerate(labels):
        positives = [plain_squared_distance(x[a], x[p]) for p, other in enumerate(labels) if other == y and p != a]
        negatives = [plain_squared_distance(x[a], x[n]) for n, other in enumerate(labels) if other != y]
        if positives and negatives:
            losses.append(max(0.0, max(positives) - min(negatives) + margin))
    return sum(losses) / len(losses)


def plain_semi_hard(x: list[list[float]], labels: list[int], margin: float) -> float:
    losses = []
    for a, y in enumerate(labels):
        negatives = [plain_squared_distance(x[a], x[n]) for n, other in enumerate(labels) if other != y]
        for p, other in enumerate(labels):
            if other != y or p == a or not negatives:
                continue
            positive = plain_squared_distance(x[a], x[p])
            farther = [d for d in negatives if d > positive]
            losses.append(max(0.0, positive - (min(farther) if farther else max(negatives)) + margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("margin", [0.2, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_triplets_are_chosen_and_weighed_as_in_a_plain_loop(seed: int, margin: float) -> None:
    torch.manual_seed(seed)
    x, labels = torch.randn(9, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    hard, semi = Triplet("batch-hard", margin=margin), Triplet("semi-hard", margin=margin)
    assert hard(x, labels).item() == pytest.approx(plain_batch_hard(x.tolist(), labels.tolist(), margin))
    assert semi(x, labels).item() == pytest.approx(plain_semi_hard(x.tolist(), labels.tolist(), margin))
    for loss in (hard, semi):
        assert torch.autograd.gradcheck(lambda e, loss=loss: loss(e, labels), x.clone().requires_grad_())


@pytest.mark.parametrize("mining", ["batch-hard", "semi-hard"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_a_batch_without_triplets_costs_nothing_and_still_has_a_gradient(mining: str, labels: list[int]) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    loss = Triplet(mining)(x, torch.tensor(labels))  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad is not None and x.grad.abs().sum().item() == 0.0


def test_cosines_stay_within_one_and_survive_extreme_lengths() -> None:
    directions = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    for length in (1e-6, 1.0, 1e4):
        for kind in (torch.float32, torch.float16, torch.bfloat16):
            x = (torch.ones(1, 3) * length).to(kind)
            torch.testing.assert_close(cosines_to(x, directions), torch.tensor([[1.0, -1.0]]), rtol=0.0, atol=1e-6)
    assert cosines_to(torch.zeros(1, 3), directions).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_give_the_same_loss_and_a_finite_gradient(name: str, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    loss = build_loss(name, dimension=3, classes=4).eval()
    half = EMBEDDINGS.to(kind).requires_grad_()
    with torch.autocast("cpu", dtype=kind):
        value = loss(half, LABELS)
    value.backward()
    assert value.dtype == torch.float32
    assert half.grad is not None and bool(torch.isfinite(half.grad).all())
    rounded = half.detach().double()
    # bfloat16 products have 8 bits: 64 times a cosine off by 0.004
    assert value.item() == pytest.approx(loss.double()(rounded, LABELS).item(), rel=0.02, abs=0.3)


@pytest.mark.parametrize("name", LOSSES)
def test_zero_embeddings_do_not_break_a_run(name: str) -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    value = build_loss(name, dimension=3, classes=2)(x, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert bool(torch.isfinite(value))
    assert x.grad is not None and bool(torch.isfinite(x.grad).all())


def photos_of_people() -> tuple[Tensor, Tensor]:
    """Six people, four noisy vectors each."""
    torch.manual_seed(1)
    people = torch.randn(6, 1, 12)
    return (people + 0.5 * torch.randn(6, 4, 12)).reshape(24, 12), torch.arange(6).repeat_interleave(4)


@pytest.mark.parametrize("name", LOSSES)
def test_training_lowers_every_loss(name: str) -> None:
    photos, labels = photos_of_people()
    net, loss = nn.Linear(12, 8), build_loss(name, dimension=8, classes=6)
    optimizer = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=0.02)
    values: list[float] = []
    for _ in range(25):
        optimizer.zero_grad()
        value = loss(net(photos), labels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert all(map(math.isfinite, values))
    assert values[-1] < 0.7 * values[0]


def test_a_wrong_name_or_dimension_is_told() -> None:
    with pytest.raises(UsageError, match=r"got 'arc': there are softmax, center, n-softmax"):
        build_loss("arc", dimension=3, classes=2)
    for name in ("softmax", "cosface", "center"):
        with pytest.raises(UsageError, match=r"shape \(N, 3\), got \(2, 5\)"):
            build_loss(name, dimension=3, classes=2)(torch.zeros(2, 5), torch.tensor([0, 1]))
