"""The Dockerfile: what an image would hold and run as, and the tool that carries its steps out without an engine."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools.dockerfile_steps import Builder, Machine, Stage, Step, StepError, parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def image(steps: list[Step], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The last stage as its container runs, with nothing installed: stages that are there are not made again."""
    folder = tmp_path_factory.mktemp("image")
    for stage in ("build", "1"):
        (folder / stage).mkdir()
    return Builder(folder / "none", folder, arguments={}, machine=Machine()).carry_out(steps)


def words(steps: list[Step], word: str) -> list[str]:
    return [step.rest for step in steps if step.word == word]


def test_the_base_has_a_tag_and_can_be_a_digest(steps: list[Step]) -> None:
    assert words(steps, "ARG")[0] == "BASE=python:3.11-slim-bookworm"
    assert all(line.startswith("${BASE}") for line in words(steps, "FROM"))


def test_torch_comes_first_and_alone_and_nothing_else_brings_dependencies(steps: list[Step]) -> None:
    installs = [line for line in words(steps, "RUN") if "pip install" in line]
    tools, torch, lock = installs
    assert "pip setuptools" in tools
    assert torch.endswith("pip install -c constraints.txt torch ${TORCH_ARGS}")
    assert "--no-deps --no-build-isolation -r requirements/product.lock" in lock
    build_arguments = words(steps, "ARG")
    assert 'TORCH_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"' in build_arguments


def test_it_runs_as_nobody_that_matters(image: Stage) -> None:
    user, group = image.user.split(":")
    assert int(user) >= 10000 and int(group) >= 10000
    assert image.volumes == ["/data"]


def test_what_it_writes_lies_in_the_volume(image: Stage) -> None:
    for name in ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "ATTENDANCE_STORE__PATH"):
        assert Path(image.environment[name]).is_relative_to("/data"), name


def test_no_shell_stands_between_the_engine_and_the_program(steps: list[Step], image: Stage) -> None:
    for word in ("ENTRYPOINT", "CMD"):
        (line,) = words(steps, word)
        assert line.startswith("[")
    assert image.entrypoint == ["python", "-m", "attendance"]
    assert image.command == ["serve", "--host", "0.0.0.0", "--port", "8000"]
    (check,) = words(steps, "HEALTHCHECK")
    assert "CMD [" in check and "http://127.0.0.1:8000/healthz" in check


def test_all_that_is_copied_is_there_and_nothing_else_is_sent(steps: list[Step]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    copied = [source for line in words(steps, "COPY") if "--from" not in line for source in line.split()[:-1]]
    for source in copied:
        assert (ROOT / source).exists(), source
    assert sorted(copied) == sorted(allowed)
    assert any(fnmatch("attendance/__pycache__", line) for line in lines)


def test_a_dockerfile_is_read_step_by_step() -> None:
    text = '# a comment\nFROM a AS b\nENV X=1 \\\n    # between\n    Y="two words"\ncmd ["p", "q r"]\n\n'
    found = parse(text)
    assert [step.word for step in found] == ["FROM", "ENV", "CMD"]
    assert found[1].words() == ["X=1", "Y=two words"]
    assert found[2].words() == ["p", "q r"]


def test_stages_are_built_on_each_other(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "etc").mkdir(parents=True)
    (base / "etc" / "name").write_text("base", encoding="utf-8")
    text = """
FROM outside AS first
ARG WHAT=default
ENV PLACE=/opt/$WHAT
WORKDIR /opt/in
FROM first
ENV PATH=/own:${PATH}
COPY --from=first /etc/name copied/
COPY --from=first /etc/name renamed
USER 5:6
"""
    builder = Builder(base, tmp_path / "work", arguments={"WHAT": "given"}, machine=Machine())
    last = builder.carry_out(parse(text))
    assert builder.stages["first"].environment["PLACE"] == "/opt/given"
    assert last.root == tmp_path / "work" / "1"
    assert (last.root / "opt" / "in").is_dir()
    assert (last.root / "copied" / "name").read_text(encoding="utf-8") == "base"
    assert (last.root / "renamed").is_file()
    assert last.user == "5:6"
    assert last.environment["PATH"].startswith("/own:/usr/local/sbin:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("RUN true", "RUN stands before FROM"), ("", "expected a FROM"), ("FROM a\nONBUILD x", "ONBUILD is not known")],
)
def test_what_is_not_known_is_not_passed_over(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "base").mkdir()
    builder = Builder(tmp_path / "base", tmp_path / "work", arguments={}, machine=Machine())
    with pytest.raises(StepError, match=expected):
        builder.carry_out(parse(text))
