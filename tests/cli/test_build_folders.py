"""`build_database.py` on folders, photos and stores of every kind, and what it says: run as its user runs it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.app import App
from attendance.cli.build import main
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, locate
from tests.building import FakeApp, Site, colour_of, photo, refused

RED, GREEN, BLUE, YELLOW = (colour_of(number) for number in (0, 1, 2, 3))
RED_AGAIN = (RED[0], RED[1] ^ 4, RED[2])
"""Another picture of the same: what does not fit a person's other photos is kept out."""

NOBODY = 65534


@pytest.fixture
def foreign_site() -> Iterator[Site]:
    """One person, in a run without the right to read everything: root goes on as nobody, in a folder of nobody's."""
    # Not below pytest's folder, which is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="attendance-"))
    site = Site(folder)
    for name in ("p1/a.png", "p1/b.png", "p2/a.png"):
        site.photo(name, RED)
    user = os.geteuid()
    if user == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, -1)
        os.seteuid(NOBODY)
    yield site
    os.seteuid(user)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


def test_what_cannot_be_looked_at_is_not_gone(site: Site) -> None:
    site.build()
    for name in ("p1/a.png", "p2"):
        path = site.people / name
        path.rename(site.people.parent / "away")
        path.symlink_to(site.people.parent / "not mounted")
        (site.people.parent / "away").rename(site.people.parent / name.replace("/", "-"))
    result = site.build("--prune")
    assert refused(result) == {"p1/a.png": "unreadable", "p2": "unreadable"}
    assert (result["vanished"], result["removed"], result["templates"]) == ([], 0, 4)


def test_an_empty_people_dir_prunes_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.build()
    shutil.rmtree(site.people)
    site.people.mkdir()
    assert site.run("--prune") == 2
    assert "is it mounted?" in capsys.readouterr().err
    result = site.build()
    assert refused(result) == {".": "empty_folder"}
    assert (result["templates"], len(result["vanished"])) == (4, 4)


def test_a_copy_that_spells_names_otherwise_is_the_same(site: Site) -> None:
    site.photo(unicodedata.normalize("NFD", "zoë/élan.png"), BLUE)
    assert site.build()["added"] == 5
    shutil.rmtree(site.people / unicodedata.normalize("NFD", "zoë"))
    site.photo("zoë/élan.png", BLUE)
    result = site.build()
    assert (result["added"], result["replaced"], result["vanished"]) == (0, 0, [])
    # Both spellings at once: two photos of one folder stay two, two folders are a mistake.
    site.photo(unicodedata.normalize("NFD", "zoë/élan.png").replace(unicodedata.normalize("NFD", "zoë"), "zoë"), BLUE)
    site.photo(unicodedata.normalize("NFD", "zoë") + "/other.png", BLUE)
    result = site.build()
    assert list(refused(result).values()) == ["bad_identity"]
    assert len(site.enrolled()["zoë"].templates) + result["added"] in (2, 3)
    assert site.differences().clean


def test_linked_folders_and_photos_are_followed_and_other_files_listed(site: Site) -> None:
    photo(site.people.parent / "elsewhere" / "x.png", RED_AGAIN)
    (site.people / "p3").symlink_to(site.people.parent / "elsewhere")
    (site.people / "p1" / "c.png").symlink_to(site.people.parent / "elsewhere" / "x.png")
    (site.people / "p1" / "notes.txt").write_text("x")
    (site.people / "readme.md").write_text("x")
    (site.people / "p4").symlink_to(site.people)
    (site.people / "p5").symlink_to("p5")
    result = site.build()
    assert sorted(set(site.paths())) == ["p1/a.png", "p1/b.png", "p1/c.png", "p2/a.png", "p2/b.png", "p3/x.png"]
    assert result["ignored"] == ["p1/notes.txt", "readme.md"]
    assert refused(result) == {"p4": "link_loop", "p5": "link_loop"}


