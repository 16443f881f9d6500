"""What the sections of the configuration are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Strict, so that a yes or a "60" in quotes is not taken for a number.
Real = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Fraction = Annotated[Real, Field(ge=0.0, le=1.0)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """One section: unknown keys, infinities and changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
