"""The keys of backups."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from attendance.config.base import Section


class BackupSection(Section):
    """What backups are encrypted with; there is no default."""

    key_file: Path | None = Field(
        default=None,
        description="age key that backups are encrypted with, from backup --make-key; its public part alone can back "
        "up, and not restore.",
    )
    passphrase: SecretStr = Field(
        default=SecretStr(""), description="Instead of a key file: from the environment alone, 12 characters or more."
    )
    passphrase_file: Path | None = Field(default=None, description="File that holds the passphrase instead; mode 0600.")

    @model_validator(mode="after")
    def _is_one(self) -> BackupSection:
        if self.passphrase.get_secret_value() and self.passphrase_file is not None:
            raise ValueError("passphrase and passphrase_file are both set: keep one")
        return self
