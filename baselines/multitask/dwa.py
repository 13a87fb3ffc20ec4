"""DWA: losses weighed by how slowly they fell between the last two epochs (Liu, Johns and Davison, CVPR 2019).

    w_k = softmax_k(r_k / temperature),   r_k = mean loss of the last epoch / mean loss of the one before

Equal weights in the first two epochs. The paper's weights sum to T: divided by T here.

As released with GradCraft: r from the last two batches; the first two of an epoch have equal weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer


def dwa_weights(last: Tensor, before: Tensor, temperature: float = 2.0) -> Tensor:
    """w (T,) from the losses (T,) of two epochs, `before` the earlier one. A loss that was 0 counts as unchanged.

    >>> dwa_weights(torch.tensor([0.5, 0.9]), torch.tensor([1.0, 1.0]))
    tensor([0.4502, 0.5498], dtype=torch.float64)
    """
    ratio = torch.where(before == 0, torch.ones_like(last), last / before)
    return (ratio.double() / temperature).softmax(0)


class LossHistory:
    """The last two mean losses: of epochs, or (per_batch) of the batches of one epoch."""

    def __init__(self, temperature: float, per_batch: bool = False) -> None:
        self.temperature, self.per_batch = temperature, per_batch
        self._past: list[Tensor] = []
        self._epoch: list[Tensor] = []

    def new_epoch(self) -> None:
        """Close the epoch that was running, if any."""
        if self.per_batch:
            self._past = []
        elif self._epoch:
            self._remember(torch.stack(self._epoch).mean(0))
        self._epoch = []

    def __call__(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        if len(self._past) == 2:
            w = dwa_weights(self._past[1], self._past[0], self.temperature)
        else:
            w = torch.full_like(losses, 1 / len(losses))
        if self.per_batch:
            self._remember(losses)
        else:
            self._epoch.append(losses)
        return w

    def _remember(self, losses: Tensor) -> None:
        self._past = [*self._past, losses][-2:]


class DWAParams(MultiTaskParams):
    """DWA's own settings."""

    temperature: float = fixed(2.0, minimum=1e-3, help="larger is more even; the paper's is 2")
    variant: str = fixed("original", options=("original", "as_released"), help="ratios of epochs, or of batches")


class DWA(BalancedRunner):
    """Dynamic weight average."""

    name = "dwa"
    title = "DWA"
    Params = DWAParams
    reference = "Liu et al., End-to-End Multi-Task Learning with Attention, CVPR 2019"

    def balancer(self, tasks: int, params: DWAParams, run: RunContext) -> Balancer:
        history = LossHistory(params.temperature, per_batch=params.variant == "as_released")
        return Balancer(history, needs_gram=False, new_epoch=history.new_epoch)
