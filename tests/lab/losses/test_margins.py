"""Each margin against its equation, worked out in plain Python for one angle at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attendance.errors import UsageError
from lab.losses.adaface import AdaFace, adaface, quality_of
from lab.losses.angles import angle
from lab.losses.arcface import ArcFace
from lab.losses.elasticface import ElasticFace, draw_margins, elasticface_arc, elasticface_cos, hardest_first
from lab.losses.registry import MARGINS, build_margin
from lab.losses.sphereface import psi

PI = math.pi
Plain = Callable[[float, float], float]  # angle in radians, length of the embedding -> logit


def plain_psi(t: float) -> float:
    """SphereFace's psi at m = 4, by looking for the interval."""
    k = next(k for k in range(4) if k * PI / 4 <= t <= (k + 1) * PI / 4)
    return float((-1) ** k * math.cos(4 * t) - 2 * k)


def cosine(t: float, length: float) -> float:
    return 64.0 * math.cos(t)


# name -> (the own class's logit, another class's); AdaFace at a length that is the mean; ElasticFace out of training
PLAIN: dict[str, tuple[Plain, Plain]] = {
    "n-softmax": (cosine, cosine),
    "sphereface": (lambda t, x: x * plain_psi(t), lambda t, x: x * math.cos(t)),
    "cosface": (lambda t, x: 64.0 * (math.cos(t) - 0.35), cosine),
    "arcface": (lambda t, x: 64.0 * math.cos(t + 0.5), cosine),
    "arcface-safe": (
        lambda t, x: 64.0 * (math.cos(t + 0.5) if t < PI - 0.5 else math.cos(t) - 0.5 * math.sin(PI - 0.5)),
        cosine,
    ),
    "arcface-easy": (lambda t, x: 64.0 * (math.cos(t + 0.5) if t < PI / 2 else math.cos(t)), cosine),
    "li-arcface": (lambda t, x: 64.0 * (PI - 2 * (t + 0.4)) / PI, lambda t, x: 64.0 * (PI - 2 * t) / PI),
    "adaface": (lambda t, x: 64.0 * (math.cos(t) - 0.4), cosine),
    "elasticface-arc": (lambda t, x: 64.0 * math.cos(t + 0.5), cosine),
    "elasticface-arc-plus": (lambda t, x: 64.0 * math.cos(t + 0.5), cosine),
    "elasticface-cos": (lambda t, x: 64.0 * (math.cos(t) - 0.35), cosine),
    "elasticface-cos-plus": (lambda t, x: 64.0 * (math.cos(t) - 0.35), cosine),
    "combined": (lambda t, x: 64.0 * (math.cos(t + 0.3) - 0.2), cosine),
}

ANGLES = (0.1, 0.5, 0.9, 1.2, 1.5, 1.7, 2.0, 2.3, 2.5, 2.7, 2.9, 3.1)
"""None lies on a kink: multiples of pi / 4, pi / 2, pi - 0.5."""
LENGTH = 20.0


def margin_of(name: str) -> torch.nn.Module:
    """Out of training nothing is drawn and nothing is kept; AdaFace's mean length is 20."""
    return build_margin(name).double().eval()


