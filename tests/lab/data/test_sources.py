"""Folders cut and cached, faces divided, and batches the same whoever reads them."""

from __future__ import annotations

import json
import os
import pickle
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from attendance.align import align, arcface_112
from attendance.detect.mtcnn import MtcnnDetector
from attendance.errors import ImageError, SourceError, StoreError, UsageError
from attendance.types import Face
from demo.portraits import GRACE_HOPPER, load
from lab.data.augment import Augment
from lab.data.cache import CachedSource, cached
from lab.data.folder import FaceCutter, FolderSource, at_size
from lab.data.loading import PlainFaces, TrainingFaces, plain_batches, to_input, training_batches
from lab.data.samplers import Place, Shuffled
from lab.data.split import split_people
from tests.lab.made_people import made_folder, made_photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folder(tmp_path / "people", people=3, photos=4)


def test_crops_are_read_as_they_are_and_others_scaled(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.people == ("person-00", "person-01", "person-02")
    assert source.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.array_equal(source.read(5, 32), made_photo(1, 1))
    assert source.read(5, 16).shape == (16, 16, 3)
    assert source.place(5) == "person-01/01.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "person-00" / "00.png")
    with pytest.raises(ImageError, match="an aligned crop is square, this one has 6x4"):
        source.read(0, 32)
    with pytest.raises(SourceError, match="got no photo"):
        FolderSource(folder / "person-01")


def test_photos_are_cut_as_the_product_cuts_them(tmp_path: Path) -> None:
    portrait = load(GRACE_HOPPER)
    (tmp_path / "person-01").mkdir()
    Image.fromarray(portrait).save(tmp_path / "person-01" / "0.png")
    Image.fromarray(np.full((80, 80, 3), 128, np.uint8)).save(tmp_path / "person-01" / "1.png")
    source = FolderSource(tmp_path, cut=FaceCutter(arcface_112(), lambda: MtcnnDetector(threads=1)))
    chip = source.read(0, 112)
    # The eyes of the cut face lie where the template says.
    found = MtcnnDetector(threads=1, min_face_px=40).detect([np.pad(chip, ((40, 40), (40, 40), (0, 0)), mode="edge")])
    template = arcface_112().template
    assert template is not None
    assert np.abs(found[0][0].points - 40 - template).max() < 6.0
    assert source.read(0, 56).shape == (56, 56, 3)
    with pytest.raises(ImageError, match="no face was found"):
        source.read(1, 112)


def test_a_smaller_cut_is_the_large_one_shrunk() -> None:
    template = arcface_112().template
    assert template is not None
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    photo = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3.0), np.uint8)
    face = Face(np.array([0, 0, 112, 112], np.float32), 1.0, template)
    for side in (28, 56):
        shrunk = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA).astype(int)
        cut = align(photo, [face], at_size(arcface_112(), side))[0].astype(int)
        assert np.abs(cut - shrunk).mean() < 1.0 < np.abs(cut[:, 1:] - cut[:, :-1]).mean()


def test_a_cache_is_made_once_and_follows_its_sources(folder: Path, tmp_path: Path) -> None:
    (folder / "person-00" / "02.png").write_bytes(b"no picture")
    for number in range(4):
        (folder / "person-02" / f"{number:02d}.png").write_bytes(b"no picture")
    seen: list[int] = []
    made = cached(FolderSource(folder), tmp_path / "cache", size_px=32, progress=lambda items: seen_by(seen, items))
    assert seen == list(range(12))
    assert made.people == ("person-00", "person-01")
    assert made.labels.tolist() == [0] * 3 + [1] * 4
    assert [face.place for face in made.unread] == ["person-00/02.png", *(f"person-02/0{n}.png" for n in range(4))]
    assert np.array_equal(made.read(2, 32), made_photo(0, 3))
    assert made.place(2) == "person-00/03.png"
    assert len(list((tmp_path / "cache").iterdir())) == 1  # nothing half made beside it

    again = cached(FolderSource(folder), tmp_path / "cache", size_px=32, progress=lambda items: seen_by(seen, items))
    assert len(seen) == 12 and again.folder == made.folder
    copy: CachedSource = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert np.array_equal(copy.read(2, 16), made.read(2, 16))

    assert cached(FolderSource(folder), tmp_path / "cache", size_px=16).folder != made.folder
    Image.fromarray(made_photo(9, 9)).save(folder / "person-00" / "02.png")
    os.utime(folder / "person-00" / "02.png", ns=(1, 1))
    changed = cached(FolderSource(folder), tmp_path / "cache", size_px=32)
    assert np.array_equal(changed.read(2, 32), made_photo(9, 9))


