"""From the text of a source to a camera, or to one clear line."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attendance.camera import LiveOptions, SourceKind, mask_source, open_camera, source_kind
from attendance.errors import SourceError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("0", "0"),
        ("/videos/a@b.mp4", "/videos/a@b.mp4"),
        ("rtsp://camera.local/stream1", "rtsp://camera.local/stream1"),
        ("rtsp://camera.local:554/at@home", "rtsp://camera.local:554/at@home"),
        ("rtsp://[fe80::1]:554/at@home", "rtsp://[fe80::1]:554/at@home"),
        ("rtsp://admin:secret@10.0.0.7:554/stream1", "rtsp://***@10.0.0.7:554/stream1"),
        ("rtsp://admin@10.0.0.7/x", "rtsp://***@10.0.0.7/x"),
        ("RTSP://admin:se@cret@host/x", "RTSP://***@host/x"),
        ("rtsp://admin:sec/ret@host/x", "rtsp://***@host/x"),
        ("http://host/video?user=admin&pwd=secret", "http://host/video?***"),
        ("https://a:secret@host/video?token=secret", "https://***@host/video?***"),
    ],
)
def test_passwords_are_masked(source: str, shown: str) -> None:
    assert mask_source(source) == shown
    assert "secret" not in mask_source(source)


def test_kinds(tmp_path: Path) -> None:
    video, photo = tmp_path / "0.mp4", tmp_path / "photo.JPG"
    video.touch()
    photo.touch()
    assert source_kind("0") is source_kind("12") is SourceKind.WEBCAM
    assert source_kind("rtsp://h/x") is source_kind("HTTPS://h/x") is SourceKind.STREAM
    assert source_kind(str(video)) is SourceKind.VIDEO
    assert source_kind(str(tmp_path)) is source_kind(str(photo)) is SourceKind.FOLDER
    assert source_kind("/dev/null") is SourceKind.WEBCAM


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.mp4", "No such file"),
        ("", "No such file"),
        ("nul\0byte", "not a path"),
        ("ftp://user:secret@host/video.mp4", r"rtsp://.*ftp://\*\*\*@host"),
        ("99", r"/dev/video99|camera"),
        ("/dev/null", "expected a camera"),
    ],
)
def test_what_cannot_be_opened_is_one_line(source: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        open_camera(source, camera_id="c")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_stream_nobody_serves_is_an_error_after_the_first_attempt(caplog: pytest.LogCaptureFixture) -> None:
    options = LiveOptions(open_timeout_s=2, read_timeout_s=2)
    for scheme in ("rtsp", "http"):
        with pytest.raises(SourceError, match=rf"cannot open {scheme}://\*\*\*@127.0.0.1:9/x: expected a video stream"):
            open_camera(f"{scheme}://user:secret@127.0.0.1:9/x", camera_id="c", options=options)
    assert caplog.messages == []


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match="neither a file"):
        open_camera(str(tmp_path / "pipe.mp4"), camera_id="c")


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(fps: float, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="above 0"):
        open_camera(str(tmp_path), camera_id="c", fps=fps)


def test_live_sources_take_no_start_and_streams_no_rate() -> None:
    with pytest.raises(SourceError, match="is live"):
        open_camera("0", camera_id="c", start=datetime(2024, 1, 1, tzinfo=UTC))
    with pytest.raises(SourceError, match="its own rate"):
        open_camera("rtsp://127.0.0.1:9/x", camera_id="c", fps=5)


def test_decoders_keep_quiet(tmp_path: Path) -> None:
    """A user sees our one line alone, so OpenCV and FFmpeg must write nothing, also not from their C code."""
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    program = (
        "import sys\n"
        "from attendance.camera import LiveOptions, open_camera\n"
        "from attendance.errors import SourceError\n"
        "for source in sys.argv[1:]:\n"
        "    try:\n"
        "        open_camera(source, camera_id='c', options=LiveOptions(open_timeout_s=2))\n"
        "    except SourceError as error:\n"
        "        print(error)\n"
    )
    sources = [str(tmp_path / "text.mp4"), "98", "/dev/null", "rtsp://127.0.0.1:9/x", "http://127.0.0.1:9/x"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", program, *sources], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == len(sources)
    assert done.stderr == ""


def test_importing_touches_nothing() -> None:
    program = (
        "import os, threading\n"
        "import cv2  # which itself sets variables for its window\n"
        "before = dict(os.environ)\n"
        "level = cv2.utils.logging.getLogLevel()\n"
        "import attendance.camera\n"
        "assert dict(os.environ) == before and cv2.utils.logging.getLogLevel() == level\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
