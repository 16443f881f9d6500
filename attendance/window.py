"""The kiosk's picture: each face in a box with its name, people unknown in another colour."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Callable, Sequence
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
    label = _label(text, max(12, canvas.shape[0] // 32), colour)
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
    """DejaVu Sans, which matplotlib ships (Latin, Greek, Cyrillic, Arabic and more), else Pillow's own font."""
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.exists():
            return ImageFont.truetype(path, size_px)
    return ImageFont.load_default(size_px)


class Window:
    """A window on the desktop. SourceError where there is none to open it on."""

    def __init__(self) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SourceError("there is no display to open a window on: give --headless")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise SourceError("this OpenCV cannot open a window (headless build): give --headless") from error

    def show(self, image: RGBImage) -> bool:
        """Show a picture (RGB uint8); False when the user closed the window or pressed q or Esc."""
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
