"""Single: one model for each task, what multi-task training is measured against."""

from __future__ import annotations

from dataclasses import replace

from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import MultiTask
from ...models.gradients import Balancer
from ...models.multitask_training import FittedMultiTask, MultiTaskParams, fit_tasks
from .ew import equal_weights


class Single(Runner):
    """T models of the same network with one task each, stopped by that task's own validation AUC; one setting for all of them."""

    name = "single"
    title = "Single"
    task = MultiTask
    Params = MultiTaskParams
    fitted = FittedMultiTask
    reference = "Bai et al., GradCraft, KDD 2024, doi 10.1145/3637528.3671585 (the row Single)"

    def cannot(self, task: MultiTask) -> str | None:
        return task.one_sided()

    def fit(self, task: MultiTask, params: MultiTaskParams, run: RunContext) -> FittedMultiTask:
        unwatched = replace(run, listener=lambda step, _: run.listener(step, None))  # no single AUC is the study's objective
        models = {}
        for name in task.tasks:
            model, training = fit_tasks(task, (name,), params, unwatched, Balancer(equal_weights, needs_gram=False))
            models[name,] = model
            run.note(f"best_epoch_{name}", training.best_epoch)
        return FittedMultiTask.of(models, task, params)
