"""Templates of one key into those of another, or of none: no photo is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attendance.protect import TemplateKey, rotation, turned
from attendance.types import Float32, Template


class Rotator:
    """Turns stored vectors of ``model`` back by the key in force and on by the new one; None stands for no key."""

    def __init__(self, present: TemplateKey | None, target: TemplateKey | None, *, model: str, dimension: int) -> None:
        self._present = None if present is None else rotation(present, model=model, dimension=dimension)
        self._target = None if target is None else rotation(target, model=model, dimension=dimension)

    def __call__(self, templates: Sequence[Template]) -> list[Float32 | tuple[str, str]]:
        """See `Remake`; nothing is ever left out."""
        if not templates:
            return []
        vectors = np.stack([template.vector for template in templates])
        if self._present is not None:
            vectors = turned(vectors, self._present, back=True)
        if self._target is not None:
            vectors = turned(vectors, self._target)
        return list(vectors)
