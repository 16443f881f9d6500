"""Detectors of one network: the library on the portraits, the files of the zoo by models and tensors made here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from attendance.detect.libfacedetection import LibfacedetectionDetector, parse, square_of
from attendance.detect.mtcnn import MtcnnDetector
from attendance.detect.port import Detector, RefiningDetector
from attendance.detect.registry import DetectorChoice, make_detector
from attendance.detect.scaled import keep_apart
from attendance.detect.scrfd import ScrfdDetector, decode
from attendance.detect.yunet import YuNetDetector
from attendance.errors import ConfigError, ModelError
from attendance.types import Face, Float32, RGBImage

SIDE = 64
HALF = np.array((12, 16))


class Follower(RefiningDetector):
    """Sees a face in every box, its points in the middle."""

    name = "follower"

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        return [[] for _ in images]

    def refine(self, image: RGBImage, boxes: Float32) -> list[Face]:
        return [Face(box, 0.9, np.repeat((box[None, :2] + box[None, 2:]) / 2, 5, axis=0)) for box in boxes]


def constant_model(outputs: dict[str, Float32], *, shape: Sequence[int | str]) -> bytes:
    """An ONNX file that gives these outputs for whatever picture it gets."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["zero"]),
        *(helper.make_node("Add", ["zero", f"{name}_value"], [name]) for name in outputs),
    ]
    values = [numpy_helper.from_array(value, f"{name}_value") for name, value in outputs.items()]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()],
        [*values, numpy_helper.from_array(np.zeros((), np.float32), "nought")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def yunet_outputs() -> dict[str, Float32]:
    """YuNet's twelve outputs for a 64x64 picture with one face at stride 8, cell (2, 4)."""
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = {
        f"{kind}_{stride}": np.zeros((1, (SIDE // stride) ** 2, size), np.float32)
        for kind, size in sizes.items()
        for stride in (8, 16, 32)
    }
    cell = 2 * (SIDE // 8) + 4
    outputs["cls_8"][0, cell], outputs["obj_8"][0, cell] = 0.9, 0.8
    outputs["bbox_8"][0, cell] = (0.5, 0.25, np.log(3.0), np.log(4.0))
    outputs["kps_8"][0, cell] = np.arange(10) / 10.0
    return outputs


def scrfd_outputs(side: int = SIDE) -> list[Float32]:
    """SCRFD's nine outputs for a square picture with one face at stride 16, row 1, column 2, second anchor."""
    counts = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
    outputs = [np.zeros((count, size), np.float32) for size in (1, 4, 10) for count in counts]
    place = 2 * (1 * (side // 16) + 2) + 1
    outputs[1][place] = 0.75
    outputs[4][place] = (0.5, 1.0, 1.5, 2.0)
    outputs[7][place] = np.arange(10) / 10.0
    return outputs


SCRFD_BOX = (32 - 8, 16 - 16, 32 + 24, 16 + 32)
SCRFD_POINTS = np.array((32, 16)) + np.arange(10).reshape(5, 2) / 10 * 16


def test_yunet_by_opencv_gives_what_the_paper_says() -> None:
    detector = YuNetDetector(
        constant_model(yunet_outputs(), shape=[1, 3, SIDE, SIDE]), follow=Follower(), min_face_px=13
    )
    (face,) = detector.detect([np.zeros((SIDE, SIDE, 3), np.uint8)])[0]
    centre = np.array(((4 + 0.5) * 8, (2 + 0.25) * 8))
    np.testing.assert_allclose(face.box, np.concatenate((centre - HALF, centre + HALF)), atol=1e-3)
    np.testing.assert_allclose(face.points, (np.arange(10).reshape(5, 2) / 10 + (4, 2)) * 8, atol=1e-3)
    assert face.score == pytest.approx(np.sqrt(0.9 * 0.8), abs=1e-5)


def test_scrfd_decodes_by_hand_made_tensors() -> None:
    (face,) = decode(scrfd_outputs(), (SIDE, SIDE), min_score=0.5)
    np.testing.assert_allclose(face.box, SCRFD_BOX)
    np.testing.assert_allclose(face.points, SCRFD_POINTS, rtol=1e-6)
    assert face.score == 0.75
    assert decode(scrfd_outputs(), (SIDE, SIDE), min_score=0.8) == []
    batched = [output[None] for output in scrfd_outputs()]
    assert len(decode(batched, (SIDE, SIDE), min_score=0.5)) == 1
    with pytest.raises(ModelError, match=r"expected an output \(32, 1\), got \(128, 1\)"):
        decode(scrfd_outputs(), (SIDE // 2, SIDE // 2), min_score=0.5)


def scrfd_file(shape: Sequence[int | str]) -> bytes:
    names = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in (8, 16, 32)]
    return constant_model(dict(zip(names, scrfd_outputs(), strict=True)), shape=shape)


@pytest.mark.parametrize("shape", [[1, 3, SIDE, SIDE], [1, 3, "h", "w"]], ids=["fixed", "open"])
def test_scrfd_runs_and_gives_pixels_of_the_image(shape: Sequence[int | str]) -> None:
    detector = ScrfdDetector(scrfd_file(shape), follow=Follower(), min_face_px=32, threads=1)
    # 120x128 px shrinks to 60x64, which is filled up to 64x64.
    (face,) = detector.detect([np.zeros((120, 128, 3), np.uint8)])[0]
    np.testing.assert_allclose(face.box, np.array(SCRFD_BOX) * 2)
    np.testing.assert_allclose(face.points, SCRFD_POINTS * 2, rtol=1e-6)
    small = ScrfdDetector(scrfd_file(shape), follow=Follower(), min_face_px=16, threads=1)
    assert len(small.detect([np.zeros((SIDE, SIDE, 3), np.uint8)])[0]) == 1


def test_a_file_of_a_fixed_size_refuses_larger_pictures() -> None:
    detector = ScrfdDetector(scrfd_file([1, 3, SIDE, SIDE]), follow=Follower(), min_face_px=16, threads=1)
    with pytest.raises(ModelError, match=r"pictures up to 64x64, got 100x80: raise detect\.min_face_px"):
        detector.detect([np.zeros((80, 100, 3), np.uint8)])


@pytest.mark.parametrize("data", [b"", b"no model"])
def test_files_that_are_no_models_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="expected a YuNet model"):
        YuNetDetector(data, follow=Follower())
    with pytest.raises(ModelError, match="expected an ONNX model"):
        ScrfdDetector(data, follow=Follower(), threads=1)
    with pytest.raises(ModelError, match="detector scrfd: expected one input"):
        ScrfdDetector(constant_model(yunet_outputs(), shape=[1, 3, SIDE, SIDE]), follow=Follower(), threads=1)


def test_faces_that_share_their_place_are_one() -> None:
    def face(x: float, score: float) -> Face:
        return Face(np.array((x, 0, x + 10, 10), np.float32), score, np.zeros((5, 2), np.float32))

    kept = keep_apart([face(0, 0.6), face(2, 0.9), face(20, 0.7)], 0.4)
    assert [(f.box[0], f.score) for f in kept] == [(2, 0.9), (20, 0.7)]


def test_the_librarys_result_is_read_as_it_is_laid_out() -> None:
    buffer = np.zeros(0x9000, np.uint8)
    buffer[:4].view(np.int32)[0] = 1
    buffer[4:36].view(np.int16)[:] = [87, -3, 5, 20, 30, *range(10), 0]
    (face,) = parse(buffer)
    assert face.score == pytest.approx(0.87)
    np.testing.assert_array_equal(face.box, [-3, 5, 17, 35])
    np.testing.assert_array_equal(face.points, np.arange(10).reshape(5, 2))
    buffer[:4].view(np.int32)[0] = -5
    assert parse(buffer) == []


def test_onets_square_stands_about_the_points() -> None:
    points = np.array([[-3, -4], [3, -4], [0, 0], [-3, 4], [3, 4]], np.float32) + 100
    # Four points at distance 5 and one at 0: the mean radius is 4.
    np.testing.assert_allclose(
        square_of(points), [100 - 0.36 - 9.8, 100 - 1.48 - 9.8, 100 - 0.36 + 9.8, 100 - 1.48 + 9.8], rtol=1e-5
    )


@pytest.fixture(scope="module")
def mtcnn() -> MtcnnDetector:
    return MtcnnDetector(threads=1)


def test_the_library_finds_the_portraits_faces_with_onets_points(
    mtcnn: MtcnnDetector, portraits: dict[str, RGBImage]
) -> None:
    library = LibfacedetectionDetector(follow=mtcnn)
    for name, image in portraits.items():
        wanted, found = mtcnn.detect([image])[0], library.detect([image])[0]
        assert found, name
        size = float(wanted[0].box[2] - wanted[0].box[0])
        nearest = min(found, key=lambda face: float(np.abs(face.points - wanted[0].points).mean()))
        assert np.abs(nearest.points - wanted[0].points).max() < 0.08 * size, name
        assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    assert library.detect([np.zeros((20, 300, 3), np.uint8), np.zeros((90, 90, 3), np.uint8)]) == [[], []]
    with pytest.raises(ValueError, match="RGB uint8"):
        library.detect([np.zeros((90, 90), np.uint8)])


def test_a_name_makes_a_detector() -> None:
    asked = []

    def read(model_id: str) -> bytes:
        asked.append(model_id)
        return (
            scrfd_file([1, 3, "h", "w"])
            if "scrfd" in model_id
            else constant_model(yunet_outputs(), shape=[1, 3, SIDE, SIDE])
        )

    made: dict[str, Detector] = {
        name: make_detector(DetectorChoice(name, threads=1), read=read)
        for name in ("mtcnn", "libfacedetection", "yunet", "scrfd")
    }
    assert {name: detector.name for name, detector in made.items()} == {name: name for name in made}
    assert all(isinstance(detector, RefiningDetector) for detector in made.values())
    make_detector(DetectorChoice("scrfd", model="scrfd-10g-kps", threads=1), read=read)
    assert asked == ["yunet-2023mar", "scrfd-500m-kps", "scrfd-10g-kps"]
    with pytest.raises(ConfigError, match="expected one of mtcnn, libfacedetection, yunet, scrfd, got 'haar'"):
        make_detector(DetectorChoice("haar", threads=1), read=read)
