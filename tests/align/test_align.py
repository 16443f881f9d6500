"""Alignment against an independent least-squares solver, ramps, checkerboards and arithmetic by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.optimize import least_squares

from attendance.align import align, arcface_112, dlib_150, facenet_160, quality_chips, similarity_transforms
from attendance.errors import ImageError
from attendance.types import Alignment, Face, Float32, Float64, RGBImage


def face(points: Float32 | Float64, box: tuple[float, ...] = (0, 0, 1, 1)) -> Face:
    return Face(box=np.array(box, np.float32), score=0.9, points=np.asarray(points, np.float32))


def template_of(alignment: Alignment) -> Float32:
    assert alignment.template is not None
    return alignment.template


def turned(scale: float, angle: float) -> Float64:
    """The matrix that turns by ``angle`` and scales."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale


def placed(alignment: Alignment, *, scale: float, angle: float, shift: tuple[float, float]) -> Float64:
    """The template's points turned, scaled and shifted: where a face would lie in an image."""
    points: Float64 = template_of(alignment).astype(np.float64) @ turned(scale, angle).T + np.array(shift)
    return points


def solved(points: Float64, template: Float32) -> Float64:
    """The best similarity by a general solver over scale, angle and shift."""

    def misses(p: Float64) -> Float64:
        left: Float64 = (points @ turned(p[0], p[1]).T + p[2:] - template).ravel()
        return left

    starts = [np.array([1.0, angle, 0.0, 0.0]) for angle in (0.0, 2.0, 4.0)]
    fits = [least_squares(misses, start, xtol=1e-14, ftol=1e-14) for start in starts]
    best: Float64 = min(fits, key=lambda fit: float(fit.cost)).x
    return np.column_stack([turned(best[0], best[1]), best[2:]])


@pytest.mark.parametrize("seed", range(5))
def test_the_transform_is_the_least_squares_similarity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alignment = (arcface_112(), dlib_150(0.2))[seed % 2]
    points = placed(alignment, scale=rng.uniform(0.3, 6), angle=rng.uniform(-3, 3), shift=(40.0, -15.0))
    points = (points + rng.normal(0, 6, points.shape)).astype(np.float32).astype(np.float64)
    got = similarity_transforms(points[None].astype(np.float32), template_of(alignment))[0]
    np.testing.assert_allclose(got, solved(points, template_of(alignment)), atol=1e-5)


def test_a_mirrored_face_is_turned_and_never_reflected() -> None:
    points = template_of(arcface_112()) * np.array([-1.0, 1.0], np.float32)
    matrix = similarity_transforms(points[None], template_of(arcface_112()))[0]
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, solved(points.astype(np.float64), template_of(arcface_112())), atol=1e-4)


def test_points_on_the_template_leave_the_picture_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    chip = align(image, [face(template_of(arcface_112()))], arcface_112())
    np.testing.assert_array_equal(chip[0], image)


