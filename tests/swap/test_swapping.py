"""``models swap|back|finish``: everybody's templates change at once, and back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from PIL import Image

from attendance.search.chroma import ChromaStore
from tests.building import Site, colour_of, photo
from tests.fakes import picture as drawn
from tests.swap.conftest import TINY, Run, SwapApp, by_tiny, in_force, named


def test_everybody_gets_templates_of_another_model_and_back(site: Site, run: Run, tmp_path: Path) -> None:
    before = site.enrolled()
    swapped = run("models", "swap", TINY, "--photos", site.people, "--json", "-")
    assert swapped.code == 0, swapped.err
    result = swapped.json
    assert (result["from"], result["to"], result["switched"], result["made"]) == ("colours", TINY, True, 6)
    assert (result["unmade"], result["waiting"], result["dropped"]) == ([], [], [])
    assert [row["identity_id"] for row in result["scores"]] == ["ann-1", "bob-2", "cem-3"]
    for row in result["scores"]:
        assert row["templates_before"] == row["templates_after"] == 2
        assert row["genuine_before"] > row["other_before"] and row["genuine_after"] > row["other_after"]
        assert row["nearest_after"] != row["identity_id"]
    assert in_force(site) == {who: [TINY, TINY, "|", "colours", "colours"] for who in before}
    assert run("gallery", "verify").code == 0
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"

    went_back = run("models", "back", "--json", "-")
    assert (went_back.code, went_back.json["to"], went_back.json["switched"]) == (0, "colours", True)
    after = site.enrolled()
    assert [[t.vector.tobytes() for t in p.templates] for p in after.values()] == [
        [t.vector.tobytes() for t in p.templates] for p in before.values()
    ]
    assert run("gallery", "verify").code == 0
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    again = run("models", "swap", TINY, "--json", "-")
    assert (again.code, again.json["made"], again.json["kept"]) == (0, 0, 6)

    done = run("models", "finish", "--yes", "--json", "-")
    assert (done.code, done.json) == (0, {"in_force": TINY, "deleted": 6})
    assert in_force(site) == {who: [TINY, TINY, "|"] for who in before}
    impossible = run("models", "back")
    assert impossible.code == 1 and "3 people wait for their photos" in impossible.out
    nobody = run("models", "back", "--drop")
    assert nobody.code == 2 and "nobody would be recognised" in nobody.err


def test_a_made_template_is_what_the_other_model_makes_of_the_photo(site: Site, run: Run) -> None:
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    expected = by_tiny(site, site.people / "bob-2" / "0.png", place=0)
    assert float(site.enrolled()["bob-2"].templates[0].vector @ expected) > 0.9999


def test_who_has_no_photo_any_more_holds_the_switch_up(site: Site, run: Run, tmp_path: Path) -> None:
    for place in range(2):
        (site.people / "bob-2" / f"{place}.png").unlink()
    (site.people / "ann-1" / "0.png").rename(site.people / "moved.png")
    waits = run("models", "swap", TINY, "--photos", site.people, "--json", "-")
    assert (waits.code, waits.json["switched"], waits.json["made"]) == (1, False, 4)
    assert waits.json["waiting"] == [{"identity_id": "bob-2", "templates": 2, "deactivated": False}]
    assert {(row["file"], row["reason"]) for row in waits.json["unmade"]} == {
        ("bob-2/0.png", "no_source"), ("bob-2/1.png", "no_source"),
    }  # fmt: skip
    picture = photo(tmp_path / "bob.png", colour_of(1))
    assert named(run, picture) == "bob-2"
    assert site.enrolled()["bob-2"].templates[0].card_id == "colours"

    dropped = run("models", "swap", TINY, "--drop", "--json", "-")
    assert (dropped.code, dropped.json["switched"]) == (0, True)
    assert [row["identity_id"] for row in dropped.json["dropped"]] == ["bob-2"]
    assert named(run, picture) is None
    assert run("gallery", "verify").code == 0
    assert run("models", "back").code == 0
    assert named(run, picture) == "bob-2"


def test_a_photo_that_was_changed_is_not_the_one_that_was_enrolled(site: Site, run: Run) -> None:
    for place in range(2):
        site.photo(f"bob-2/{place}.png", colour_of(2))
    assert run("models", "swap", TINY, "--photos", site.people).code == 1


def test_of_several_faces_the_enrolled_one_is_taken(site: Site, run: Run) -> None:
    picture = site.photo("dee-4/0.png", colour_of(3))
    site.build()
    # Enrolment would refuse such a photo; a detector that sees less than today's let it pass.
    Image.fromarray(drawn((colour_of(3), (20, 60, 60)), (colour_of(5), (150, 60, 110)))).save(picture)
    with site.ledger() as ledger:
        person = ledger.person("dee-4")
        assert person is not None
        digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        templates = (replace(person.templates[0], sha256=digest),)
        assert ledger.replace_person(replace(person, version=person.version + 1, templates=templates))
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    vector = site.enrolled()["dee-4"].templates[0].vector
    assert float(vector @ by_tiny(site, picture, place=1)) > 0.9999
    assert float(vector @ by_tiny(site, picture, place=0)) < 0.99


def test_preparing_changes_nothing_that_anybody_sees(site: Site, run: Run) -> None:
    before = (site.store / "chroma" / "chroma.sqlite3").read_bytes()
    prepared = run("models", "swap", TINY, "--photos", site.people, "--prepare", "--json", "-")
    assert (prepared.code, prepared.json["switched"], prepared.json["made"]) == (0, False, 6)
    assert (site.store / "chroma" / "chroma.sqlite3").read_bytes() == before
    assert {t.card_id for p in site.enrolled().values() for t in p.templates} == {"colours"}


def test_who_is_enrolled_after_the_switch_stands_in_the_way_back(site: Site, run: Run, tmp_path: Path) -> None:
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    assert run("enrol", "eve-5", photo(tmp_path / "eve.png", colour_of(4))).code == 0
    assert site.enrolled()["eve-5"].templates[0].card_id == TINY
    back = run("models", "back", "--json", "-")
    assert (back.code, [row["identity_id"] for row in back.json["waiting"]]) == (1, ["eve-5"])
    assert run("models", "back", "--drop").code == 0


def test_what_is_pruned_is_gone_from_both_models(site: Site, run: Run) -> None:
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    (site.people / "ann-1" / "1.png").unlink()
    assert site.run("--prune", app=SwapApp) == 0
    assert in_force(site)["ann-1"] == [TINY, "|", "colours"]
    assert run("people", "remove", "bob-2", "--yes").code == 0
    assert "bob-2" not in site.enrolled()


def test_a_switch_whose_gallery_was_never_made_is_finished_by_the_next_writer(
    site: Site, run: Run, tmp_path: Path
) -> None:
    assert run("models", "swap", TINY, "--photos", site.people, "--prepare").code == 0
    with site.ledger() as ledger:
        assert ledger.put_in_force(TINY, expected="colours")
    assert run("gallery", "verify").code == 1
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    assert run("enrol", "eve-5", photo(tmp_path / "eve.png", colour_of(4))).code == 0
    assert run("gallery", "verify").code == 0
    with ChromaStore(site.store / "chroma", TINY, 6).open() as gallery:
        assert gallery.counts() == (4, 7)


def test_a_model_stays_while_there_is_a_way_back_to_it(site: Site, run: Run) -> None:
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    assert run("models", "back").code == 0
    held = run("models", "remove", TINY, "--yes")
    assert held.code == 2 and "models finish" in held.err
    assert run("models", "finish", "--yes").code == 0
    assert run("models", "remove", TINY, "--yes").code == 0


def test_wrong_use_is_one_sentence(site: Site, run: Run) -> None:
    for words, code, said in (
        (("models", "swap", "colours"), 2, "of model colours already"),
        (("models", "swap", "nothing"), 1, ": no model 'nothing'"),
        (("models", "swap", TINY, "--photos", site.people / "none"), 2, "no such folder"),
        (("models", "back"), 2, "nothing to go back to"),
        (("protect", "rotate"), 2, "no key to rotate to"),
        (("protect", "rotate", "--off"), 2, "no key already"),
    ):
        ran = run(*words)
        assert (ran.code, said in ran.err) == (code, True), ran.err
    assert run("models", "swap", TINY, "--photos", site.people).code == 0
    held = run("models", "remove", TINY, "--yes")
    assert held.code == 2 and "in force" in held.err
