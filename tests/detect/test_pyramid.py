"""Pyramid and crops against torch's adaptive average, computed the slow way."""

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from attendance.detect import pyramid
from attendance.types import Float32, RGBImage


def averaged(image: RGBImage, height: int, width: int) -> Float32:
    """(H, W, 3) -> (height, width, 3) in double precision, as the networks read it."""
    tensor = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)
    pooled = (adaptive_avg_pool2d(tensor, (height, width)) - 127.5) / 128
    return pooled.permute(1, 2, 0).numpy().astype(np.float32)


def summed(image: RGBImage) -> pyramid.UInt32:
    sums = np.empty((1, image.shape[0] + 1, image.shape[1] + 1, 3), np.uint32)
    pyramid.integral(image, sums[0])
    return sums


@pytest.fixture(scope="module")
def noise() -> RGBImage:
    return np.random.default_rng(1).integers(0, 256, (97, 143, 3), dtype=np.uint8)


def test_integral_is_the_sum_of_all_above_and_left(noise: RGBImage) -> None:
    sums = summed(noise)[0]
    assert np.array_equal(sums[1:, 1:], noise.astype(np.uint32).cumsum(0, dtype=np.uint32).cumsum(1, dtype=np.uint32))
    assert not sums[0].any() and not sums[:, 0].any()


@pytest.mark.parametrize("size", [(13, 19), (97, 143), (50, 60), (120, 200)], ids=["less", "same", "half", "more"])
def test_resized_rows_are_adaptive_averages(noise: RGBImage, size: tuple[int, int]) -> None:
    out = np.empty((1, *size, 3), np.float32)
    pyramid.resized_rows(summed(noise), size[0], 0, out)
    np.testing.assert_allclose(out[0], averaged(noise, *size), atol=2e-6)


def test_a_band_of_rows_is_that_part_of_the_whole(noise: RGBImage) -> None:
    band = np.empty((1, 7, 60, 3), np.float32)
    pyramid.resized_rows(summed(noise), 50, 21, band)
    np.testing.assert_allclose(band[0], averaged(noise, 50, 60)[21:28], atol=2e-6)


def test_sums_that_overflow_32_bits_still_average_exactly() -> None:
    # 24 million pixels of 255 sum to 6.1e9, beyond both 2**31 and 2**32.
    image = np.full((4000, 6000, 3), 255, np.uint8)
    image[3900:, 5900:] = 7
    sums = summed(image)
    out = np.empty((1, 40, 60, 3), np.float32)
    pyramid.resized_rows(sums, 40, 0, out)
    assert np.all(out[0, :39] == np.float32(127.5 / 128))
    np.testing.assert_allclose(out[0, 39, 59], (7 - 127.5) / 128, atol=1e-6)


@pytest.mark.parametrize(
    ("box", "left", "top", "right", "bottom"),
    [
        ((10.7, 20.2, 70.9, 80.1), 9, 19, 70, 80),
        ((-5.5, -9.0, 30.0, 30.0), 0, 0, 30, 30),
        ((120.0, 60.0, 160.0, 110.0), 119, 59, 143, 97),
        ((50.0, 50.0, 52.0, 52.0), 49, 49, 52, 52),
    ],
    ids=["inside", "over the corner", "over the other corner", "three pixels, enlarged"],
)
def test_crops_are_adaptive_averages_of_whole_pixels(
    noise: RGBImage, box: tuple[float, ...], left: int, top: int, right: int, bottom: int
) -> None:
    boxes = np.array([box], np.float32)
    out = np.empty((1, 24, 24, 3), np.float32)
    pyramid.crop(summed(noise), np.zeros(1, np.int64), boxes, out)
    np.testing.assert_allclose(out[0], averaged(noise[top:bottom, left:right], 24, 24), atol=2e-6)
    at_once = np.empty_like(out)
    pyramid.cut(noise, boxes, at_once)
    np.testing.assert_array_equal(at_once, out)


def test_boxes_without_a_pixel_of_the_image_are_outside() -> None:
    boxes = np.array([[-30, -30, -2, -2], [0, 0, 5, 5], [200, 10, 230, 40], [20, 20, 20, 20]], np.float32)
    assert pyramid.inside(boxes, 100, 150).tolist() == [False, True, False, True]


def test_levels_are_the_reference_s() -> None:
    # 360 * 12 / 40 = 108, times 0.709 until it falls below 12: 108, 76.6, 54.3, 38.5, 27.3, 19.4, 13.7.
    found = pyramid.levels((360, 640), 40, 0.709)
    assert [level.height for level in found] == [109, 77, 55, 39, 28, 20, 14]
    assert [level.width for level in found] == [193, 137, 97, 69, 49, 35, 25]
    assert pyramid.levels((39, 4000), 40, 0.709) == []
