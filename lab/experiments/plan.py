"""Which runs there are: read from ``configs/lab/experiments/*.yaml``, one file an experiment, one row a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from attendance.errors import UsageError
from lab.data.section import Section
from lab.train.recipe import Recipe
from lab.train.recipe_file import FOLDER as RECIPES
from lab.train.recipe_file import read_recipe

FOLDER = RECIPES / "experiments"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class Entry(Section):
    """What one row of an experiment's table is."""

    name: Name = Field(description="of the row within its experiment")
    label: str = Field(description="as the leaderboard calls it: the loss, or what differs")
    recipe: str | None = Field(default=None, description="another recipe than the experiment's")
    set: tuple[str, ...] = Field(default=(), description="key=value changes of the recipe")
    seeds: tuple[int, ...] | None = Field(default=None, description="other seeds than the experiment's")
    minutes: float | None = Field(default=None, gt=0.0, description="about how long, if not as the experiment says")
    cross: bool | None = Field(default=None, description="judge on degraded probes too")
    model: str | None = Field(default=None, description="a model of the product, judged as it is")
    export: tuple[str, ...] = Field(
        default=(),
        description="runs (experiment/row/seed-N): the one that the validation part prefers is exported and used",
    )
    precision: Literal["float32", "int8-dynamic", "int8-static"] = Field(default="float32", description="of the export")
    targets: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(), description="shares of strangers that an export is judged at besides the product's own"
    )
    published: float | None = Field(default=None, description="the accuracy that somebody stated of it, 0 to 1")


class Claim(Section):
    """What somebody says of two rows, or of a row and a number; the rows say whether it shows here."""

    say: str = Field(description="the claim, and whose it is")
    better: Name = Field(description="the row that is said to be better")
    than: Name | float = Field(description="the row, or the accuracy from 0 to 1, that it is said to be better than")
    degraded: bool = Field(default=False, description="on degraded probes")
    converges: bool = Field(default=False, description="said to converge where the other does not")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.degraded or self.converges) and not isinstance(self.than, str):
            raise ValueError(f"than: expected a row to compare {self.better} with, got {self.than}")
        return self


class Experiment(Section):
    """A table of rows that differ in one thing."""

    title: str = Field(description="heading on the page")
    order: int = Field(description="experiments run by rising order")
    about: str = Field(description="what is asked, on the page")
    recipe: str = Field(description="file under recipes/, without its ending")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="each row once with each")
    minutes: float = Field(gt=0.0, description="about how long a run takes on one thread of the machine planned for")
    cross: bool = Field(default=False, description="judge on degraded probes too")
    trial: bool = Field(default=False, description="chosen by these: judged on the validation part alone")
    against: str | None = Field(default=None, description="the row that others are compared with, pair by pair")
    cross_against: str | None = Field(default=None, description="the row that is compared with others on bad probes")
    claims: tuple[Claim, ...] = Field(default=(), description="what is said of the rows, and looked for in them")
    rows: tuple[Entry, ...] = Field(min_length=1, description="what is compared")

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"rows: expected names that differ, got {names}")
        told = {row for claim in self.claims for row in (claim.better, claim.than) if isinstance(row, str)}
        if unknown := {self.against, self.cross_against, *told} - {None, *names}:
            raise ValueError(f"expected rows that are there to compare with, got {unknown}")
        return self


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the plan."""

    experiment: str
    entry: Entry
    seed: int
    recipe_name: str
    minutes: float
    cross: bool
    trial: bool
    recipes: Path

    @property
    def name(self) -> str:
        """``experiment/row/seed-N``: what `run` takes."""
        return f"{self.experiment}/{self.entry.name}/seed-{self.seed}"

    @property
    def entry_name(self) -> str:
        """``experiment/row``, whatever the seed."""
        return f"{self.experiment}/{self.entry.name}"

    @property
    def slug(self) -> str:
        """The name as a file's."""
        return self.name.replace("/", "--")

    @property
    def trains(self) -> bool:
        """Whether a network is trained; else one that is there is judged."""
        return self.entry.model is None and not self.entry.export

    def recipe(self, work: Path) -> Recipe:
        """The resolved recipe; faces come from the folder of that name under ``work``."""
        path = self.recipes / f"{self.recipe_name}.yaml"
        plain = read_recipe(path, (*self.entry.set, f"seed={self.seed}"))
        data = plain.data.model_copy(update={"path": work / plain.data.path.name})
        return plain.model_copy(update={"data": data})

    def fingerprint(self) -> str:
        """Changes when the run would be another one."""
        if not self.trains:
            content: dict[str, Any] = {"model": self.entry.model, "export": list(self.entry.export)}
            content["precision"] = self.entry.precision
            if self.entry.targets:
                content["targets"] = list(self.entry.targets)
        else:
            content = self.recipe(Path("faces")).model_dump(mode="json", exclude={"description", "source"})
        text = json.dumps({**content, "cross": self.cross}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_experiments(folder: Path = FOLDER) -> dict[str, Experiment]:
    """Every experiment by name, in the order they run.

    Raises:
        UsageError: none there, not readable, an unknown key, a value out of its range.
    """
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise UsageError(f"{folder}: expected experiments (*.yaml), there is none")
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def runs_of(experiments: dict[str, Experiment], folder: Path = FOLDER) -> list[Run]:
    """Every run, in the order they are due: within an experiment every row with the first seed, then the next seed."""
    return [run for name, experiment in experiments.items() for run in _runs(name, experiment, folder)]


def _runs(name: str, experiment: Experiment, folder: Path) -> list[Run]:
    runs = [
        Run(
            experiment=name,
            entry=entry,
            seed=seed,
            recipe_name=experiment.recipe if entry.recipe is None else entry.recipe,
            minutes=experiment.minutes if entry.minutes is None else entry.minutes,
            cross=experiment.cross if entry.cross is None else entry.cross,
            trial=experiment.trial,
            recipes=folder / "recipes",
        )
        for entry in experiment.rows
        for seed in (experiment.seeds if entry.seeds is None else entry.seeds)
    ]
    return sorted(runs, key=lambda run: run.seed)


def _read(path: Path) -> Experiment:
    try:
        return Experiment.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: the experiment cannot be read ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {key}: {first['msg']}") from error
