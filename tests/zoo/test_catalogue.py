"""The catalogue that comes with the program is whole, and the page shows it as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from attendance.embed.card_file import card_text, parse_card
from attendance.errors import ModelError
from attendance.zoo.catalogue import PACKAGED, Role, packaged_catalogue, read_catalogue
from tools.zoo_table import PAGES, with_table

CATALOGUE = packaged_catalogue()


def test_every_address_is_encrypted_and_every_digest_but_one_is_known() -> None:
    fetched = {name: model for name, model in CATALOGUE.items() if model.package is None}
    assert all(url.startswith("https://") for model in fetched.values() for url in model.urls)
    assert [name for name, model in fetched.items() if model.sha256 is None] == ["facenet-vggface2"]


@pytest.mark.parametrize("name", [name for name, model in CATALOGUE.items() if model.card is not None])
def test_every_embedder_makes_a_card_that_reads_back(name: str) -> None:
    card = CATALOGUE[name].make_card("0" * 64)
    assert card is not None
    again = parse_card(card_text(card), "the card")
    assert (again.id, again.dimension, again.license) == (name, card.dimension, CATALOGUE[name].licence)
    np.testing.assert_array_equal(again.input.scale, card.input.scale)


@pytest.mark.parametrize(
    ("name", "order", "black", "white"),
    [("arcface-w600k-r50", "RGB", -1, 1), ("adaface-ir18", "BGR", -1, 1), ("edgeface-s-gamma05", "RGB", -1, 1),
     ("sface-2021dec", "RGB", 0, 255), ("facenet-vggface2", "RGB", -127.5 / 128, 127.5 / 128)],
)  # fmt: skip
def test_pixels_are_fed_as_each_family_was_trained(name: str, order: str, black: float, white: float) -> None:
    card = CATALOGUE[name].make_card("0" * 64)
    assert card is not None and card.input.colour_order == order
    fed = [(x - np.array(card.input.mean)) * np.array(card.input.scale) for x in (0, 255)]
    np.testing.assert_allclose(fed, [[black] * 3, [white] * 3], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"id": "Bad Id"}, "model Bad Id: id"), ({"urls": []}, "urls or a package"), ({"card": None}, "needs a card"),
     ({"reported": {}}, "needs a source"), ({"sha256": "12"}, "sha256"), ({"speed": 1}, "speed")],
)  # fmt: skip
def test_a_fault_names_model_and_key(tmp_path: Path, change: dict[str, object], message: str) -> None:
    first = yaml.safe_load(PACKAGED.read_text(encoding="utf-8"))[0]
    path = tmp_path / "catalogue.yaml"
    path.write_text(yaml.safe_dump([first | change]), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_catalogue(path)


def test_the_pages_have_the_table_of_the_catalogue() -> None:
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        assert with_table(page) == page, "run python -m tools.zoo_table"
    assert {model.role for model in CATALOGUE.values()} == set(Role)
