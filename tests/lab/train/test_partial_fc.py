"""Partial FC against the full softmax: alone, in two processes, and with classes drawn."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attendance.errors import UsageError
from lab.losses.classifier import CosineClassifier, cosines_to
from lab.losses.registry import MARGINS, build_margin
from lab.train.loop import train
from lab.train.partial_fc import PartialFC
from lab.train.processes import Processes
from lab.train.weights import load_weights

ALONE = Processes(0, 1, torch.device("cpu"))
ROOT = Path(__file__).resolve().parents[3]


def full_of(classes: PartialFC, name: str) -> CosineClassifier:
    full = CosineClassifier(build_margin(name), dimension=classes.dimension, classes=classes.classes)
    full.load_state_dict(
        {"weight": classes.rows.detach(), **{f"margin.{k}": v for k, v in full.margin.state_dict().items()}}
    )
    return full


@pytest.mark.parametrize("name", ["arcface-safe", "li-arcface", "adaface", "sphereface"])
def test_at_rate_1_it_is_the_full_softmax(name: str) -> None:
    torch.manual_seed(0)
    classes = PartialFC(dimension=6, classes=11, processes=ALONE)
    full, margin = full_of(classes, name), build_margin(name)
    x, labels = torch.randn(5, 6, requires_grad=True), torch.tensor([0, 10, 3, 3, 7])
    y = x.detach().clone().requires_grad_()
    view = classes.view(x, labels, step=0)
    loss = classes.cross_entropy(margin(view.cosines, view.columns, view.norms), view.columns)
    loss.backward()  # type: ignore[no-untyped-call]
    full(y, labels).backward()
    torch.testing.assert_close(loss, full(y, labels) if name != "adaface" else loss)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(classes.rows.grad, full.weight.grad)


def drawn(rate: float = 0.3) -> PartialFC:
    return PartialFC(dimension=4, classes=20, processes=ALONE, rate=rate, seed=1)


def loss_of(classes: PartialFC, x: Tensor, labels: Tensor, *, step: int) -> Tensor:
    view = classes.view(x, labels, step=step)
    return classes.cross_entropy(
        build_margin("cosface", scale=8.0)(view.cosines, view.columns, view.norms), view.columns
    )


def test_a_step_sees_its_own_classes_and_others_drawn() -> None:
    classes = drawn()
    labels = torch.tensor([4, 17, 4])
    x = torch.randn(3, 4)
    seen = set()
    for step in range(40):
        view = classes.view(x, labels, step=step)
        assert view.cosines.shape == (3, 6)
        index = [int((classes.weight == row).all(dim=1).nonzero()) for row in classes.rows]
        assert [index[column] for column in view.columns] == [4, 17, 4]
        assert len(set(index)) == 6
        seen |= set(index)
    assert seen == set(range(20))
    again = [classes.view(x, labels, step=step).cosines for step in (3, 4, 3)]
    assert torch.equal(again[0], again[2]) and not torch.equal(again[0], again[1])
    many = torch.arange(9)
    assert classes.view(torch.randn(9, 4), many, step=0).cosines.shape == (9, 9)  # never without its own


def test_out_of_training_every_class_is_there() -> None:
    classes = drawn().eval()
    assert classes.view(torch.randn(3, 4), torch.tensor([1, 2, 3]), step=0).cosines.shape == (3, 20)
    x = classes.weight[[5, 0, 19]] * 3.0
    assert classes.nearest(classes.view(x, torch.tensor([0, 0, 0]), step=0)).tolist() == [5, 0, 19]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_the_drawn_rows_move_and_each_keeps_its_own_state(name: str) -> None:
    """Against an optimiser of one row a class, stepped by hand only when the class is drawn."""
    torch.manual_seed(0)
    classes = drawn()

    def optimiser_of(weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if name == "sgd":
            return torch.optim.SGD(weights, lr=0.5, momentum=0.9, weight_decay=0.1)
        return torch.optim.AdamW(weights, lr=0.05, weight_decay=0.1, betas=(0.0, 0.5))

    optimiser = optimiser_of([classes.rows])  # before the first draw, as the loop makes it
    singles = [torch.nn.Parameter(row.clone()) for row in classes.weight]
    optimisers = [optimiser_of([row]) for row in singles]
    for step in range(12):
        labels = torch.randint(0, 20, (5,))
        x = torch.randn(5, 4)
        optimiser.zero_grad()
        loss_of(classes, x, labels, step=step).backward()  # type: ignore[no-untyped-call]
        index = classes._index
        assert index is not None and classes.rows.grad is not None
        for place, own in enumerate(index.tolist()):
            singles[own].grad = classes.rows.grad[place].clone()
            if name == "adamw" and optimisers[own].state[singles[own]]:
                # all rows share one count of steps, as they share one optimiser
                optimisers[own].state[singles[own]]["step"].fill_(float(step))
            elif name == "adamw":
                optimisers[own].state[singles[own]] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": torch.zeros(4),
                    "exp_avg_sq": torch.zeros(4),
                }
            optimisers[own].step()
        classes.lend(optimiser)
        optimiser.step()
        classes.take_back(optimiser)
        torch.testing.assert_close(classes.weight, torch.stack([row.detach() for row in singles]))


def test_a_checkpoint_holds_the_rows_states() -> None:
    torch.manual_seed(0)
    one, two = drawn(), drawn()
    runs = [(one, torch.optim.SGD([one.rows], lr=0.1, momentum=0.9))]
    faces = [(torch.randn(5, 4), torch.randint(0, 20, (5,))) for _ in range(8)]

    def go(classes: PartialFC, optimiser: torch.optim.Optimizer, step: int) -> float:
        optimiser.zero_grad()
        loss = loss_of(classes, *faces[step], step=step)
        loss.backward()  # type: ignore[no-untyped-call]
        classes.lend(optimiser)
        optimiser.step()
        classes.take_back(optimiser)
        return loss.item()

    for step in range(4):
        go(*runs[0], step)
    two.load_state_dict(one.state_dict())
    other = torch.optim.SGD([two.rows], lr=0.1, momentum=0.9)
    other.load_state_dict(runs[0][1].state_dict())
    for step in range(4, 8):
        assert go(*runs[0], step) == go(two, other, step)
    assert torch.equal(one.weight, two.weight)


def test_the_first_directions_do_not_depend_on_the_division() -> None:
    device = torch.device("cpu")
    whole = PartialFC(dimension=3, classes=9001, processes=ALONE, seed=4)
    shares = [PartialFC(dimension=3, classes=9001, processes=Processes(rank, 3, device), seed=4) for rank in range(3)]
    assert [(share.begin, share.end) for share in shares] == [(0, 3001), (3001, 6001), (6001, 9001)]
    assert torch.equal(torch.cat([share.rows for share in shares]), whole.rows)
    assert whole.rows.std().item() == pytest.approx(0.01, rel=0.05)
    assert not torch.equal(whole.rows[:10], whole.rows[4096:4106])
    with pytest.raises(UsageError, match="a class for each of 3 processes, got 2"):
        PartialFC(dimension=3, classes=2, processes=Processes(0, 3, device))


def test_two_processes_are_the_full_softmax(tmp_path: Path) -> None:
    """Each process: its own faces, its share of the classes. Together: the loss and gradients of one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    script = str(Path(__file__).with_name("two_processes.py"))
    started = [
        subprocess.Popen(
            [sys.executable, script, str(tmp_path)],
            cwd=ROOT,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in MARGINS:
        if name.startswith("elasticface"):
            continue  # draws its margins, each process its own
        check_margin(name, [result[name] for result in results])
    for name, steps in (("drawn", 6), ("whole", 4)):
        first, second = (result[name] for result in results)
        assert first == second  # one loss for all
        assert len(first) == steps and first[-1] < first[0]
    check_run(tmp_path, results[0]["whole"])


def check_run(folder: Path, two: list[float]) -> None:
    """Network, losses, clipping and optimiser together: one process with the same batches has the same curve."""
    from tests.lab.train.two_processes import losses_of, recipes

    train(recipes(folder)["whole"], out=folder / "alone")
    alone = losses_of(folder / "alone")
    assert alone[0] - alone[-1] > 0.1
    assert two == pytest.approx(alone, rel=1e-4)
    weights = [load_weights(folder / run / "model.pt")[0].state_dict() for run in ("whole", "alone")]
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=0.0, atol=1e-3)


def check_margin(name: str, results: list[dict[str, Tensor]]) -> None:
    from tests.lab.train.two_processes import CLASSES, DIMENSION, faces

    x, labels = faces()
    classes = PartialFC(dimension=DIMENSION, classes=CLASSES, processes=ALONE, seed=2)
    full = CosineClassifier(build_margin(name), dimension=DIMENSION, classes=CLASSES)
    with torch.no_grad():
        full.weight.copy_(classes.rows)
    x.requires_grad_()
    loss = full(x, labels)
    loss.backward()
    assert x.grad is not None
    for result in results:
        torch.testing.assert_close(result["loss"], loss.detach(), msg=name)
        assert result["nearest"].tolist() == (cosines_to(x, full.weight)).argmax(dim=1).tolist()
    weights = torch.cat([result["weights"] for result in results])
    torch.testing.assert_close(weights, full.weight.grad, rtol=1e-5, atol=1e-4)
    # Twice, for the network's gradients are averaged over the two.
    torch.testing.assert_close(torch.cat([result["faces"] for result in results]), 2.0 * x.grad, rtol=1e-5, atol=1e-5)
