"""The learning rate as a function of the step. Pure: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from lab.train.recipe import Schedule, Stage


def stage_steps(stage: Stage, steps_per_epoch: int) -> int:
    """Steps of a stage, one at least."""
    if stage.iterations is not None:
        return stage.iterations
    assert stage.epochs is not None
    return max(1, round(stage.epochs * steps_per_epoch))


def rate_factor(schedule: Schedule, step: int, *, steps: int, steps_per_epoch: int) -> float:
    """The factor of the highest rate at step ``step``, from 0, of ``steps``.

    Warm-up: (step + 1) / warmup over its first steps. step: ``factor`` to the number of milestones reached. With t the
    share done of the steps after warm-up, from 0 to 1: cosine (1 + cos(pi t)) / 2, poly (1 - t)^power, both raised so
    that they end at ``least``.
    """
    unit = steps_per_epoch if schedule.unit == "epochs" else 1
    warmup = schedule.warmup * unit
    if step < warmup:
        return (step + 1) / (math.floor(warmup) + 1)
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "step":
        return schedule.factor ** sum(step >= milestone * unit for milestone in schedule.milestones)
    done = (step - warmup) / max(steps - warmup, 1.0)
    fallen = (1.0 + math.cos(math.pi * done)) / 2.0 if schedule.kind == "cosine" else (1.0 - done) ** schedule.power
    return schedule.least + (1.0 - schedule.least) * fallen
