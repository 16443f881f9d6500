"""What a training run is: a recipe, read from YAML, that refuses what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lab.data.augment import Augment
from lab.data.section import Section, Share

Positive = Annotated[float, Field(gt=0.0)]
Many = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0.0)]
Number = bool | int | float | str | tuple[float, ...]
Unit = Literal["epochs", "iterations"]
Precision = Literal["fp32", "bf16", "fp16"]


class Network(Section):
    """A network and what it starts from."""

    backbone: str = Field(description="a name of `python -m lab list backbones`, or timm:NAME")
    dimension: Many | None = Field(default=None, description="length of the embedding; the network's own by default")
    numbers: dict[str, Number] = Field(default={}, description="what else it can be told, as EdgeFace its gamma")
    weights: Path | None = Field(default=None, description="weights to start from: a run's model.pt, or plain weights")


class Data(Section):
    """Where the faces lie, and which of them are held out."""

    path: Path = Field(description="a folder of people, a train.rec beside its train.idx, or a folder of crops")
    kind: Literal["folder", "record", "crops"] = Field(
        default="folder", description="folder of people; training file; crops as a cache keeps them, with targets.npy"
    )
    aligned: bool = Field(default=True, description="the photos of a folder are crops already; false: cut the faces")
    input_px: Many = Field(default=112, description="side of the faces, pixels")
    cache: Path | None = Field(
        default=Path("build/lab/crops"), description="folder of the crops cut once; null reads a training file directly"
    )
    people: Many | None = Field(default=None, description="how many people take part; all by default")
    validation_photos: Annotated[int, Field(ge=0)] = Field(
        default=0, description="photos held out of each known person"
    )
    strangers: Share = Field(default=0.0, lt=1.0, description="share of the people held out altogether")
    split_seed: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="who is held out, whatever the seed; the recipe's seed by default"
    )
    verify: tuple[Path, ...] = Field(default=(), description="verification sets (.bin) that judge the run")
    sampler: Literal["shuffled", "balanced", "people"] = Field(
        default="shuffled", description="every face once; every person equally often; people with some photos each"
    )
    photos_per_person: Many = Field(default=4, description="photos of each person in a batch of sampler people")
    workers: Annotated[int, Field(ge=0)] = Field(default=2, description="processes of each rank that read faces")

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        if self.kind == "folder" and self.cache is None:
            raise ValueError("cache: expected a folder, since photos of a folder are read once and kept; got null")
        if self.kind != "folder" and not self.aligned:
            raise ValueError("aligned: a training file holds crops; expected true")
        return self


class Anneal(Section):
    """A loss's number that falls with the steps: max(least, start / (1 + rate * step)^power)."""

    number: str = Field(description="which, as sphereface's blend")
    start: Positive = Field(description="at the first step")
    rate: Positive = Field(description="how fast it falls")
    power: Positive = Field(default=1.0, description="how it falls")
    least: Amount = Field(description="where it stays")

    def at(self, step: int) -> float:
        """Its value at a step."""
        fallen: float = self.start / (1.0 + self.rate * step) ** self.power
        return max(self.least, fallen)


class Term(Section):
    """One loss of a stage."""

    loss: str = Field(description="a name of `python -m lab list losses`")
    weight: Positive = Field(default=1.0, description="its share of the sum")
    numbers: dict[str, Number] = Field(default={}, description="its own numbers, as margin and scale")
    anneal: Anneal | None = Field(default=None, description="a number that falls with the steps")


class Optimiser(Section):
    """How weights follow their gradients."""

    name: Literal["sgd", "adamw"] = Field(default="sgd", description="sgd or adamw")
    rate: Positive = Field(default=0.1, description="learning rate at its highest")
    momentum: Share = Field(default=0.9, lt=1.0, description="SGD's")
    betas: tuple[Share, Share] = Field(default=(0.9, 0.999), description="AdamW's")
    weight_decay: Amount = Field(default=5e-4, description="of all weights that learn")
    decay_vectors: bool = Field(default=True, description="weight decay on biases and norms too")
    decay_factors: dict[str, Amount] = Field(
        default={}, description="weight decay times this for the weights whose name fits the pattern (* for any text)"
    )
    class_rate_factor: Positive = Field(default=1.0, description="learning rate of the classes' directions, times this")
    clip_norm: Positive | None = Field(default=None, description="longest gradient of the whole network")


