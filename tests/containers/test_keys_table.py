"""The table of keys in docs/operations.md names every key of the configuration that holds a secret, and every file."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, SecretStr

from attendance.config import Settings
from tools.container_secrets import ADDRESSES, PASSWORDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Keys and secrets\n")[2].partition("\n## ")[0]


def secret_keys() -> set[str]:
    """What SecretStr or a name ending in _file marks as a secret, and the addresses that may carry a password."""
    found = set()
    for name, section in Settings():
        if not isinstance(section, BaseModel):
            continue
        for key, field in type(section).model_fields.items():
            if key.endswith("_file") or field.annotation is SecretStr:
                found.add(f"{name}.{key}")
    return {*found, "ledger.url", "cameras"}


def test_every_key_that_holds_a_secret_is_in_the_table() -> None:
    named = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)?)`", TABLE))
    assert secret_keys() >= {"ledger.url_file", "service.token", "service.token_file"}
    assert secret_keys() <= named


def test_the_table_names_no_key_that_is_not_there() -> None:
    sections = {name for name, _ in Settings()}
    named = {word for word in re.findall(r"`([a-z]+\.[a-z_]+)`", TABLE) if word.partition(".")[0] in sections}
    assert named <= secret_keys()


def test_every_file_of_make_secrets_is_in_the_table() -> None:
    for name in (*PASSWORDS, *ADDRESSES):
        assert f"`{name}`" in TABLE or f"`secrets/{name}`" in TABLE, name


def test_every_row_says_what_is_to_be_done() -> None:
    rows = [line.strip("|").split("|") for line in TABLE.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {6}
    assert all(cell.strip() for row in rows for cell in row)
