"""UPGrad: each gradient goes to the nearest vector that conflicts with none, then their mean (Quinton and Rey, arXiv 2406.16232).

    g = (1/T) sum_i argmin over { g : <g, g_j> >= 0 for all j } of ||g - g_i||

A mean already. Solved exactly; no regularisation of K.
"""

from __future__ import annotations

from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import matrix, tensor
from ...models.projections import dual_cone


def upgrad_weights(gram: Tensor) -> Tensor:
    """w (T,) from K, none of them under 1/T.

    >>> import torch
    >>> upgrad_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0000, 0.6250], dtype=torch.float64)
    """
    return tensor(dual_cone(matrix(gram)).mean(0), gram)


class UPGrad(BalancedRunner):
    """Unconflicting projection of gradients."""

    name = "upgrad"
    title = "UPGrad"
    reference = "Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv 2406.16232"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(upgrad_weights)
