"""The keys of what is kept of enrolled photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from attendance.config.base import Section
from attendance.config.enrolment import off_as_text


class CropsSection(Section):
    """Crops of enrolled faces, kept encrypted, so that another model needs no photos again; off by default."""

    keep: Annotated[Literal["off", "encrypted"], BeforeValidator(off_as_text)] = Field(
        default="off",
        description="Nothing is kept of a photo (off), or its face, encrypted, in STORE/crops for another model later.",
    )
    key_file: Path | None = Field(
        default=None,
        description="age key of the crops, from crops new-key, outside of the store; its public part alone can keep "
        "crops, and not read them.",
    )
    key: SecretStr = Field(
        default=SecretStr(""), description="Instead of a key file: the key itself, from the environment alone."
    )

    @model_validator(mode="after")
    def _has_one_key(self) -> CropsSection:
        has_text = bool(self.key.get_secret_value())
        if has_text and self.key_file is not None:
            raise ValueError("key and key_file are both set: keep one")
        if self.keep != "off" and not has_text and self.key_file is None:
            raise ValueError(
                "keep: encrypted needs a key: name a file as key_file, then make it with crops new-key FILE, or give "
                "key from the environment"
            )
        return self
