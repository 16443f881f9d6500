"""Files of template keys: made private, refused when they are not, never overwritten."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from attendance.errors import ModelError, UsageError
from attendance.protect import TemplateKey, add_key, key_named, read_keys

KEY = TemplateKey(bytes(range(32)))


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    made = add_key(tmp_path / "template.key")
    assert stat.S_IMODE((tmp_path / "template.key").stat().st_mode) == 0o600
    assert read_keys(tmp_path / "template.key") == (made,)
    assert made.secret.hex() not in repr(made)


def test_a_further_key_stands_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "template.key"
    first, second = add_key(path), add_key(path)
    assert read_keys(path) == (first, second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["template.key"]


def test_the_fingerprint_is_the_documented_one() -> None:
    digest = hashlib.sha256(b"attendance template key, fingerprint v1\0" + bytes(range(32))).hexdigest()
    assert KEY.fingerprint == digest[:16]


@pytest.mark.parametrize(("content", "mode", "said"), [
    (None, 0o600, "readable file"),
    ("", 0o600, "got none"),
    ("# nothing\n", 0o600, "got none"),
    (f"ATK1-{KEY.fingerprint}-{KEY.secret.hex()}\n", 0o640, "chmod 600"),
    (f"ATK1-{KEY.fingerprint}-{KEY.secret.hex()[:-1]}0\n", 0o600, "damaged"),
    (f"{KEY.secret.hex()}\n", 0o600, "one that is none"),
    ("ATK1-\xe4\n", 0o600, "readable file"),
])  # fmt: skip
def test_a_file_that_is_not_one_is_refused(tmp_path: Path, content: str | None, mode: int, said: str) -> None:
    path = tmp_path / "template.key"
    if content is not None:
        path.write_text(content, encoding="latin-1")
        path.chmod(mode)
    with pytest.raises(UsageError, match=said) as caught:
        read_keys(path)
    assert "\n" not in str(caught.value)
    assert KEY.secret.hex()[:-1] not in str(caught.value)


def test_a_faulty_file_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("something else\n")
    path.chmod(0o600)
    with pytest.raises(UsageError):
        add_key(path)
    assert path.read_text() == "something else\n"


def test_a_missing_key_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    other = TemplateKey(bytes(32))
    assert key_named((KEY, other), other.fingerprint, path=tmp_path) is other
    assert key_named((), "", path=None) is None
    with pytest.raises(ModelError, match=rf"{KEY.fingerprint}, .* holds {other.fingerprint}: name the file"):
        key_named((other,), KEY.fingerprint, path=tmp_path)
    with pytest.raises(ModelError, match="no key file is configured"):
        key_named((), KEY.fingerprint, path=None)
