"""What the ledger holds of a configuration: weaker than file, environment and flag, stronger than the defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Layer:
    """Values in the form of the file, and where they came from in a few words, for messages."""

    origin: str
    values: Mapping[str, Any]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key with its value; a list is one value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def put(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a dotted key in nested mappings, which are made where they are missing."""
    *parents, last = dotted.split(".")
    for parent in parents:
        child = values.get(parent)
        if not isinstance(child, dict):
            child = {}
            values[parent] = child
        values = child
    values[last] = value


def laid_under(layers: Sequence[Layer], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """``values`` with the layers beneath, a later one over an earlier; and the origin of each key that one gave."""
    below: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for name, value in flat(layer.values):
            put(below, name, value)
            sources[name] = layer.origin
    merged = _merged(below, values)
    above = {name for name, _ in flat(values)} | set(values)
    kept = {name: origin for name, origin in sources.items() if not _is_covered(name, above, values)}
    return merged, kept


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        # A section that is named without a key, as `decide:` alone, says nothing.
        merged[key] = _merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return merged


def _is_covered(name: str, above: set[str], values: Mapping[str, Any]) -> bool:
    section = name.partition(".")[0]
    return name in above or (section in values and not isinstance(values[section], Mapping))
