"""The kiosk's picture: boxes in the colour of what was decided, names in any script, inside the frame."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.errors import SourceError
from attendance.pipeline import TrackView
from attendance.types import Candidate, Decision, Outcome, RGBImage
from attendance.window import COLOURS, Window, caption, draw, tiled
from tests.fakes import face_at, picture


def view(outcome: Outcome | None, x: float = 60, y: float = 80, who: str = "p-01") -> TrackView:
    best = Candidate(who, 0.876)
    decision = None if outcome is None else Decision(outcome, best, None, None, 0.9, "match")
    return TrackView(1, face_at(x, y, 100), decision)


def has(image: RGBImage, colour: tuple[int, int, int]) -> int:
    return int(np.all(image == colour, axis=2).sum())


@pytest.mark.parametrize("outcome", [None, Outcome.KNOWN, Outcome.UNKNOWN, Outcome.AMBIGUOUS])
def test_the_box_has_the_colour_of_what_was_decided(outcome: Outcome | None) -> None:
    frame = picture(size=(240, 320))
    drawn = draw(frame, [view(outcome)], lambda who: "Zoë")
    assert has(frame, (0, 0, 0)) == 240 * 320, "the frame itself is not drawn on"
    assert (drawn[80:180, 60] == COLOURS[outcome]).all()
    assert {c: has(drawn, COLOURS[c]) > 0 for c in COLOURS} == {c: c == outcome for c in COLOURS}


def test_colours_differ_so_that_an_unknown_is_told_at_a_glance() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS) == 4


def test_captions() -> None:
    names = {"p-01": "Zoë"}.__getitem__
    assert caption(view(Outcome.KNOWN), names) == "Zoë 0.88"
    assert caption(view(Outcome.UNKNOWN), names) == "unknown 0.88"
    assert caption(view(Outcome.AMBIGUOUS), names) == "ambiguous 0.88"
    assert caption(view(None), names) == "..."
    nobody = Decision(Outcome.UNKNOWN, None, None, None, 0.9, "empty_gallery")
    assert caption(TrackView(1, face_at(0, 0, 50), nobody), names) == "unknown"


@pytest.mark.parametrize("name", ["", "Zoë Ωμέγα Жанна", "明", "x" * 500, "a\nb", "\u0301"])
@pytest.mark.parametrize(("x", "y"), [(-50.0, -40.0), (290.0, 5.0), (100.0, 230.0), (60.0, 80.0)])
def test_any_name_is_drawn_anywhere_inside_the_frame(name: str, x: float, y: float) -> None:
    drawn = draw(picture(size=(240, 320)), [view(Outcome.KNOWN, x, y)], lambda who: name)
    assert drawn.shape == (240, 320, 3)
    assert drawn.dtype == np.uint8
    assert has(drawn, (255, 255, 255)) > 0


def test_names_in_other_letters_are_not_boxes_of_nothing() -> None:
    """Letters that the font lacks are all drawn alike; those of these scripts must differ."""
    shown = [draw(picture(), [view(Outcome.KNOWN)], lambda who, n=n: n).tobytes() for n in ("ë", "Ω", "Ж", "ş")]  # type: ignore[misc]
    assert len(set(shown)) == 4


def test_a_small_frame_and_many_faces() -> None:
    drawn = draw(picture(size=(20, 30)), [view(Outcome.KNOWN, 0, 0), view(None, 5, 5)], lambda who: "a long name")
    assert drawn.shape == (20, 30, 3)


def test_without_a_display_the_window_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SourceError, match="give --headless"):
        Window()


@pytest.mark.parametrize("display", [":4711", "unix:4711.0", "localhost:59000", "nonsense"])
def test_a_display_that_nobody_serves_is_told_before_qt_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, display: str
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SourceError, match=rf"the display {display} cannot be reached \(.*\): give --headless"):
        Window()


def test_tiles_keep_their_proportions_in_a_square_grid() -> None:
    wide = np.full((90, 320, 3), (200, 0, 0), np.uint8)
    tall = np.full((400, 100, 3), (0, 200, 0), np.uint8)
    assert tiled([wide]) is wide
    both = tiled([wide, tall], size=(160, 90))
    assert both.shape == (90, 320, 3)
    assert both[45, 80].tolist() == [200, 0, 0] and both[5, 80].tolist() == [0, 0, 0]
    assert both[45, 240].tolist() == [0, 200, 0] and both[45, 170].tolist() == [0, 0, 0]
    assert tiled([wide, tall, wide], size=(160, 90)).shape == (180, 320, 3)