def test_refused_photos_never_stop_the_run(site: Site) -> None:
    for extension in ("jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"):
        site.photo(f"formats/f.{extension}", BLUE)
    p1 = site.people / "p1"
    (p1 / "zero.jpg").write_bytes(b"")
    (p1 / "text.jpg").write_text("hello")
    whole = site.photo("p1/whole.jpg", RED).read_bytes()
    (p1 / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    site.photo("p1/nobody.png")
    site.photo("p1/two.png", RED, GREEN)
    (p1 / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + b"\x00" * 64)
    os.mkfifo(p1 / "pipe.jpg")
    (p1 / "device.jpg").symlink_to("/dev/zero")
    (p1 / "loop.jpg").symlink_to("loop.jpg")
    (site.people / "empty").mkdir()
    (site.people / "p2" / os.fsdecode(b"caf\xe9.png")).write_bytes(whole)
    long = "x" * 250 + ".jpg"
    (p1 / long).write_bytes(whole)
    result = site.build()
    reasons = refused(result)
    assert reasons.pop("p1/phone.heic") in ("no_decoder", "truncated")
    assert reasons == {
        "empty": "empty_folder",
        "p1/cut.jpg": "truncated",
        "p1/device.jpg": "unreadable",
        "p1/loop.jpg": "link_loop",
        "p1/nobody.png": "no_face",
        "p1/pipe.jpg": "unreadable",
        "p1/text.jpg": "not_an_image",
        "p1/two.png": "several_faces",
        "p1/zero.jpg": "empty_file",
        "p2/caf\\udce9.png": "unreadable",
    }
    assert all(entry["detail"] for entry in result["refused"])
    assert f"p1/{long}" in site.paths()
    assert (result["people"], result["templates"]) == (3, 4 + 2 + 7)


def test_unreadable_files_are_refused(foreign_site: Site) -> None:
    site = foreign_site
    assert site.build()["added"] == 3
    for name in ("p1/a.png", "p1/b.png"):
        site.photo(name, RED_AGAIN)
    (site.people / "p1" / "b.png").chmod(0)
    (site.people / "p2").chmod(0)
    result = site.build("--prune")
    assert refused(result) == {"p1/b.png": "unreadable", "p2": "unreadable"}
    assert (result["replaced"], result["removed"], result["templates"]) == (1, 0, 3)


def test_an_unreadable_people_csv_or_people_dir_is_wrong_use(
    foreign_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    (foreign_site.people / "people.csv").touch(0o000)
    assert foreign_site.run() == 2
    foreign_site.people.chmod(0)
    assert foreign_site.run() == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert not foreign_site.store.exists()


def test_a_store_that_cannot_be_written_is_one_line(foreign_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    foreign_site.store.mkdir(0o500)
    assert foreign_site.run() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(foreign_site.store) in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["missing"], "there is no such folder"),
        (["file"], "expected a folder, got a file"),
        (["people", "--probes", "missing"], "there is no such folder"),
        (["people", "--probes", "people", "--holdout", "1"], "not allowed with"),
        (["people", "--holdout", "0"], "--holdout must be 1 or more"),
        (["people", "--holdout", "x"], "invalid int value"),
        (["people", "--face", "nearest"], "invalid choice"),
        (["people", "--dry-run"], "--dry-run goes with --prune"),
        (["people", "--source-label", "\udcff"], "--source-label must be printable"),
        (["people", "--json", "missing/result.json"], "--json missing/result.json: cannot be written"),
        ([], "PEOPLE_DIR"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("people").mkdir()
    Path("file").touch()
    try:
        code = main(flags, make_app=FakeApp)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert not Path("store").exists()


def test_a_store_that_is_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path)
    site.photo("p1/a.png", RED)
    site.store.touch()
    assert site.run() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_json_on_stdout_is_json_alone(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(site.people), "--store", str(site.store), "--json", "-"], make_app=FakeApp) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["templates"] == 4
    assert "2 people, 4 templates in the gallery" in captured.err


def test_what_a_person_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.photo("p1/nobody.png")
    (site.people / "p1" / "notes.txt").touch()
    arguments = [str(site.people), "--store", str(site.store), "--holdout", "1"]
    assert main(arguments, make_app=FakeApp) == 0
    told = capsys.readouterr().out
    assert "on cpu" in told
    assert "ignored   p1/notes.txt: not a photo" in told
    assert "2 probes: top-1 50.0%, top-3 50.0%, top-5 50.0%, 1 failed reads" in told
    assert "unread    p1/nobody.png: no_face: " in told
    shutil.rmtree(site.people / "p2")
    assert main([*arguments[:-2], "--prune", "--dry-run"], make_app=FakeApp) == 0
    told = capsys.readouterr().out
    assert "a dry run: nothing was changed" in told
    assert "refused   p1/nobody.png: no_face: " in told
    assert "vanished  p2/a.png: its template goes" in told


def test_the_sample_portraits_with_the_real_networks(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for portrait in (GRACE_HOPPER, EILEEN_COLLINS):
        source = locate(portrait)
        for name in (source.name, f"z{source.suffix}"):
            target = site.people / portrait.identity_id / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    assert site.run("--holdout", "1", app=App) == 0
    result = site.result()
    assert (result["people"], result["templates"], result["refused"]) == (2, 2, [])
    assert (result["probes"], result["failed_reads"], result["top1"]) == (2, 0, 1.0)
    assert (result["model"], result["suspected_duplicates"]) == ("dlib-resnet29", [])


def test_the_label_of_single_enrolments_is_not_for_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "people").mkdir()
    assert main([str(tmp_path / "people"), "--source-label", "enrol", "--store", str(tmp_path / "store")]) == 2
    assert "choose another" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
