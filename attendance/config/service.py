"""The keys of the web service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from attendance.config.base import Real, Section, Whole

MIN_TOKEN_CHARACTERS = 32


class ServiceSection(Section):
    """The web service: python -m attendance serve."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that it listens on; any but loopback demands a token. --host sets it.",
    )
    port: Whole = Field(default=8000, ge=0, le=65_535, description="Port; 0 takes any free one. --port sets it.")
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that every request must bear; from the environment alone. Empty: see token_file.",
    )
    token_file: Path | None = Field(
        default=None, description="File that holds the token instead, 32 characters or more; mode 0600."
    )
    public_name: str = Field(
        default="",
        description="Name under which a proxy on this machine passes requests on, such as faces.example.org; "
        "demands a token.",
    )
    max_upload_mb: Real = Field(
        default=25.0,
        gt=0.0,
        le=1000.0,
        description="Largest request, its photos together, in megabytes (1,000,000 bytes).",
    )
    max_waiting: Whole = Field(
        default=8,
        ge=0,
        le=1000,
        description="Requests with photos that may wait while another is worked on; more are sent away (503).",
    )
    request_timeout_s: Real = Field(
        default=30.0, gt=0.0, le=600.0, description="Longest time for one request in seconds, its upload included."
    )

    @field_validator("token")
    @classmethod
    def _token_is_strong(cls, value: SecretStr) -> SecretStr:
        fault = token_fault(value.get_secret_value()) if value.get_secret_value() else None
        if fault is not None:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _token_is_one(self) -> ServiceSection:
        if self.token.get_secret_value() and self.token_file is not None:
            raise ValueError("token and token_file are both set: keep one")
        return self


def token_fault(token: str) -> str | None:
    """What is wrong with a token, without showing it; None if nothing is."""
    if len(token) < MIN_TOKEN_CHARACTERS:
        return (
            f"expected a token of {MIN_TOKEN_CHARACTERS} characters or more, got {len(token)}: "
            "make one with `openssl rand -hex 32`"
        )
    if not all("!" <= letter <= "~" for letter in token):
        return "expected ASCII letters, digits and signs without spaces: make a token with `openssl rand -hex 32`"
    return None
