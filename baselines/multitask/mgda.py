"""MGDA: the point of the gradients' convex hull that is nearest to 0 (Désidéri 2012; Sener and Koltun, NeurIPS 2018).

    w = argmin of ||J' w||^2 over w >= 0, sum w = 1

For T = 2: w_1 = clip((K_22 - K_12) / (K_11 + K_22 - 2 K_12), 0, 1). The weights sum to 1, as in the paper; gradients are not
normalised. As released with GradCraft: scope="all", specific="weighted".
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import cosines, matrix, norms, rows, tensor
from ...models.simplex import nearest_to_origin


def mgda_weights(gram: Tensor) -> Tensor:
    """w (T,) from K, exact. A task without a gradient is left out: with it the nearest point would always be 0.

    >>> import torch
    >>> mgda_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([0.7143, 0.2857], dtype=torch.float64)
    """
    K = matrix(gram)
    live = norms(K) > 0
    w = np.zeros(len(K))
    if live.any():
        R, _ = rows(cosines(K[np.ix_(live, live)]))
        w[live] = nearest_to_origin(R * norms(K)[live])
    return tensor(w, gram)


class MGDA(BalancedRunner):
    """The direction in which the least improved task improves most."""

    name = "mgda"
    title = "MGDA"
    reference = "Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(mgda_weights)
