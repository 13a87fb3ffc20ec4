"""EW: equal weights, the gradient of the mean loss."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer


def equal_weights(losses: Tensor, gram: Tensor | None = None) -> Tensor:
    """1/T for each of the T losses.

    >>> equal_weights(torch.tensor([0.2, 0.7]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    return torch.full_like(losses, 1 / len(losses), dtype=torch.float64)


class EW(BalancedRunner):
    """The mean of the losses."""

    name = "ew"
    title = "EW"
    reference = "the mean of the losses; no paper"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        return Balancer(equal_weights, needs_gram=False)
