"""The training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.data.loading import to_input
from lab.train.checkpoint import save_checkpoint
from lab.train.optimise import set_rates
from lab.train.processes import joined
from lab.train.recipe import Recipe
from lab.train.run import Course, Run, distilled, open_course, open_run, taught_by
from lab.train.run_folder import WEIGHTS, RunFolder
from lab.train.schedule import rate_factor
from lab.train.stopping import StopRequest
from lab.train.weights import save_weights


def train(
    recipe: Recipe, *, out: Path, resume: bool = False, quiet: bool = True, stop_at: float | None = None
) -> dict[str, Any]:
    """Run a recipe.

    Args:
        recipe: what to do.
        out: the run's folder: recipe.yaml, environment.json, log.jsonl, tensorboard/, checkpoints/, model.pt,
            result.json.
        resume: go on from the last checkpoint there; from the beginning where there is none.
        quiet: no progress bar.
        stop_at: a time of ``time.monotonic()`` from which it counts as asked to stop.

    Returns:
        ``steps`` done, ``stopped`` (asked to, before the end), ``loss`` of the last step, ``figures`` of the last
        judgement, ``classes``, ``faces`` trained on and ``unread``.

    Raises:
        UsageError: a recipe whose parts do not fit together, or faces that cannot be read.
        DivergedError: the loss is no number any more.
    """
    with joined(recipe.device) as processes, StopRequest(stop_at) as stop:
        folder = RunFolder(out, recipe, processes, resume=resume)
        try:
            run = open_run(recipe, processes, folder, stop, hidden=quiet or not processes.first)
            stopped = False
            while not stopped and run.progress.stage < len(recipe.stages):
                course = open_course(run, run.progress.stage)
                stopped = _train_stage(run, course)
                course.batches.close()
                course.journal.bar.close()
            return _result(run, stopped=stopped)
        finally:
            folder.close()


def _train_stage(run: Run, course: Course) -> bool:
    """Train a stage from where ``run.progress`` stands; whether it was asked to stop before its end."""
    recipe, state, progress, journal = run.recipe, run.state, run.progress, course.journal
    device = run.processes.device
    for step in range(progress.step, course.steps):
        factor = rate_factor(course.stage.schedule, step, steps=course.steps, steps_per_epoch=course.steps_per_epoch)
        set_rates(course.optimiser, factor)
        batch = next(course.batches)
        faces = to_input(batch.faces, device, channels_last=recipe.channels_last)
        labels = batch.labels.to(device, non_blocking=True)

        with run.autocast():
            embeddings = course.net(faces)
            taught = taught_by(course, batch, faces)
        value = run.objective(course.number, embeddings, labels, step=step)
        terms = {**value.terms, **distilled(course, embeddings, taught)}
        loss = sum(terms.values(), start=value.loss.new_zeros(()))
        course.stepper.step(loss)
        if state.ema is not None:
            state.ema.follow(state.net)

        progress.step, progress.total = step + 1, progress.total + 1
        rate = course.stage.optimiser.rate * factor
        journal.step(progress.total, course.number, rate=rate, loss=loss, terms=terms)
        last = progress.step == course.steps
        look = last or progress.step % recipe.log_every == 0
        keep = last or progress.total % recipe.checkpoint_every == 0
        judge = last or (course.judge_every is not None and progress.step % course.judge_every == 0)
        # Alone, Ctrl-C counts at once; several processes agree on it when they look at the loss anyway.
        stopped = not last and (look or keep or run.processes.world == 1) and run.processes.any(run.stop.asked)
        if look or keep or judge or stopped:
            journal.flush()
        if judge:
            figures = run.judge.judge(run.judged_net(), run.objective, course.number, course.stage)
            journal.figures(progress.total, figures)
        if last:
            progress.stage, progress.step = course.number + 1, 0
            state.end_stage()
        if keep or stopped:
            progress.log_bytes = run.folder.log_bytes()
            save_checkpoint(run.folder.checkpoints, progress, state, run.processes)
        if stopped:
            return True
    return False


def _result(run: Run, *, stopped: bool) -> dict[str, Any]:
    """What came of it; the weights and the result of a run that is through are written."""
    loss, figures = run.folder.last()
    split = run.faces.split
    result = {
        "steps": run.progress.total,
        "stopped": stopped,
        "loss": loss,
        "figures": figures,
        "classes": len(split.class_people),
        "faces": len(split.train),
        "unread": run.faces.unread,
    }
    if not stopped and run.processes.first:
        weights = run.folder.folder / WEIGHTS
        save_weights(weights, run.judged_net(), run.recipe.network, input_px=run.recipe.data.input_px)
        run.folder.finish(result)
    return result
