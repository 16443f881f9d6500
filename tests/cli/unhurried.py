"""``realtime_attendance.py`` as a process of its own, with networks that need no weights and take their time."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import cached_property

from attendance.cli.realtime import main
from attendance.detect.port import Detector
from attendance.types import Face, RGBImage
from tests.building import BrightDetector, FakeApp


class Unhurried(BrightDetector):
    """A frame takes as long as a slow machine needs, so that there is a middle to be stopped in."""

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        time.sleep(0.02)
        return super().detect(images)


class UnhurriedApp(FakeApp):
    """The app with such a detector."""

    @cached_property
    def detector(self) -> Detector:
        return Unhurried()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], make_app=UnhurriedApp))
