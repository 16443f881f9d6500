"""The loop's parts against their formulas, worked out plainly."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attendance.errors import UsageError
from lab.nets.mobilefacenet import MobileFaceNet
from lab.train.compiling import compiled
from lab.train.distil import Distil, angle_loss, distance_loss, feature_loss
from lab.train.ema import Ema
from lab.train.objective import Objective
from lab.train.optimise import Stepper, build_optimiser, set_rates
from lab.train.processes import Processes
from lab.train.recipe import Anneal, Distillation, Optimiser, Schedule, Stage
from lab.train.schedule import rate_factor, stage_steps
from lab.train.validate import all_pairs, few_of_each, verification

ALONE = Processes(0, 1, torch.device("cpu"))


def factors(steps: int, *, steps_per_epoch: int = 1, **how: Any) -> list[float]:
    schedule = Schedule(**how)
    return [rate_factor(schedule, step, steps=steps, steps_per_epoch=steps_per_epoch) for step in range(steps)]


def test_steps_fall_at_their_milestones() -> None:
    """0.1 at epochs 20, 28, 32 of 34, ten steps each; and at 18k, 26k, 29k of 30k iterations."""
    by_epoch = factors(340, steps_per_epoch=10, kind="step", milestones=(20, 28, 32))
    assert [by_epoch[at] for at in (0, 199, 200, 279, 280, 319, 320, 339)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    by_step = factors(30000, steps_per_epoch=488, kind="step", unit="iterations", milestones=(18000, 26000, 29000))
    assert [by_step[at] for at in (17999, 18000, 25999, 26000, 28999, 29000)] == pytest.approx(
        [1, 0.1, 0.1, 0.01, 0.01, 0.001]
    )


def test_cosine_and_poly_fall_from_one_to_least() -> None:
    cosine = factors(100, kind="cosine", least=0.2)
    poly = factors(100, kind="poly", power=2.0)
    for step in range(100):
        assert cosine[step] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * step / 100)) / 2)
        assert poly[step] == pytest.approx((1 - step / 100) ** 2)
    assert factors(5) == [1.0] * 5


def test_warm_up_rises_in_a_line_and_the_rest_begins_after_it() -> None:
    warm = factors(24, steps_per_epoch=4, kind="cosine", warmup=1)
    assert warm[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert warm[4:] == pytest.approx([(1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)])
    assert max(factors(6, kind="constant", unit="iterations", warmup=10)) < 1.0


def test_the_length_of_a_stage() -> None:
    losses = [{"loss": "softmax"}]
    assert stage_steps(Stage.model_validate({"iterations": 7, "losses": losses}), 100) == 7
    assert stage_steps(Stage.model_validate({"epochs": 1.5, "losses": losses}), 100) == 150
    assert stage_steps(Stage.model_validate({"epochs": 0.001, "losses": losses}), 100) == 1


def test_annealing_falls_to_its_least() -> None:
    """SphereFace's own numbers: max(5, 1000 / (1 + 0.12 i))."""
    anneal = Anneal(number="blend", start=1000.0, rate=0.12, least=5.0)
    assert [anneal.at(step) for step in (0, 100, 10_000)] == pytest.approx([1000.0, 1000.0 / 13.0, 5.0])


def objective_of(*names: str, anneal: dict[str, Any] | None = None) -> Objective:
    terms = [{"loss": name, "anneal": anneal} for name in names]
    stage = Stage.model_validate({"iterations": 1, "losses": terms})
    return Objective((stage,), dimension=8, classes=5, processes=ALONE)


def test_a_loss_is_annealed_in_training_only() -> None:
    objective = objective_of("sphereface", anneal={"number": "blend", "start": 100.0, "rate": 1.0, "least": 5.0})
    x, labels = torch.randn(3, 8), torch.tensor([0, 1, 2])
    objective(0, x, labels, step=3)
    assert objective.margins["0-0"].blend == pytest.approx(25.0)
    objective.eval()(0, x, labels, step=0)
    assert objective.margins["0-0"].blend == pytest.approx(25.0)
    with pytest.raises(UsageError, match="cosface has no number 'blend'"):
        objective_of("cosface", anneal={"number": "blend", "start": 100.0, "rate": 1.0, "least": 5.0})


