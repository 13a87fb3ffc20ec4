"""RLW: random loss weights, drawn anew for each batch (Lin et al., Reasonable Effectiveness of Random Weighting, TMLR 2022).

    w = softmax(z),  z_k ~ N(0, 1)

The weights sum to 1, as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer


def rlw_weights(tasks: int, generator: torch.Generator | None = None) -> Tensor:
    """One draw of w (T,).

    >>> rlw_weights(2, torch.Generator().manual_seed(0))
    tensor([0.8623, 0.1377], dtype=torch.float64)
    """
    return torch.randn(tasks, generator=generator, dtype=torch.float64).softmax(0)


class RLW(BalancedRunner):
    """Random loss weights: a control for everything that weighs losses."""

    name = "rlw"
    title = "RLW"
    reference = "Lin et al., Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning, TMLR 2022"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        generator = run.generator("balancer")
        return Balancer(lambda losses, _: rlw_weights(tasks, generator), needs_gram=False)