def square(angles: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (N, N) where each row has every angle, each of them once as the own class's; labels, lengths."""
    count = len(angles)
    rows = [[math.cos(angles[(4 * i + j) % count]) for j in range(count)] for i in range(count)]
    labels = (torch.arange(count) + 3) % count
    return torch.tensor(rows, dtype=torch.float64), labels, torch.full((count,), LENGTH, dtype=torch.float64)


def test_every_margin_has_its_equation_here() -> None:
    assert set(PLAIN) == set(MARGINS)


@pytest.mark.parametrize("name", PLAIN)
def test_a_margin_is_its_equation(name: str) -> None:
    cosines, labels, norms = square(ANGLES)
    logits = margin_of(name)(cosines, labels, norms)
    own, other = PLAIN[name]
    for i, row in enumerate(logits.tolist()):
        for j, value in enumerate(row):
            plain = own if j == labels[i] else other
            assert value == pytest.approx(plain(math.acos(float(cosines[i, j])), LENGTH), abs=1e-9)


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_are_right_away_from_the_kinks(name: str) -> None:
    cosines, labels, norms = square(ANGLES)
    margin = margin_of(name)
    assert torch.autograd.gradcheck(lambda x: margin(x, labels, norms), cosines.requires_grad_(), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_and_gradients_are_finite_at_cosines_of_one_and_minus_one(name: str, kind: torch.dtype) -> None:
    cosines = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=kind, requires_grad=True)
    norms = torch.full((2,), LENGTH, dtype=kind)
    for labels in (torch.tensor([0, 0]), torch.tensor([1, 1])):
        logits = build_margin(name).eval()(cosines, labels, norms)
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), cosines)
        assert bool(torch.isfinite(logits).all())
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_worked_out_in_float32(name: str, kind: torch.dtype) -> None:
    cosines, labels, norms = square(ANGLES)
    half = cosines.to(kind)
    logits = build_margin(name).eval()(half, labels, norms.to(kind))
    assert logits.dtype == torch.float32
    # the own class's branch is chosen by the rounded cosine, in both
    expected = margin_of(name)(half.double(), labels, norms)
    torch.testing.assert_close(logits.double(), expected, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_a_class_that_is_not_among_the_columns_changes_nothing(name: str) -> None:
    cosines, labels, norms = square(ANGLES)
    absent = labels.clone()
    absent[3] = -1
    logits = margin_of(name)(cosines, absent, norms)
    _, other = PLAIN[name]
    expected = [other(math.acos(float(c)), LENGTH) for c in cosines[3]]
    assert logits[3].tolist() == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(logits[4], margin_of(name)(cosines, labels, norms)[4])


def own_logits(name: str, *angles: float) -> list[float]:
    """The own class's logit over s at each angle."""
    cosines = torch.cos(torch.tensor(angles, dtype=torch.float64))[:, None]
    labels, norms = torch.zeros(len(angles), dtype=torch.int64), torch.ones(len(angles), dtype=torch.float64)
    logits: Tensor = margin_of(name)(cosines, labels, norms)[:, 0] / 64.0
    return logits.tolist()


@pytest.mark.parametrize(
    ("name", "at", "before", "after"),
    [
        ("arcface", PI - 0.5, -1.0, -1.0),
        ("arcface-safe", PI - 0.5, -1.0, -math.cos(0.5) - 0.5 * math.sin(0.5)),
        ("arcface-easy", PI - 0.5, -math.cos(0.5), -math.cos(0.5)),
        ("arcface-easy", PI / 2, -math.sin(0.5), 0.0),
        ("li-arcface", PI - 0.4, -1.0, -1.0),
    ],
)
def test_values_on_both_sides_of_the_kink(name: str, at: float, before: float, after: float) -> None:
    assert own_logits(name, at - 1e-9, at + 1e-9) == pytest.approx([before, after], abs=1e-7)


def test_the_safe_branch_falls_by_what_its_page_says() -> None:
    before, after = own_logits("arcface-safe", PI - 0.5 - 1e-9, PI - 0.5 + 1e-9)
    assert before - after == pytest.approx(0.1173, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "falls"),
    [("arcface", False), ("arcface-easy", False), ("arcface-safe", True), ("li-arcface", True), ("cosface", True)],
)
def test_which_target_logits_fall_over_the_whole_range(name: str, falls: bool) -> None:
    values = own_logits(name, *(PI * i / 400 for i in range(401)))
    assert all(after < before for before, after in itertools.pairwise(values)) == falls


def test_psi_is_continuous_and_falls() -> None:
    angles = torch.linspace(0.0, PI, 20_001, dtype=torch.float64)
    values = psi(torch.cos(angles), multiple=4)
    steps = values[1:] - values[:-1]
    assert float(steps.max()) < 1e-9
    assert float(steps.min()) > -4.0 * PI / 20_000 * 1.001
    assert float(values[0]) == 1.0
    assert float(values[-1]) == pytest.approx(-7.0)


