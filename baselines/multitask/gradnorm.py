"""GradNorm: weights learned so that tasks that lag behind get larger gradients (Chen et al., ICML 2018).

    minimise sum_k | w_k n_k - mean_j(w_j n_j) r_k^alpha | over w,   then rescale to sum w = T
    r_k = (l_k / l_k(0)) / mean_j(l_j / l_j(0))

The right-hand terms count as constants; a step of Adam for each batch. The paper weighs the losses of all parameters by w: divided
by T here, and used on the shared gradient. n_k is over the whole scope, not over the last shared layer. As released with GradCraft:
alpha .5, l_k(0) = ln 2, Adam at the model's rate on weights that sum to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed, real
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.learned_weights import LearnedWeights


def gradnorm_slope(w: Tensor, norms: Tensor, progress: Tensor, alpha: float) -> Tensor:
    """The gradient (T,) of GradNorm's objective in w. progress: l_k / l_k(0).

    >>> gradnorm_slope(torch.ones(2), torch.tensor([1.0, 3.0]), torch.ones(2), alpha=1.5)
    tensor([-1.,  3.])
    """
    target = (w * norms).mean() * (progress / progress.mean()) ** alpha
    return torch.sign(w * norms - target) * norms


class GradNormWeights:
    """w, summing to T: each call gives w / T, then takes a step. `start`: l(0) (T,), else the first losses."""

    def __init__(self, tasks: int, alpha: float, lr: float, start: Tensor | None = None) -> None:
        self.alpha, self._start = alpha, start
        self.weights = LearnedWeights(torch.ones(tasks), lr)

    def __call__(self, losses: Tensor, gram: Tensor | None) -> Tensor:
        assert gram is not None
        start = self._start = losses.clone() if self._start is None else self._start
        w = self.weights.value.clone()
        self.weights.step(gradnorm_slope(w, gram.diagonal().sqrt(), losses / start, self.alpha))
        self.weights.value.mul_(len(w) / self.weights.value.sum())
        return w / len(w)


class GradNormParams(MultiTaskParams):
    """GradNorm's own settings."""

    alpha: float = real(1.5, low=0.1, high=3.0, minimum=0.0, help="how strongly tasks that lag behind are pulled")
    weight_lr: float = fixed(0.025, minimum=0.0, help="Adam's rate for the weights")
    variant: str = fixed(
        "original", options=("original", "as_released"), help="l(0) and rate as in the paper, or in GradCraft's release"
    )


class GradNorm(BalancedRunner):
    """Gradient normalisation."""

    name = "gradnorm"
    title = "GradNorm"
    Params = GradNormParams
    reference = "Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks, ICML 2018"

    def balancer(self, tasks: int, params: GradNormParams, run: RunContext) -> Balancer:
        if params.variant == "as_released":
            return Balancer(GradNormWeights(tasks, 0.5, params.lr * tasks, torch.full((tasks,), math.log(2.0))))
        return Balancer(GradNormWeights(tasks, params.alpha, params.weight_lr))
