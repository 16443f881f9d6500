"""`build_database.py` held to what the contract says of enrolling, run as its user runs it."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from attendance.cli.build import main
from attendance.types import Consent
from tests.building import FakeApp, Site, colour_of, photo, refused

RED, GREEN, BLUE, YELLOW = (colour_of(number) for number in (0, 1, 2, 3))
RED_AGAIN = (RED[0], RED[1] ^ 4, RED[2])
"""Another picture of the same: what does not fit a person's other photos is kept out."""

NOBODY = 65534


def state(site: Site) -> dict[str, object]:
    """Everything that a run could change."""
    with site.ledger() as ledger:
        return {
            "versions": ledger.person_versions(),
            "revision": ledger.template_revision(),
            "templates": {
                t.template_id: (t.sha256, t.batch, t.created_at) for p in ledger.people() for t in p.templates
            },
            "people": [(p.name, p.department, p.consent, p.subject_ref, p.created_at) for p in ledger.people()],
        }


def files(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder with time of change and content."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    }


def test_the_result_has_the_contracts_keys_in_the_contracts_order(site: Site) -> None:
    site.photo("p3/nobody.png")
    site.photo("p4/a.png", RED)
    result = site.build("--holdout", "1")
    expected = [
        *("people", "templates", "added", "replaced", "removed", "refused", "suspected_duplicates"),
        *("top1", "top3", "top5", "probes", "failed_reads", "model", "seconds"),
    ]
    assert [key for key in result if key in expected] == expected
    assert [sorted(entry) for entry in result["refused"]] == [["detail", "file", "reason"]]
    assert [sorted(entry) for entry in result["suspected_duplicates"]] == [["identity_id", "other", "similarity"]]
    assert (result["model"], result["people"], result["templates"]) == ("colours", 3, 3)
    assert (result["probes"], result["failed_reads"]) == (2, 0)


def test_again_changes_nothing_and_loads_no_network(site: Site) -> None:
    first = site.build()
    assert (first["added"], first["replaced"], first["removed"]) == (4, 0, 0)
    before = state(site)
    loads = FakeApp.loads
    again = site.build()
    assert (again["added"], again["replaced"], again["removed"], again["refused"]) == (0, 0, 0, [])
    assert (again["people"], again["templates"]) == (2, 4)
    assert state(site) == before
    assert FakeApp.loads == loads
    assert site.differences().clean


def test_changed_replaces_new_adds_gone_is_reported_and_pruned(site: Site) -> None:
    site.build()
    site.photo("p1/a.png", RED_AGAIN)
    site.photo("p2/c.png", GREEN)
    (site.people / "p2" / "b.png").unlink()
    result = site.build()
    assert (result["added"], result["replaced"], result["removed"]) == (1, 1, 0)
    assert result["vanished"] == ["p2/b.png"]
    assert (result["people"], result["templates"]) == (2, 5)
    result = site.build("--prune")
    assert (result["added"], result["replaced"], result["removed"], result["templates"]) == (0, 0, 1, 4)
    assert site.paths() == ["p1/a.png", "p1/b.png", "p2/a.png", "p2/c.png"]
    assert site.build("--prune")["vanished"] == []
    assert site.differences().clean


def test_prune_touches_only_its_own_source_label(site: Site) -> None:
    site.build("--source-label", "door")
    site.build()
    shutil.rmtree(site.people / "p2")
    result = site.build("--prune", "--source-label", "door")
    assert (result["removed"], sorted(result["vanished"])) == (2, ["p2/a.png", "p2/b.png"])
    kept = [(t.source_label, t.path) for t in site.enrolled()["p2"].templates]
    assert kept == [("", "p2/a.png"), ("", "p2/b.png")]


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(site: Site) -> None:
    result = site.build("--prune", "--dry-run")
    assert (result["added"], result["people"], result["dry_run"]) == (4, 0, True)
    assert not site.store.exists()
    site.build()
    (site.people / "p1" / "a.png").unlink()
    site.photo("p3/a.png", BLUE)
    site.csv("identity_id,name\np2,Ann\n")
    before = files(site.store)
    result = site.build("--prune", "--dry-run")
    assert (result["added"], result["removed"], result["vanished"]) == (1, 1, ["p1/a.png"])
    assert (result["people"], result["templates"]) == (2, 4)
    assert files(site.store) == before


def test_a_template_records_where_it_came_from(site: Site) -> None:
    site.build("--source-label", "door")
    first = {t.path: t for p in site.enrolled().values() for t in p.templates}
    site.photo("p2/c.png", GREEN)
    site.build("--source-label", "door")
    second = {t.path: t for p in site.enrolled().values() for t in p.templates}
    for path, template in second.items():
        assert template.sha256 == hashlib.sha256((site.people / path).read_bytes()).hexdigest()
        assert template.source_label == "door"
    assert len({t.batch for t in first.values()}) == 1
    assert second["p1/a.png"].batch == first["p1/a.png"].batch != second["p2/c.png"].batch


def test_held_out_photos_are_probes_until_a_run_without_it_adds_them(site: Site) -> None:
    site.photo("p3/only.png", BLUE)
    site.photo("p1/0.png", RED)
    result = site.build("--holdout", "1")
    assert site.paths() == ["p1/0.png", "p1/a.png", "p2/a.png", "p3/only.png"]
    assert (result["probes"], result["top1"], result["top3"], result["top5"]) == (2, 1.0, 1.0, 1.0)
    result = site.build()
    assert (result["added"], result["templates"], result["probes"], result["top1"]) == (2, 6, 0, None)
    # Held out again they are probes, though enrolled: they stay, are not gone, and do not find themselves.
    site.photo("p2/b.png", YELLOW)
    result = site.build("--holdout", "1", "--prune")
    assert (result["templates"], result["vanished"], result["removed"]) == (6, [], 0)
    assert (result["probes"], result["replaced"]) == (2, 0)


def test_a_failed_read_is_a_miss_and_counted_by_reason(site: Site) -> None:
    probes = site.people.parent / "probes"
    photo(probes / "p1" / "a.png", RED)
    photo(probes / "p2" / "a.png", GREEN, BLUE)  # never refused for several faces
    photo(probes / "p2" / "b.png")
    (probes / "p2" / "c.jpg").write_bytes(b"")
    (probes / "p2" / "d.jpg").symlink_to("nowhere.jpg")
    photo(probes / "p3" / "a.png", RED)  # somebody who is not enrolled is a miss
    result = site.build("--probes", str(probes))
    assert (result["probes"], result["failed_reads"]) == (6, 3)
    assert result["failed_reads_by_reason"] == {"empty_file": 1, "no_face": 1, "unreadable": 1}
    assert result["top1"] == result["top3"] == result["top5"] == pytest.approx(2 / 6)
    assert result["refused"] == []
    assert (result["people"], result["templates"]) == (2, 4)


def test_top_k_counts_people_in_order_of_their_similarity(site: Site) -> None:
    for number in range(3, 9):
        site.photo(f"p{number}/a.png", colour_of(number))
    probes = site.people.parent / "probes"
    near = tuple(min(255, channel + 5) for channel in RED)
    photo(probes / "p1" / "x.png", (near[0], near[1], near[2]))
    photo(probes / "p2" / "x.png", RED)
    result = site.build("--probes", str(probes))
    # Every other person is a candidate for the second probe: p2 stands somewhere behind p1.
    assert (result["top1"], result["probes"]) == (0.5, 2)
    assert result["top1"] <= result["top3"] <= result["top5"]


def test_strict_makes_refusals_exit_code_3(site: Site) -> None:
    assert site.run("--strict") == 0
    site.photo("p1/nobody.png")
    assert site.run() == 0
    assert site.run("--strict") == 3
    assert refused(site.result()) == {"p1/nobody.png": "no_face"}


def test_largest_refuses_two_equal_faces_and_centre_takes_the_one_in_the_middle(site: Site) -> None:
    site.photo("p3/two.png", GREEN, BLUE)
    result = site.build()
    assert refused(result) == {"p3/two.png": "several_faces"}
    result = site.build("--face", "centre")
    assert (result["refused"], result["added"]) == ([], 1)


def test_people_csv_describes_people_and_a_changed_row_updates_them(site: Site) -> None:
    site.csv("\ufeffidentity_id,name,department,active_from,group,site\np1,Ann,Lab,2026-01-31,night,main\n")
    site.build()
    first = site.enrolled()
    assert (first["p1"].name, first["p1"].department, first["p1"].group) == ("Ann", "Lab", "night")
    assert (first["p1"].active_from, first["p2"].name) == (date(2026, 1, 31), "")
    site.csv("identity_id,name\np1,Anna\n")
    before = state(site)
    result = site.build()
    after = site.enrolled()
    assert (after["p1"].name, after["p1"].department, after["p1"].version) == ("Anna", "Lab", first["p1"].version + 1)
    assert after["p2"].version == first["p2"].version
    assert (result["added"], result["replaced"]) == (0, 0)
    again = state(site)
    assert again["templates"] == before["templates"]
    site.build()
    assert state(site) == again


def test_a_row_updates_a_person_whose_folder_is_gone(site: Site) -> None:
    site.build()
    shutil.rmtree(site.people / "p2")
    site.csv("identity_id,name\np2,Bea\np9,Nobody\n")
    result = site.build()
    assert site.enrolled()["p2"].name == "Bea"
    assert refused(result) == {"p9": "empty_folder"}


def test_a_site_that_is_not_configured_is_kept_and_noted(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.csv("identity_id,site\np1,annex\n")
    assert main([str(site.people), "--store", str(site.store)], make_app=FakeApp) == 0
    assert "people.csv line 2: site annex is not among the configured sites" in capsys.readouterr().out
    assert site.enrolled()["p1"].site == "annex"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"identity_id,nick\np1,x\n", "line 1, column 2: unknown column 'nick'"),
        (b"identity_id\np1\np1\n", "line 3, column identity_id"),
        (b"identity_id,active_to\np1,soon\n", "line 2, column active_to"),
        (b"identity_id,name\np1,Zo\xeb\n", "line 2, column name"),
    ],
)
def test_a_faulty_people_csv_stops_before_anything_is_written(
    site: Site, capsys: pytest.CaptureFixture[str], content: bytes, where: str
) -> None:
    (site.people / "people.csv").write_bytes(content)
    assert site.run() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert where in error
    assert not site.store.exists()
    assert not site.json.exists()


