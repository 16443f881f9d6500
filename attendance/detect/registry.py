"""From the configuration's word to a detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attendance.detect.libfacedetection import MIN_SCORE as LIBFACEDETECTION_SCORE
from attendance.detect.libfacedetection import LibfacedetectionDetector
from attendance.detect.mtcnn import MtcnnDetector
from attendance.detect.port import Detector
from attendance.detect.scrfd import MIN_SCORE as SCRFD_SCORE
from attendance.detect.scrfd import ScrfdDetector
from attendance.detect.yunet import MIN_SCORE as YUNET_SCORE
from attendance.detect.yunet import YuNetDetector
from attendance.errors import ConfigError

FILES = {"yunet": "yunet-2023mar", "scrfd": "scrfd-500m-kps"}
"""The model of the zoo that a detector runs where none is named."""

Read = Callable[[str], bytes]
"""The checked bytes of a model in the store, by id."""


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """What is asked for. ``model`` is empty for the usual file; ``min_score`` is None for the detector's own."""

    name: str
    model: str = ""
    min_face_px: float = 40
    min_score: float | None = None
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    scale_factor: float = 0.709
    device: str = "cpu"
    threads: int = 2
    precision: str = "auto"
    graphs: bool = False


def make_detector(choice: DetectorChoice, *, read: Read) -> Detector:
    """The chosen detector; MTCNN's last network follows faces for all of them.

    Raises:
        ConfigError: an unknown name.
        ModelError: a file or package that is missing, damaged or of another kind.
    """
    mtcnn = MtcnnDetector(
        min_face_px=choice.min_face_px,
        thresholds=choice.thresholds,
        scale_factor=choice.scale_factor,
        device=choice.device,
        threads=choice.threads,
        precision=choice.precision,
        graphs=choice.graphs,
    )
    if choice.name not in _MAKERS:
        raise ConfigError(f"detect.name: expected one of {', '.join(_MAKERS)}, got {choice.name!r}")
    return _MAKERS[choice.name](choice, mtcnn, read)


def _score(choice: DetectorChoice, usual: float) -> float:
    return usual if choice.min_score is None else choice.min_score


def _libfacedetection(choice: DetectorChoice, mtcnn: MtcnnDetector, read: Read) -> Detector:
    score = _score(choice, LIBFACEDETECTION_SCORE)
    return LibfacedetectionDetector(follow=mtcnn, min_face_px=choice.min_face_px, min_score=score)


def _yunet(choice: DetectorChoice, mtcnn: MtcnnDetector, read: Read) -> Detector:
    data = read(choice.model if choice.model else FILES["yunet"])
    return YuNetDetector(data, follow=mtcnn, min_face_px=choice.min_face_px, min_score=_score(choice, YUNET_SCORE))


def _scrfd(choice: DetectorChoice, mtcnn: MtcnnDetector, read: Read) -> Detector:
    return ScrfdDetector(
        read(choice.model if choice.model else FILES["scrfd"]),
        follow=mtcnn,
        min_face_px=choice.min_face_px,
        min_score=_score(choice, SCRFD_SCORE),
        device=choice.device,
        threads=choice.threads,
    )


_MAKERS: dict[str, Callable[[DetectorChoice, MtcnnDetector, Read], Detector]] = {
    "mtcnn": lambda choice, mtcnn, read: mtcnn,
    "libfacedetection": _libfacedetection,
    "yunet": _yunet,
    "scrfd": _scrfd,
}