def seen_by(seen: list[int], items: object) -> list[int]:
    assert isinstance(items, range)
    seen.extend(items)
    return list(items)


def test_a_build_that_was_broken_off_leaves_nothing_that_looks_finished(folder: Path, tmp_path: Path) -> None:
    def stop(items: object) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(FolderSource(folder), tmp_path / "cache", size_px=32, progress=stop)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the cache cannot be written"):
        cached(FolderSource(folder), tmp_path / "file", size_px=32)
    for photo in folder.rglob("*.png"):
        photo.write_bytes(b"")
    with pytest.raises(SourceError, match="not one could be read"):
        cached(FolderSource(folder), tmp_path / "cache", size_px=32)


PEOPLE = [f"p{n}" for n in range(10)]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.arange(1, 11))).astype(np.int64)


def test_faces_are_divided_by_people_and_by_photos() -> None:
    split = split_people(PEOPLE, LABELS, validation_photos=2, strangers=0.3)
    together = np.concatenate((split.train, split.validation, split.strangers))
    assert sorted(together.tolist()) == list(range(55))
    held_out = set(LABELS[split.strangers].tolist())
    assert len(held_out) == 3 and not held_out & set(LABELS[split.train].tolist())
    assert {person for person in range(10) if split.classes[person] < 0} == held_out
    assert [PEOPLE[p] for p in range(10) if split.classes[p] >= 0] == list(split.class_people)
    for person in set(range(10)) - held_out:
        photos = np.flatnonzero(person == LABELS).tolist()
        kept = photos[: max(1, len(photos) - 2)]
        assert [i for i in photos if i in split.train] == kept
        assert [i for i in photos if i in split.validation] == photos[len(kept) :]


def test_a_person_s_side_depends_on_the_seed_and_the_name_alone() -> None:
    first = {split_people(PEOPLE, LABELS, seed=seed, strangers=0.3).class_people for seed in range(8)}
    assert len(first) > 4
    assert split_people(PEOPLE, LABELS, most_people=4).class_people == tuple(
        sorted(split_people(PEOPLE, LABELS, most_people=4).class_people, key=PEOPLE.index)
    )
    with pytest.raises(UsageError, match="two people or more to train on, got 1"):
        split_people(PEOPLE, LABELS, most_people=3, strangers=0.5)


def batches(folder: Path, *, workers: int, start: Place, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    source = FolderSource(folder)
    classes = np.array([2, 0, 1])
    how = Augment(flip=0.5, colour=0.5, erase=0.5)
    faces = TrainingFaces(source, np.arange(1, 12), classes, size_px=32, how=how, seed=5)
    sampler = Shuffled(faces.labels, batch_size=4, seed=5)
    made = training_batches(faces, sampler, start, rank=0, world=1, workers=workers, pinned=False)
    taken = [(batch.faces, batch.labels) for batch in islice(made, count)]
    made.close()
    return taken


def test_workers_change_nothing_but_the_time(folder: Path) -> None:
    alone = batches(folder, workers=0, start=Place(), count=5)
    together = batches(folder, workers=2, start=Place(0, 1), count=4)
    for (faces, labels), (other_faces, other_labels) in zip(alone[1:], together, strict=True):
        assert torch.equal(faces, other_faces) and torch.equal(labels, other_labels)
    assert alone[0][0].shape == (4, 32, 32, 3) and alone[0][0].dtype == torch.uint8
    assert set(torch.cat([labels for _, labels in alone]).tolist()) == {0, 1, 2}


def test_plain_faces_come_once_and_in_order(folder: Path) -> None:
    plain = list(plain_batches(PlainFaces(FolderSource(folder), np.arange(3, 10), size_px=32), batch_size=4))
    assert [batch.labels.tolist() for batch in plain] == [[0, 1, 2, 3], [4, 5, 6]]
    assert np.array_equal(plain[0].faces[1].numpy(), made_photo(1, 0))


@pytest.mark.parametrize("channels_last", [False, True])
def test_bytes_become_numbers_about_zero(channels_last: bool) -> None:
    faces = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 4, 3)
    got = to_input(faces, torch.device("cpu"), channels_last=channels_last)
    assert got.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    for n, y, x, c in [(0, 0, 0, 0), (1, 3, 2, 1)]:
        assert got[n, c, y, x].item() == pytest.approx((faces[n, y, x, c].item() - 127.5) / 127.5)


def test_the_cache_s_description_is_plain(folder: Path, tmp_path: Path) -> None:
    made = cached(FolderSource(folder), tmp_path / "cache", size_px=32)
    about = json.loads((made.folder / "about.json").read_text())
    assert set(about) == {"key", "people", "places", "unread"}
