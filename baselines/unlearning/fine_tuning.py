"""Fine-tuning: go on training Original on the retained rows only. A control: forgetting without influence functions."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import Params, integer, real
from ...core.runner import Runner
from ...core.task import UnlearningTask
from ...models.pointwise import FittedFactors, build, train


class FineTuningParams(Params):
    """What fine-tuning chooses for itself; all else is Original's."""

    tuning_lr: float = real(1e-3, low=1e-4, high=1e-2, log=True, minimum=0.0, help="Adam's learning rate, anew from zero moments")
    tuning_epochs: int = integer(10, low=1, high=50, log=True, minimum=1, help="epochs at most; early stopping is Original's")


class FineTuning(Runner):
    """Original's parameters, trained further on D_k and on the graph of D_k; the epoch with the best validation AUC is kept."""

    name = "fine_tuning"
    title = "Fine-tuning"
    task = UnlearningTask
    requires = ("original",)
    Params = FineTuningParams
    fitted = FittedFactors
    reference = "control of this house"

    def fit(self, task: UnlearningTask, params: FineTuningParams, run: RunContext) -> FittedFactors:
        original: FittedFactors = run.parent("original")
        settings = original.params.model_copy(update={"lr": params.tuning_lr, "max_epochs": params.tuning_epochs})
        model = build(task.backbone, task.retained, settings, run.generator("init"))
        model.load_state_dict(original.model.state_dict())  # the parameters alone: the graph stays that of D_k
        training = train(model, task.retained, task.valid, settings, run, stream="fine_tuning")
        run.note("best_epoch", training.best_epoch)
        return FittedFactors(model, original.params, task.backbone)
