"""Training files written here from the format's description, read back by the lab."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import SourceError
from lab.data.recordio import RecordFile, RecordSource
from tests.lab.made_people import made_photo, png

MAGIC = struct.pack("<I", 0xCED7230A)


def header(*labels: float, array: bool = False) -> bytes:
    """flag, label, id, id2; more labels than one, or ``array``, follow and are counted by the flag."""
    if len(labels) == 1 and not array:
        return struct.pack("<IfQQ", 0, labels[0], 7, 0)
    return struct.pack("<IfQQ", len(labels), 0.0, 7, 0) + np.array(labels, dtype="<f4").tobytes()


def parts(record: bytes) -> bytes:
    """A record as its parts: cut at every magic word that lies at a multiple of 4, which is left out."""
    cuts = [at for at in range(0, len(record) - 3, 4) if record[at : at + 4] == MAGIC]
    pieces, begin = [], 0
    for cut in cuts:
        pieces.append(record[begin:cut])
        begin = cut + 4
    pieces.append(record[begin:])
    written = b""
    for place, piece in enumerate(pieces):
        kind = 0 if len(pieces) == 1 else 1 if place == 0 else 3 if place == len(pieces) - 1 else 2
        written += MAGIC + struct.pack("<I", kind << 29 | len(piece)) + piece + bytes(-len(piece) % 4)
    return written


def write(rec: Path, records: dict[int, bytes]) -> Path:
    data, lines = b"", []
    for key, record in records.items():
        lines.append(f"{key}\t{len(data)}")
        data += parts(record)
    rec.write_bytes(data)
    rec.with_suffix(".idx").write_text("\n".join(lines) + "\n")
    return rec


def training_file(folder: Path) -> Path:
    """Five faces of three people, one of whose numbers is missing, as InsightFace lays them out."""
    people = [0, 0, 2, 2, 5]
    records = {0: header(6.0, 9.0)}
    for key, person in enumerate(people, 1):
        labels = header(float(person)) if key != 3 else header(float(person), 1.0)
        records[key] = labels + png(person, key)
    for key, (first, after) in enumerate([(1, 3), (3, 5), (5, 6)], 6):
        records[key] = header(float(first), float(after))
    return write(folder / "train.rec", records)


def test_faces_and_people_of_a_training_file(tmp_path: Path) -> None:
    source = RecordSource(training_file(tmp_path))
    assert source.people == ("0", "2", "5")
    assert source.labels.tolist() == [0, 0, 1, 1, 2]
    for index, person in enumerate([0, 0, 2, 2, 5]):
        assert np.array_equal(source.read(index, 32), made_photo(person, index + 1))
    assert source.read(0, 16).shape == (16, 16, 3)
    assert source.place(4) == "train.rec: record 5"


def test_a_file_without_the_leading_record_is_all_faces(tmp_path: Path) -> None:
    rec = write(tmp_path / "train.rec", {key: header(float(key % 2)) + png(key % 2, key) for key in range(4)})
    source = RecordSource(rec)
    assert source.labels.tolist() == [0, 1, 0, 1]


def test_label_arrays_stand_for_the_label(tmp_path: Path) -> None:
    rec = write(tmp_path / "train.rec", {1: header(3.0, 0.25, 9.0) + b"image", 2: header(4.0, array=True) + b""})
    file = RecordFile(rec)
    assert file.record(1).labels == (3.0, 0.25, 9.0) and file.record(1).image == b"image"
    assert file.record(2).labels == (4.0,) and file.record(2).image == b""
    assert [file.label(1), file.label(2)] == [3.0, 4.0]


@pytest.mark.parametrize("length", range(4))
def test_a_record_that_holds_the_magic_word_is_joined_again(tmp_path: Path, length: int) -> None:
    image = MAGIC + b"abcd" + MAGIC + MAGIC + b"x" * length + b"y" + MAGIC
    rec = write(tmp_path / "train.rec", {1: header(1.0) + image, 2: header(2.0) + b"after"})
    file = RecordFile(rec)
    assert file.record(1).image == image
    assert file.record(2).image == b"after"


def test_a_worker_opens_the_file_itself(tmp_path: Path) -> None:
    source = RecordSource(training_file(tmp_path))
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    source.file.close()
    assert np.array_equal(copy.read(2, 32), made_photo(2, 3))


def spoilt(folder: Path, how: str) -> Path:
    rec = training_file(folder)
    data = bytearray(rec.read_bytes())
    index = rec.with_suffix(".idx")
    if how == "cut":
        rec.write_bytes(data[:-3])
    elif how == "shifted":
        index.write_text(index.read_text().replace("\t0", "\t4"))
    elif how == "words":
        index.write_text("one two\n")
    elif how == "empty":
        index.write_text("")
    elif how == "gone":
        index.unlink()
    elif how == "labels":
        data[8:12] = struct.pack("<I", 1 << 30)
        rec.write_bytes(data)
    elif how == "file":
        rec.unlink()
    return rec


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "cut off"),
        ("shifted", "expected a record at byte 4"),
        ("words", "line 1: expected a key, a tab and an offset"),
        ("empty", "names no record"),
        ("gone", "index cannot be read"),
        ("labels", "labels, got"),
        ("file", "cannot be read"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, how: str, message: str) -> None:
    rec = spoilt(tmp_path, how)
    with pytest.raises(SourceError, match=message):
        RecordSource(rec).file.record(8)


def test_a_record_that_the_index_has_not_is_told(tmp_path: Path) -> None:
    file = RecordFile(training_file(tmp_path))
    with pytest.raises(SourceError, match="expected the record 99"):
        file.record(99)