class Schedule(Section):
    """The learning rate over a stage, as a factor of its highest."""

    kind: Literal["constant", "step", "cosine", "poly"] = Field(
        default="constant", description="constant, step, cosine or poly"
    )
    unit: Unit = Field(default="epochs", description="of milestones and warmup")
    milestones: tuple[Positive, ...] = Field(default=(), description="where a step schedule falls")
    factor: Share = Field(default=0.1, description="by how much it falls there")
    power: Positive = Field(default=2.0, description="of a poly schedule")
    warmup: Amount = Field(default=0.0, description="the factor first rises in a line from 0")
    least: Share = Field(default=0.0, description="factor that cosine and poly end at")

    @model_validator(mode="after")
    def _milestones(self) -> Self:
        if (self.kind == "step") != bool(self.milestones) or list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: a step schedule has some, rising, no other has; got {self.milestones}")
        return self


class Distillation(Section):
    """What a larger network teaches besides the losses."""

    teacher: Network | None = Field(
        default=None, description="a network with weights, which does not learn; null: the targets beside the crops"
    )
    feature: Amount = Field(default=0.0, description="weight of 1 - cos(student, teacher)")
    distance: Amount = Field(default=0.0, description="weight of the faces' distances among each other")
    angle: Amount = Field(default=0.0, description="weight of the angles of any three faces")
    centre: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of the kept targets' mean that is taken off them beforehand"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.feature == self.distance == self.angle == 0.0:
            raise ValueError("expected a weight above 0 for feature, distance or angle")
        if self.teacher is not None and self.teacher.weights is None:
            raise ValueError("teacher.weights: expected a file; an untrained network teaches nothing")
        if self.teacher is not None and self.centre > 0.0:
            raise ValueError("centre: expected 0 with a teacher that is run; the mean is known of kept targets alone")
        return self


class Stage(Section):
    """A stretch of training with losses, rates and a length of its own. The classes' directions go on from the last."""

    name: str = Field(default="main", description="for the progress bar")
    epochs: Positive | None = Field(default=None, description="length; either this or iterations")
    iterations: Many | None = Field(default=None, description="length in steps")
    batch_size: Many = Field(default=512, description="faces of a step over all processes together")
    losses: tuple[Term, ...] = Field(
        default=(), description="their weighted sum is minimised; margins share directions"
    )
    optimiser: Optimiser = Field(default=Optimiser(), description="how weights follow their gradients")
    schedule: Schedule = Field(default=Schedule(), description="the learning rate over the stage")
    distil: Distillation | None = Field(default=None, description="what a larger network teaches besides")
    train_backbone: bool = Field(default=True, description="false: only the classes' directions learn")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("expected either epochs or iterations")
        if not self.losses and self.distil is None:
            raise ValueError("losses: expected one or more, or distil")
        if not self.train_backbone and all(term.loss.startswith("triplet") for term in self.losses):
            raise ValueError("train_backbone: false leaves nothing to learn without a loss that has class directions")
        return self


class Recipe(Section):
    """A whole run."""

    description: str = Field(description="what it trains, for the list")
    source: str = Field(description="where the numbers come from")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights, order, variation and what is held out")
    network: Network = Field(description="the network and what it starts from")
    data: Data = Field(description="the faces")
    augment: Augment = Field(default=Augment(), description="how they are varied")
    stages: tuple[Stage, ...] = Field(min_length=1, description="stretches of training, one after the other")
    class_rate: Share = Field(default=1.0, gt=0.0, description="share of the classes drawn at a step (Partial FC)")
    precision: Precision = Field(default="fp32", description="of the network's products")
    channels_last: bool = Field(default=False, description="memory order that graphics cards read faster")
    compile: bool = Field(default=False, description="torch.compile the network, where the machine can")
    ema: Share | None = Field(default=None, gt=0.0, lt=1.0, description="decay of the weights' running mean, if kept")
    sync_batch_norm: bool = Field(default=False, description="batch statistics over all processes")
    device: str = Field(default="auto", description="auto takes a graphics card where there is one; cpu, cuda")
    validate_every: Positive | None = Field(default=1.0, description="epochs between judgements; null: at the end only")
    checkpoint_every: Many = Field(default=1000, description="iterations between checkpoints")
    log_every: Many = Field(default=20, description="iterations between looks at the loss, which wait for the device")
