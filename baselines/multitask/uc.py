"""UC: losses weighed by learned uncertainties (Kendall, Gal and Cipolla, CVPR 2018).

    minimise  sum_k l_k / (2 s_k^2) + log s_k    over the model and s (T,)

s is learned as log s^2, by Adam at the model's rate. Where it stands still s_k^2 = l_k. The paper sums: divided by T here.

As released with GradCraft: sum_k w_k l_k + log(1 + 1 / (2 w_k)) over w itself, from 1/T, unconstrained; used as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.learned_weights import LearnedWeights


def uc_weights(log_variance: Tensor) -> Tensor:
    """w (T,) = 1 / (2 s^2 T) from log s^2.

    >>> uc_weights(torch.tensor([0.2, 0.7]).log())
    tensor([1.2500, 0.3571])
    """
    return (-log_variance).exp() / (2 * len(log_variance))


class Uncertainties:
    """log s^2, learned: each call gives the weights, then takes a step."""

    def __init__(self, tasks: int, lr: float) -> None:
        self.log_variance = LearnedWeights(torch.zeros(tasks), lr)

    def __call__(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        value = self.log_variance.value
        w = uc_weights(value)
        self.log_variance.step((1 - (-value).exp() * losses) / 2)
        return w


class ReleasedUncertainties:
    """w itself, learned: each call gives the weights, then takes a step."""

    def __init__(self, tasks: int, lr: float) -> None:
        self.weights = LearnedWeights(torch.full((tasks,), 1 / tasks), lr)

    def __call__(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        w = self.weights.value.clone()
        self.weights.step(losses - 1 / (w * (2 * w + 1)))
        return w


class UCParams(MultiTaskParams):
    """Which of the two objectives."""

    variant: str = fixed("original", options=("original", "as_released"), help="the paper's objective, or GradCraft's release's")


class UC(BalancedRunner):
    """Uncertainty weighting."""

    name = "uc"
    title = "UC"
    Params = UCParams
    reference = "Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics, CVPR 2018"

    def balancer(self, tasks: int, params: UCParams, run: RunContext) -> Balancer:
        kind = Uncertainties if params.variant == "original" else ReleasedUncertainties
        return Balancer(kind(tasks, params.lr), needs_gram=False)
