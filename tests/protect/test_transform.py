"""The matrix of a key: orthogonal, the same everywhere, and of no use to whoever lacks the key."""

from __future__ import annotations

import hashlib
import hmac
from statistics import NormalDist

import numpy as np
import pytest
import scipy.linalg

from attendance.protect import TemplateKey, rotation, turned
from attendance.types import Float32, Float64

ONE, OTHER = TemplateKey(bytes(range(32))), TemplateKey(bytes(range(1, 33)))
DIMENSION = 128


def people(count: int, photos: int, *, noise: float, seed: int = 5) -> Float32:
    """(people, photos, D) unit vectors: a person's photos are alike (cosine about 0.9), strangers are not."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(count, 1, DIMENSION))
    found = centres + noise * random.normal(size=(count, photos, DIMENSION))
    return np.asarray(found / np.linalg.norm(found, axis=2, keepdims=True), np.float32)


def by_key(key: TemplateKey, vectors: Float32) -> Float64:
    """What a site with this key stores of (..., D)."""
    flat = turned(vectors.reshape(-1, DIMENSION), rotation(key, model="model-a", dimension=DIMENSION))
    return flat.reshape(vectors.shape).astype(np.float64)


def test_the_matrix_is_the_documented_one() -> None:
    """The derivation again, with LAPACK's decomposition."""
    size = 24
    extracted = hmac.new(b"attendance template transform v1", ONE.secret, hashlib.sha256).digest()
    seed = hmac.new(extracted, b"model-a\x0024\x01", hashlib.sha256).digest()
    stream = hashlib.shake_256(seed).digest(8 * size * size)
    words = [int.from_bytes(stream[i : i + 8], "little") >> 11 for i in range(0, len(stream), 8)]
    numbers = [round(NormalDist().inv_cdf((word + 0.5) / 2**53) * 2**24) / 2**24 for word in words]
    q, r = scipy.linalg.qr(np.array(numbers).reshape(size, size))
    expected = q * np.sign(np.diag(r))
    assert np.abs(rotation(ONE, model="model-a", dimension=size) - expected).max() < 1e-12


@pytest.mark.parametrize(("dimension", "sha256"), [
    (1, "6c3c396ed6b5c36dcae172271f462051b1266b851e92df3deea8ac65478fd712"),
    (16, "4ab82d48ae52535cf351f6e80641c2c494f4993d9ef8b4a138ee69d059f87e9e"),
    (128, "18d98a7040603e42cf4724775375143b5b4d68d82e0b0f9440dca60fb76e36a1"),
])  # fmt: skip
def test_the_matrix_has_the_same_bits_everywhere(dimension: int, sha256: str) -> None:
    matrix = rotation(ONE, model="dlib-resnet29", dimension=dimension)
    assert hashlib.sha256(matrix.astype("<f8").tobytes()).hexdigest() == sha256


def test_the_matrix_is_orthogonal_and_differs_by_key_and_model() -> None:
    matrix = rotation(ONE, model="model-a", dimension=DIMENSION)
    assert np.abs(matrix @ matrix.T - np.eye(DIMENSION)).max() < 1e-13
    for another in (
        rotation(OTHER, model="model-a", dimension=DIMENSION),
        rotation(ONE, model="model-b", dimension=DIMENSION),
    ):
        # An even turn leaves a direction a cosine of 1/sqrt(D) with itself, give or take.
        assert np.abs(np.sum(matrix * another, axis=0)).max() < 0.5


def test_similarities_stay_as_they_are_to_float32() -> None:
    vectors = people(40, 3, noise=0.5)
    before = vectors.reshape(-1, DIMENSION).astype(np.float64)
    after = by_key(ONE, vectors).reshape(-1, DIMENSION)
    assert np.abs(before @ before.T - after @ after.T).max() < 2e-7
    assert np.abs(np.linalg.norm(after, axis=1) - 1.0).max() < 2e-7


def test_turning_back_gives_what_the_model_made() -> None:
    vectors = people(10, 1, noise=0.0)[:, 0]
    matrix = rotation(ONE, model="model-a", dimension=DIMENSION)
    assert np.abs(turned(turned(vectors, matrix), matrix, back=True) - vectors).max() < 2e-7


def test_two_sites_with_one_key_find_the_same_people_and_with_two_keys_find_nobody() -> None:
    """A nearest-neighbour attack: whose templates at the other site are these? Without the key, a guess at chance."""
    vectors = people(200, 2, noise=0.35)
    here = by_key(ONE, vectors[:, 0])
    for key, least, most in ((ONE, 0.99, 1.0), (OTHER, 0.0, 0.03)):
        cosines = here @ by_key(key, vectors[:, 1]).T
        right = float(np.mean(cosines.argmax(axis=1) == np.arange(len(here))))
        assert least <= right <= most


def test_the_same_people_under_two_keys_look_like_strangers() -> None:
    vectors = people(300, 2, noise=0.35)
    strangers = vectors[:, 0].astype(np.float64) @ vectors[:, 1].T.astype(np.float64)
    strangers = strangers[~np.eye(len(strangers), dtype=bool)]
    crossed = np.sum(by_key(ONE, vectors[:, 0]) * by_key(OTHER, vectors[:, 1]), axis=1)
    assert abs(crossed.mean()) < 4.0 * strangers.std() / np.sqrt(len(crossed))
    assert 0.85 < crossed.std() / strangers.std() < 1.15
    assert crossed.max() < strangers.max() + strangers.std()


def test_who_knows_as_many_pairs_as_numbers_has_the_matrix() -> None:
    """What it does not protect against, so that nobody is told otherwise: D known photos undo it without the key."""
    vectors = people(DIMENSION + 10, 1, noise=0.0)[:, 0]
    stored = by_key(ONE, vectors)
    found = np.linalg.lstsq(vectors[:DIMENSION].astype(np.float64), stored[:DIMENSION], rcond=None)[0]
    assert np.abs(vectors[DIMENSION:] @ found - stored[DIMENSION:]).max() < 1e-3
