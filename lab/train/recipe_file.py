"""Recipes on disk: found by name, read, changed by ``--set``, written down again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from attendance.errors import UsageError
from lab.train.recipe import Recipe

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "lab"


def recipe_files() -> dict[str, Path]:
    """The project's recipes by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path to one, or the name of one of the project's.

    Raises:
        UsageError: neither.
    """
    known = recipe_files()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    raise UsageError(f"expected a recipe, got {name!r}: name a file, or one of {', '.join(known)}")


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file.
        changes: ``key=value`` each: a dotted key, where a number counts a list's places from 0, and a YAML value.

    Raises:
        UsageError: not readable, no mapping, an unknown key, a value out of its range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: the recipe cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys and values, got {type(content).__name__}")
    for change in changes:
        _set(content, change)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = f"{path}: {key}: {first['msg']}, got {_shown(first['input'])}{more}"
        raise UsageError(message) from error


def recipe_text(recipe: Recipe) -> str:
    """The whole recipe as YAML, defaults written out; `read_recipe` reads it back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def first_difference(one: Recipe, two: Recipe, *, ignored: Sequence[str] = ()) -> str | None:
    """The first dotted key in which two recipes differ, or None."""
    flat_one, flat_two = (dict(_flat(recipe.model_dump(mode="json"))) for recipe in (one, two))
    keys = [*flat_one, *(key for key in flat_two if key not in flat_one)]
    return next((key for key in keys if key not in ignored and flat_one.get(key) != flat_two.get(key)), None)


def _set(content: Any, change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise UsageError(f"--set {change}: expected key=value, as stages.0.optimiser.rate=0.05")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change}: the value is no YAML ({error})") from error
    *parents, last = key.split(".")
    for part in parents:
        content = _child(content, part, change)
    if isinstance(content, list):
        content[_index(content, last, change)] = value
    elif isinstance(content, dict):
        content[last] = value
    else:
        raise UsageError(f"--set {change}: expected a key of the recipe; {'.'.join(parents)} has none below it")


def _child(content: Any, part: str, change: str) -> Any:
    if isinstance(content, list):
        return content[_index(content, part, change)]
    if isinstance(content, dict):
        return content.setdefault(part, {})
    raise UsageError(f"--set {change}: expected a key of the recipe; nothing is below {part!r}'s parent")


def _index(content: list[Any], part: str, change: str) -> int:
    if not part.isdigit() or int(part) >= len(content):
        raise UsageError(f"--set {change}: expected a place from 0 to {len(content) - 1}, got {part!r}")
    return int(part)


def _flat(content: Any, before: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict) and content:
        return [row for key, value in content.items() for row in _flat(value, f"{before}.{key}" if before else key)]
    if isinstance(content, list) and content:
        return [row for place, value in enumerate(content) for row in _flat(value, f"{before}.{place}")]
    return [(before, content)]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
