"""What the loop works with: a run's objects, and those of one of its stages."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from attendance.errors import UsageError
from lab.data.loading import Batch, TrainingFaces, training_batches
from lab.data.samplers import Place, Sampler
from lab.train.checkpoint import Progress, State, load_checkpoint
from lab.train.compiling import compiled
from lab.train.distil import Distil
from lab.train.ema import Ema
from lab.train.faces import Faces, open_faces, sampler_of
from lab.train.journal import Journal, progress_bar
from lab.train.objective import Objective
from lab.train.optimise import Stepper, build_optimiser
from lab.train.processes import Processes
from lab.train.recipe import Recipe, Stage
from lab.train.run_folder import RunFolder
from lab.train.schedule import stage_steps
from lab.train.stopping import StopRequest
from lab.train.validate import Judge
from lab.train.weights import build_network, dimension_of

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
STAGE_SEED = 1_000_003
"""Added to the seed for each stage, so that no two see the same order and variation."""


@dataclass(slots=True, eq=False)
class Run:
    """One run's objects; ``progress`` of a resumed one stands where the checkpoint was made.

    ``learning`` are the network's weights that learn when the network does.
    """

    recipe: Recipe
    processes: Processes
    faces: Faces
    objective: Objective
    state: State
    learning: list[nn.Parameter]
    judge: Judge
    folder: RunFolder
    progress: Progress
    stop: StopRequest
    hidden: bool
    autocast: Callable[[], Any]

    def judged_net(self) -> nn.Module:
        """The network that counts: the running mean where one is kept."""
        return self.state.net if self.state.ema is None else self.state.ema.net


@dataclass(slots=True, eq=False)
class Course:
    """One stage's objects. ``net`` is the network as it is run: shared among processes, compiled."""

    number: int
    stage: Stage
    steps: int
    steps_per_epoch: int
    judge_every: int | None
    batches: Generator[Batch, None, None]
    net: nn.Module
    distil: nn.Module
    teacher: nn.Module | None
    optimiser: torch.optim.Optimizer
    stepper: Stepper
    journal: Journal


def open_run(recipe: Recipe, processes: Processes, folder: RunFolder, stop: StopRequest, *, hidden: bool) -> Run:
    """Everything that a run needs, and where it stands."""
    faces = open_faces(
        recipe.data,
        processes,
        seed=recipe.seed,
        progress=lambda items: tqdm(items, desc="reading faces", disable=hidden),
    )
    torch.manual_seed(recipe.seed)
    net = _network(recipe, processes)
    objective = Objective(
        recipe.stages,
        dimension=dimension_of(recipe.network),
        classes=len(faces.split.class_people),
        processes=processes,
        class_rate=recipe.class_rate,
        seed=recipe.seed,
    ).to(processes.device)
    ema = None if recipe.ema is None else Ema(net, decay=recipe.ema)
    scaler = torch.amp.GradScaler(processes.device.type, enabled=recipe.precision == "fp16")
    state = State(net.train(), objective.train(), nn.Identity(), ema, scaler)
    # The networks begin alike; what they draw from here on (dropout) is each process's own.
    torch.manual_seed(recipe.seed + 1 + processes.rank)
    kind = TYPES[recipe.precision]
    autocast = partial(torch.autocast, processes.device.type, dtype=kind, enabled=kind is not torch.float32)
    judge = Judge(faces, processes, input_px=recipe.data.input_px, autocast=autocast)
    progress = load_checkpoint(folder.checkpoints, state, processes)
    folder.begin(progress.log_bytes, progress.total)
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    return Run(recipe, processes, faces, objective, state, learning, judge, folder, progress, stop, hidden, autocast)


