"""The archive: tar reads it, and what is not exactly what the manifest lists is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attendance.backup.archive import Entry, Manifest, Stream, entry_of, manifest_from, pack, unpack
from attendance.errors import BackupError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, content in (("ledger.sqlite", b"l" * 5000), ("models/own/card.yaml", b""), ("models/own/w.bin", b"w")):
        made[name] = tmp_path / name.replace("/", "-")
        made[name].write_bytes(content)
    return made


@pytest.fixture
def manifest(files: dict[str, Path]) -> Manifest:
    return Manifest(
        format=1, product="0", created_at="2026-01-01T00:00:00.000Z", kind="sqlite", schema=2, people=1, templates=2,
        punches=3, attendance=4, model="own", files=tuple(entry_of(name, file) for name, file in files.items()),
    )  # fmt: skip


def packed(manifest: Manifest, files: dict[str, Path]) -> bytes:
    return b"".join(pack(manifest, files.__getitem__))


def tarred(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """An archive as tar itself makes it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content) if kind == tarfile.REGTYPE else 0
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header, io.BytesIO(content))
    return target.getvalue()


def test_tar_reads_it(manifest: Manifest, files: dict[str, Path]) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(manifest, files)), mode="r:gz") as archive:
        assert archive.getnames() == ["manifest.json", *files]
        for name, file in files.items():
            content = archive.extractfile(name)
            assert content is not None and content.read() == file.read_bytes()


def test_there_and_back(manifest: Manifest, files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "back"
    assert unpack(io.BytesIO(packed(manifest, files)), folder) == manifest
    assert {name: (folder / name).read_bytes() for name in files} == {n: f.read_bytes() for n, f in files.items()}
    assert unpack(io.BytesIO(packed(manifest, files)), None).models == ["own"]


@pytest.mark.parametrize("content", [b"m" * 5000, b"", b"l" * 4999, b"l" * 5001])
def test_a_file_that_changes_meanwhile_is_no_backup(manifest: Manifest, files: dict[str, Path], content: bytes) -> None:
    files["ledger.sqlite"].write_bytes(content)
    with pytest.raises(BackupError, match="changed while it was backed up"):
        packed(manifest, files)


def test_what_the_manifest_does_not_list_is_refused(manifest: Manifest, files: dict[str, Path]) -> None:
    listing = ("manifest.json", manifest.to_json())
    right = [(name, file.read_bytes()) for name, file in files.items()]
    assert unpack(io.BytesIO(tarred(listing, *right)), None) == manifest
    for wrong in (
        tarred(*right),
        tarred(listing),
        tarred(listing, *right[:-1]),
        tarred(listing, *right, ("more", b"")),
        tarred(listing, ("ledger.sqlite", b"m" * 5000), *right[1:]),
        tarred(listing, *right[::-1]),
        tarred(listing, *right, kind=tarfile.SYMTYPE),
        tarred(("manifest.json", b"{}"), *right),
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        tarred(listing, *right)[:-20],
    ):
        with pytest.raises(BackupError) as caught:
            unpack(io.BytesIO(wrong), None)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../ledger.sqlite", "/etc/passwd", "models/../x", "models/a/../b", "secrets/key", "models/.x/y", "chroma/x"],
)
def test_no_name_leads_elsewhere(manifest: Manifest, name: str) -> None:
    bad = replace(manifest, files=(*manifest.files, Entry(name, 0, "")))
    with pytest.raises(BackupError, match="must hold a ledger, a configuration and models"):
        manifest_from(bad.to_json())


@pytest.mark.parametrize(
    ("change", "told"),
    [({"format": 2}, "format 1 or lower, got 2.*newer"), ({"files": []}, "must hold a ledger"), ({"new": 1}, "read")],
)
def test_a_manifest_of_another_kind_is_told(manifest: Manifest, change: dict[str, Any], told: str) -> None:
    with pytest.raises(BackupError, match=told):
        manifest_from(json.dumps({**json.loads(manifest.to_json()), **change}).encode())


def test_a_stream_gives_its_pieces_in_any_size() -> None:
    pieces = [b"", b"abc", b"", b"defg", b""]
    assert Stream(iter(pieces)).read() == b"abcdefg"
    stream = Stream(iter(pieces))
    assert b"".join(iter(lambda: stream.read(2), b"")) == b"abcdefg"
