"""Retrain: the target of unlearning, trained from scratch on the retained rows and their graph."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import UnlearningTask
from ...models.pointwise import FactorParams, FittedFactors, fit_factors


class Retrain(Runner):
    """What a model would be that has never seen D_r (IFRU, section 1.6); the same first embeddings as Original of the same seed.

    Two clocks, validation included: `to_best` until the epoch that is kept, `to_stop` until early stopping knows that it was.
    """

    name = "retrain"
    title = "Retrain"
    task = UnlearningTask
    Params = FactorParams
    fitted = FittedFactors
    reference = "Zhang et al., Recommendation Unlearning via Influence Function, ACM TORS 3(2), 2024"

    def fit(self, task: UnlearningTask, params: FactorParams, run: RunContext) -> FittedFactors:
        fitted, training = fit_factors(task.backbone, task.retained, task.valid, params, run)
        run.note("best_epoch", training.best_epoch)
        run.note("epochs", training.epochs)
        run.clocks["to_best"] = training.seconds_to_best
        run.clocks["to_stop"] = training.seconds_to_stop
        return fitted
