"""``people``: every change, what is told of it, and what an erased person leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building import photo
from tests.cli.conftest import GREEN, RED, Run, insert_people, open_ledger, punch


def test_added_listed_shown_and_edited(run: Run) -> None:
    made = run("people", "add", "p-01", "--name", "Zoë", "--department", "lab", "--active-from", "2026-01-01",
               "--active-to", "2026-12-31", "--json", "-")  # fmt: skip
    assert made.code == 0
    assert "enrol p-01 PHOTO" in made.err
    run("people", "add", "p-02", "--site", "north", "--group", "night")
    rows = run("people", "list", "--json", "-").json
    assert rows[0] == {
        "identity_id": "p-01", "name": "Zoë", "department": "lab", "site": "", "group": "",
        "state": rows[0]["state"], "templates": 0,
    }  # fmt: skip
    assert [row["identity_id"] for row in run("people", "list", "--site", "north", "--json", "-").json] == ["p-02"]
    assert [row["identity_id"] for row in run("people", "list", "--department", "lab", "--json", "-").json] == ["p-01"]
    edited = run("people", "edit", "p-01", "--department", "", "--active-to", "", "--name", "Zoë B", "--json", "-").json
    shown = run("people", "show", "p-01", "--json", "-").json
    assert shown == edited
    assert (shown["name"], shown["department"], shown["active_from"], shown["active_to"], shown["version"]) == (
        "Zoë B", "", "2026-01-01", None, 2,
    )  # fmt: skip
    assert (shown["consent_policy"], shown["photos"]) == ("attested", [])
    table = run("people", "list").out.splitlines()
    assert table[0].split() == ["identity_id", "name", "department", "site", "group", "state", "templates"]
    assert len(table) == 4


def test_an_identity_in_decomposed_letters_is_the_same_one(run: Run) -> None:
    assert run("people", "add", "Zoe\u0308").code == 0
    assert run("people", "show", "Zo\u00eb", "--json", "-").json["identity_id"] == "Zo\u00eb"


def test_deactivated_leaves_the_gallery_and_comes_back(enrolled: Run, tmp_path: Path) -> None:
    probe = photo(tmp_path / "probe.png", RED)
    assert enrolled("identify", probe, "--json", "-").json["identity_id"] == "red"
    assert enrolled("people", "deactivate", "red").code == 0
    assert "deactivated since" in enrolled("people", "deactivate", "red").out
    assert enrolled("people", "show", "red", "--json", "-").json["state"] == "deactivated"
    assert enrolled("identify", probe, "--json", "-").json["outcome"] == "unknown"
    assert enrolled("people", "edit", "red", "--reactivate").code == 0
    assert enrolled("identify", probe, "--json", "-").json["identity_id"] == "red"
    assert enrolled("gallery", "verify").code == 0


def test_removed_leaves_punches_that_name_nobody(enrolled: Run, store: Path) -> None:
    with open_ledger(store) as ledger:
        found = ledger.person("red")
        assert found is not None
        punch(ledger, 1, "red", 0)
    reference = found.subject_ref
    with open_ledger(store) as ledger:
        assert [p.subject_ref for p in ledger.punches()] == ["ref-red"]
    refused = enrolled("people", "remove", "red")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    removed = enrolled("people", "remove", "red", "--yes", "--json", "-")
    assert removed.json == {"identity_id": "red", "templates": 1}
    assert enrolled("people", "show", "red").code == 2
    assert enrolled("gallery", "verify", "--json", "-").json["templates"] == 1
    rest = b"".join(path.read_bytes() for path in store.glob("ledger.sqlite*"))
    assert reference.encode() not in rest
    assert found.templates[0].vector.tobytes() not in rest


def test_a_change_by_somebody_else_meanwhile_is_told(run: Run, store: Path) -> None:
    insert_people(store, "red")
    from attendance.ledger.sqlite import SqliteLedger
    from attendance.types import Person
    from tests.building import FakeApp

    class Rival(SqliteLedger):
        def replace_person(self, person: Person) -> bool:
            return False

    class RivalApp(FakeApp):
        @property
        def ledger(self):  # type: ignore[no-untyped-def]
            rival = Rival(self.store / "ledger.sqlite", cooldown_s=300.0, time_zones={})
            self._exit.callback(rival.close)
            return rival

    ran = run("people", "edit", "red", "--name", "x", make_app=RivalApp)
    assert (ran.code, "changed by somebody else" in ran.err) == (1, True)


@pytest.mark.parametrize(("flags", "told"), [
    ((), "--consent-version and --consent-at"),
    (("--consent-version", "v1", "--consent-at", "today"), "expects a time with an offset, got 'today'"),
    (("--consent-version", "v1", "--consent-at", "2026-01-01T09:00:00"), "offset such as Z"),
])  # fmt: skip
def test_consent_per_person_is_demanded(
    run: Run, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("ATTENDANCE_CONSENT__POLICY", "per_person")
    ran = run("people", "add", "p-01", *flags)
    assert (ran.code, told in ran.err) == (2, True)
    given = ("--consent-version", "v1", "--consent-at", "2026-01-01T09:00:00+01:00", "--json", "-")
    shown = run("people", "add", "p-01", *given).json
    assert (shown["consent_version"], shown["consent_at"]) == ("v1", "2026-01-01T08:00:00.000Z")


def test_consent_is_attested_by_who_is_configured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTENDANCE_CONSENT__ATTESTED_BY", "the personnel office")
    assert run("people", "add", "p-01", "--json", "-").json["consent_by"] == "the personnel office"


def test_green_is_not_touched_by_a_change_of_red(enrolled: Run, tmp_path: Path) -> None:
    enrolled("people", "remove", "red", "--yes")
    found = enrolled("identify", photo(tmp_path / "probe.png", GREEN), "--json", "-").json
    assert (found["identity_id"], found["runner_up"]) == ("green", None)
