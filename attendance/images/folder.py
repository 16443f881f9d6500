"""A folder of people: which photos stand for whom, without opening one.

``ROOT/<identity id>/<photo>``; person folders and photos may be symbolic links.
"""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from attendance.errors import SourceError
from attendance.images.photo import PHOTO_EXTENSIONS, printable
from attendance.types import RefusalReason

PEOPLE_FILE = "people.csv"
MAX_IDENTITY_CHARS = 200


@dataclass(frozen=True, slots=True)
class FolderProblem:
    """Something in a folder of people that cannot be enrolled. ``file`` is relative to the folder, printable."""

    file: str
    reason: RefusalReason
    detail: str


@dataclass(frozen=True, slots=True)
class PeopleFolder:
    """What lies in a folder of people.

    ``photos`` maps identity ids (NFC, sorted) to photo paths under ``root``, sorted by file name, never empty.
    ``ignored`` and the problems' ``file`` are relative to ``root`` and sorted; an ignored folder ends in a slash.
    """

    root: Path
    photos: Mapping[str, tuple[Path, ...]]
    ignored: tuple[str, ...]
    problems: tuple[FolderProblem, ...]

    def relative(self, photo: Path) -> str:
        """A photo's path below ``root``, with forward slashes, as a template records it."""
        return photo.relative_to(self.root).as_posix()


def normalise_identity(name: str) -> str:
    """The identity id that a folder name or a cell stands for: Unicode NFC, so that two spellings are one person."""
    return unicodedata.normalize("NFC", name)


def identity_problem(identity_id: str) -> str | None:
    """Why a normalised identity id cannot be used, or None: 1 to 200 characters, none of them a control character."""
    if not 1 <= len(identity_id) <= MAX_IDENTITY_CHARS:
        return f"expected an identity id of 1 to {MAX_IDENTITY_CHARS} characters, got {len(identity_id)}"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in identity_id):
        return "expected an identity id in UTF-8 without control characters: rename the folder"
    return None


def list_people_folder(root: Path) -> PeopleFolder:
    """List the people and photos under ``root``, deterministically, following links that do not loop.

    Raises SourceError when ``root`` is missing, no folder, or not readable. Everything else that is wrong is a
    problem in the result.
    """
    listing = _Listing(root)
    try:
        entries = _sorted_entries(root)
        listing.above = frozenset({root.resolve(), *root.resolve().parents})
    except (OSError, RuntimeError) as error:
        message = f"expected a folder with one folder of photos per person, cannot read {printable(str(root))}: "
        raise SourceError(f"{message}{_message(error)}") from error
    for entry in entries:
        _list_top(listing, entry)
    return PeopleFolder(
        root=root,
        photos=MappingProxyType(dict(sorted(listing.photos.items()))),
        ignored=tuple(sorted(listing.ignored)),
        problems=tuple(sorted(listing.problems, key=lambda problem: problem.file)),
    )


@dataclass(slots=True)
class _Listing:
    """What has been found so far; ``above`` are the real paths of the root and the folders it lies in."""

    root: Path
    above: frozenset[Path] = frozenset()
    photos: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    problems: list[FolderProblem] = field(default_factory=list)

    def name(self, path: Path) -> str:
        return printable(path.relative_to(self.root).as_posix())

    def refuse(self, path: Path, reason: RefusalReason, detail: str) -> None:
        self.problems.append(FolderProblem(self.name(path), reason, detail))

    def ignore(self, path: Path, *, folder: bool) -> None:
        self.ignored.append(self.name(path) + ("/" if folder else ""))


def _sorted_entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.name)


def _message(error: OSError | RuntimeError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _is_folder(listing: _Listing, path: Path) -> bool | None:
    """Whether ``path`` leads to a folder; None, with the problem listed, when it leads nowhere or back up."""
    try:
        path.stat()
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        loops = isinstance(error, RuntimeError) or error.errno == errno.ELOOP
        reason = RefusalReason.LINK_LOOP if loops else RefusalReason.UNREADABLE
        what = "a link that leads back to itself" if loops else f"cannot be read: {_message(error)}"
        listing.refuse(path, reason, what)
        return None
    if path.is_symlink() and (real in listing.above or real == path.parent.resolve()):
        listing.refuse(path, RefusalReason.LINK_LOOP, "a link to a folder that it lies in: remove it")
        return None
    return path.is_dir()


def _list_top(listing: _Listing, path: Path) -> None:
    """One entry of the root: a person, people.csv, or something to ignore."""
    is_hidden = path.name.startswith(".")
    is_folder = path.is_dir() if is_hidden else _is_folder(listing, path)
    if is_folder is None or (not is_folder and path.name == PEOPLE_FILE):
        return
    if is_hidden or not is_folder:
        listing.ignore(path, folder=is_folder)
        return
    identity_id = normalise_identity(path.name)
    problem = identity_problem(identity_id)
    if problem is None and identity_id in listing.photos:
        problem = "another folder has the same name in another Unicode spelling: merge the two"
    if problem is not None:
        listing.refuse(path, RefusalReason.BAD_IDENTITY, problem)
        return
    _list_person(listing, path, identity_id)


def _list_person(listing: _Listing, folder: Path, identity_id: str) -> None:
    try:
        entries = _sorted_entries(folder)
    except OSError as error:
        listing.refuse(folder, RefusalReason.UNREADABLE, f"cannot read the folder: {_message(error)}")
        return
    refused_before = len(listing.problems)
    photos = tuple(entry for entry in entries if _is_photo(listing, entry))
    if photos:
        listing.photos[identity_id] = photos
    elif len(listing.problems) == refused_before:
        listing.refuse(folder, RefusalReason.EMPTY_FOLDER, "expected photos in this folder, found none")


def _is_photo(listing: _Listing, path: Path) -> bool:
    """Whether an entry of a person's folder is a photo by its name; what is not is listed as ignored or refused."""
    if path.name.startswith("."):
        listing.ignore(path, folder=path.is_dir())
        return False
    is_folder = _is_folder(listing, path)
    if is_folder is None:
        return False
    if path.suffix[1:].lower() not in PHOTO_EXTENSIONS:
        listing.ignore(path, folder=is_folder)
        return False
    if is_folder:
        listing.refuse(path, RefusalReason.UNREADABLE, "expected a photo, but this is a folder")
        return False
    if printable(path.name) != path.name:
        listing.refuse(path, RefusalReason.UNREADABLE, "its name is not UTF-8: rename it")
        return False
    return True
