"""The kiosk's picture: each face in a box with its name, people unknown in another colour."""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from attendance.errors import SourceError
from attendance.pipeline import TrackView
from attendance.types import Outcome, RGBImage

COLOURS = {
    Outcome.KNOWN: (46, 160, 67),
    Outcome.UNKNOWN: (207, 34, 46),
    Outcome.AMBIGUOUS: (210, 153, 34),
    None: (140, 140, 140),
}
"""RGB by outcome; None while a track is undecided."""

_TITLE = "attendance (q or Esc closes)"
_ESCAPE = 27
_FONT = "DejaVuSans.ttf"
_X11_PORT = 6000
_DISPLAY_WAIT_S = 2.0


def draw(image: RGBImage, views: Sequence[TrackView], name_of: Callable[[str], str]) -> RGBImage:
    """A copy of the frame with a box, a name and the similarity on each face.

    Args:
        image: RGB uint8 (H, W, 3).
        views: the faces of the frame with the decisions on their tracks.
        name_of: identity id to the name to show.

    Returns:
        RGB uint8 (H, W, 3).
    """
    canvas = np.ascontiguousarray(image.copy())
    for view in views:
        outcome = None if view.decision is None else view.decision.outcome
        x1, y1, x2, y2 = (round(float(value)) for value in view.face.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), COLOURS[outcome], 2)
        _write(canvas, caption(view, name_of), (x1, y1), COLOURS[outcome])
    return canvas


def tiled(images: Sequence[RGBImage], *, size: tuple[int, int] = (640, 360)) -> RGBImage:
    """Pictures side by side in as square a grid as goes, each shrunk or grown into a tile on black.

    Args:
        images: RGB uint8 (H, W, 3), one or more, of any sizes; a single one is returned as it is.
        size: width and height of a tile in pixels.

    Returns:
        RGB uint8 (H, W, 3).
    """
    if len(images) == 1:
        return images[0]
    columns = math.ceil(math.sqrt(len(images)))
    width, height = size
    canvas = np.zeros((math.ceil(len(images) / columns) * height, columns * width, 3), np.uint8)
    for place, image in enumerate(images):
        scale = min(width / image.shape[1], height / image.shape[0])
        w, h = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        x, y = place % columns * width + (width - w) // 2, place // columns * height + (height - h) // 2
        canvas[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return canvas


def caption(view: TrackView, name_of: Callable[[str], str]) -> str:
    """What stands at a face: the name and similarity of who was recognised, or what is known instead."""
    decision = view.decision
    if decision is None:
        return "..."
    if decision.best is None:
        return str(decision.outcome)
    who = name_of(decision.best.identity_id) if decision.outcome is Outcome.KNOWN else str(decision.outcome)
    # A line break or another control character cannot be drawn.
    who = "".join(c if c.isprintable() else " " for c in who)
    return f"{who} {decision.best.similarity:.2f}"


def _write(canvas: RGBImage, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """White on the box's colour, kept inside the picture."""
    label = _label(text, max(12, canvas.shape[0] // 24), colour)
    height, width = (min(have, room) for have, room in zip(label.shape[:2], canvas.shape[:2], strict=True))
    x = int(np.clip(corner[0], 0, canvas.shape[1] - width))
    y = int(np.clip(corner[1] - height, 0, canvas.shape[0] - height))
    canvas[y : y + height, x : x + width] = label[:height, :width]


@lru_cache(maxsize=256)
def _label(text: str, size_px: int, colour: tuple[int, int, int]) -> RGBImage:
    """A text as a small picture, RGB uint8 (h, w, 3). Drawn by Pillow, because OpenCV's fonts have ASCII only."""
    font = _font(size_px)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (math.ceil(right - left) + 8, math.ceil(bottom - top) + 6), colour)
    ImageDraw.Draw(picture).text((4 - left, 3 - top), text, font=font, fill=(255, 255, 255))
    return np.asarray(picture, dtype=np.uint8)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans (Latin, Greek, Cyrillic, Arabic and more) where it is, else Pillow's own font."""
    folder = _font_folder()
    return ImageFont.load_default(size_px) if folder is None else ImageFont.truetype(folder / _FONT, size_px)


def _font_folder() -> Path | None:
    """Where matplotlib keeps the fonts that it ships."""
    spec = importlib.util.find_spec("matplotlib")
    for place in (spec.submodule_search_locations if spec is not None else None) or ():
        folder = Path(place) / "mpl-data" / "fonts" / "ttf"
        if (folder / _FONT).exists():
            return folder
    return None


class Window:
    """A window on the desktop. SourceError where there is none to open it on."""

    def __init__(self) -> None:
        if sys.platform.startswith("linux"):
            _require_display(os.environ)
            folder = _font_folder()
            if folder is not None and not Path(os.environ.get("QT_QPA_FONTDIR", "")).is_dir():
                # OpenCV names a folder of fonts that its wheel does not have, and Qt complains of that five times.
                os.environ["QT_QPA_FONTDIR"] = str(folder)
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise SourceError("this OpenCV cannot open a window (headless build): give --headless") from error
        self._is_sized = False

    def show(self, image: RGBImage) -> bool:
        """Show a picture (RGB uint8); False when the user closed the window or pressed q or Esc."""
        if not self._is_sized:
            cv2.resizeWindow(_TITLE, image.shape[1], image.shape[0])
            self._is_sized = True
        cv2.imshow(_TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key not in (ord("q"), _ESCAPE) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cv2.destroyAllWindows()


def _require_display(environment: Mapping[str, str]) -> None:
    """SourceError unless something listens where the display should be: Qt ends the whole process there."""
    display = environment.get("DISPLAY", "")
    if environment.get("WAYLAND_DISPLAY"):
        return
    if not display:
        raise SourceError("there is no display to open a window on: give --headless")
    host, _, number = display.rpartition(":")
    screen = number.split(".")[0]
    try:
        if host and screen.isdigit() and not host.startswith("unix"):
            socket.create_connection((host, _X11_PORT + int(screen)), timeout=_DISPLAY_WAIT_S).close()
        else:
            _knock(f"/tmp/.X11-unix/X{screen}")
    except OSError as error:
        raise SourceError(f"the display {display} cannot be reached ({error.strerror}): give --headless") from error


def _knock(path: str) -> None:
    """Connect to a local display, which listens at a path or at the abstract address of the same name, or at both."""
    try:
        _connect(path)
    except OSError:
        _connect("\0" + path)


def _connect(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.settimeout(_DISPLAY_WAIT_S)
        local.connect(address)