def test_dates_that_contradict_the_ledgers_stop_before_anything_is_written(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.csv("identity_id,active_from\np2,2026-06-01\n")
    site.build()
    site.csv("identity_id,name,active_to\np1,Ann,\np2,Bea,2026-05-01\n")
    before = state(site)
    assert site.run() == 2
    assert "line 3, column active_to" in capsys.readouterr().err
    assert state(site) == before


def test_consent_attested_names_the_operator_and_the_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "operator-7")
    begun = datetime.now(UTC).replace(microsecond=0)
    site.build()
    consent = site.enrolled()["p1"].consent
    assert (consent.policy, consent.by) == ("attested", "operator-7")
    assert begun <= consent.at <= datetime.now(UTC)
    monkeypatch.setenv("ATTENDANCE_CONSENT__ATTESTED_BY", "works council")
    site.photo("p3/a.png", BLUE)
    site.build()
    assert [site.enrolled()[p].consent.by for p in ("p1", "p3")] == ["operator-7", "works council"]


def test_consent_per_person_refuses_the_others_and_does_not_read_their_photos(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTENDANCE_CONSENT__POLICY", "per_person")
    (site.people / "p2" / "b.png").write_bytes(b"not read, so not listed")
    site.csv("identity_id,consent_version,consent_at\np1,v1,2026-01-31T09:00:00.123456Z\np2,v1,\n")
    result = site.build()
    assert refused(result) == {"p2": "no_consent"}
    assert "consent_version and consent_at" in result["refused"][0]["detail"]
    assert list(site.enrolled()) == ["p1"]
    at = datetime(2026, 1, 31, 9, 0, 0, 123000, tzinfo=UTC)
    assert site.enrolled()["p1"].consent == Consent("per_person", "v1", at, "p1")
    before = state(site)
    site.build()
    assert state(site) == before
    # What was recorded holds while the file says nothing, and ends when it says that there is none.
    site.photo("p1/c.png", RED)
    (site.people / "people.csv").unlink()
    assert site.build()["added"] == 1
    site.photo("p1/d.png", RED)
    site.csv("identity_id,consent_version,consent_at\np1,,\n")
    result = site.build()
    assert (refused(result), result["added"]) == ({"p1": "no_consent", "p2": "no_consent"}, 0)


def test_a_suspected_duplicate_is_enrolled_and_listed_or_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.photo("p3/a.png", GREEN)
    flagged = site.build()
    assert (flagged["people"], flagged["refused"]) == (3, [])
    pairs = [(d["identity_id"], d["other"]) for d in flagged["suspected_duplicates"]]
    assert pairs == [("p3", "p2")]
    assert flagged["suspected_duplicates"][0]["similarity"] == pytest.approx(1.0, abs=1e-6)
    monkeypatch.setenv("ATTENDANCE_ENROL__DUPLICATES", "refuse")
    site.photo("p4/a.png", RED)
    result = site.build()
    assert (refused(result), result["people"]) == ({"p4": "duplicate_person"}, 3)
    assert "looks like p1" in result["refused"][0]["detail"]


def test_a_renamed_person_is_no_duplicate_of_who_is_pruned(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTENDANCE_ENROL__DUPLICATES", "refuse")
    site.build()
    (site.people / "p2").rename(site.people / "p0")
    result = site.build("--prune")
    assert (result["refused"], result["added"], result["removed"]) == ([], 2, 2)
    assert (result["people"], result["templates"]) == (2, 4)
