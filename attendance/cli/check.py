"""``check-config`` and ``doctor``: is what was configured usable on this machine?"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attendance.app import App
from attendance.camera import open_camera
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command
from attendance.config import Settings
from attendance.errors import AttendanceError, GalleryDamagedError
from attendance.gallery import verify

PACKAGES = ("torch", "numpy", "opencv-python", "opencv-python-headless", "chromadb", "onnxruntime", "pymongo", "pillow")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok``, ``warning`` or ``failure``, and what was found."""

    subject: str
    state: str
    detail: str


def register(commands: Any) -> None:
    """Add the commands."""
    add_command(
        commands,
        "check-config",
        summary="check the configuration and print every value in force",
        example="python -m attendance check-config --config site.yaml",
        command=check_config,
    )
    parser = add_command(
        commands,
        "doctor",
        summary="check versions, device, cameras, stores, models and permissions",
        example="python -m attendance doctor",
        command=doctor,
    )
    parser.add_argument("--no-cameras", action="store_true", help="do not open the cameras")


def check_config(arguments: argparse.Namespace, context: Context) -> int:
    """Print what is in force; loading it was the check."""
    settings = context.settings
    for section, values in settings.model_dump(mode="json").items():
        for key, value in _flat(section, values):
            context.say(f"{key} = {value}")
    context.say(f"{context.config_path or 'defaults'}: the configuration is valid")
    context.write_json({"valid": True, "settings": settings.model_dump(mode="json")})
    return EXIT_OK


def doctor(arguments: argparse.Namespace, context: Context) -> int:
    """Look at everything, and go on after what fails."""
    findings: list[Finding] = [*_versions()]
    with App(context.settings) as app:
        looks: list[tuple[str, Callable[[], Finding]]] = [
            ("store", lambda: _store(context.settings)),
            ("model", lambda: _model(app)),
            ("ledger", lambda: _ledger(app)),
            ("gallery", lambda: _gallery(app)),
        ]
        if not arguments.no_cameras:
            for section in context.settings.cameras:
                looks.append((f"camera {section.id}", lambda s=section: _camera(s.id, s.source)))  # type: ignore[misc]
        for subject, look in looks:
            findings.append(_looked(subject, look))
    for finding in findings:
        context.say(f"{finding.state:8} {finding.subject:16} {finding.detail}")
    context.write_json([{"subject": f.subject, "state": f.state, "detail": f.detail} for f in findings])
    return EXIT_FAILURE if any(finding.state == "failure" for finding in findings) else EXIT_OK


def _looked(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (AttendanceError, OSError) as error:
        return Finding(subject, "failure", " ".join(str(error).split()))


def _versions() -> list[Finding]:
    findings = [Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    findings.append(Finding("processors", "ok", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}"))
    for name in PACKAGES:
        try:
            findings.append(Finding(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            if not name.startswith("opencv"):
                findings.append(Finding(name, "failure", "not installed: run make setup"))
    return findings


def _store(settings: Settings) -> Finding:
    path = settings.store.path
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    with tempfile.TemporaryFile(dir=place):
        pass
    state = "writable" if path.exists() else "not there yet; it will be made"
    return Finding("store", "ok", f"{path}: {state}")


def _model(app: App) -> Finding:
    embedder = app.embedder
    return Finding("model", "ok", f"{embedder.describe()}; licence: {app.card.license}; detector {app.detector.name}")


def _ledger(app: App) -> Finding:
    if not (app.store / "ledger.sqlite").exists():
        return Finding("ledger", "ok", "not there yet; the first enrolment makes it")
    people = len(app.ledger.person_versions())
    return Finding("ledger", "ok", f"{people} people, template revision {app.ledger.template_revision().revision}")


def _gallery(app: App) -> Finding:
    if not (app.store / "chroma").exists():
        return Finding("gallery", "ok", "not there yet; the first enrolment makes it")
    try:
        with app.gallery_store.open() as gallery:
            differences = verify(app.ledger, gallery)
            people, templates = gallery.counts()
    except GalleryDamagedError as error:
        return Finding("gallery", "failure", f"{error}; run python -m attendance gallery rebuild")
    if not differences.clean:
        return Finding("gallery", "failure", f"{differences}; run python -m attendance gallery rebuild")
    return Finding("gallery", "ok", f"{people} people, {templates} templates, in agreement with the ledger")


def _camera(camera_id: str, source: str) -> Finding:
    with open_camera(source, camera_id=camera_id) as camera:
        frame = next(iter(camera), None)
    if frame is None:
        return Finding(f"camera {camera_id}", "failure", "it opened, but no picture came")
    height, width = frame.image.shape[:2]
    return Finding(f"camera {camera_id}", "ok", f"{width}x{height}")


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, child in value.items() for pair in _flat(f"{prefix}.{key}", child)]
    if isinstance(value, list):
        return [pair for index, child in enumerate(value) for pair in _flat(f"{prefix}.{index}", child)]
    return [(prefix, value)]
