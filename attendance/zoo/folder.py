"""The store's ``models`` folder: what was installed, under which licence, and how a file comes in whole or not at all.

``models/<id>/`` holds ``weights`` with an ending, ``card.yaml`` for an embedder, ``origin.yaml`` (what came from where)
and ``licence.yaml`` (what was accepted, by whom, when). Everything is written beside its place and moved there; the
card comes last, so a model is listed only when all of it is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from attendance.embed.card import ModelCard
from attendance.embed.card_file import card_text, read_card
from attendance.embed.catalogue import CARD_FILE
from attendance.errors import LockHeldError, ModelError
from attendance.types import require_utc
from attendance.zoo.download import digest_of

_log = logging.getLogger(__name__)

ORIGIN_FILE = "origin.yaml"
LICENCE_FILE = "licence.yaml"
STEM = "weights"

LOCK_WAIT_S = 3600.0
"""How long a second pull waits for the first, which may fetch a large file over a thin line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What lies in the store and where it came from. ``placed_at`` is aware UTC."""

    id: str
    role: str
    sha256: str
    bytes: int
    came_from: str
    placed_at: datetime

    def __post_init__(self) -> None:
        require_utc("Origin.placed_at", self.placed_at)


@dataclass(frozen=True, slots=True)
class Installed:
    """One folder of the store; None stands for what is not there."""

    id: str
    weights: Path | None
    card: ModelCard | None
    origin: Origin | None

    @property
    def sha256(self) -> str | None:
        """The digest that the weights must have, by card or origin."""
        if self.card is not None:
            return self.card.sha256
        return None if self.origin is None else self.origin.sha256


class ModelsFolder:
    """The models of one store. The folder is made when something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, model_id: str) -> Path:
        """The folder of a model, whether it is there or not."""
        return self.path / model_id

    def installed(self) -> list[Installed]:
        """What lies here, by id. A folder with neither card nor origin, such as a converted copy, is not listed.

        Raises:
            ModelError: a card or an origin that cannot be read.
        """
        folders = sorted(p for p in self.path.iterdir() if p.is_dir()) if self.path.is_dir() else []
        return [found for folder in folders if (found := self.find(folder.name)) is not None]

    def find(self, model_id: str) -> Installed | None:
        """One model, or None where there is none."""
        folder = self.of(model_id)
        card, origin = folder / CARD_FILE, folder / ORIGIN_FILE
        if not card.is_file() and not origin.is_file():
            return None
        weights = sorted(p for p in folder.glob(f"{STEM}*") if p.stem == STEM)
        return Installed(
            model_id,
            weights[0] if len(weights) == 1 else None,
            read_card(card) if card.is_file() else None,
            _read_origin(origin) if origin.is_file() else None,
        )

    def read(self, model_id: str) -> bytes:
        """The weights of an installed model, checked as they are read.

        Raises:
            ModelError: there is no such model, or its weights are missing or damaged.
        """
        found = self.find(model_id)
        if found is None or found.weights is None:
            raise ModelError(
                f"expected the model {model_id} in {self.path}, it is not there: `python -m attendance models pull "
                f"{model_id}`, or `models import` where there is no network"
            )
        try:
            data = found.weights.read_bytes()
        except OSError as error:
            raise ModelError(f"expected readable weights at {found.weights}, got: {error.strerror}") from error
        if (digest := hashlib.sha256(data).hexdigest()) != found.sha256:
            raise ModelError(
                f"model {model_id}: expected weights with SHA-256 {found.sha256} at {found.weights}, got {digest}: "
                "fetch them again"
            )
        return data

    @contextmanager
    def hold(self, model_id: str, *, wait_s: float = LOCK_WAIT_S) -> Iterator[Path]:
        """The folder of a model, made if needed, for this process alone; the second waits for the first.

        Raises:
            LockHeldError: somebody else had it all the time.
            ModelError: the folder cannot be made or locked.
        """
        folder = self.of(model_id)
        lock = FileLock(self.path / f".{model_id}.lock", mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _acquire(lock, model_id, wait_s)
        except Timeout as error:
            raise LockHeldError(
                f"the model {model_id} is being fetched or changed by another process, for more than {wait_s:g} s: "
                "wait for it to end"
            ) from error
        except (OSError, NotImplementedError) as error:
            raise ModelError(f"expected a models folder at {self.path} that can be written, got: {error}") from error
        try:
            yield folder
        finally:
            lock.release()

    def accepted(self, model_id: str) -> str | None:
        """The licence that was accepted for a model, None where none was."""
        path = self.of(model_id) / LICENCE_FILE
        return str(_read_yaml(path).get("licence", "")) if path.is_file() else None

    def accept(self, model_id: str, licence: str, *, by: str, at: datetime) -> None:
        """Put on record that this licence was accepted; ``at`` is aware UTC."""
        require_utc("at", at)
        folder = self.of(model_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_text(folder / LICENCE_FILE, _yaml({"licence": licence, "accepted_by": by, "accepted_at": at}))
        except OSError as error:
            raise ModelError(f"expected to write {folder / LICENCE_FILE}, got: {error.strerror}") from error

    def place(self, held: Path, fetched: Path, *, stored_as: str, origin: Origin, card: ModelCard | None) -> None:
        """Move a checked file into the folder that `hold` gave, with its origin and card, the card last."""
        try:
            for old in (path for path in held.glob(f"{STEM}*") if path.stem == STEM and path.name != stored_as):
                old.unlink()
            _sync(fetched)
            fetched.replace(held / stored_as)
            _write_text(held / ORIGIN_FILE, _yaml(asdict(origin)))
            if card is not None:
                self._place_card(held / CARD_FILE, card)
            _sync(held)
        except OSError as error:
            raise ModelError(f"expected to place the model in {held}, got: {error.strerror}: run it again") from error

    @staticmethod
    def _place_card(path: Path, card: ModelCard) -> None:
        """Keep a card of the same weights: it may have been measured since."""
        if path.is_file() and read_card(path).sha256 == card.sha256:
            return
        _write_text(path, card_text(card))

    def remove(self, model_id: str) -> None:
        """Delete a model's folder, the card first, so that nothing half removed is listed."""
        with self.hold(model_id) as folder:
            try:
                (folder / CARD_FILE).unlink(missing_ok=True)
                shutil.rmtree(folder)
            except OSError as error:
                raise ModelError(f"expected to remove {folder}, got: {error.strerror}") from error


def _acquire(lock: FileLock, model_id: str, wait_s: float) -> None:
    try:
        lock.acquire(timeout=0.0)
    except Timeout:
        _log.warning("waiting for another process that works on the model %s", model_id)
        lock.acquire(timeout=max(wait_s, 0.0))


def looked_at(found: Installed, wanted: str | None) -> tuple[str, str]:
    """``ok``, ``differs`` or ``missing`` and a sentence, for installed weights against a digest (None: the card's)."""
    expected = wanted if wanted is not None else found.sha256
    if found.weights is None:
        return "missing", f"expected one file named {STEM} beside the card, found none or several"
    if found.card is not None and expected != found.card.sha256:
        return "differs", f"the card is of other weights: expected SHA-256 {expected}, it has {found.card.sha256}"
    try:
        actual = digest_of(found.weights)
    except OSError as error:
        return "missing", f"{found.weights} cannot be read ({error.strerror})"
    if actual != expected:
        return "differs", f"expected SHA-256 {expected}, got {actual}"
    return "ok", f"{found.weights.stat().st_size} bytes, SHA-256 {actual}"


def _read_origin(path: Path) -> Origin:
    values = _read_yaml(path)
    try:
        return Origin(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: expected what `models pull` writes, got: {error}: fetch the model again") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"{path}: expected readable YAML, got: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _write_text(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        _sync(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make sure that a file or a folder's entries survive a power cut; folders cannot be synced on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
