"""The cascade against the reference's recorded results, and its behaviour on all that is not one ordinary photo."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from attendance.detect.backend import DeviceBackend, plain_nets
from attendance.detect.mtcnn import MtcnnDetector
from attendance.detect.port import Search
from attendance.detect.workers import Workers
from attendance.errors import ModelError
from attendance.nets.device import Mode
from attendance.types import Face, RGBImage

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))


def assert_same(found: list[Face], expected: list[Face]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.01)
        np.testing.assert_allclose(one.points, other.points, atol=0.01)
        assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("key", sorted(REFERENCE))
def test_portraits_as_the_reference_finds_them(key: str, portraits: dict[str, RGBImage]) -> None:
    name, min_face_px = key.rsplit("-", 1)
    expected = REFERENCE[key]
    faces = MtcnnDetector(min_face_px=int(min_face_px)).detect([portraits[name]])[0]
    np.testing.assert_allclose([face.box for face in faces], expected["boxes"], atol=0.05)
    np.testing.assert_allclose([face.points for face in faces], expected["points"], atol=0.05)
    np.testing.assert_allclose([face.score for face in faces], expected["scores"], atol=1e-4)


def test_several_faces_best_first(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    group = np.full((620, 1100, 3), 90, np.uint8)
    group[:600, :512] = portraits["grace_hopper"]
    group[60:572, 550:1062] = portraits["astronaut"]
    faces = detector.detect([group])[0]
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score
    left, right = sorted(faces, key=lambda face: float(face.box[0]))
    np.testing.assert_allclose(left.box, REFERENCE["grace_hopper-40"]["boxes"][0], atol=15)
    np.testing.assert_allclose(right.box - [550, 60, 550, 60], REFERENCE["astronaut-40"]["boxes"][0], atol=15)


def test_points_are_the_viewer_s_left_first(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    for faces in detector.detect(list(portraits.values())):
        left_eye, right_eye, nose, left_mouth, right_mouth = faces[0].points
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert faces[0].box.dtype == faces[0].points.dtype == np.float32


def test_a_batch_is_its_images_one_by_one(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    image = portraits["astronaut"]
    batch = [image, image[:, ::-1], np.zeros_like(image), np.roll(image, 40, axis=1), image]
    for together, alone in zip(detector.detect(batch), [detector.detect([one])[0] for one in batch], strict=True):
        assert_same(together, alone)


def test_mixed_sizes_keep_their_places(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    hopper, astronaut = portraits["grace_hopper"], portraits["astronaut"]
    tiny = np.zeros((11, 5, 3), np.uint8)
    found = detector.detect([astronaut, tiny, hopper, astronaut])
    assert [len(faces) for faces in found] == [1, 0, 1, 1]
    assert_same(found[0], found[3])
    np.testing.assert_allclose(found[2][0].box, REFERENCE["grace_hopper-40"]["boxes"][0], atol=0.05)


def test_no_images_no_results(detector: MtcnnDetector) -> None:
    assert detector.detect([]) == []


@pytest.mark.parametrize("size", [(1, 1), (11, 11), (39, 900), (40, 40), (41, 700), (480, 640)])
def test_black_images_have_no_faces(detector: MtcnnDetector, size: tuple[int, int]) -> None:
    assert detector.detect([np.zeros((*size, 3), np.uint8)]) == [[]]


def test_a_face_in_a_large_picture_is_found(portraits: dict[str, RGBImage]) -> None:
    # 43 million pixels: sums of the integral image pass 2**32.
    image = np.full((5400, 8000, 3), 250, np.uint8)
    image[4800:5312, 7400:7912] = portraits["astronaut"]
    faces = MtcnnDetector(min_face_px=80).detect([image])[0]
    assert len(faces) == 1
    np.testing.assert_allclose(faces[0].box - [7400, 4800, 7400, 4800], REFERENCE["astronaut-40"]["boxes"][0], atol=15)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((50, 50), np.uint8), r"uint8 of shape \(50, 50\)"),
        (np.zeros((50, 50, 4), np.uint8), r"shape \(50, 50, 4\)"),
        (np.zeros((50, 50, 3), np.float32), "float32"),
        (np.zeros((0, 50, 3), np.uint8), r"shape \(0, 50, 3\)"),
        (np.zeros((1, 40_000, 3), np.uint8), "32000"),
    ],
    ids=["grey", "alpha", "float", "empty", "too long"],
)
def test_images_of_another_kind_are_refused(detector: MtcnnDetector, image: RGBImage, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        detector.detect([image])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"min_face_px": 11}, "min_face_px"),
        ({"thresholds": (0.6, 0.7, 1.7)}, "thresholds"),
        ({"scale_factor": 1.0}, "scale_factor"),
        ({"threads": 0}, "threads"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        MtcnnDetector(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", range(3))
def test_a_threshold_of_one_lets_nothing_pass(stage: int, portraits: dict[str, RGBImage]) -> None:
    thresholds = [0.6, 0.7, 0.7]
    thresholds[stage] = 1.0
    strict = MtcnnDetector(min_face_px=80, thresholds=(thresholds[0], thresholds[1], thresholds[2]))
    assert strict.detect([portraits["astronaut"]]) == [[]]


def test_refine_finds_the_face_again(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    image = portraits["astronaut"]
    face = detector.detect([image])[0][0]
    moved = face.box + np.float32(6)
    away = np.array([-500, -500, -400, -400], np.float32)
    again, nothing = detector.refine(image, np.stack((moved, away)))
    assert again.score > 0.9
    np.testing.assert_allclose(again.box, face.box, atol=12)
    np.testing.assert_allclose(again.points, face.points, atol=4)
    assert nothing.score == 0.0
    assert detector.refine(image, np.empty((0, 4), np.float32)) == []
    with pytest.raises(ValueError, match="boxes must be float32"):
        detector.refine(image, np.zeros((1, 5), np.float32))


def test_refining_several_images_at_once_is_refining_each(
    detector: MtcnnDetector, portraits: dict[str, RGBImage]
) -> None:
    images = [portraits["astronaut"], np.zeros((60, 50, 3), np.uint8), portraits["grace_hopper"]]
    near = [detector.detect([image])[0][0].box + np.float32(4) for image in images[::2]]
    away = np.array([900, 900, 950, 950], np.float32)
    boxes = [np.stack((away, near[0])), np.empty((0, 4), np.float32), np.stack((near[1], near[1] + 3, away))]
    together = detector.refine_each(images, boxes)
    assert [len(faces) for faces in together] == [2, 0, 3]
    for faces, image, mine in zip(together, images, boxes, strict=True):
        assert_same(faces, detector.refine(image, mine))
    assert detector.refine_each([], []) == []


def test_searching_several_images_at_once_is_searching_each(
    detector: MtcnnDetector, portraits: dict[str, RGBImage]
) -> None:
    searches = [
        Search(portraits["astronaut"], [(100, 0, 400, 300), (0, 300, 90, 420)]),
        Search(portraits["grace_hopper"], []),
        Search(portraits["grace_hopper"], [(0, 0, 512, 500)]),
    ]
    together = detector.search(searches)
    assert [len(faces) for faces in together] == [1, 0, 1]
    for faces, search in zip(together, searches, strict=True):
        assert_same(faces, detector.detect_within(search.image, search.regions))


def test_two_threads_at_once_get_what_one_gets(detector: MtcnnDetector, portraits: dict[str, RGBImage]) -> None:
    expected = {name: detector.detect([image])[0] for name, image in portraits.items()}
    found: dict[str, list[list[Face]]] = {name: [] for name in portraits}

    def repeat(name: str) -> None:
        for _ in range(8):
            found[name].append(detector.detect([portraits[name]])[0])

    threads = [threading.Thread(target=repeat, args=(name,)) for name in portraits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, runs in found.items():
        assert len(runs) == 8
        for faces in runs:
            assert_same(faces, expected[name])


def test_torch_keeps_its_threads_outside_the_detector(portraits: dict[str, RGBImage]) -> None:
    before = torch.get_num_threads()
    MtcnnDetector(threads=1).detect([portraits["astronaut"]])
    assert torch.get_num_threads() == before


def test_the_device_path_gives_the_same_faces(portraits: dict[str, RGBImage]) -> None:
    on_device = MtcnnDetector(min_face_px=40)
    on_device._backend = DeviceBackend(Workers(2), torch.device("cpu"), plain_nets())
    batch = [portraits["astronaut"], portraits["astronaut"][:, ::-1]]
    for found, expected in zip(on_device.detect(batch), MtcnnDetector(min_face_px=40).detect(batch), strict=True):
        assert_same(found, expected)


def test_the_device_path_in_fewer_digits_finds_the_same_faces_nearby(portraits: dict[str, RGBImage]) -> None:
    """The path of half precision, in the half that a processor has too."""
    on_device = MtcnnDetector(min_face_px=80)
    on_device._backend = DeviceBackend(Workers(1), torch.device("cpu"), plain_nets(), mode=Mode(torch.bfloat16))
    picture = portraits["astronaut"]
    [found], [expected] = (each.detect([picture])[0] for each in (on_device, MtcnnDetector(min_face_px=80)))
    np.testing.assert_allclose(found.box, expected.box, atol=6)
    np.testing.assert_allclose(found.points, expected.points, atol=4)


def test_half_precision_on_the_processor_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.precision: expected fp32 or auto"):
        MtcnnDetector(precision="fp16")


@pytest.mark.parametrize("graphs", [False, True])
def test_the_device_path_on_cuda(portraits: dict[str, RGBImage], graphs: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("hardware: no CUDA device")
    batch = [portraits["astronaut"]]
    found = MtcnnDetector(device="cuda", graphs=graphs).detect(batch)[0]
    assert_same(found, MtcnnDetector().detect(batch)[0])


def test_missing_weights_are_a_model_error(tmp_path: Path) -> None:
    from attendance.detect.weights import load_weights, weights_folder
    from attendance.nets.mtcnn import PNet, RNet

    with pytest.raises(ModelError, match="make setup"):
        weights_folder("no_such_package_anywhere")
    with pytest.raises(ModelError, match="no such file"):
        load_weights(PNet(), tmp_path / "pnet.pt")
    (tmp_path / "pnet.pt").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be used"):
        load_weights(PNet(), tmp_path / "pnet.pt")
    with pytest.raises(ModelError, match="PNet weights"):
        load_weights(PNet(), weights_folder() / "rnet.pt")
    load_weights(RNet(), weights_folder() / "rnet.pt")


def test_faces_are_found_within_a_part_of_a_picture_where_they_are_in_the_whole(
    detector: MtcnnDetector, portraits: dict[str, RGBImage]
) -> None:
    image = portraits["astronaut"]
    face = detector.detect([image])[0][0]
    x1, y1, x2, y2 = (int(v) for v in face.box)
    region = (x1 - 60, max(y1 - 60, 0), x2 + 60, y2 + 60)
    found = detector.detect_within(image, [region, (0, 300, 40, 340)])
    assert len(found) == 1
    np.testing.assert_allclose(found[0].box, face.box, atol=12)
    np.testing.assert_allclose(found[0].points, face.points, atol=6)
    assert detector.detect_within(image, []) == []
