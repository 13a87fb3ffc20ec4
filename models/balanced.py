"""A row whose training differs from the others in one thing: how the gradients of the tasks are balanced."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..core.context import RunContext
from ..core.runner import Runner
from ..core.task import MultiTask
from .geometry import Geometry
from .gradients import Balancer
from .multitask_training import FittedMultiTask, MultiTaskParams, fit_tasks

__all__ = ["BalancedRunner", "MultiTaskParams"]


class BalancedRunner(Runner):
    """Trains one model for all tasks under the balancer that a subclass names."""

    task = MultiTask
    Params = MultiTaskParams
    fitted = FittedMultiTask

    @abstractmethod
    def balancer(self, tasks: int, params: Any, run: RunContext) -> Balancer:
        """What combines the gradients of this many tasks."""

    def geometry(self, params: Any) -> Geometry:
        """What looks at the gradients of a training."""
        return Geometry()

    def cannot(self, task: MultiTask) -> str | None:
        return task.one_sided()

    def fit(self, task: MultiTask, params: MultiTaskParams, run: RunContext) -> FittedMultiTask:
        balancer = self.balancer(len(task.tasks), params, run)
        geometry = self.geometry(params)
        model, training = fit_tasks(task, task.tasks, params, run, balancer, geometry)
        geometry.note(run)
        run.note("best_epoch", training.best_epoch)
        run.note("epochs", training.epochs)
        return FittedMultiTask.of({task.tasks: model}, task, params)
