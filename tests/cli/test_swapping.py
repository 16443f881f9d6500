"""``models swap|back|finish`` and ``protect``: everybody's templates change at once, and back."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attendance.align import align
from attendance.app import App
from attendance.cli.main import main
from attendance.embed.card import ModelCard
from attendance.embed.card_file import card_text
from attendance.embed.catalogue import find_card
from attendance.embed.port import Embedder
from attendance.embed.registry import load_embedder
from attendance.images import read_photo
from attendance.search.chroma import ChromaStore
from attendance.types import Float32
from tests.building import BrightDetector, FakeApp, Site, colour_of, photo
from tests.cli.conftest import Ran, exit_code_of
from tests.embed.onnx_file import channel_means
from tests.fakes import ColourEmbedder, colour_card
from tests.fakes import picture as drawn

TINY = "tiny"
WEIGHTS: Float32 = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)


class SwapApp(FakeApp):
    """The colours' model, and every other by its card and weights in the store."""

    @cached_property
    def card(self) -> ModelCard:
        is_first = self.noted is None or self.noted.model == colour_card().id
        return colour_card() if is_first or self.noted is None else find_card(self.noted.model, self.models_dir)

    @cached_property
    def embedder(self) -> Embedder:
        return ColourEmbedder() if self.card.id == colour_card().id else load_embedder(
            self.card, device="cpu", models_dir=self.models_dir
        )  # fmt: skip


def install(store: Path) -> None:
    """Put a model of six numbers into the store: the channels' means, mixed."""
    data = channel_means(WEIGHTS, side=112)
    folder = store / "models" / TINY
    folder.mkdir(parents=True)
    card = replace(colour_card(TINY), sha256=hashlib.sha256(data).hexdigest(), dimension=6,
                   input=replace(colour_card().input, mean=(90.0, 90.0, 90.0)))  # fmt: skip
    (folder / "weights.onnx").write_bytes(data)
    (folder / "card.yaml").write_text(card_text(card), encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with two photos each, enrolled; the other model in the store."""
    folder = tmp_path_factory.mktemp("built")
    site = Site(folder)
    for number, who in enumerate(("ann-1", "bob-2", "cem-3")):
        for place in range(2):
            red, green, blue = colour_of(number)
            site.photo(f"{who}/{place}.png", (max(red - 9 * place, 0), green, blue))
    site.build()
    install(site.store)
    return folder


@pytest.fixture
def site(built: Path, tmp_path: Path) -> Site:
    """A copy of what was built, to be changed."""
    site = Site(tmp_path)
    for name in ("people", "store"):
        shutil.copytree(built / name, tmp_path / name, dirs_exist_ok=True)
    return site


Run = Callable[..., Ran]


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``python -m attendance WORDS... --store STORE``."""

    def call(*words: object, make_app: Callable[..., App] = SwapApp, store: Path = site.store) -> Ran:
        capsys.readouterr()
        flags = [*map(str, words), "--store", str(store)]
        code = exit_code_of(lambda: main(flags, make_app=make_app))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return call


def by_tiny(site: Site, path: Path, *, place: int) -> Float32:
    """What the other model makes of a face of a photo, the largest first."""
    card = find_card(TINY, site.store / "models")
    image = read_photo(path, max_pixels=10**6).image
    faces = BrightDetector().detect([image])[0]
    chips = align(image, [faces[place]], card.alignment)
    vector: Float32 = load_embedder(card, device="cpu", models_dir=site.store / "models").embed(chips)[0]
    return vector


def named(run: Run, picture: Path) -> Any:
    return run("identify", picture, "--json", "-").json["identity_id"]


def in_force(site: Site) -> dict[str, list[str]]:
    """Identity id to the spaces of the templates in force, and of those that are shelved."""
    return {who: [*(t.card_id for t in p.templates), "|", *(t.card_id for t in p.shelved)]
            for who, p in site.enrolled().items()}  # fmt: skip


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


def test_wrong_use_is_one_sentence(site: Site, run: Run) -> None:
    for words, code, said in (
        (("models", "swap", "colours"), 2, "of model colours already"),
        (("models", "swap", "nothing"), 1, "no model 'nothing'"),
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


# Keys


def key_file(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file, named by the configuration from now on."""
    path = site.store.parent / "template.key"
    assert run("protect", "new-key", path).code == 0
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(path))
    return path


def vectors_of(site: Site) -> Float32:
    return np.stack([t.vector for p in site.enrolled().values() for t in p.templates])


def test_a_key_is_put_on_changed_and_taken_off(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = vectors_of(site)
    picture = photo(tmp_path / "bob.png", colour_of(1))
    path = key_file(run, site, monkeypatch)
    for turn in range(2):
        if turn:
            assert run("protect", "new-key", path).code == 0
        rotated = run("protect", "rotate", "--json", "-")
        assert (rotated.code, rotated.json["switched"], rotated.json["deleted"]) == (0, True, 6), rotated.err
        shown = run("protect", "show", "--json", "-").json
        assert shown["key"] == shown["held"][-1] and rotated.json["to"] == f"colours@{shown['key']}"
        assert np.abs(vectors_of(site) - bare).max() > 0.1
        assert np.abs(vectors_of(site) @ vectors_of(site).T - bare @ bare.T).max() < 1e-6
        assert run("gallery", "verify").code == 0
        assert named(run, picture) == "bob-2"
    assert {t for spaces in in_force(site).values() for t in spaces} == {rotated.json["to"], "|"}
    assert run("protect", "rotate").code == 2
    assert run("protect", "rotate", "--off").code == 0
    assert np.abs(vectors_of(site) - bare).max() < 1e-6


def test_without_its_key_nobody_is_recognised_or_enrolled(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(run, site, monkeypatch)
    assert run("protect", "rotate").code == 0
    fingerprint = run("protect", "show", "--json", "-").json["key"]
    picture = photo(tmp_path / "bob.png", colour_of(1))
    monkeypatch.delenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE")
    for words in (("identify", picture), ("enrol", "eve-5", picture)):
        missing = run(*words)
        assert (missing.code, f"protected with key {fingerprint}, no key file" in missing.err) == (1, True)
    other = tmp_path / "other.key"
    assert run("protect", "new-key", other).code == 0
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(other))
    wrong = run("identify", picture)
    assert wrong.code == 1 and f"name the file that holds {fingerprint}" in wrong.err
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(path))
    path.chmod(0o644)
    readable = run("identify", picture)
    assert readable.code == 2 and "chmod 600" in readable.err


def test_the_first_people_of_a_store_are_protected_from_the_start(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(run, site, monkeypatch)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    made = run("enrol", "bob-2", photo(tmp_path / "bob.png", colour_of(1)), store=fresh)
    assert made.code == 0, made.err
    assert run("protect", "new-key", path).code == 0
    assert run("identify", tmp_path / "bob.png", "--json", "-", store=fresh).json["identity_id"] == "bob-2"
    shown = run("protect", "show", "--json", "-", store=fresh).json
    assert (shown["key"], len(shown["held"])) == (shown["held"][0], 2)


def test_a_swap_keeps_the_key(site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(run, site, monkeypatch)
    assert run("protect", "rotate").code == 0
    key = run("protect", "show", "--json", "-").json["key"]
    assert run("models", "swap", TINY, "--photos", site.people, "--json", "-").json["to"] == f"{TINY}@{key}"
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    assert run("protect", "rotate", "--off", "--keep").code == 0
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    assert run("models", "back").code == 0
    assert run("protect", "show", "--json", "-").json == {"model": TINY, "key": key, "held": [key]}
