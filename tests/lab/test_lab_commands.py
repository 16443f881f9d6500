"""``python -m lab`` as its user runs it, on the two sample portraits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from attendance import __version__
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, load
from lab.__main__ import main

PORTRAITS = {"person-01": GRACE_HOPPER, "person-02": EILEEN_COLLINS}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of each of two people: as it is, darker, and smaller."""
    root = tmp_path_factory.mktemp("photos")
    for person, portrait in PORTRAITS.items():
        (root / person).mkdir()
        image = Image.fromarray(load(portrait))
        image.save(root / person / "0.png")
        ImageEnhance.Brightness(image).enhance(0.7).save(root / person / "1.png")
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(root / person / "2.png")
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that keeps the converted weights between the tests."""
    return tmp_path_factory.mktemp("store")


def folder_of(root: Path, photos: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, root / name)
    return root


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def write_pairs(folder: Path) -> Path:
    path = folder / "pairs.csv"
    path.write_text(
        "image_a,image_b,same,fold\n"
        "person-01/0.png,person-01/1.png,1,0\n"
        "person-01/0.png,person-02/0.png,0,0\n"
        "person-02/0.png,person-02/2.png,1,1\n"
        "person-01/1.png,person-02/2.png,0,1\n"
        "person-02/0.png,person-02/missing.png,1,2\n"
        "person-01/0.png,person-02/2.png,0,2\n",
        encoding="utf-8",
    )
    return path


def test_verification_of_the_portraits(
    photos: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path)
    arguments = ["evaluate", "verification", "--images", str(photos), "--pairs", str(pairs), "--store", str(store)]
    assert main([*arguments, "--json", "-"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["pairs"], result["failed_pairs"]) == (6, 1)
    assert result["accuracy"] == pytest.approx(5 / 6)
    assert result["tar_at_far"]["1e-2"] == pytest.approx(2 / 3)
    assert "missing.png: unreadable" in printed.err
    assert "dlib-resnet29: 6 pairs, 1 with a photo that was not read" in printed.err


def test_identification_of_the_portraits(
    photos: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = folder_of(tmp_path / "gallery", photos, "person-01/0.png")
    probes = folder_of(tmp_path / "probes", photos, "person-01/1.png", "person-01/2.png")
    strangers = folder_of(tmp_path / "strangers", photos, "person-02/0.png")
    target = tmp_path / "result.json"
    folders = ["--gallery", str(gallery), "--probes", str(probes), "--strangers", str(strangers)]
    flags = ["--store", str(store), "--quality", "standard", "--json", str(target), "--quiet"]
    assert main(["evaluate", "identification", *folders, *flags]) == 0
    assert capsys.readouterr().out == ""
    result = json.loads(target.read_text(encoding="utf-8"))
    assert (result["top1"], result["top3"], result["top5"]) == (1.0, 1.0, 1.0)
    assert (result["probes"], result["strangers"], result["failed_reads"]) == (2, 1, 0)
    assert (result["fnir"], result["fpir"]) == (0.0, 0.0)
    assert 0.5 < result["threshold"] < 1.0


def test_templates_are_looked_up_among_templates(photos: Path, store: Path, tmp_path: Path) -> None:
    faces = "person-01/0.png 1 1\nperson-01/1.png 2 2\nperson-02/0.png 3 3\nperson-02/2.png 4 4\n"
    (tmp_path / "ijbc_face_tid_mid.txt").write_text(faces, encoding="utf-8")
    lists = {"gallery_G1": "1,10\n", "gallery_G2": "3,11\n", "probe_mixed": "2,10\n4,11\n"}
    for name, rows in lists.items():
        (tmp_path / f"ijbc_1N_{name}.csv").write_text(f"TEMPLATE_ID,SUBJECT_ID\n{rows}", encoding="utf-8")
    flags = ["--protocol", str(tmp_path), "--images", str(photos), "--store", str(store), "--resamples", "5"]
    outputs = ["--json", str(tmp_path / "result.json"), "--report", str(tmp_path / "report.html")]
    assert main(["evaluate", "template-search", *flags, *outputs]) == 0
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["top1"], result["fnir_at_fpir"]["1e-1"], result["failed_reads"]) == (1.0, 0.0, 0)
    assert result["galleries"]["G2"]["known"] == result["galleries"]["G2"]["strangers"] == 1
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<img") == 2


def test_degraded_probes_are_farther_from_the_gallery(photos: Path, store: Path, tmp_path: Path) -> None:
    gallery = folder_of(tmp_path / "gallery", photos, "person-01/0.png")
    probes = folder_of(tmp_path / "probes", photos, "person-01/1.png")
    strangers = folder_of(tmp_path / "strangers", photos, "person-02/0.png")
    folders = ["--gallery", str(gallery), "--probes", str(probes), "--strangers", str(strangers)]
    page = tmp_path / "report.html"
    flags = ["--store", str(store), "--quiet", "--report", str(page), "--json", str(tmp_path / "result.json")]
    command = ["evaluate", "identification", *folders, *flags]
    assert main([*command, "--degrade-probes", "5", "--degrade-quality", "10"]) == 0
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["fnir"], result["failed_reads"]) == (1.0, 0)
    text = page.read_text(encoding="utf-8")
    assert "fnir_at_fpir 1e-2" in text and "data:image/png" in text
    for wrong in (["--degrade-quality", "10"], ["--degrade-probes", "3"]):
        assert main([*command, *wrong]) == 2


def test_a_fixed_threshold_is_the_systems_own_point_and_no_strangers_are_null(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("decide: {threshold: 0.125}\n", encoding="utf-8")
    gallery = folder_of(tmp_path / "gallery", photos, "person-01/0.png")
    target = tmp_path / "result.json"
    folders = ["--gallery", str(gallery), "--probes", str(gallery)]
    flags = ["--config", str(config), "--store", str(store), "--json", str(target)]
    assert main(["evaluate", "identification", *folders, *flags]) == 0
    result = json.loads(target.read_text(encoding="utf-8"))
    assert result["threshold"] == 0.125
    assert result["fpir"] is None
    assert result["fnir_at_fpir"] == {"1e-1": None, "1e-2": None, "1e-3": None}


def test_aligned_crops_are_not_searched_for_faces(store: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (150, 150, 3), dtype=np.uint8)).save(tmp_path / name)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_a,image_b,same\na/1.png,a/2.png,1\na/1.png,b/1.png,0\n", encoding="utf-8")
    base = ["evaluate", "verification", "--images", str(tmp_path), "--pairs", str(pairs), "--store", str(store)]
    target = tmp_path / "result.json"
    failed = []
    for flags in ([], ["--aligned"]):
        assert main([*base, *flags, "--json", str(target), "--quiet"]) == 0
        failed.append(json.loads(target.read_text(encoding="utf-8"))["failed_pairs"])
    assert failed == [2, 0]


def test_wrong_use_is_one_line_and_exit_code_two(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    verification = ["evaluate", "verification", "--pairs", str(pairs), "--images"]
    identification = ["evaluate", "identification", "--gallery", str(photos), "--probes", str(photos)]
    cases = [
        ([*verification, str(tmp_path / "none")], "--images", "there is no such folder"),
        ([*verification, str(pairs)], "--images", "expected a folder, got a file"),
        ([*verification, str(empty)], "--images", "holds none of the"),
        ([*verification, str(photos), "--model", "nonesuch"], "--model nonesuch", "known are dlib-resnet29"),
        ([*verification, str(photos), "--json", str(tmp_path / "no" / "r.json")], "--json", "cannot be written"),
        ([*verification, str(photos), "--config", str(tmp_path / "no.yaml")], "no.yaml", "cannot be read"),
        ([*identification, "--strangers", str(photos)], "--strangers", "person-01 is in --gallery too"),
        (
            ["evaluate", "identification", "--gallery", str(empty), "--probes", str(photos)],
            "--gallery",
            "got no photo",
        ),
    ]
    for arguments, flag, message in cases:
        assert main(arguments) == 2
        line = error_line(capsys)
        assert line.startswith("python -m lab: ")
        assert flag in line
        assert message in line


def test_probes_of_people_who_are_not_enrolled_are_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = folder_of(tmp_path, photos, "person-01/0.png")
    assert main(["evaluate", "identification", "--gallery", str(gallery), "--probes", str(photos)]) == 2
    assert "person-02 has no photos in --gallery" in error_line(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["evaluate"],
        ["evaluate", "verification"],
        ["evaluate", "verification", "--images", "x", "--pairs", "y", "--quality", "best"],
        ["evaluate", "identification", "--gallery", "x", "--probes", "y", "--image", "z"],
    ],
)
def test_faulty_flags_are_one_line_and_exit_code_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "--help" in error_line(capsys)


@pytest.mark.parametrize("kind", ["verification", "identification"])
def test_help_has_an_example_and_every_flag(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", kind, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  python -m lab evaluate {kind}" in text
    for flag in ("--config", "--store", "--json", "--quiet", "--version", "--model", "--aligned", "--quality"):
        assert flag in text


@pytest.mark.parametrize("before", [[], ["evaluate"]])
def test_every_help_page_has_an_example(before: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*before, "--help"])
    assert "example:\n  python -m lab evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("before", [[], ["evaluate", "verification"]])
def test_version(before: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*before, "--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.strip() == __version__
