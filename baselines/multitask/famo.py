"""FAMO: every loss falls at the same relative rate, told by the losses alone (Liu et al., NeurIPS 2023, algorithm 1).

    w_k  ~ z_k / l_k,  sum w = 1,   z = softmax(xi)
    xi   moves by Adam against  (dz/dxi)' delta,   delta_k = log l_k before - log l_k after the model's step, same batch

with weight decay gamma on xi. The weights sum to 1, as in the paper. The losses after the step cost one more forward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed, real
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.learned_weights import LearnedWeights

SMALL = 1e-8


def famo_weights(logits: Tensor, losses: Tensor) -> Tensor:
    """w (T,) from xi (T,) and the losses (T,).

    >>> famo_weights(torch.zeros(2), torch.tensor([0.2, 0.7]))
    tensor([0.7778, 0.2222], dtype=torch.float64)
    """
    share = logits.softmax(0) / (losses.double() + SMALL)
    return share / share.sum()


class Famo:
    """xi, learned by `after_step` from what the model's step did to the losses."""

    def __init__(self, tasks: int, lr: float, gamma: float) -> None:
        self.logits = LearnedWeights(torch.zeros(tasks), lr, l2=gamma)
        self._before = torch.ones(tasks, dtype=torch.float64)

    def __call__(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        self._before = losses
        return famo_weights(self.logits.value, losses)

    def after_step(self, losses: Tensor) -> None:
        """Learn from the same batch's losses (T,) after the model's step."""
        delta = (self._before + SMALL).log() - (losses.to(self._before) + SMALL).log()
        z = self.logits.value.softmax(0)
        self.logits.step(z * (delta - z @ delta))


class FAMOParams(MultiTaskParams):
    """FAMO's own settings."""

    weight_lr: float = fixed(0.025, minimum=0.0, help="Adam's rate for the logits; the paper's is .025")
    gamma: float = real(1e-3, low=1e-5, high=1e-1, log=True, minimum=0.0, help="weight decay of the logits")


class FAMO(BalancedRunner):
    """Fast adaptive multitask optimisation."""

    name = "famo"
    title = "FAMO"
    Params = FAMOParams
    reference = "Liu et al., FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023"

    def balancer(self, tasks: int, params: FAMOParams, run: RunContext) -> Balancer:
        state = Famo(tasks, params.weight_lr, params.gamma)
        return Balancer(state, needs_gram=False, after_step=state.after_step)