@pytest.mark.parametrize("name", ["softmax", "center", "cosface"])
def test_out_of_training_an_objective_says_whom_it_takes_each_face_for(name: str) -> None:
    torch.manual_seed(0)
    objective = objective_of(name).eval()
    x = torch.randn(6, 8)
    value = objective(0, x, torch.tensor([0, 1, 2, 3, 4, 0]), step=0)
    if objective.classes is not None:
        directions = objective.classes.weight.detach()
        want = [int(torch.cosine_similarity(row[None], directions).argmax()) for row in x]
    else:
        softmax: Any = objective.others["0-0"] if name == "softmax" else objective.others["0-0"].softmax
        want = [int(scores.argmax()) for scores in softmax.linear(x)]
    assert value.nearest is not None and value.nearest.tolist() == want


def decays(how: Optimiser, net: nn.Module) -> dict[str, float]:
    """Weight decay by weight, as the optimiser has it."""
    optimiser = build_optimiser(how, net, objective_of("cosface"), nn.Identity())
    names = {id(weight): name for name, weight in net.named_parameters()}
    return {
        names.get(id(weight), "classes"): group["weight_decay"]
        for group in optimiser.param_groups
        for weight in group["params"]
    }


def test_the_last_layer_s_weight_decay_is_ten_times_the_others() -> None:
    net = MobileFaceNet(dimension=8, input_px=32)
    found = decays(Optimiser(weight_decay=5e-4, decay_factors={"head.3.weight": 10.0}), net)
    assert found.pop("head.3.weight") == pytest.approx(5e-3)
    assert set(found) == {name for name, _ in net.named_parameters() if name != "head.3.weight"} | {"classes"}
    assert set(found.values()) == {5e-4}
    without = decays(Optimiser(weight_decay=0.05, decay_vectors=False, decay_factors={"head.*": 2.0}), net)
    for name, weight in net.named_parameters():
        want = 0.0 if weight.ndim < 2 else 0.1 if name.startswith("head.") else 0.05
        assert without[name] == pytest.approx(want)
    with pytest.raises(UsageError, match=r"no weight fits 'tail\.\*'"):
        decays(Optimiser(decay_factors={"tail.*": 2.0}), net)


def test_directions_may_learn_faster_than_the_network() -> None:
    net, objective = nn.Linear(4, 8), objective_of("cosface")
    optimiser = build_optimiser(Optimiser(rate=0.1, class_rate_factor=10.0), net, objective, nn.Identity())
    set_rates(optimiser, 0.5)
    assert {group["part"]: group["lr"] for group in optimiser.param_groups} == pytest.approx(
        {"net": 0.05, "classes": 0.5}
    )


def test_a_step_is_clipped_sgd_with_momentum() -> None:
    """Against the formulas: g <- g min(1, 1 / |g|) + wd w, m <- 0.9 m + g, w <- w - 0.1 m."""
    torch.manual_seed(0)
    net, objective = nn.Linear(4, 8, bias=False), objective_of("softmax")
    how = Optimiser(rate=0.1, momentum=0.9, weight_decay=0.01, clip_norm=1.0)
    optimiser = build_optimiser(how, net, objective, nn.Identity())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    stepper = Stepper(optimiser, net, objective, nn.Identity(), scaler=scaler, clip_norm=how.clip_norm)
    x, labels = 20.0 * torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 4, 0])
    weight = net.weight.detach().clone()
    momentum = torch.zeros_like(weight)
    for step in range(3):
        probe = weight.clone().requires_grad_()
        twin = deepcopy(objective)
        twin(0, x @ probe.T, labels, step=step).loss.backward()
        assert probe.grad is not None
        clipped = probe.grad * min(1.0, 1.0 / (float(probe.grad.norm()) + 1e-6))
        momentum = 0.9 * momentum + clipped + 0.01 * weight
        weight = weight - 0.1 * momentum
        stepper.step(objective(0, net(x), labels, step=step).loss)
        torch.testing.assert_close(net.weight.detach(), weight)


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
    net, objective = nn.Linear(4, 8), objective_of("cosface")
    optimiser = build_optimiser(Optimiser(rate=0.1), net, objective, nn.Identity())
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=2.0**10)
    stepper = Stepper(optimiser, net, objective, nn.Identity(), scaler=scaler, clip_norm=5.0)
    before = net.weight.detach().clone()
    stepper.step(net(torch.full((2, 4), 1e30)).square().sum())
    assert torch.equal(net.weight, before) and scaler.get_scale() == 2.0**9
    stepper.step(objective(0, net(torch.randn(2, 4)), torch.tensor([0, 1]), step=0).loss)
    assert not torch.equal(net.weight, before)


