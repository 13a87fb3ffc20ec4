"""Original: the model before unlearning, trained on all rows, the corrupted ones included."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import UnlearningTask
from ...models.pointwise import FactorParams, FittedFactors, fit_factors


class Original(Runner):
    """theta_0, the start of every unlearning row and the floor it must not fall below (IFRU, section 1.6)."""

    name = "original"
    title = "Original"
    task = UnlearningTask
    Params = FactorParams
    fitted = FittedFactors
    reference = "Zhang et al., Recommendation Unlearning via Influence Function, ACM TORS 3(2), 2024"

    def fit(self, task: UnlearningTask, params: FactorParams, run: RunContext) -> FittedFactors:
        fitted, training = fit_factors(task.backbone, task.train, task.valid, params, run)
        run.note("best_epoch", training.best_epoch)
        return fitted
