"""``check-config`` and ``doctor``: is what was configured usable on this machine?"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Context, add_command, overrides_of
from attendance.cli.galleries import look_at_gallery
from attendance.config import CameraSection, Settings, check
from attendance.errors import AttendanceError, GalleryDamagedError

CAMERA_WAIT_S = 5.0
PACKAGES = (
    ("torch",),
    ("numpy",),
    ("opencv-python", "opencv-python-headless"),
    ("chromadb",),
    ("onnxruntime",),
    ("pillow",),
)
"""What must be installed: one of each group."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok``, ``warning`` or ``failure``, and what was found."""

    subject: str
    state: str
    detail: str


def register(commands: Any) -> None:
    """Add the commands."""
    checker = add_command(
        commands,
        "check-config",
        summary="check the configuration and print every value in force",
        example="python -m attendance check-config --config site.yaml",
        command=check_config,
    )
    checker.set_defaults(checks_config=True)
    parser = add_command(
        commands,
        "doctor",
        summary="check versions, device, cameras, stores, models and permissions",
        example="python -m attendance doctor",
        command=doctor,
    )
    parser.add_argument("--no-cameras", action="store_true", help="do not open the cameras")


def check_config(arguments: argparse.Namespace, context: Context) -> int:
    """Print what is in force, or every fault."""
    found = check(arguments.config, overrides=overrides_of(arguments))
    if not isinstance(found, Settings):
        for problem in found:
            print(problem, file=sys.stderr)
        context.write_json({"valid": False, "problems": [_fault(asdict(problem)) for problem in found]})
        return EXIT_USAGE
    values = without_passwords(found)
    for section, value in values.items():
        for key, shown in _flat(section, value):
            context.say(f"{key} = {shown}")
    context.say(f"{arguments.config or 'defaults'}: the configuration is valid")
    context.write_json({"valid": True, "problems": [], "settings": values})
    return EXIT_OK


def _fault(problem: dict[str, Any]) -> dict[str, Any]:
    return {"file": problem.pop("origin"), **problem}


def without_passwords(settings: Settings) -> dict[str, Any]:
    """Every value in force, as it can be shown."""
    from attendance.camera import mask_source

    values = settings.model_dump(mode="json")
    for camera in values["cameras"]:
        camera["source"] = mask_source(camera["source"])
    values["ledger"]["url"] = mask_source(values["ledger"]["url"])
    return values


def doctor(arguments: argparse.Namespace, context: Context) -> int:
    """Look at everything, and go on after what fails."""
    settings = context.settings
    findings = _versions()
    with context.make_app(settings) as app:
        looks: list[tuple[str, Callable[[], tuple[str, str]]]] = [
            ("store", partial(_store, settings.store.path)),
            ("model", partial(_model, app)),
            ("ledger", partial(_ledger, app)),
            ("gallery", partial(_gallery, app)),
        ]
        if not arguments.no_cameras:
            looks += [(f"camera {section.id}", partial(_camera, section)) for section in settings.cameras]
        findings += [_looked(subject, look) for subject, look in looks]
    for finding in findings:
        context.say(f"{finding.state:8} {finding.subject:24} {finding.detail}")
    context.write_json([asdict(finding) for finding in findings])
    return EXIT_FAILURE if any(finding.state == "failure" for finding in findings) else EXIT_OK


def _looked(subject: str, look: Callable[[], tuple[str, str]]) -> Finding:
    try:
        return Finding(subject, *look())
    except (AttendanceError, OSError) as error:
        return Finding(subject, "failure", " ".join(str(error).split()))


def _versions() -> list[Finding]:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    findings = [
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        Finding("processors", "ok", f"{processors} usable of {os.cpu_count()}"),
    ]
    for names in PACKAGES:
        found = {name: version for name in names if (version := _version(name)) is not None}
        findings += [Finding(name, "ok", version) for name, version in found.items()]
        if not found:
            findings.append(Finding(names[0], "failure", "not installed: run make setup"))
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _store(path: Path) -> tuple[str, str]:
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not place.is_dir():
        return "failure", f"expected a folder, {place} is a file: name another with --store"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return "failure", f"{place} cannot be written ({error.strerror}): look at its permissions and the free space"
    return "ok", f"{path}: {'writable' if path.exists() else 'not there yet; it can be made'}"


def _model(app: App) -> tuple[str, str]:
    embedder = app.embedder
    return "ok", f"{embedder.describe()}; licence: {app.card.license}; detector {app.detector.name}"


def _ledger(app: App) -> tuple[str, str]:
    if not app.has_ledger:
        return "ok", "not there yet; the first enrolment makes it"
    people, revision = len(app.ledger.person_versions()), app.ledger.template_revision().revision
    return "ok", f"{people} people, template revision {revision}"


def _gallery(app: App) -> tuple[str, str]:
    if not app.has_ledger and not app.has_gallery:
        return "ok", "not there yet; the first enrolment makes it"
    try:
        differences, people, templates = look_at_gallery(app)
    except GalleryDamagedError as error:
        return "failure", f"{error}; run python -m attendance gallery rebuild"
    if not differences.clean:
        return "failure", f"{differences}; run python -m attendance gallery rebuild"
    return "ok", f"{people} people, {templates} templates, in agreement with the ledger"


def _camera(section: CameraSection) -> tuple[str, str]:
    from attendance.camera import open_camera

    with open_camera(section.source, camera_id=section.id) as camera:
        frame = camera.next_frame(CAMERA_WAIT_S)
        if frame is None:
            trouble = camera.health.last_error
            return "failure", f"{camera.source}: no picture within {CAMERA_WAIT_S:g} s ({trouble or 'it is silent'})"
    height, width = frame.image.shape[:2]
    return "ok", f"{camera.source}: {width}x{height}"


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, child in value.items() for pair in _flat(f"{prefix}.{key}", child)]
    if isinstance(value, list):
        return [pair for index, child in enumerate(value) for pair in _flat(f"{prefix}.{index}", child)]
    return [(prefix, value)]