def test_the_running_mean_follows_weights_and_statistics() -> None:
    linear = nn.Linear(2, 2)
    net = nn.Sequential(linear, nn.BatchNorm1d(2)).train()
    ema = Ema(net, decay=0.9)
    want = {key: value.clone() for key, value in net.state_dict().items()}
    for _ in range(3):
        with torch.no_grad():
            linear.weight.add_(1.0)
            net(torch.randn(4, 2))
        ema.follow(net)
        for key, value in net.state_dict().items():
            want[key] = 0.9 * want[key] + 0.1 * value if value.is_floating_point() else value.clone()
    for key, value in ema.net.state_dict().items():
        torch.testing.assert_close(value, want[key])
    assert not ema.net.training and not any(weight.requires_grad for weight in ema.net.parameters())


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x))


def huber(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1.0 else abs(x) - 0.5


def test_distillation_is_worked_out_face_by_face() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    s, t = ([unit(row) for row in x.numpy()] for x in (student, teacher))
    same = torch.randn(5, 3, dtype=torch.float64)
    cosines = [float(a @ unit(b)) for a, b in zip(s, same.numpy(), strict=True)]
    assert feature_loss(student, same).item() == pytest.approx(np.mean([1 - c for c in cosines]))

    def distances(x: list[np.ndarray]) -> dict[tuple[int, int], float]:
        raw = {(i, j): float(np.linalg.norm(x[i] - x[j])) for i in range(5) for j in range(5)}
        mean = sum(raw.values()) / 20
        return {key: value / mean for key, value in raw.items()}

    one, two = distances(s), distances(t)
    want = np.mean([huber(one[key] - two[key]) for key in one])
    assert distance_loss(student, teacher).item() == pytest.approx(want, rel=1e-4)

    def angle(x: list[np.ndarray], j: int, i: int, k: int) -> float:
        return 0.0 if j in (i, k) else float(unit(x[i] - x[j]) @ unit(x[k] - x[j]))

    triples = [(j, i, k) for j in range(5) for i in range(5) for k in range(5)]
    want = np.mean([huber(angle(s, *triple) - angle(t, *triple)) for triple in triples])
    assert angle_loss(student, teacher).item() == pytest.approx(want, rel=1e-4)
    for loss in (distance_loss, angle_loss):
        assert loss(student, 3.0 * student).item() == pytest.approx(0.0, abs=1e-12)
        x = student.clone().requires_grad_()
        loss(x, teacher).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None and bool(torch.isfinite(x.grad).all())


def test_a_share_of_the_teachers_mean_is_taken_off() -> None:
    teacher, mean = torch.tensor([[3.0, 1.0], [3.0, -1.0]]), torch.tensor([3.0, 0.0])
    student = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    for centre in (0.0, 0.5, 1.0):
        distil = Distil(Distillation(feature=1.0, centre=centre), student=2, teacher=2, mean=mean)
        want = feature_loss(student, teacher - centre * mean)
        assert distil(student, teacher).item() == pytest.approx(want.item())
        assert not distil.state_dict()
    assert want.item() == pytest.approx((0.0 + 1.0) / 2)


def test_one_stranger_with_many_photos_counts_as_five() -> None:
    labels = np.array([7] * 3 + [4] * 101 + [9] * 2)
    kept = few_of_each(np.arange(2, 106), labels)
    assert kept.tolist() == [2, 3, 28, 53, 78, 103, 104, 105]


def test_verification_of_all_pairs() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
    scores, same = all_pairs(vectors, np.array([0, 0, 1, 1]))
    assert same.tolist() == [True, False, False, False, False, True]
    assert scores[0] == pytest.approx(2.0 / math.hypot(2.0, 0.1))
    figures = verification(scores, same)
    assert figures == {"auc": 1.0, "eer": 0.0, "tar_at_far": {}, "pairs": 6}
    ten = verification(np.tile(scores, 10), np.tile(same, 10), np.repeat(np.arange(10), 6))
    assert ten["accuracy"] == 1.0 and ten["tar_at_far"] == {"1e-1": 1.0}


def test_a_network_is_compiled_where_the_machine_can(caplog: pytest.LogCaptureFixture) -> None:
    net, device = torch.nn.Linear(2, 2), torch.device("cpu")
    wrapped: list[object] = []

    def compiler(what: Any) -> Any:
        wrapped.append(what)
        return torch.nn.Sequential(what) if isinstance(what, torch.nn.Module) else what

    made = compiled(net, device, compiler=compiler)
    assert isinstance(made, torch.nn.Sequential) and made[0] is net and wrapped[-1] is net
    assert caplog.text == ""

    def nothing(_: Any) -> Any:
        def call(*_: Any) -> Any:
            raise RuntimeError("no C++ compiler\nwas found")

        return call

    assert compiled(net, device, compiler=nothing) is net
    assert "the network runs as it is: no C++ compiler was found" in caplog.text
