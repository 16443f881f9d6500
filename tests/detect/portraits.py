"""The two public-domain sample portraits, found in the packages that ship them without importing these."""

import importlib.util
from pathlib import Path

PORTRAITS = {
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
}


def portrait_path(name: str) -> Path:
    """Where a portrait lies."""
    package, path = PORTRAITS[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / path
