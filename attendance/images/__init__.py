"""Photos from disk, and folders of people: what enrolment reads."""

from attendance.images.folder import (
    MAX_IDENTITY_CHARS,
    PEOPLE_FILE,
    FolderProblem,
    PeopleFolder,
    identity_problem,
    list_people_folder,
    normalise_identity,
)
from attendance.images.photo import (
    PHOTO_EXTENSIONS,
    HeifOpener,
    HeifPicture,
    Photo,
    find_heif_opener,
    printable,
    read_photo,
    read_photo_bytes,
)

__all__ = [
    "MAX_IDENTITY_CHARS",
    "PEOPLE_FILE",
    "PHOTO_EXTENSIONS",
    "FolderProblem",
    "HeifOpener",
    "HeifPicture",
    "PeopleFolder",
    "Photo",
    "find_heif_opener",
    "identity_problem",
    "list_people_folder",
    "normalise_identity",
    "printable",
    "read_photo",
    "read_photo_bytes",
]
