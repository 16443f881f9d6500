"""Folders of people: who stands for whom, what is ignored, what is refused, and in which order."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from attendance.errors import SourceError
from attendance.images import identity_problem, list_people_folder
from attendance.types import RefusalReason


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_people_and_photos_are_sorted_and_the_rest_is_ignored(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.JPEG", "b/1.Png", "a/x.heic", "a/x.TIFF", "a/notes.txt", "a/.hidden.jpg"):
        touch(tmp_path / name)
    for name in ("people.csv", "readme.md", ".DS_Store", ".git/x.jpg", "a/more/deep.jpg"):
        touch(tmp_path / name)
    listed = list_people_folder(tmp_path)
    assert list(listed.photos) == ["a", "b"]
    assert [path.name for path in listed.photos["a"]] == ["x.TIFF", "x.heic"]
    assert [listed.relative(path) for path in listed.photos["b"]] == ["b/1.Png", "b/10.JPEG", "b/2.jpg"]
    assert listed.ignored == (".DS_Store", ".git/", "a/.hidden.jpg", "a/more/", "a/notes.txt", "readme.md")
    assert listed.problems == ()


def test_every_extension_of_the_contract(tmp_path: Path) -> None:
    for extension in ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "heic", "heif", "JPG", "HeIc"]:
        touch(tmp_path / "a" / f"photo.{extension}")
    for other in ("photo.gif", "photo.jpg.txt", "jpg", "photo.", "photo.pdf"):
        touch(tmp_path / "a" / other)
    listed = list_people_folder(tmp_path)
    assert len(listed.photos["a"]) == 11
    assert len(listed.ignored) == 5


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "person" / "1.jpg")
    root = tmp_path / "people"
    root.mkdir()
    (root / "p1").symlink_to(tmp_path / "elsewhere" / "person")
    (root / "p2").mkdir()
    (root / "p2" / "1.jpg").symlink_to(tmp_path / "elsewhere" / "person" / "1.jpg")
    linked_root = tmp_path / "link"
    linked_root.symlink_to(root)
    listed = list_people_folder(linked_root)
    assert {who: len(photos) for who, photos in listed.photos.items()} == {"p1": 1, "p2": 1}
    assert listed.problems == ()


def test_loops_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "people"
    touch(root / "a" / "1.jpg")
    (root / "up").symlink_to(root)
    (root / "further-up").symlink_to(tmp_path)
    (root / "self").symlink_to(root / "self")
    (root / "a" / "2.jpg").symlink_to(root / "a" / "2.jpg")
    (root / "a" / "back").symlink_to(root / "a")
    (root / "a" / "root").symlink_to("..")
    listed = list_people_folder(root)
    assert {who: len(photos) for who, photos in listed.photos.items()} == {"a": 1}
    assert [(problem.file, problem.reason) for problem in listed.problems] == [
        (name, RefusalReason.LINK_LOOP) for name in ("a/2.jpg", "a/back", "a/root", "further-up", "self", "up")
    ]


def test_empty_broken_and_misnamed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path / "only-text" / "a.txt")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    touch(tmp_path / "bad\nname" / "1.jpg")
    touch(tmp_path / ("x" * 201) / "1.jpg")
    touch(tmp_path / ("x" * 200) / "1.jpg")
    (tmp_path / "p" / "folder.jpg").mkdir(parents=True)
    listed = list_people_folder(tmp_path)
    assert list(listed.photos) == ["x" * 200]
    assert {problem.file: problem.reason for problem in listed.problems} == {
        "empty": RefusalReason.EMPTY_FOLDER,
        "only-text": RefusalReason.EMPTY_FOLDER,
        "gone": RefusalReason.UNREADABLE,
        "bad\nname": RefusalReason.BAD_IDENTITY,
        "x" * 201: RefusalReason.BAD_IDENTITY,
        "p/folder.jpg": RefusalReason.UNREADABLE,
    }


def test_two_spellings_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "Zoe\u0308" / "1.jpg")
    assert list(list_people_folder(tmp_path).photos) == ["Zo\u00eb"]
    touch(tmp_path / "Zo\u00eb" / "1.jpg")
    listed = list_people_folder(tmp_path)
    assert [problem.reason for problem in listed.problems] == [RefusalReason.BAD_IDENTITY]
    assert len(listed.photos) == 1


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path / os.fsdecode(b"caf\xe9") / "1.jpg")
    touch(tmp_path / "a" / os.fsdecode(b"\xe9.jpg"))
    touch(tmp_path / "a" / "good.jpg")
    listed = list_people_folder(tmp_path)
    assert list(listed.photos) == ["a"]
    assert [problem.reason for problem in listed.problems] == [
        RefusalReason.UNREADABLE,
        RefusalReason.BAD_IDENTITY,
    ]
    json.dumps([problem.file for problem in listed.problems]).encode("utf-8")


def test_a_forbidden_folder_does_not_stop_the_rest(
    open_folder: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    touch(open_folder / "a" / "1.jpg")
    touch(open_folder / "b" / "1.jpg").parent.chmod(0)
    with as_nobody():
        listed = list_people_folder(open_folder)
    assert list(listed.photos) == ["a"]
    assert [(problem.file, problem.reason) for problem in listed.problems] == [("b", RefusalReason.UNREADABLE)]


def test_a_missing_root_or_a_file_as_root(tmp_path: Path) -> None:
    for root in (tmp_path / "missing", touch(tmp_path / "file.jpg")):
        with pytest.raises(SourceError, match="one folder of photos per person"):
            list_people_folder(root)


@pytest.mark.parametrize(("identity_id", "fine"), [("a", True), ("", False), ("a\x7f", False), ("𝒳" * 200, True)])
def test_identity_rules(identity_id: str, fine: bool) -> None:
    assert (identity_problem(identity_id) is None) is fine
