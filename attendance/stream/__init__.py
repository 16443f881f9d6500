"""Cameras to punches on threads of their own: a reader a camera, one for vision, one for ledger and events."""

from attendance.stream.frames import READ_AHEAD, Captured, FrameQueues
from attendance.stream.results import Results
from attendance.stream.running import Limits, Stream
from attendance.stream.station import Station
from attendance.stream.stats import Stats
from attendance.stream.vision import Lane, OnResult

__all__ = [
    "READ_AHEAD",
    "Captured",
    "FrameQueues",
    "Lane",
    "Limits",
    "OnResult",
    "Results",
    "Station",
    "Stats",
    "Stream",
]
