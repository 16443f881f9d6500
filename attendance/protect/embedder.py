"""Between the embedder and everything that is stored or looked up."""

from __future__ import annotations

from attendance.embed.port import Embedder
from attendance.protect.keys import TemplateKey
from attendance.protect.transform import rotation, turned
from attendance.types import Float32, RGBImage


class ProtectedEmbedder(Embedder):
    """Another embedder whose vectors come out turned by a key. Similarities stay as they are, to float32."""

    def __init__(self, embedder: Embedder, key: TemplateKey) -> None:
        self.card = embedder.card
        self.device = embedder.device
        self._embedder = embedder
        self._matrix = rotation(key, model=embedder.card.id, dimension=embedder.card.dimension)
        self._fingerprint = key.fingerprint

    def embed(self, chips: RGBImage) -> Float32:
        """See the port."""
        return turned(self._embedder.embed(chips), self._matrix)

    def describe(self) -> str:
        """See the port; names the key by its fingerprint."""
        return f"{self._embedder.describe()}, templates protected with key {self._fingerprint}"


def protected(embedder: Embedder, key: TemplateKey | None) -> Embedder:
    """The embedder with its vectors turned by ``key``; itself without one."""
    return embedder if key is None else ProtectedEmbedder(embedder, key)
