"""The pages' tables come from the newest result that has them, word for word."""

from __future__ import annotations

from pathlib import Path

from tools.performance import BLOCK, DOCS, PAGES, filled, results_of

RESULT = """# Title

| | |
|---|---|
| command | python -m benchmarks thing |
| commit | abcdef012345 |
| processor | A processor, 2 cores |
| threads | 2 |

## Times

| what | ms |
|---|---|
| one | {value} |

A note.

## Others

| x |
|---|
"""

PAGE = "# Page\n\n<!-- result: thing / Times -->\nold\n\nold too\n<!-- end -->\n\nkept\n"


def test_a_table_with_its_note_and_where_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "2026-01-02-thing.md").write_text(RESULT.format(value="1.5"), encoding="utf-8")
    page = filled(PAGE, tmp_path, ())
    assert "old" not in page and "kept" in page and "| one | 1.5 |" in page and "A note." in page
    assert "| x |" not in page
    assert "[2026-01-02-thing.md](../benchmarks/results/2026-01-02-thing.md)" in page
    assert "A processor, 2 cores, 2 threads, commit abcdef012345" in page
    assert filled(page, tmp_path, ()) == page


def test_the_newest_result_with_the_table_counts_and_other_names_do_not(tmp_path: Path) -> None:
    (tmp_path / "2026-01-02-thing.md").write_text(RESULT.format(value="old"), encoding="utf-8")
    (tmp_path / "2026-01-10-thing.md").write_text(RESULT.format(value="new"), encoding="utf-8")
    (tmp_path / "2026-01-11-thing.md").write_text("# Title\n\n## Other\n\nnothing\n", encoding="utf-8")
    (tmp_path / "2026-01-12-some-thing.md").write_text(RESULT.format(value="another"), encoding="utf-8")
    assert [path.name[:10] for path in results_of("thing", tmp_path)] == ["2026-01-11", "2026-01-10", "2026-01-02"]
    assert "| one | new |" in filled(PAGE, tmp_path, ())


def test_what_was_not_measured_says_so_and_a_curve_that_was_not_drawn_is_not_shown(tmp_path: Path) -> None:
    assert "Not measured yet: `python -m benchmarks thing`." in filled(PAGE, tmp_path, ())
    page = "<!-- plot: faces / Cost -->\n<!-- end -->\n"
    assert filled(page, tmp_path, ()) == page
    shown = filled(page, tmp_path, {"faces"})
    assert "![Cost](performance/faces.png)" in shown and filled(shown, tmp_path, {"faces"}) == shown


def test_the_pages_have_marks() -> None:
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == text.count("<!-- end -->") > 3
