"""How a model comes into the store: pulled, or imported from a file or a bundle; checked, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from attendance.embed.card import ModelCard
from attendance.errors import ModelError, UsageError
from attendance.zoo.bundle import BundledModel, copy_checked
from attendance.zoo.catalogue import ENDINGS, Role, ZooModel
from attendance.zoo.download import LARGEST_BYTES, Patience, Progress, download
from attendance.zoo.folder import ModelsFolder, Origin, looked_at


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to install: what its file must be and what goes beside it."""

    id: str
    role: str
    sha256: str
    stored_as: str
    card: ModelCard | None


def wanted_of(model: ZooModel, sha256: str | None = None) -> Wanted:
    """What a row of the catalogue asks for, with the digest that was typed where the row has none.

    Raises:
        UsageError: the model comes with a package, there is no digest, or another than the catalogue's was typed.
    """
    if model.package is not None:
        raise UsageError(f"{model.id} comes with the package {model.package}: there is nothing to fetch or import")
    if model.sha256 is None and sha256 is None:
        raise UsageError(
            f"nobody published the SHA-256 of {model.id}: get {model.urls[0]} yourself, and import it with the digest "
            f"that you vouch for: models import FILE {model.id} --sha256 DIGEST"
        )
    if model.sha256 is not None and sha256 not in (None, model.sha256):
        raise UsageError(f"{model.id} has the SHA-256 {model.sha256} in the catalogue, --sha256 says {sha256}")
    digest = model.sha256 if model.sha256 is not None else str(sha256)
    return Wanted(model.id, model.role.value, digest, model.stored_as, model.make_card(digest))


def wanted_by_card(card: ModelCard) -> Wanted:
    """What a card of one's own asks for."""
    if card.format not in ENDINGS:
        raise UsageError(f"a model of format {card.format} comes with a package: there is nothing to import")
    return Wanted(card.id, Role.EMBEDDER.value, card.sha256, f"weights{ENDINGS[card.format]}", card)


def mirrored(model: ZooModel, mirrors: Sequence[str]) -> list[str]:
    """Where a model may be fetched: the mirrors first, then where it was published."""
    return [f"{base.rstrip('/')}/{model.id}/{model.file}" for base in mirrors] + list(model.urls)


def pull(
    folder: ModelsFolder,
    model: ZooModel,
    *,
    mirrors: Sequence[str] = (),
    at: datetime,
    patience: Patience | None = None,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Fetch a model of the catalogue into the store, going on where an earlier pull stopped.

    Args:
        mirrors: addresses that hold ``<id>/<file>``, asked before the model's own.
        at: now, aware UTC.

    Returns:
        Whether it was fetched; False: it was there already, whole.

    Raises:
        UsageError: the model cannot be pulled at all.
        ModelError: nobody gave the right bytes, or they cannot be stored.
    """
    wanted = wanted_of(model)
    with folder.hold(model.id) as held:
        if _is_there(folder, wanted):
            return False
        partial = held / f"{wanted.sha256[:16]}.part"
        came_from = download(
            mirrored(model, mirrors), partial, sha256=wanted.sha256, size=model.bytes, patience=patience,
            progress=progress,
        )  # fmt: skip
        _place(folder, held, partial, wanted, came_from=came_from if came_from else "an earlier pull", at=at)
    return True


def import_file(folder: ModelsFolder, path: Path, wanted: Wanted, *, at: datetime) -> None:
    """Take a weight file from disk. Raises ModelError where it is not the file that is wanted."""
    try:
        with path.open("rb") as file:
            _take(folder, file, wanted, most=LARGEST_BYTES, came_from=path.name, at=at)
    except OSError as error:
        raise ModelError(f"expected to copy {path} into {folder.path}, got: {error.strerror}") from error


def import_member(
    folder: ModelsFolder, stream: IO[bytes], entry: BundledModel, wanted: Wanted, *, at: datetime
) -> None:
    """Take the weights of a bundle's entry. Raises ModelError where they are not what is wanted."""
    try:
        _take(folder, stream, wanted, most=entry.bytes, came_from="a bundle", at=at)
    except OSError as error:
        raise ModelError(f"expected to copy {entry.id} into {folder.path}, got: {error.strerror}") from error


def _take(folder: ModelsFolder, stream: IO[bytes], wanted: Wanted, *, most: int, came_from: str, at: datetime) -> None:
    with folder.hold(wanted.id) as held:
        draft = held / f"{wanted.sha256[:16]}.import"
        try:
            with draft.open("wb") as target:
                digest, _ = copy_checked(stream, target, most=most)
            if digest != wanted.sha256:
                raise ModelError(
                    f"model {wanted.id}: expected a file with SHA-256 {wanted.sha256}, got {digest}: it was not taken"
                )
            _place(folder, held, draft, wanted, came_from=came_from, at=at)
        finally:
            draft.unlink(missing_ok=True)


def _is_there(folder: ModelsFolder, wanted: Wanted) -> bool:
    found = folder.find(wanted.id)
    if found is None or found.origin is None or (wanted.card is not None and found.card is None):
        return False
    return looked_at(found, wanted.sha256)[0] == "ok"


def _place(folder: ModelsFolder, held: Path, fetched: Path, wanted: Wanted, *, came_from: str, at: datetime) -> None:
    origin = Origin(wanted.id, wanted.role, wanted.sha256, fetched.stat().st_size, came_from, at)
    folder.place(held, fetched, stored_as=wanted.stored_as, origin=origin, card=wanted.card)
