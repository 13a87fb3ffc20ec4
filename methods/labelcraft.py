"""LabelCraft: labels learned against what a platform wants of its lists (Bai et al., WSDM 2024, doi 10.1145/3616855.3635816).

    max_phi M(f_theta*; D_v)   subject to   theta* = argmin_theta L(f_theta, g_phi; D)

    theta' = theta - eta_1 grad_theta L(theta, phi; B)          look ahead
    phi    = phi + eta_2 grad_phi M(f_theta'; D_v)              make better labels
    theta  = theta - eta_1 grad_theta L(theta, phi; B)          learn them: the same batch, labelled anew

g_phi turns watch time, duration and explicit feedback of a play into its label; f_theta never sees them. M and its weights are in
`models/platform_objectives.py`, grad_phi M in `models/meta_gradient.py`; any torch module is served by `meta_gradient`.

The paper's text could not be read, only its slides, poster and released code. Not known: quantiles and values of the scales, tau,
eta_2, lambda, and how D_v is chosen. What stands here for them is ours, and D_v is a part of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..core.context import RunContext
from ..core.params import fixed, real
from ..core.runner import Runner
from ..core.task import Feed, Watched
from ..core.training import early_stopping
from ..models.din import DIN
from ..models.feed_runner import joined
from ..models.feed_training import LEAST_GAIN, SGD, FeedInputs, Judge, outputs_of, sizes_of, without_lists
from ..models.holdout import HoldOut
from ..models.labeling import FittedLabels, LabelingModel, PlayInputs, plays
from ..models.meta_gradient import LOSSES, InnerStep, MetaGradient, meta_gradient
from ..models.objective_params import ObjectiveParams
from ..models.optimisers import Adam
from ..models.platform_objectives import OBJECTIVES, Achieved, Scale
from ..models.released_dice import as_judged
from ..models.soft_top_k import soft_top_k

__all__ = ["LabelCraft", "LabelCraftParams", "LabelingModel", "meta_gradient", "soft_top_k"]

COLLAPSED = 1e-3  # sd of the labels
LOOKED_AT = 10_000  # train rows whose labels are looked at


class LabelCraftParams(ObjectiveParams):
    """Both levels; what the labeler looks at; and what of it the released code does otherwise, each switchable alone."""

    lr: float = real(0.1, low=1e-3, high=1.0, log=True, minimum=0.0, grid=(1e-3, 1e-2, 1e-1), help="eta_1: theta's, and ahead")
    labeler_lr: float = real(5.0, low=1.0, high=300.0, log=True, minimum=0.0, help="eta_2, of M as a mean over users")
    optimiser: str = fixed("sgd", options=("sgd", "adam"), help="theta's; adam is not the step that is looked ahead by")
    labeler_optimiser: str = fixed("sgd", options=("sgd", "adam"), help="the labels'; adam is ours")
    meta_every: int = fixed(1, minimum=1, help="the labels take a step in every such batch")
    width: int = fixed(256, minimum=1, help="units of the labeling model's layers")
    product: str = fixed(
        "jvp", options=("jvp", "two_forwards", "one_forward"), help="how J v is computed: exactly, to 1e-4, or to 1e-3"
    )
    watch_input: bool = fixed(True, help="False: w/o WI")
    duration_input: bool = fixed(True, help="False: w/o DI")
    explicit_input: bool = fixed(True, help="False: w/o EI")
    released_lookahead: bool = fixed(False, help="as released: theta' is judged by another network's scores")
    released_inputs: bool = fixed(False, help="as released: g sees raw seconds, and has no biases")

    def labeler(self, train: Watched, generator: torch.Generator | None = None) -> LabelingModel:
        """g_phi, as it starts."""
        inputs = None if self.released_inputs else PlayInputs.of(plays(train), *self.scales(train))
        looked_at = (self.watch_input, self.duration_input, self.explicit_input)
        bias = not self.released_inputs
        return LabelingModel(inputs, looked_at=looked_at, bias=bias, width=self.width, generator=generator)


class Craft:
    """Algorithm 1 on a network and a labeler. An epoch adds its means to `curves`."""

    def __init__(self, network: DIN, labeler: LabelingModel, task: Feed, rows: Watched, params: LabelCraftParams, run: RunContext):
        inputs = FeedInputs.of(task, params)
        self.network, self.labeler, self.params = network, labeler, params
        self.batch, self.z = inputs.batch(rows.inputs), plays(rows)
        self.meta = inputs.batch(task.meta.inputs)
        self.holdout = HoldOut.of(task.meta, task.k, *params.scales(task.train, released=params.released_scale))
        self.objective = params.objective(task.k)
        names = {id(each): name for name, each in network.named_parameters()}
        self.l2 = {names[id(each)]: params.l2 for each in network.weights()} if params.l2 else {}
        kinds: dict[str, Callable[[list[nn.Parameter], float], Any]] = {"sgd": SGD, "adam": Adam}
        self.learn = kinds[params.optimiser](list(network.parameters()), params.lr)
        self.craft = kinds[params.labeler_optimiser](list(labeler.parameters()), params.labeler_lr)
        self.scorer = as_judged(network) if params.released_lookahead else None
        self.shuffle, self.people = run.generator("batches"), run.generator("holdout")
        self.steps = 0
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self._seen: list[Tensor] = []

    def epoch(self) -> None:
        """Every row once. Raises FloatingPointError, with its name, where labels collapse or nothing can be learned."""
        self.network.train()
        self._seen = self._seen[-1:]  # where no batch of an epoch moves the labels, the last that did stands for it
        before = len(self._seen)
        for rows in torch.split(torch.randperm(len(self.batch), generator=self.shuffle), self.params.batch_size):
            if len(rows) > 1:  # a batch of one has no statistics
                self.step(rows)
        self._seen = self._seen[before:] or self._seen
        means = [float(each) for each in torch.stack(self._seen).mean(0)]
        for name, value in zip(CURVES, means, strict=True):
            self.curves[name].append(value)
        self._refuse_standstill(means)

    def step(self, rows: Tensor) -> None:
        """One batch. Its forward pass serves look-ahead, labels and learning."""
        inner = InnerStep(self.network, self.batch[rows], LOSSES[self.params.loss], self.l2)
        z = self.z[rows]
        if self.steps % self.params.meta_every == 0:
            self._ascend(inner, z)
        self.steps += 1
        with torch.no_grad():
            labels = self.labeler(z)
        found = inner.gradient(labels, keep=False)
        self.learn.step(list(found.values()))
        for name, buffer in self.network.named_buffers():
            buffer.copy_(inner.buffers[name])

    def _ascend(self, inner: InnerStep, z: Tensor) -> None:
        rows, candidates = self.holdout.draw(self.params.holdout_users, self.params.holdout_rows, self.people)
        seen: list[Achieved] = []

        def objective(scores: Tensor) -> Tensor:
            if not bool(torch.isfinite(scores).all()):
                raise FloatingPointError(f"the look-ahead of step {self.steps + 1} exploded: lr={self.params.lr} is too large")
            seen.append(self.objective(scores, candidates))
            return seen[-1].value

        found = inner.meta_gradient(self.labeler, z, self.meta[rows], objective, self.params.lr, self.params.product, self.scorer)
        norm = _norm(found)
        if not bool(torch.isfinite(norm)):
            raise FloatingPointError(f"dM/dphi of step {self.steps + 1} is not finite: the look-ahead exploded")
        self.craft.step([-each for each in found.gradients.values()])
        self._seen.append(torch.stack([seen[-1].value.detach(), *seen[-1].each, *seen[-1].weights, norm]))

    def _refuse_standstill(self, means: list[float]) -> None:
        sd, number = float(self.labels().std()), len(self.curves["objective"])
        if not sd >= COLLAPSED:
            raise FloatingPointError(f"labels collapsed in epoch {number}: their sd is {sd:.2g}, below {COLLAPSED}")
        found = dict(zip(CURVES, means, strict=True))
        if found["objective"] == 0 and found["gradient"] == 0:
            raise FloatingPointError(f"the objective was zero all through epoch {number}, so no label can be learned")

    @torch.no_grad()
    def labels(self) -> Tensor:
        """Of rows spread evenly over train."""
        return self.labeler(self.z[:: max(len(self.z) // LOOKED_AT, 1)])


CURVES = ("objective", *OBJECTIVES, *(f"weight_{name}" for name in OBJECTIVES), "gradient")  # by epoch; the last is |dM/dphi|


def _norm(found: MetaGradient) -> Tensor:
    return torch.stack([each.square().sum() for each in found.gradients.values()]).sum().sqrt()


class LabelCraft(Runner):
    """LabelCraft as on its slides; by its parameters, each ablation of the paper and each difference of the released code."""

    name = "labelcraft"
    title = "LabelCraft"
    task = Feed
    Params = LabelCraftParams
    fitted = FittedLabels
    reference = (
        "Bai et al., LabelCraft: Empowering Short Video Recommendations with Automated Label Crafting, WSDM 2024, "
        "doi 10.1145/3616855.3635816"
    )

    def cannot(self, task: Feed) -> str | None:
        if (lacking := without_lists(task)) is not None:
            return lacking
        if not HoldOut.of(task.meta, task.k, Scale(1.0, 1.0, 1.0), Scale(1.0, 1.0, 1.0)).users:
            return f"no user of train has {2 * task.k} rows in meta, from which labels are learned"
        return None

    def fit(self, task: Feed, params: LabelCraftParams, run: RunContext) -> FittedLabels:
        inputs = FeedInputs.of(task, params)
        network, labeler = inputs.network(task, params, run), params.labeler(task.train, run.generator("labeler"))
        craft = Craft(network, labeler, task, joined(task.train, task.meta) if params.meta else task.train, params, run)
        valid, judge = inputs.batch(task.valid.inputs), Judge.of(task.valid, task.k)
        both = nn.ModuleDict({"network": network, "labeler": labeler})
        training = early_stopping(
            craft.epoch,
            lambda: judge(outputs_of(network, valid, False)[:, 0]),
            lambda: {name: value.clone() for name, value in both.state_dict().items()},
            both.load_state_dict,
            run,
            patience=params.patience,
            max_epochs=params.max_epochs,
            least_gain=LEAST_GAIN,
        )
        labels = craft.labels()
        run.note("best_epoch", training.best_epoch)
        run.note("epochs", training.epochs)
        run.note("label_mean", float(labels.mean()))
        run.note("label_sd", float(labels.std()))
        run.note("label_extreme", float(((labels < 0.01) | (labels > 0.99)).float().mean()))
        run.note("holdout_users", craft.holdout.users)
        run.note("holdout_left_out", craft.holdout.left_out)
        for name, values in craft.curves.items():
            run.note(name, values[training.best_epoch - 1])
        return FittedLabels(network, inputs, sizes_of(params), labeler=labeler, curves=craft.curves)
