"""Frames from a webcam, a stream, a video file or a folder of images."""

from attendance.camera.base import Camera, CameraState, Health
from attendance.camera.capture import Capture
from attendance.camera.live import LiveCamera, LiveOptions
from attendance.camera.opening import SourceKind, mask_source, open_camera, source_kind
from attendance.camera.recorded import ImageFolder, VideoFile

__all__ = [
    "Camera",
    "CameraState",
    "Capture",
    "Health",
    "ImageFolder",
    "LiveCamera",
    "LiveOptions",
    "SourceKind",
    "VideoFile",
    "mask_source",
    "open_camera",
    "source_kind",
]
