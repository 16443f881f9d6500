"""The lock is resolved once and split by who needs what, and the committed locks agree with one another."""

import ast
import re
import sys
from collections.abc import Iterable
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import lock
from tools.environment import pins

ROOT = Path(__file__).resolve().parents[2]


def package(name: str, *requires: str, version: str = "1.0") -> lock.Package:
    return lock.Package(name, version, tuple(Requirement(text) for text in requires))


def by_name(*packages: lock.Package) -> dict[str, lock.Package]:
    return {p.name: p for p in packages}


SERVER = package("server", 'fast-loop; sys_platform != "win32" and extra == "standard"', 'dev-tool; extra == "dev"')
GRAPH = by_name(
    package("app", "server[standard]", "maths"), SERVER, package("fast-loop"), package("dev-tool"), package("maths")
)


def test_needed_follows_the_extras_that_were_asked_for() -> None:
    roots = [Requirement("app")]
    assert lock.needed(roots, GRAPH) == {"app", "server", "fast-loop", "maths"}
    assert lock.needed([Requirement("server")], GRAPH) == {"server"}
    assert lock.needed(roots, GRAPH, environment=lock.WINDOWS) == {"app", "server", "maths"}


def test_a_package_that_windows_does_not_take_is_marked() -> None:
    graph = {name: p for name, p in GRAPH.items() if name != "dev-tool"}
    assert lock.lock_lines([Requirement("app")], graph) == [
        "app==1.0",
        'fast-loop==1.0 ; sys_platform != "win32"',
        "maths==1.0",
        "server==1.0",
    ]


def test_torch_and_the_parts_of_its_gpu_build_are_left_out_but_not_torchvision() -> None:
    names = ("torch", "triton", "nvidia-cublas", "cuda-toolkit", "pip", "setuptools", "torchvision")
    graph = by_name(package("app", *names), *(package(name) for name in names))
    assert lock.lock_lines([Requirement("app")], graph) == ["app==1.0", "torchvision==1.0"]


def test_a_package_for_another_system_is_taken_as_it_stands() -> None:
    roots = [Requirement("app"), Requirement('colour==2; sys_platform == "nowhere"')]
    assert lock.lock_lines(roots, by_name(package("app"))) == ["app==1.0", 'colour==2 ; sys_platform == "nowhere"']


def test_headless_swaps_opencv_and_keeps_the_version() -> None:
    assert lock.headless(["numpy==2", "opencv-python==5.0"]) == ["numpy==2", "opencv-python-headless==5.0"]


def read(name: str) -> dict[str, str]:
    return pins((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def locks() -> tuple[dict[str, str], dict[str, str]]:
    return read("requirements/all.lock"), read("requirements/product.lock")


def test_the_product_lock_is_a_part_of_the_whole_with_headless_opencv(
    locks: tuple[dict[str, str], dict[str, str]],
) -> None:
    whole, product = locks
    expected = {("opencv-python" if n == "opencv-python-headless" else n): version for n, version in product.items()}
    assert expected.items() <= whole.items()
    assert "opencv-python-headless" in product
    assert "opencv-python" not in product


def test_no_lock_names_torch_or_a_part_of_it(locks: tuple[dict[str, str], dict[str, str]]) -> None:
    for names in locks:
        assert not [name for name in names if re.match(r"(torch|triton)$|nvidia-|cuda-", name)]


def test_no_lock_contradicts_the_constraints(locks: tuple[dict[str, str], dict[str, str]]) -> None:
    constraints = read("constraints.txt")
    for names in locks:
        assert not {n: (v, constraints[n]) for n, v in names.items() if constraints.get(n, v) != v}


def test_every_requirement_is_locked(locks: tuple[dict[str, str], dict[str, str]]) -> None:
    whole, product = locks
    for root in lock.read_requirements(lock.ALL):
        assert whole[canonicalize_name(root.name)] in root.specifier
    for root in lock.read_requirements(lock.PRODUCT):
        name = canonicalize_name(root.name)
        assert lock.HEADLESS.get(name, name) in product


def third_party_imports(files: Iterable[Path]) -> set[str]:
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    ours = {path.name.removesuffix(".py") for path in ROOT.iterdir()}
    return names - ours - set(sys.stdlib_module_names)


def test_what_the_product_and_the_demo_import_is_asked_for_by_name() -> None:
    asked = {canonicalize_name(root.name) for root in lock.read_requirements(lock.PRODUCT)} | {"torch"}
    providers = packages_distributions()
    files = [file for folder in ("attendance", "demo") for file in (ROOT / folder).rglob("*.py")] + [*ROOT.glob("*.py")]
    for name in third_party_imports(files):
        assert asked & {canonicalize_name(d) for d in providers[name]}, f"{name} is imported, and not in product.in"


def test_what_is_locked_is_what_runs_here(locks: tuple[dict[str, str], dict[str, str]]) -> None:
    here = {str(canonicalize_name(d.metadata["Name"])): d.version.partition("+")[0] for d in distributions()}
    locked = {**read("constraints.txt"), **locks[0]}
    twins = {"opencv-python": "opencv-python-headless"}
    wrong = {n: (here.get(n), v) for n, v in locked.items() if v not in (here.get(n), here.get(twins.get(n, n)))}
    assert set(wrong) <= {"colorama"}
