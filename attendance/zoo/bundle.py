"""A bundle: installed models in one tar or zip for a machine without a network, with a manifest of what is in it.

``manifest.json`` lists for each model its id, role, file, digest, size and licence, and for an embedder the card; the
weights stand at ``<id>/<file>``, as on a mirror. A manifest vouches for nothing: digests come from the catalogue of the
machine that imports, or from whoever types the digest of the whole bundle.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attendance.errors import ModelError
from attendance.zoo.archive import Archive

MANIFEST = "manifest.json"
FORMAT = 1
LARGEST_MANIFEST = 16 * 2**20
BLOCK = 1 << 20

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class BundledModel(BaseModel):
    """One model of a bundle. ``card`` is the card's YAML text, empty for what is no embedder."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: _Name
    role: str
    file: _Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    licence: str
    card: str = ""

    @property
    def member(self) -> str:
        """Where the weights stand in the archive."""
        return f"{self.id}/{self.file}"


class Manifest(BaseModel):
    """What stands in a bundle."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1]
    models: tuple[BundledModel, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Packed:
    """One model to pack and where its weights lie."""

    entry: BundledModel
    weights: Path


def read_manifest(archive: Archive) -> Manifest | None:
    """The manifest of a bundle; None where the archive has none, and so is something else.

    Raises:
        ModelError: the manifest is faulty, or names what is not there.
    """
    names = archive.names()
    if MANIFEST not in names:
        return None
    with archive.open(MANIFEST) as stream:
        text = stream.read(LARGEST_MANIFEST)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise ModelError(f"{archive.path}: {MANIFEST}: {key}: {fault['msg']}, got {fault['input']!r}") from error
    ids = [model.id for model in manifest.models]
    missing = sorted({model.member for model in manifest.models} - names)
    if missing or len(set(ids)) < len(ids):
        what = f"no plain file {missing[0]}" if missing else "an id twice"
        raise ModelError(f"{archive.path}: its {MANIFEST} names {what}: make the bundle again")
    return manifest


def copy_checked(stream: IO[bytes], target: IO[bytes], *, most: int) -> tuple[str, int]:
    """Copy a stream to the end, or one byte past ``most``; the SHA-256 and the number of bytes copied."""
    digest, done = hashlib.sha256(), 0
    while done <= most and (block := stream.read(min(BLOCK, most + 1 - done))):
        digest.update(block)
        target.write(block)
        done += len(block)
    return digest.hexdigest(), done


def write_bundle(target: Path, models: Sequence[Packed]) -> str:
    """Write a bundle, a zip where the name ends so and a tar otherwise; its SHA-256. Nothing is left when it fails.

    Raises:
        ModelError: weights that differ from their digest, or a bundle that cannot be written.
    """
    manifest = Manifest(format=FORMAT, models=tuple(packed.entry for packed in models))
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with _writer(draft, as_zip=target.suffix.lower() == ".zip") as add:
            text = manifest.model_dump_json(indent=2).encode()
            add(MANIFEST, io.BytesIO(text), len(text))
            for packed in models:
                _pack(packed, add)
        with draft.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise ModelError(f"expected to write the bundle {target}, got: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return digest


_Add = Callable[[str, IO[bytes], int], None]


def _pack(packed: Packed, add: _Add) -> None:
    with packed.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != packed.entry.sha256:
            raise ModelError(
                f"model {packed.entry.id}: expected weights with SHA-256 {packed.entry.sha256}, got {digest}: fetch "
                "them again before bundling"
            )
        file.seek(0)
        add(packed.entry.member, file, packed.entry.bytes)


@contextmanager
def _writer(draft: Path, *, as_zip: bool) -> Iterator[_Add]:
    # Weights do not get smaller; and no clock or user goes in, so the same models give the same bundle.
    if as_zip:
        with zipfile.ZipFile(draft, "w") as archive:
            yield lambda name, stream, size: _add_to_zip(archive, name, stream)
        return
    with tarfile.open(draft, "w") as tar:
        yield lambda name, stream, size: _add_to_tar(tar, name, stream, size)


def _add_to_zip(archive: zipfile.ZipFile, name: str, stream: IO[bytes]) -> None:
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
        while block := stream.read(BLOCK):
            member.write(block)


def _add_to_tar(tar: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    tar.addfile(info, stream)