def ramps(height: int, width: int) -> RGBImage:
    """Red rises by 1 every 4 columns, green by 1 every 4 rows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) // 4
    image[..., 1] = (np.arange(height) // 4)[:, None]
    return image


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 3.0, 5.2])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_every_output_pixel_shows_its_place_in_the_image(scale: float, angle: float) -> None:
    alignment = dlib_150(0.2)
    points = placed(alignment, scale=scale, angle=angle, shift=(400.0, 60.0))
    chip = align(ramps(1020, 1020), [face(points)], alignment)[0].astype(np.float64)
    for row, column in ((10, 12), (75, 75), (140, 20), (30, 110)):
        x, y = turned(scale, angle) @ np.array([column, row]) + np.array([400.0, 60.0])
        # The ramp's steps stand for the interval that they begin: 1.5 columns behind its middle.
        assert chip[row, column, 0] == pytest.approx((x - 1.5) / 4, abs=1.2)
        assert chip[row, column, 1] == pytest.approx((y - 1.5) / 4, abs=1.2)


def test_half_pixels_are_right_where_it_shrinks() -> None:
    """An edge between columns 299 and 300 shrunk by exactly 3 lies between output columns."""
    image = np.zeros((600, 600, 3), np.uint8)
    image[:, 300:] = 240
    points = template_of(dlib_150(0.2)).astype(np.float64) * 3 + 1.0
    chip = align(image, [face(points)], dlib_150(0.2))[0]
    # Output column c is the mean of the columns 3 c ... 3 c + 2: 1 lies in the middle of column 0.
    assert chip[75, 99, 0] == 0 and chip[75, 100, 0] == 240


@pytest.mark.parametrize("shrink", [2.0, 2.6, 3.3, 7.1, 14.9])
def test_a_fine_checkerboard_becomes_grey_instead_of_a_pattern(shrink: float) -> None:
    side = int(150 * shrink) + 60
    board = ((np.indices((side, side)).sum(axis=0) % 2) * 255).astype(np.uint8)
    points = placed(dlib_150(0.2), scale=shrink, angle=0.1, shift=(40.0, 20.0))
    chip = align(np.repeat(board[..., None], 3, axis=2), [face(points)], dlib_150(0.2))[0]
    inside = chip[10:120, 20:140].astype(np.float64)
    assert inside.std() < 20.0
    assert inside.mean() == pytest.approx(127.5, abs=2.0)


@pytest.mark.parametrize("shift", [(-60.0, 30.0), (220.0, 230.0), (-400.0, -400.0)])
def test_beyond_the_image_the_edge_goes_on(shift: tuple[float, float]) -> None:
    image = np.full((300, 300, 3), (10, 120, 200), np.uint8)
    points = placed(arcface_112(), scale=1.5, angle=0.3, shift=shift)
    chip = align(image, [face(points)], arcface_112())[0]
    assert (chip == np.array([10, 120, 200])).all()


def test_several_faces_of_one_image_stay_in_order() -> None:
    image = np.random.default_rng(1).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    faces = [
        face(placed(arcface_112(), scale=s, angle=a, shift=(90.0 * s, 50.0))) for s, a in ((0.5, 0.2), (2, 0), (1, 1))
    ]
    together = align(image, faces, arcface_112())
    assert together.shape == (3, 112, 112, 3) and together.dtype == np.uint8
    for chip, single in zip(together, faces, strict=True):
        np.testing.assert_array_equal(chip, align(image, [single], arcface_112())[0])


@pytest.mark.parametrize("alignment", [arcface_112(), dlib_150(), facenet_160(14)], ids=["arcface", "dlib", "facenet"])
def test_no_faces_give_no_chips(alignment: Alignment) -> None:
    chips = align(np.zeros((20, 30, 3), np.uint8), [], alignment)
    assert chips.shape == (0, alignment.size_px, alignment.size_px, 3) and chips.dtype == np.uint8


@pytest.mark.parametrize(
    "points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.array([[np.inf, 0]] * 5)], ids=["equal", "nan", "inf"]
)
def test_points_that_say_nothing_are_refused(points: Float64) -> None:
    good = face(template_of(arcface_112()))
    with pytest.raises(ImageError, match=r"five separate points.*face 1") as caught, np.errstate(invalid="ignore"):
        align(np.zeros((50, 50, 3), np.uint8), [good, face(points)], arcface_112())
    assert caught.value.reason == "low_quality"


@pytest.mark.parametrize(
    "image",
    [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 4), np.uint8), np.zeros((50, 50, 3), np.float32)],
    ids=["grey", "alpha", "float"],
)
def test_another_kind_of_image_is_refused(image: RGBImage) -> None:
    with pytest.raises(ValueError, match="image must be uint8"):
        align(image, [], arcface_112())


def test_templates_are_the_published_ones() -> None:
    # InsightFace's points for 112 px, and dlib's mean face written out for padding 0.25 by hand.
    np.testing.assert_allclose(template_of(arcface_112())[[0, 4]], [[38.2946, 51.6963], [70.7299, 92.2041]], atol=1e-4)
    np.testing.assert_allclose(template_of(dlib_150(0.25))[[0, 2]], [[47.55, 46.6], [74.0127, 76.5625]], atol=1e-3)


@pytest.mark.parametrize(
    ("box", "margin", "corners"),
    [
        # margin 14 of 160: a box 73 wide gains 73 * 14 / 146 = 7, half of it at each side; 146 high gains 14.
        ((100.0, 50.0, 173.0, 196.0), 14, (96, 43, 176, 203)),
        ((100.7, 50.9, 173.2, 196.9), 0, (100, 50, 173, 196)),
        ((-30.0, -9.5, 40.0, 60.5), 0, (0, 0, 40, 60)),
        ((250.0, 180.0, 330.0, 260.0), 0, (250, 180, 300, 240)),
    ],
    ids=["margin", "cut-to-whole-pixels", "beyond-left-top", "beyond-right-bottom"],
)
def test_the_box_crop_takes_facenets_pixels(
    box: tuple[float, ...], margin: int, corners: tuple[int, int, int, int]
) -> None:
    image = np.zeros((240, 300, 3), np.uint8)
    left, top, right, bottom = corners
    image[top:bottom, left:right] = 200
    chip = align(image, [face(np.zeros((5, 2)), box)], facenet_160(margin))[0]
    assert (chip == 200).all()
    image[...] = 200
    image[top + 1 : bottom - 1, left + 1 : right - 1] = 0
    chip = align(image, [face(np.zeros((5, 2)), box)], facenet_160(margin))[0]
    assert all(edge.min() > 0 for edge in (chip[0], chip[-1], chip[:, 0], chip[:, -1]))


def test_the_box_crop_averages_areas() -> None:
    image = np.random.default_rng(4).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    chip = align(image, [face(np.zeros((5, 2)), (0, 0, 480, 480))], facenet_160())[0]
    means = image.reshape(160, 3, 160, 3, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(chip, means, atol=0.51)


@pytest.mark.parametrize("box", [(400, 10, 420, 30), (10, 10, 10, 50), (-50, -50, -10, -10)])
def test_a_box_without_pixels_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ImageError, match="holds pixels"):
        align(np.zeros((100, 100, 3), np.uint8), [face(np.zeros((5, 2)), box)], facenet_160())


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
def test_a_quality_chip_is_the_same_at_every_size_of_the_picture(factor: int) -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (12, 12, 3), np.uint8)
    small = np.asarray(cv2.resize(coarse, (120, 120), interpolation=cv2.INTER_CUBIC), np.uint8)
    points = np.array([[45, 50], [75, 52], [61, 66], [48, 80], [74, 81]], np.float32)
    box = np.array([30, 30, 90, 95], np.float32)
    large = np.asarray(cv2.resize(small, (120 * factor, 120 * factor), interpolation=cv2.INTER_LINEAR), np.uint8)
    moved = ((points + 0.5) * factor - 0.5).astype(np.float32)
    chips = [quality_chips(i, [Face(box, 0.9, p)])[0].astype(float) for i, p in ((small, points), (large, moved))]
    assert chips[0].shape == (64, 64, 3)
    assert np.abs(chips[0] - chips[1]).mean() < 3.0
