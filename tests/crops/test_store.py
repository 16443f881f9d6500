"""Crops on disk: encrypted, swept, and refused where somebody changed them or another key is held."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attendance.crops import Crop, CropKeys, CropStore, add_crop_key, encoded, keys_of_text, read_crop_keys
from attendance.errors import ImageError, UsageError
from attendance.types import Template
from tests.fakes import face_at, person

CROP = Crop(np.full((40, 50, 3), 77, np.uint8), face_at(10.0, 10.0, 20.0), (True, True, False, False))
RED = (200, 0, 0)


@pytest.fixture
def keys(tmp_path: Path) -> CropKeys:
    return add_crop_key(tmp_path / "crops.key", store=tmp_path / "store")


def opened(tmp_path: Path, keys: CropKeys) -> CropStore:
    return CropStore(tmp_path / "store" / "crops", lambda: keys)


def test_a_crop_is_kept_encrypted_and_comes_back(tmp_path: Path, keys: CropKeys) -> None:
    store, template = opened(tmp_path, keys), person("ann-1", RED).templates[0]
    assert (store.get(template), store.kept()) == (None, [])
    store.put(template, encoded(CROP))
    found = store.get(template)
    assert found is not None and np.array_equal(found.image, CROP.image) and found.goes_on == CROP.goes_on
    kept = store.kept()[0].path
    assert b"PNG" not in kept.read_bytes() and kept.read_bytes().startswith(b"age-encryption.org/v1")
    assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(kept.parent.stat().st_mode)) == (0o600, 0o700)
    assert store.get(replace(template, sha256="f" * 64)) is None
    # A photo that took the place of another takes that of its crop too.
    store.put(replace(template, sha256="f" * 64), encoded(CROP))
    assert (store.get(template), len(store.kept())) == (None, 1)


def test_changed_or_exchanged_crops_are_refused(tmp_path: Path, keys: CropKeys) -> None:
    store, (one, other) = opened(tmp_path, keys), person("ann-1", RED, RED).templates
    for template in (one, other):
        store.put(template, encoded(CROP))
    first, second = (each.path for each in store.kept())
    whole = first.read_bytes()
    for data in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", second.read_bytes()):
        first.write_bytes(data)
        with pytest.raises(ImageError, match="crop_damaged"):
            store.get(one)
    first.write_bytes(whole)
    assert store.get(one) is not None


def test_another_key_is_told_by_both_fingerprints_and_a_public_one_only_keeps(tmp_path: Path, keys: CropKeys) -> None:
    template = person("ann-1", RED).templates[0]
    public = keys_of_text(str(keys.recipient), origin="a test")
    assert (public.fingerprint, public.can_read, keys.can_read) == (keys.fingerprint, False, True)
    opened(tmp_path, public).put(template, encoded(CROP))
    assert opened(tmp_path, keys).get(template) is not None
    other = add_crop_key(tmp_path / "other.key", store=tmp_path / "store")
    with pytest.raises(UsageError, match=f"key {keys.fingerprint}, held is {other.fingerprint}"):
        opened(tmp_path, other).get(template)
    with pytest.raises(UsageError, match="held is a public key alone"):
        opened(tmp_path, public).get(template)


def test_a_new_key_takes_over_all_crops(tmp_path: Path, keys: CropKeys) -> None:
    templates = person("ann-1", RED, RED).templates
    for template in templates:
        opened(tmp_path, keys).put(template, encoded(CROP))
    both = add_crop_key(tmp_path / "crops.key", store=tmp_path / "store")
    assert len(both.identities) == 2 and both.fingerprint != keys.fingerprint
    store = opened(tmp_path, both)
    store.kept()[0].path.write_bytes(b"nothing")
    first, second = store.rotate()
    assert (first is not None and "crop_damaged" in first, second) == (True, None)
    assert {each.key for each in store.kept()} == {keys.fingerprint, both.fingerprint}
    newest = CropKeys(both.recipient, both.fingerprint, {both.fingerprint: both.identities[both.fingerprint]})
    assert sum(_opens(opened(tmp_path, newest), each) for each in templates) == 1


def test_a_rotation_that_died_between_two_files_is_gone_on_with(tmp_path: Path, keys: CropKeys) -> None:
    template = person("ann-1", RED).templates[0]
    opened(tmp_path, keys).put(template, encoded(CROP))
    old = opened(tmp_path, keys).kept()[0].path
    before = old.read_bytes()
    both = add_crop_key(tmp_path / "crops.key", store=tmp_path / "store")
    assert list(opened(tmp_path, both).rotate()) == [None]
    old.write_bytes(before)
    for each in (keys, both):
        assert _opens(opened(tmp_path, each), template)
    assert list(opened(tmp_path, both).rotate()) == [None]
    assert not old.exists() and _opens(opened(tmp_path, both), template)


def _opens(store: CropStore, template: Template) -> bool:
    try:
        return store.get(template) is not None
    except UsageError:
        return False


def test_a_sweep_leaves_what_the_ledger_has_shelved_templates_too(tmp_path: Path, keys: CropKeys) -> None:
    store, ann = opened(tmp_path, keys), person("ann-1", RED, RED, RED)
    for template in ann.templates:
        store.put(template, encoded(CROP))
    one, two, _ = ann.templates
    assert (store.swept, store.sweep(lambda: [replace(ann, templates=(one,), shelved=(two,))], revision=7)) == (None, 1)
    assert (store.swept, {each.template_id for each in store.kept()}) == (7, {one.template_id, two.template_id})
    assert store.sweep(lambda: [replace(ann, templates=(replace(one, sha256="f" * 64),))], revision=8) == 2


def test_the_crops_of_one_ledger_are_not_anothers(tmp_path: Path, keys: CropKeys) -> None:
    store = opened(tmp_path, keys)
    assert (store.claim(""), store.claim("a"), store.claim("a"), store.claim("b")) == (True, True, True, False)


def test_keys_that_cannot_be_used_are_one_sentence_and_are_not_shown(tmp_path: Path, keys: CropKeys) -> None:
    store, path = tmp_path / "store", tmp_path / "crops.key"
    inside = store / "crops.key"
    store.mkdir()
    inside.write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="lies in the store"):
        read_crop_keys(inside, store=store)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_crop_keys(path, store=store)
    path.chmod(0o600)
    for text in ("", "# only a note\n", "password", path.read_text("ascii")[:-3]):
        with pytest.raises(UsageError, match="crops new-key") as raised:
            keys_of_text(text, origin="a test")
        assert "AGE-SECRET-KEY-1" not in str(raised.value).replace("AGE-SECRET-KEY-1...", "")
    with pytest.raises(UsageError, match="readable file"):
        read_crop_keys(tmp_path / "none", store=store)
    with pytest.raises(UsageError, match="cannot be written"):
        add_crop_key(tmp_path / "no" / "folder", store=store)
