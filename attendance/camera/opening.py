"""From the text of ``--source`` to an open camera."""

from __future__ import annotations

import math
import os
import re
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import cv2

from attendance.camera.base import Camera
from attendance.camera.capture import Capture, OpenCvCapture
from attendance.camera.live import LiveCamera, LiveOptions, utc_now
from attendance.camera.recorded import ImageFolder, VideoFile, read_still
from attendance.errors import SourceError
from attendance.types import RGBImage

DEFAULT_FOLDER_FPS = 1.0
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
STILL_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "heic", "heif"})

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


class SourceKind(StrEnum):
    """What a source is, told by its text and, for paths, by what lies there."""

    WEBCAM = "webcam"
    STREAM = "stream"
    VIDEO = "video"
    FOLDER = "folder"

    @property
    def is_live(self) -> bool:
        """Whether time is the wall clock's."""
        return self in (SourceKind.WEBCAM, SourceKind.STREAM)


def mask_source(source: str) -> str:
    """A source as it can be shown: user, password and the values of a query are replaced by ***."""
    found = _ADDRESS.fullmatch(source)
    if found is None:
        return source
    rest = found["rest"]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A password with an unescaped slash ends the host early; then everything up to the last @ may be secret.
    has_port = re.fullmatch(r"[^:]*|.*:\d+|\[.*\]", host) is not None
    at = host.rfind("@") if "@" in host or has_port else rest.rfind("@")
    shown = "***@" + rest[at + 1 :] if at >= 0 else rest
    path, mark, _ = shown.partition("?")
    return f"{found['scheme']}://{path}" + ("?***" if mark else "")


def source_kind(source: str) -> SourceKind:
    """What ``source`` is. Raises SourceError when it is nothing that can be opened."""
    if source.isascii() and source.isdigit():
        return SourceKind.WEBCAM
    address = _ADDRESS.fullmatch(source)
    if address is not None:
        if address["scheme"].lower() in STREAM_SCHEMES:
            return SourceKind.STREAM
        known = ", ".join(f"{scheme}://" for scheme in STREAM_SCHEMES)
        raise SourceError(f"expected an address that begins with one of {known}, got {mask_source(source)}")
    return _path_kind(source)


def _path_kind(source: str) -> SourceKind:
    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        expected = "expected a webcam index such as 0, a file, a folder of images, or an rtsp:// or http:// address"
        raise SourceError(f"{expected}; cannot read {source!r}: {why}") from error
    if stat.S_ISDIR(mode):
        return SourceKind.FOLDER
    if stat.S_ISCHR(mode):
        return SourceKind.WEBCAM
    if not stat.S_ISREG(mode):
        raise SourceError(f"expected a video file, but {source!r} is neither a file nor a folder nor a device")
    return SourceKind.FOLDER if _is_still(Path(source)) else SourceKind.VIDEO


def _is_still(path: Path) -> bool:
    return path.suffix[1:].lower() in STILL_EXTENSIONS


def open_camera(
    source: str,
    *,
    camera_id: str,
    start: datetime | None = None,
    fps: float | None = None,
    options: LiveOptions | None = None,
    read_image: Callable[[Path], RGBImage] = read_still,
    now: Callable[[], datetime] = utc_now,
) -> Camera:
    """Open a webcam index or device, an rtsp(s):// or http(s):// stream, a video file, or a folder of images.

    ``start`` (aware; default: now) is the time of a recording's beginning. ``fps`` is the clock of a folder (default
    1), replaces that of a video file, and is the rate asked of a webcam. ``read_image`` decodes a folder's images.
    Raises SourceError, one line, when the source cannot be opened or gives no first frame.
    """
    kind = source_kind(source)
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise SourceError(f"expected frames per second above 0, got {fps}")
    if kind.is_live:
        if start is not None:
            raise SourceError(
                f"a start time belongs to a file or folder, but {mask_source(source)} is live: leave it out"
            )
        return _open_live(source, kind, camera_id=camera_id, fps=fps, options=options, now=now)
    begin = now() if start is None else start.astimezone(UTC)
    if kind is SourceKind.VIDEO:
        return VideoFile(_open_file(source), camera_id=camera_id, source=source, start=begin, fps=fps)
    return ImageFolder(
        _stills(Path(source)),
        camera_id=camera_id,
        source=source,
        start=begin,
        fps=DEFAULT_FOLDER_FPS if fps is None else fps,
        read_image=read_image,
    )


def _open_file(source: str) -> Capture:
    path = Path(source)
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"expected a readable video file, cannot read {source!r}: {error.strerror}") from error
    if is_empty:
        raise SourceError(f"expected a video file, but {source!r} is empty")
    try:
        # An absolute path, because FFmpeg takes "name:rest" for a protocol.
        return OpenCvCapture(str(path.absolute()), backend=cv2.CAP_FFMPEG)
    except SourceError as error:
        raise SourceError(f"expected a video file, but {source!r} cannot be decoded: is it complete?") from error


def _stills(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    try:
        files = [entry for entry in path.iterdir() if not entry.name.startswith(".") and _is_still(entry)]
    except OSError as error:
        raise SourceError(
            f"expected a readable folder of images, cannot read {str(path)!r}: {error.strerror}"
        ) from error
    if not files:
        kinds = ", ".join(sorted(STILL_EXTENSIONS))
        raise SourceError(f"expected images ({kinds}) in {str(path)!r}, found none")
    return sorted(files, key=lambda entry: entry.name)


def _open_live(
    source: str,
    kind: SourceKind,
    *,
    camera_id: str,
    fps: float | None,
    options: LiveOptions | None,
    now: Callable[[], datetime],
) -> Camera:
    patience = LiveOptions() if options is None else options
    if kind is SourceKind.STREAM and fps is not None:
        raise SourceError(f"a stream has its own rate, but --fps was given for {mask_source(source)}: leave it out")
    connect = _stream(source, patience) if kind is SourceKind.STREAM else _webcam(source, fps)
    camera = LiveCamera(connect, camera_id=camera_id, source=mask_source(source), options=patience, now=now)
    camera.start()
    return camera


def _stream(source: str, options: LiveOptions) -> Callable[[], Capture]:
    params = (
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(options.open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(options.read_timeout_s * 1000)),
    )

    def connect() -> Capture:
        try:
            return OpenCvCapture(source, backend=cv2.CAP_FFMPEG, params=params)
        except SourceError as error:
            waited = f"expected a video stream within {options.open_timeout_s:g} s, got none"
            raise SourceError(f"{waited}: check address, user, password and network") from error

    return connect


def _webcam(source: str, fps: float | None) -> Callable[[], Capture]:
    target = int(source) if source.isdigit() else source
    device = Path(f"/dev/video{target}" if isinstance(target, int) else source)
    params = () if fps is None else (cv2.CAP_PROP_FPS, round(fps))

    def connect() -> Capture:
        if sys.platform == "linux" and not device.exists():
            present = ", ".join(sorted(str(other) for other in Path("/dev").glob("video*")))
            raise SourceError(f"expected a camera at {device}, cameras present: {present if present else 'none'}")
        try:
            return OpenCvCapture(target, backend=cv2.CAP_ANY, params=params)
        except SourceError as error:
            raise SourceError("expected a camera: is it plugged in, free, and are you allowed to use it?") from error

    return connect