def test_an_angle_is_exact_where_its_gradient_is_cut() -> None:
    cosines = torch.tensor([1.0, 0.5, -1.0], requires_grad=True)
    angles = angle(cosines)
    assert angles.tolist() == pytest.approx([0.0, PI / 3, PI])
    angles.sum().backward()  # type: ignore[no-untyped-call]
    assert cosines.grad is not None
    assert cosines.grad.tolist() == pytest.approx([-2896.3, -1.0 / math.sqrt(0.75), -2896.3], rel=1e-4)
    assert angle(torch.tensor([1.0 + 1e-6])).item() == 0.0


@pytest.mark.parametrize("length", [0.0, 2.0, 19.0, 20.0, 31.0, 90.0, 5000.0])
def test_adaface_is_its_equations(length: float) -> None:
    mean, deviation, t = 20.0, 10.0, 1.1
    clipped = min(max(length, 0.001), 100.0)
    z = min(max((clipped - mean) / (deviation + 0.001) * 0.333, -1.0), 1.0)
    quality = quality_of(
        torch.tensor([length], dtype=torch.float64), torch.tensor(mean), torch.tensor(deviation), concentration=0.333
    )
    assert float(quality) == pytest.approx(z)
    cosines = torch.tensor([[math.cos(t), 0.2]], dtype=torch.float64)
    logits = adaface(cosines, torch.tensor([0]), quality, scale=64.0, margin=0.4)
    assert logits.tolist()[0] == pytest.approx([64.0 * (math.cos(t - 0.4 * z) - 0.4 * z - 0.4), 64.0 * 0.2])


def test_adaface_keeps_statistics_in_training_only() -> None:
    margin = AdaFace(momentum=0.25)
    cosines, labels, norms = torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.tensor([10.0, 14.0, 18.0])
    margin.eval()(cosines, labels, norms)
    assert (float(margin.mean), float(margin.deviation)) == (20.0, 100.0)
    margin.train()(cosines, labels, norms)
    assert float(margin.mean) == pytest.approx(0.25 * 14.0 + 0.75 * 20.0)
    assert float(margin.deviation) == pytest.approx(0.25 * 4.0 + 0.75 * 100.0)
    assert set(margin.state_dict()) == {"mean", "deviation"}
    margin(cosines[:1], labels[:1], norms[:1])  # one sample has no deviation: nothing moves
    assert float(margin.mean) == pytest.approx(18.5)


def test_adaface_s_margin_carries_no_gradient_to_the_length() -> None:
    norms = torch.tensor([10.0, 30.0], requires_grad=True)
    cosines = torch.tensor([[0.5, 0.1], [0.2, 0.4]], requires_grad=True)
    logits = AdaFace()(cosines, torch.tensor([0, 1]), norms)
    (gradient,) = torch.autograd.grad(logits.sum(), norms, allow_unused=True)
    assert gradient is None


def test_sphereface_blends_as_annealing_does() -> None:
    margin = build_margin("sphereface", blend=3.0)
    logit = margin(torch.tensor([[math.cos(1.0)]]), torch.tensor([0]), torch.tensor([2.0]))
    assert float(logit) == pytest.approx(2.0 * (3.0 * math.cos(1.0) + plain_psi(1.0)) / 4.0, rel=1e-5)
    with pytest.raises(UsageError, match="got 0"):
        build_margin("sphereface", multiple=0)


def test_sphereface_s_length_has_a_gradient() -> None:
    norms = torch.tensor([2.0], requires_grad=True)
    build_margin("sphereface")(torch.tensor([[0.9, 0.1]]), torch.tensor([1]), norms).sum().backward()
    assert norms.grad is not None
    assert float(norms.grad) == pytest.approx(0.9 + plain_psi(math.acos(0.1)), rel=1e-5)


