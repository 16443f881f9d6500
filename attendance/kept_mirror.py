"""The last mirror on disk: with it a kiosk that starts while the ledger's server is away still knows people.

One file, ``STORE/mirror/last.npz`` (folder mode 0700, file 0600): an array of vectors and a JSON text, no pickle. It
holds what recognition needs and no more, and is replaced as a whole, so a removed person is gone with the next write.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from attendance.errors import LedgerUnavailableError
from attendance.gallery import entries_of
from attendance.mirror import Mirror
from attendance.search.exact import ExactGallery
from attendance.types import Consent, Float32, Person, Template

logger = logging.getLogger(__name__)

FORMAT = 1
_FILE = "last.npz"
_NOTHING = Consent("", "", datetime.fromisoformat("1970-01-01T00:00:00Z"), "")


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What was on disk: the people as far as recognition needs them, and the revision they stood at.

    ``layers`` is what the ledger held of the kiosk's configuration, as (origin, values).
    """

    people: Mapping[str, Person]
    revision: int
    layers: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def space(self) -> str:
        """The space of the templates that were in force; empty without any."""
        return next((template.card_id for each in self.people.values() for template in each.templates), "")

    def mirror(self, card_id: str, dimension: int) -> Mirror:
        """The mirror of these people; ModelMismatchError for vectors of another model."""
        gallery = ExactGallery(card_id, dimension)
        gallery.upsert([entry for person in self.people.values() for entry in entries_of(person, card_id)])
        return Mirror(gallery, self.people, self.revision, "disk", None)


class MirrorKeeper:
    """Keeps the last mirror in ``folder``, writing it again at most every ``every_s`` seconds."""

    def __init__(
        self, folder: Path, *, layers: Iterable[tuple[str, Mapping[str, Any]]] = (), every_s: float = 5.0
    ) -> None:
        self._folder = folder
        self._layers = [[origin, dict(values)] for origin, values in layers]
        self._every_s = every_s
        self._written: tuple[Mapping[str, Person], int] | None = None
        self._tried_at = -every_s
        self._failed = False

    def load(self) -> Kept | None:
        """See `load_kept`."""
        return load_kept(self._folder)

    def keep(self, people: Mapping[str, Person], revision: int, *, at_once: bool = False) -> None:
        """Write the mirror if it changed; a disk that refuses is logged once, and tried again later."""
        if self._written is not None and self._written[0] is people:
            return
        if not at_once and time.monotonic() - self._tried_at < self._every_s:
            return
        self._tried_at = time.monotonic()
        try:
            self._write(people, revision)
        except OSError as error:
            if not self._failed:
                logger.warning("the mirror could not be kept in %s: %s", self._folder, error.strerror)
            self._failed = True
        else:
            self._written, self._failed = (people, revision), False

    def _write(self, people: Mapping[str, Person], revision: int) -> None:
        templates = [each for person in people.values() for each in (*person.templates, *_faces(person))]
        header = {
            "format": FORMAT,
            "revision": revision,
            "layers": self._layers,
            "people": [_plain(person) for person in people.values()],
        }
        text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, header=text, vectors=_stacked(templates))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f"{_FILE}.{os.getpid()}.part"
        part.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / _FILE)
        finally:
            part.unlink(missing_ok=True)


def load_kept(folder: Path) -> Kept | None:
    """The last mirror, or None where there is none; LedgerUnavailableError for a file that cannot be used."""
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            header = json.loads(found["header"].tobytes())
            vectors = np.asarray(found["vectors"], np.float32)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']} instead of {FORMAT}")
        return _kept(header, vectors)
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise LedgerUnavailableError(
            f"the kept mirror {path} must be a whole file of format {FORMAT}, got '{error}': "
            "delete it, and start again when the ledger can be reached"
        ) from error


def _kept(header: Mapping[str, Any], vectors: Float32) -> Kept:
    people: dict[str, Person] = {}
    row = 0
    for each in header["people"]:
        count = len(each["templates"]) + len(each.get("rejected", ()))
        people[each["identity_id"]] = _person(each, vectors[row : row + count])
        row += count
    if row != len(vectors):
        raise ValueError(f"{row} templates and {len(vectors)} vectors")
    return Kept(people, int(header["revision"]), tuple((origin, values) for origin, values in header["layers"]))


def _plain(person: Person) -> dict[str, Any]:
    def text(moment: date | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "identity_id": person.identity_id,
        "subject_ref": person.subject_ref,
        "version": person.version,
        "name": person.name,
        "created_at": text(person.created_at),
        "active_from": text(person.active_from),
        "active_to": text(person.active_to),
        "deactivated_at": text(person.deactivated_at),
        "templates": [[template.template_id, template.card_id] for template in person.templates],
        "rejected": [[face.template_id, face.card_id] for face in _faces(person)],
    }


def _person(each: Mapping[str, Any], vectors: Float32) -> Person:
    """A person without what recognition does not need: consent, department, site, group and the photos' names."""

    def day(name: str) -> date | None:
        return None if each[name] is None else date.fromisoformat(each[name])

    created_at = datetime.fromisoformat(each["created_at"])
    # Files of earlier releases have none.
    names = (*each["templates"], *each.get("rejected", ()))
    kept = tuple(
        Template(template_id, vector, card_id, "", "", "", "", created_at)
        for (template_id, card_id), vector in zip(names, vectors, strict=True)
    )
    deactivated_at = each["deactivated_at"]
    return Person(
        identity_id=each["identity_id"],
        subject_ref=each["subject_ref"],
        version=each["version"],
        created_at=created_at,
        consent=_NOTHING,
        name=each["name"],
        active_from=day("active_from"),
        active_to=day("active_to"),
        deactivated_at=None if deactivated_at is None else datetime.fromisoformat(deactivated_at),
        templates=kept[: len(each["templates"])],
        rejected=kept[len(each["templates"]) :],
    )


def _faces(person: Person) -> list[Template]:
    """The faces that are not this person's, as far as they can be compared with their templates."""
    spaces = {template.card_id for template in person.templates}
    return [face for face in person.rejected if face.card_id in spaces]


def _stacked(templates: list[Template]) -> Float32:
    return np.stack([each.vector for each in templates]) if templates else np.empty((0, 0), np.float32)
