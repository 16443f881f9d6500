"""Lists in the layouts of published sets, made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.errors import UsageError
from lab.evaluate.pair_layouts import Pair
from lab.evaluate.pairs import read_pairs

LFW = "2\t1\nAda_A\t1\t12\nAda_A\t2\tBo\t3\nBo\t1\t2\nBo\t3\tAda_A\t1\n"
CALFW = (
    "a_0001.jpg 1\na_0002.jpg 1\nb_0001.jpg 2\nb_0004.jpg 2\na_0001.jpg 0\nb_0001.jpg 0\na_0002.jpg 0\nc_0001.jpg 0\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_lfw_s_blocks_are_the_folds(tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path, LFW)) == [
        Pair("Ada_A/Ada_A_0001.jpg", "Ada_A/Ada_A_0012.jpg", True, "0"),
        Pair("Ada_A/Ada_A_0002.jpg", "Bo/Bo_0003.jpg", False, "0"),
        Pair("Bo/Bo_0001.jpg", "Bo/Bo_0002.jpg", True, "1"),
        Pair("Bo/Bo_0003.jpg", "Ada_A/Ada_A_0001.jpg", False, "1"),
    ]


def test_lfw_s_development_list_has_both_kinds_in_every_fold(tmp_path: Path) -> None:
    same = "".join(f"Ada {n} {n + 1}\n" for n in range(1, 21))
    different = "".join(f"Ada {n} Bo {n}\n" for n in range(1, 21))
    pairs = read_pairs(write(tmp_path, f"20\n{same}{different}"))
    assert [pair.same for pair in pairs] == [True] * 20 + [False] * 20
    assert [pair.fold for pair in pairs] == [str(n // 2) for n in range(20)] * 2


def test_calfw_s_number_is_the_fold_of_a_same_pair(tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path, CALFW)) == [
        Pair("a_0001.jpg", "a_0002.jpg", True, "0"),
        Pair("b_0001.jpg", "b_0004.jpg", True, "1"),
        Pair("a_0001.jpg", "b_0001.jpg", False, "0"),
        Pair("a_0002.jpg", "c_0001.jpg", False, "5"),
    ]


def cfp(root: Path) -> Path:
    split = root / "Protocol" / "Split" / "FP"
    for fold, same, different in (("01", "1,1\n", "1,2\n"), ("02", "2,2\n", "2,1\n\n")):
        (split / fold).mkdir(parents=True)
        (split / fold / "same.txt").write_text(same, encoding="utf-8")
        (split / fold / "diff.txt").write_text(different, encoding="utf-8")
    for letter, kind in (("F", "frontal"), ("P", "profile")):
        rows = "".join(f"{n} ../Data/Images/00{n}/{kind}/01.jpg\n" for n in (1, 2))
        (root / "Protocol" / f"Pair_list_{letter}.txt").write_text(rows, encoding="utf-8")
    return split


def test_cfp_s_numbers_are_images_beside_its_protocol(tmp_path: Path) -> None:
    one, two = "Data/Images/001", "Data/Images/002"
    assert read_pairs(cfp(tmp_path)) == [
        Pair(f"{one}/frontal/01.jpg", f"{one}/profile/01.jpg", True, "01"),
        Pair(f"{one}/frontal/01.jpg", f"{two}/profile/01.jpg", False, "01"),
        Pair(f"{two}/frontal/01.jpg", f"{two}/profile/01.jpg", True, "02"),
        Pair(f"{two}/frontal/01.jpg", f"{one}/profile/01.jpg", False, "02"),
    ]
    frontal = (tmp_path / "Protocol" / "Split" / "FP").rename(tmp_path / "Protocol" / "Split" / "FF")
    assert {pair.image_b.split("/")[3] for pair in read_pairs(frontal)} == {"frontal"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 1\nAda 1 2\n", "line 1: expected 4 pairs below it, got 1"),
        (LFW.replace("Bo\t1\t2", "Bo\tone\t2"), "line 4: expected name n m, got 'Bo"),
        (LFW.replace("Ada_A\t2\tBo\t3", "Ada_A\t2\t3"), "line 3: expected name n other m"),
        (CALFW.replace("b_0004.jpg 2", "b_0004.jpg 3"), "line 4: expected the number 2"),
        (CALFW.replace("b_0001.jpg 2", "b_0001.jpg two"), "line 3: expected an image and a number"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 0\n", "expected two lines a pair, got 3"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_pairs(write(tmp_path, text))
    assert message in str(caught.value) and "pairs.txt" in str(caught.value)


def test_a_fault_of_cfp_is_named(tmp_path: Path) -> None:
    split = cfp(tmp_path)
    (split / "02" / "diff.txt").write_text("2,1\n2,9\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"diff.txt: line 2: expected two numbers of CFP's lists, got '2,9'"):
        read_pairs(split)
    (tmp_path / "Protocol" / "Pair_list_P.txt").unlink()
    with pytest.raises(UsageError, match="expected a readable list of CFP"):
        read_pairs(split)
