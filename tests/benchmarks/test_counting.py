"""Multiply-adds, slopes and kept pieces, against values computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import nn

from attendance.detect import pyramid
from attendance.detect.mtcnn import MtcnnDetector
from attendance.images import read_photo
from attendance.nets.dlib_resnet29 import DlibResNet29
from attendance.nets.mtcnn import ONet, PNet, RNet
from benchmarks.counting import Cascade, multiply_adds
from benchmarks.pieces import Measured, Options, Part, keep, kept_pieces, run
from benchmarks.rates import resident_mb, slope
from benchmarks.report import Table
from tests.detect.portraits import portrait_path


def test_a_convolution_and_a_dense_layer_by_hand() -> None:
    # 3x3 of 4 channels to 8, stride 2, 7x9 padded by 1: 4x5 outputs; in two groups each sees 2 channels.
    assert multiply_adds(nn.Conv2d(4, 8, 3, stride=2, padding=1), (1, 4, 7, 9)) == 4 * 5 * 8 * 4 * 9
    assert multiply_adds(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), (5, 4, 7, 9)) == 5 * 4 * 5 * 8 * 2 * 9
    assert multiply_adds(nn.Linear(12, 7), (3, 12)) == 3 * 12 * 7
    assert multiply_adds(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(12, 7), nn.Linear(7, 2)), (1, 3, 4)) == 98


def test_the_published_counts_of_the_networks() -> None:
    assert multiply_adds(DlibResNet29(), (1, 3, 150, 150)) == pytest.approx(270.9e6, rel=1e-3)
    # PNet on one window: 10x10 outputs of 3x3x3 to 10, pooled to 5x5, 3x3 of 10 to 16, 1x1 of 16 to 32, heads.
    assert multiply_adds(PNet(), (1, 3, 12, 12)) == 100 * 270 + 9 * 90 * 16 + 144 * 32 + 32 * 6
    rnet = 22 * 22 * 27 * 28 + 9 * 9 * 28 * 9 * 48 + 3 * 3 * 48 * 4 * 64 + 576 * 128 + 128 * 6
    assert multiply_adds(RNet(), (2, 3, 24, 24)) == 2 * rnet
    convolutions = 46 * 46 * 27 * 32 + 21 * 21 * 32 * 9 * 64 + 8 * 8 * 64 * 9 * 64 + 3 * 3 * 64 * 4 * 128
    assert multiply_adds(ONet(), (1, 3, 48, 48)) == convolutions + 1152 * 256 + 256 * 16


def test_the_cascade_is_its_windows_and_the_crops_that_passed_by() -> None:
    image = read_photo(portrait_path("astronaut"), max_pixels=10**7).image
    detector = MtcnnDetector(min_face_px=80, threads=1)
    cascade = Cascade(detector, min_face_px=80)
    found = cascade.of(image)
    levels = pyramid.levels(image.shape[:2], 80, 0.709)
    windows = sum(multiply_adds(PNet(), (1, 3, level.height, level.width)) for level in levels)
    crops = cascade.crops
    assert crops[48] >= 1 and crops[24] >= crops[48]
    crops_work = sum(crops[s] * multiply_adds(n, (1, 3, s, s)) for s, n in ((24, RNet()), (48, ONet())))
    assert found == windows + crops_work
    assert cascade.of(image) == found
    assert detector.detect([image])[0]


def test_slopes_are_least_squares() -> None:
    assert slope([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0]) == pytest.approx(2.0)
    # By hand: mean x 1, mean y 2; (-1 * -2 + 0 * 1 + 1 * 1) / 2.
    assert slope([0.0, 1.0, 2.0], [0.0, 3.0, 3.0]) == pytest.approx(1.5)
    assert resident_mb() > 10.0


def test_pieces_of_another_stamp_are_not_put_together(tmp_path: Path) -> None:
    keep(tmp_path, "first", "abc", {"value": 1})
    keep(tmp_path, "second", "abd", {"value": 2})
    names = {"first": None, "second": None}
    assert kept_pieces(tmp_path, names, "abc") == {"first": {"value": 1}}
    keep(tmp_path, "second", "abc", {"value": 3})
    assert kept_pieces(tmp_path, names, "abc") == {"first": {"value": 1}, "second": {"value": 3}}


def part(kept: bool) -> Part:
    def conclude(found: object) -> tuple[Measured, Sequence[Table]]:
        return {"promises": {"it": kept}, "found": found}, ()

    pieces = {name: (lambda options, n=name: {"rounds": options.rounds, "name": n}) for name in ("first", "second")}
    return Part(name="thing", title="A thing", pieces=pieces, conclude=conclude, threads=1, needs=lambda options: None)


def test_the_last_piece_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rounds", "3", "--dry", "--piece"]
    assert run(part(True), [*flags, "first"], folder=tmp_path) == 0
    assert "still to be measured: second" in capsys.readouterr().out
    assert run(part(True), [*flags, "second"], folder=tmp_path) == 0
    assert "{'it': True}" in capsys.readouterr().out
    assert run(part(False), [*flags, "second"], folder=tmp_path) == 1


def test_a_part_that_lacks_what_it_needs_says_so_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def needs(options: Options) -> str:
        return "no photos"

    lacking = part(False)
    lacking = Part(lacking.name, lacking.title, lacking.pieces, lacking.conclude, threads=1, needs=needs)
    assert run(lacking, ["--piece", "first"], folder=tmp_path) == 0
    assert "skipped: no photos" in capsys.readouterr().out and not list(tmp_path.iterdir())
