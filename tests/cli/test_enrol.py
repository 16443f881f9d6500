"""``enrol``: one person from photos, or from a camera."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import cv2
import pytest

from attendance.camera import Camera, CameraState, Health
from attendance.cli.enrol import spaced
from attendance.errors import SourceError
from attendance.types import Frame
from tests.building import photo
from tests.cli.conftest import GREEN, RED, Run
from tests.fakes import MORNING, picture


def video(path: Path, *seconds: tuple[int, int, int] | None, fps: int = 4) -> Path:
    """A film that shows a face of one colour for each second, None for nobody."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 240))
    for colour in seconds:
        patches = [] if colour is None else [(colour, (100, 60, 120))]
        for _ in range(fps):
            writer.write(cv2.cvtColor(picture(*patches), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_photos_are_added_replaced_and_refused_with_the_reason(run: Run, tmp_path: Path) -> None:
    good, empty = photo(tmp_path / "a.png", RED), tmp_path / "b.png"
    empty.write_bytes(b"")
    ran = run("enrol", "p-01", good, empty, "--name", "Zoë", "--json", "-")
    assert ran.code == 0
    keys = ["identity_id", "added", "replaced", "refused", "suspected_duplicates", "redundant", "suspects", "batch"]
    assert list(ran.json) == keys
    assert (ran.json["identity_id"], ran.json["added"], ran.json["replaced"]) == ("p-01", 1, 0)
    assert [(entry["file"], entry["reason"]) for entry in ran.json["refused"]] == [("b.png", "empty_file")]
    photo(good, GREEN)
    assert run("enrol", "p-01", good, "--json", "-").json["replaced"] == 1
    shown = run("people", "show", "p-01", "--json", "-").json
    assert (shown["name"], [p["path"] for p in shown["photos"]]) == ("Zoë", ["a.png"])


def test_nothing_enrolled_is_a_failure_and_a_duplicate_is_told(run: Run, tmp_path: Path) -> None:
    ran = run("enrol", "p-01", photo(tmp_path / "nobody.png"), "--json", "-")
    assert (ran.code, ran.json["refused"][0]["reason"]) == (1, "no_face")
    assert run("people", "list", "--json", "-").json == []
    run("enrol", "p-01", photo(tmp_path / "a.png", RED))
    ran = run("enrol", "p-02", photo(tmp_path / "a.png", RED), "--json", "-")
    assert [(d["identity_id"], d["other"]) for d in ran.json["suspected_duplicates"]] == [("p-02", "p-01")]
    assert "looks like p-01" in ran.err


def test_one_name_for_two_photos_is_refused(run: Run, tmp_path: Path) -> None:
    ran = run("enrol", "p-01", photo(tmp_path / "x/a.png", RED), photo(tmp_path / "y/a.png", RED))
    assert (ran.code, "a.png is there twice" in ran.err) == (2, True)


def test_a_photo_whose_name_is_no_text_is_enrolled_under_one_that_is(run: Run, tmp_path: Path) -> None:
    odd = Path(str(tmp_path)) / "\udcff.png"
    odd.write_bytes(photo(tmp_path / "a.png", RED).read_bytes())
    assert run("enrol", "p-01", odd).code == 0
    assert run("people", "show", "p-01", "--json", "-").json["photos"][0]["path"].encode("utf-8")


def test_consent_per_person_needs_its_version(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTENDANCE_CONSENT__POLICY", "per_person")
    path = photo(tmp_path / "a.png", RED)
    assert run("enrol", "p-01", path, "--json", "-").json["refused"][0]["reason"] == "no_consent"
    assert run("enrol", "p-01", path, "--consent-version", "v1").code == 0
    assert run("people", "show", "p-01", "--json", "-").json["consent_version"] == "v1"


def test_good_frames_of_a_film_half_a_second_apart(run: Run, tmp_path: Path) -> None:
    film = video(tmp_path / "film.avi", None, RED, RED, RED, RED)
    ran = run("enrol", "p-01", "--from-camera", "--source", film, "--json", "-")
    assert (ran.code, ran.json["added"], ran.json["refused"]) == (0, 5, [])
    assert "frame 5 of 5" in ran.err
    paths = [entry["path"] for entry in run("people", "show", "p-01", "--json", "-").json["photos"]]
    assert len(set(paths)) == 5
    assert all(path.startswith("camera 20") for path in paths)


def test_a_film_without_a_face_is_a_failure_that_says_why(run: Run, tmp_path: Path) -> None:
    ran = run("enrol", "p-01", "--from-camera", "--source", video(tmp_path / "film.avi", None, None), "--json", "-")
    assert (ran.code, ran.json["added"], len(ran.json["refused"])) == (1, 0, 1)
    assert ran.json["refused"][0]["reason"] == "no_face"


class FakeCamera(Camera):
    """A live camera that gives frames a tenth of a second apart, so many, and then falls silent."""

    def __init__(self, frames: int) -> None:
        super().__init__(camera_id="camera-1", source="fake", is_live=True)
        self._left = frames
        self._at = MORNING

    @property
    def health(self) -> Health:
        return Health(CameraState.STALLED)

    def next_frame(self, timeout_s: float) -> Frame | None:
        if self._left == 0:
            return None
        self._left -= 1
        self._at += timedelta(seconds=0.1)
        return Frame(picture(), self._at, self._left, "camera-1")

    def close(self) -> None:
        pass


def test_a_silent_camera_ends_the_wait() -> None:
    with pytest.raises(SourceError, match=r"expected a picture within 0\.05 s, none came"):
        list(spaced(FakeCamera(0), limit_s=0.05))


def test_frames_are_spaced_and_limited_by_the_cameras_clock() -> None:
    at = [round((frame.observed_at - MORNING).total_seconds(), 1) for frame in spaced(FakeCamera(1000), limit_s=1.6)]
    assert at == [0.1, 0.6, 1.1, 1.6]