def test_elasticface_uses_each_sample_s_own_margin() -> None:
    cosines = torch.tensor([[0.3, 0.1], [0.2, -0.4]], dtype=torch.float64)
    margins, labels = torch.tensor([0.5, 0.2], dtype=torch.float64), torch.tensor([0, 1])
    arc = elasticface_arc(cosines, labels, margins, scale=2.0)
    cos = elasticface_cos(cosines, labels, margins, scale=2.0)
    assert arc[0, 0] == pytest.approx(2.0 * math.cos(math.acos(0.3) + 0.5))
    assert arc[1, 1] == pytest.approx(2.0 * math.cos(math.acos(-0.4) + 0.2))
    assert cos[1].tolist() == pytest.approx([0.4, 2.0 * (-0.4 - 0.2)])


@pytest.mark.parametrize("draw", ["gaussian", "uniform"])
def test_drawn_margins_have_the_mean_and_deviation_asked_for(draw: str) -> None:
    torch.manual_seed(0)
    margins = draw_margins(torch.empty(200_000), mean=0.35, deviation=0.05, draw=draw)  # type: ignore[arg-type]
    assert float(margins.mean()) == pytest.approx(0.35, abs=5e-4)
    assert float(margins.std()) == pytest.approx(0.05, abs=5e-4)
    if draw == "uniform":
        assert float((margins - 0.35).abs().max()) <= 0.05 * math.sqrt(3.0) + 1e-6


def test_the_sorted_variant_gives_the_hardest_sample_the_largest_margin() -> None:
    margins = torch.tensor([0.1, 0.4, 0.2, 0.3])
    target = torch.tensor([0.5, -0.2, 0.9, 0.1])  # hardest: 1, 3, 0, 2
    assert hardest_first(margins, target).tolist() == pytest.approx([0.2, 0.4, 0.1, 0.3])


def test_elasticface_draws_in_training_from_the_generator_that_a_checkpoint_keeps() -> None:
    cosines, labels, norms = square(ANGLES)
    margin = ElasticFace("arc", deviation=0.05).double()
    torch.manual_seed(7)
    first = margin(cosines, labels, norms)
    second = margin(cosines, labels, norms)
    torch.manual_seed(7)
    torch.testing.assert_close(margin(cosines, labels, norms), first, rtol=0.0, atol=0.0)
    assert not torch.equal(first, second)
    ordered = ElasticFace("cos", ordered=True, deviation=0.05).double()(cosines, labels, norms)
    taken = (64.0 * cosines - ordered)[torch.arange(len(labels)), labels]
    order = cosines[torch.arange(len(labels)), labels].argsort()
    assert bool((taken[order].diff() <= 0).all())


def test_combined_is_the_other_three_at_its_corners() -> None:
    cosines, labels, norms = square(ANGLES)
    for name, margins in (("arcface", (1.0, 0.5, 0.0)), ("cosface", (1.0, 0.0, 0.35)), ("n-softmax", (1.0, 0.0, 0.0))):
        combined = build_margin("combined", margins=margins)(cosines, labels, norms)
        torch.testing.assert_close(combined, margin_of(name)(cosines, labels, norms))


def test_combined_multiplies_adds_and_subtracts() -> None:
    cosines, labels, norms = square(ANGLES)
    logits = build_margin("combined", margins=(1.35, 0.2, 0.1))(cosines, labels, norms)
    for i, label in enumerate(labels.tolist()):
        expected = 64.0 * (math.cos(1.35 * math.acos(float(cosines[i, label])) + 0.2) - 0.1)
        assert float(logits[i, label]) == pytest.approx(expected, abs=1e-9)


def test_wrong_names_and_numbers_are_told() -> None:
    with pytest.raises(UsageError, match=r"got 'arcfac': there are n-softmax, sphereface, cosface"):
        build_margin("arcfac")
    with pytest.raises(UsageError, match=r"margin arcface: .* got \['marign'\]"):
        build_margin("arcface", marign=0.5)
    assert isinstance(build_margin("arcface-safe", margin=0.3), ArcFace)