def open_course(run: Run, number: int) -> Course:
    """Everything that a stage needs, from where ``run.progress`` stands."""
    recipe, state, objective = run.recipe, run.state, run.objective
    stage = recipe.stages[number]
    seed = recipe.seed + STAGE_SEED * number
    sampler = sampler_of(recipe.data, stage, run.faces, seed=seed)
    steps = stage_steps(stage, sampler.batches)
    distil, teacher = _teacher(run, stage)
    for weight in run.learning:
        weight.requires_grad = stage.train_backbone
    optimiser = build_optimiser(stage.optimiser, state.net, objective, distil)
    if objective.classes is not None and run.progress.step == 0:
        objective.classes.forget_states()
    state.begin_stage(optimiser, distil)
    how = stage.optimiser
    bar = progress_bar(stage.name, done=run.progress.step, steps=steps, hidden=run.hidden)
    every = recipe.validate_every
    return Course(
        number=number,
        stage=stage,
        steps=steps,
        steps_per_epoch=sampler.batches,
        judge_every=None if every is None else max(1, round(every * sampler.batches)),
        batches=_batches(run, sampler, seed),
        net=_ready(run, stage),
        distil=distil,
        teacher=teacher,
        optimiser=optimiser,
        stepper=Stepper(optimiser, state.net, objective, distil, scaler=state.scaler, clip_norm=how.clip_norm),
        journal=Journal(run.folder, bar, batch_size=stage.batch_size),
    )


def _network(recipe: Recipe, processes: Processes) -> nn.Module:
    net = build_network(recipe.network, input_px=recipe.data.input_px)
    if recipe.sync_batch_norm and processes.world > 1:
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    net = net.to(processes.device)
    if recipe.channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _batches(run: Run, sampler: Sampler, seed: int) -> Generator[Batch, None, None]:
    recipe, processes, split = run.recipe, run.processes, run.faces.split
    faces = TrainingFaces(
        run.faces.source,
        split.train,
        split.classes,
        size_px=recipe.data.input_px,
        how=recipe.augment,
        seed=seed,
    )
    return training_batches(
        faces,
        sampler,
        Place(*divmod(run.progress.step, sampler.batches)),
        rank=processes.rank,
        world=processes.world,
        workers=recipe.data.workers,
        pinned=processes.device.type == "cuda",
    )


def _ready(run: Run, stage: Stage) -> nn.Module:
    net = run.state.net
    if not stage.train_backbone:
        return net.eval()
    net.train()
    if run.processes.world > 1:
        net = DistributedDataParallel(net)
    return compiled(net, run.processes.device) if run.recipe.compile else net


def taught_by(course: Course, batch: Batch, faces: Tensor) -> Tensor | None:
    """What the teacher makes of a batch: by running it, or as it was kept with the faces."""
    if course.stage.distil is None:
        return None
    if course.teacher is not None:
        taught: Tensor = course.teacher(faces)
        return taught
    assert batch.targets is not None
    return batch.targets.to(faces.device, non_blocking=True)


def _teacher(run: Run, stage: Stage) -> tuple[nn.Module, nn.Module | None]:
    """What learns besides the network, and the teacher in evaluation mode, if one is to be run."""
    if stage.distil is None:
        return nn.Identity(), None
    device, network = run.processes.device, stage.distil.teacher
    if network is None:
        targets = run.faces.source.targets
        if targets is None:
            raise UsageError("distil.teacher: expected a network, since no targets.npy lies beside the faces")
        mean = torch.from_numpy(targets[run.faces.split.train].mean(axis=0))
        size = {"student": dimension_of(run.recipe.network), "teacher": targets.shape[1]}
        return Distil(stage.distil, **size, mean=mean).to(device), None
    teacher = build_network(network, input_px=run.recipe.data.input_px).to(device).eval().requires_grad_(False)
    distil = Distil(stage.distil, student=dimension_of(run.recipe.network), teacher=dimension_of(network))
    return distil.to(device), teacher


def distilled(course: Course, embeddings: Tensor, taught: Tensor | None) -> dict[str, Tensor]:
    """The term that the teacher adds to the losses, if there is one."""
    return {} if taught is None else {"distil": course.distil(embeddings, taught)}
