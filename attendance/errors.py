"""The one error tree. Third-party errors are translated into it at the door, with ``from``.

AttendanceError                 exit 1   anything this project raises on purpose
├── UsageError                  exit 2   what was asked cannot be done as asked
│   ├── ConfigError                      a configuration file, key or value
│   ├── SourceError                      a camera, video, stream or folder that cannot be opened
│   └── PeopleFileError                  people.csv: line and column named
├── ImageError                           one photo cannot be read or used: reason code and detail
├── ModelError                           weights or card: missing, damaged, of another kind
│   └── ModelMismatchError               vectors of one model meant for the gallery of another
├── BackupError                          a backup that cannot be written, read or restored
└── StoreError                           the ledger or the gallery
    ├── LockHeldError                    somebody else holds the lock: says who
    ├── CropStoreError                   the folder of crops cannot be written
    ├── GalleryError
    │   ├── GalleryDamagedError          the collection can no longer be opened: rebuild it from the ledger
    │   │   └── GalleryGoneError         there is none, or not any more: lost, or made anew by somebody else
    │   └── GalleryUnavailableError      its server is away, or says nothing
    └── LedgerError
        ├── SchemaError                  the store was written by another version
        └── LedgerUnavailableError       away, full, read-only: nothing was stored

A message is one line: what was expected, what came, what to do.
"""

from __future__ import annotations


class AttendanceError(Exception):
    """Root of every error raised on purpose; ``exit_code`` is what a command returns for it."""

    exit_code: int = 1


class UsageError(AttendanceError):
    """Wrong use: a missing or unreadable source, device, configuration or people.csv."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file, key or value that cannot be used."""


class SourceError(UsageError):
    """A camera, video, stream or folder that cannot be opened."""


class PeopleFileError(UsageError):
    """people.csv is faulty; the message names line and column."""


class ImageError(AttendanceError):
    """One photo cannot be read or used.

    ``reason`` is a value of `attendance.types.RefusalReason`, ``detail`` a sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ModelError(AttendanceError):
    """Model weights or a model card are missing, damaged or of an unexpected kind."""


class ModelMismatchError(ModelError):
    """Vectors of one model were about to be mixed with a gallery built by another."""


class BackupError(AttendanceError):
    """A backup cannot be written, read with this key, or restored here."""


class StoreError(AttendanceError):
    """The ledger or the gallery failed."""


class LockHeldError(StoreError):
    """Another process holds the lock that this one needs; the message says who."""


class CropStoreError(StoreError):
    """The folder of kept crops cannot be written."""


class GalleryError(StoreError):
    """The gallery refused or failed an operation."""


class GalleryDamagedError(GalleryError):
    """The collection can no longer be opened; rebuild it from the ledger."""


class GalleryGoneError(GalleryDamagedError):
    """The collection is not there: never made, lost with the server's data, or made anew by somebody else meanwhile."""


class GalleryUnavailableError(GalleryError):
    """The gallery's server is away, or does not answer in time; what was written before is kept."""


class LedgerError(StoreError):
    """The ledger refused or failed an operation."""


class SchemaError(LedgerError):
    """The store's schema is newer than this program, or unknown to it."""


class LedgerUnavailableError(LedgerError):
    """The ledger is away, full or read-only; nothing was stored."""
