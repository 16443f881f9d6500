"""What varies from one walk-past to the next, and how far: every range with its unit."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """Ranges (low, high) that each pass draws from, uniformly. The defaults are what tests and benchmarks use.

    A face is about 0.15 m wide and the camera sees about 56 degrees across, so in a frame 640 px wide a face of 40 px
    is 2.2 m away and one of 130 px 0.7 m; a pass of 2.5 s along the default path is a walk at about 1 m/s.

    Path:
        far_px: face width where the person appears, px per 640 px of frame width.
        near_px: face width where the person leaves the frame, px per 640 px of frame width.
        dwell: share of the given seconds in which the person is in the room; the rest is before and after.
        height: face above (-) or below (+) the camera's height, in face widths.
        step_hz: steps a second; bob: how far the head goes up and down with them, in face widths (half of the swing).
    Pose (a flat photo can only turn in its plane; perspective and shear stand in for the rest):
        roll_deg: lean of the head, degrees; sway_deg: additional swing with the steps, degrees.
        shear: horizontal shift per vertical distance, a number; turn and nod: change of scale over one face width or
        height, a number.
        mirror: probability that the photo is mirrored.
    Light on the person:
        gain: brightness; gamma: exponent of values in 0..1, above 1 is darker in the shadows.
        warmth: red is multiplied by 1 + warmth and blue by 1 - warmth.
        side_light: brightness rises by this share from the middle to one edge of the face and falls to the other.
    Camera:
        room_gain: brightness of the room.
        shutter_s: exposure time, s; with the speed across the picture it makes the motion blur.
        focus_px: standard deviation of the focus blur on the person, px per 640 px of frame width.
        read_noise: noise in the dark, levels of 255; shot_noise: variance added per level of brightness.
        jpeg_quality: of each frame, as a network camera compresses it, 0..100.
    """

    far_px: Range = (38.0, 54.0)
    near_px: Range = (95.0, 150.0)
    dwell: Range = (0.80, 0.96)
    height: Range = (-0.25, 0.35)
    step_hz: Range = (1.6, 2.2)
    bob: Range = (0.02, 0.08)
    roll_deg: Range = (-6.0, 6.0)
    sway_deg: Range = (0.5, 3.0)
    shear: Range = (-0.06, 0.06)
    turn: Range = (-0.06, 0.06)
    nod: Range = (-0.04, 0.04)
    mirror: float = 0.5
    gain: Range = (0.55, 1.15)
    gamma: Range = (0.80, 1.30)
    warmth: Range = (-0.10, 0.12)
    side_light: Range = (-0.35, 0.35)
    room_gain: Range = (0.60, 1.05)
    shutter_s: Range = (0.002, 0.010)
    focus_px: Range = (0.0, 0.9)
    read_noise: Range = (1.0, 4.0)
    shot_noise: Range = (0.01, 0.08)
    jpeg_quality: Range = (60.0, 92.0)
