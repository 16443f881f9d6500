"""Encryption: what one key closes, that key opens; anything that was changed on the way is refused."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from pyrage import decrypt, x25519

from attendance.backup.keys import Keys, make_key, read_key_file, read_passphrase_file
from attendance.errors import BackupError, UsageError

CONTENT = os.urandom(300_000)
CHUNK = 65_536 + 16
"""age encrypts 64 KiB at a time and adds a tag of 16 bytes."""


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    make_key(tmp_path / "key")
    return read_key_file(tmp_path / "key")


def closed(keys: Keys, content: bytes = CONTENT) -> bytes:
    target = io.BytesIO()
    keys.encrypt(io.BytesIO(content), target)
    return target.getvalue()


def opened(keys: Keys, data: bytes) -> bytes:
    target = io.BytesIO()
    keys.decrypt(io.BytesIO(data), target)
    return target.getvalue()


def test_age_itself_opens_it(tmp_path: Path, keys: Keys) -> None:
    private = (tmp_path / "key").read_text("ascii").splitlines()[1]
    assert decrypt(closed(keys), [x25519.Identity.from_str(private)]) == CONTENT
    assert opened(keys, closed(keys)) == CONTENT
    assert opened(keys, closed(keys, b"")) == b""


def test_twice_the_same_is_never_alike(keys: Keys) -> None:
    assert closed(keys) != closed(keys)


def test_several_keys_each_open_it(tmp_path: Path, keys: Keys) -> None:
    other = make_key(tmp_path / "other")
    both = tmp_path / "both"
    both.write_text((tmp_path / "key").read_text("ascii") + other + "\n", encoding="ascii")
    data = closed(read_key_file(both))
    assert opened(keys, data) == opened(read_key_file(tmp_path / "other"), data) == CONTENT


def test_another_key_is_told_from_damage(tmp_path: Path, keys: Keys) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(BackupError, match="the key does not open this backup"):
        opened(read_key_file(tmp_path / "other"), closed(keys))


@pytest.mark.parametrize("place", [3, 40, 150, 300, 70_000, 200_000, -1])
def test_a_flipped_bit_is_refused(keys: Keys, place: int) -> None:
    data = bytearray(closed(keys))
    data[place] ^= 4
    with pytest.raises(BackupError):
        opened(keys, bytes(data))


def test_what_is_cut_off_added_or_moved_is_refused(keys: Keys) -> None:
    data = closed(keys)
    start = len(data) - (len(CONTENT) % 65_536 + 16) - 4 * CHUNK
    parts = [data[start + i * CHUNK : start + (i + 1) * CHUNK] for i in range(5)]
    assert data == data[:start] + b"".join(parts)
    swapped = data[:start] + parts[1] + parts[0] + b"".join(parts[2:])
    for wrong in (
        b"",
        data[:10],
        data[: start - 1],
        data[:start],
        data[:-1],
        data[: start + CHUNK],
        data[: start + 4 * CHUNK],
        data + b"x",
        data[:start] + b"".join(parts[1:]),
        swapped,
        data[:start] + parts[0] + b"".join(parts),
    ):
        with pytest.raises(BackupError):
            opened(keys, wrong)


def test_a_passphrase_opens_it_and_no_other() -> None:
    keys = Keys(passphrase="twelve or more characters")
    data = closed(keys)
    assert opened(keys, data) == CONTENT
    with pytest.raises(BackupError, match="the passphrase does not open this backup"):
        opened(Keys(passphrase="some other characters"), data)
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        assert parts.namelist() == ["key.age", "backup.age"]
        assert all(parts.read(name).startswith(b"age-encryption.org/v1") for name in parts.namelist())


def test_a_damaged_file_with_a_passphrase_is_refused_before_the_passphrase_is_tried() -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as parts:
        parts.writestr("something", "else")
    for data in (whole.getvalue(), whole.getvalue()[:-5], whole.getvalue()[:8]):
        with pytest.raises(BackupError, match="damaged or cut off"):
            opened(Keys(passphrase="twelve or more characters"), data)


def test_each_kind_says_what_it_needs(keys: Keys) -> None:
    with pytest.raises(BackupError, match="got something else"):
        opened(keys, b"SQLite format 3")
    with pytest.raises(BackupError, match="made with a passphrase"):
        opened(keys, b"PK\x03\x04")
    with pytest.raises(BackupError, match="opened by a key file"):
        opened(Keys(passphrase="twelve or more characters"), closed(keys))
    with pytest.raises(UsageError, match="keep one"):
        closed(Keys(recipients=keys.recipients, identities=keys.identities, passphrase="twelve or more characters"))


@pytest.mark.parametrize("words", ["", "elevenchars"])
def test_a_weak_key_is_refused_and_not_shown(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Keys(passphrase=words)
    assert words == "" or words not in str(caught.value)


def test_a_key_is_shown_nowhere(tmp_path: Path, keys: Keys) -> None:
    private = (tmp_path / "key").read_text("ascii").splitlines()[1]
    both = Keys(recipients=keys.recipients, identities=keys.identities, passphrase="twelve or more characters")
    assert private not in repr(both)
    assert "twelve" not in repr(both)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "AGE-SECRET-KEY-1WRONG", "age1wrong", "hello", "\xff"])
def test_a_file_that_is_no_key_is_wrong_use(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"backup\.key_file") as caught:
        read_key_file(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"backup\.key_file"):
        read_key_file(tmp_path / "none")


def test_a_passphrase_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("twelve or more é\nnothing\n", encoding="utf-8")
    assert read_passphrase_file(path) == "twelve or more é"
    path.write_text("", encoding="utf-8")
    assert read_passphrase_file(path) == ""
    with pytest.raises(UsageError, match="passphrase_file"):
        read_passphrase_file(tmp_path / "none")


def test_an_error_of_the_disk_is_the_disks(keys: Keys) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        keys.encrypt(io.BytesIO(CONTENT), Full())
    assert caught.value.errno == 28
    with pytest.raises(OSError, match="No space left") as caught:
        keys.decrypt(io.BytesIO(closed(keys)), Full())
    assert caught.value.errno == 28
