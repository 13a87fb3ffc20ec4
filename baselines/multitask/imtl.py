"""IMTL: impartial to the tasks, by gradients (G), by losses (L), or both (Liu et al., ICLR 2021).

    IMTL-G   g = sum_k w_k g_k, sum w = 1, with the same projection <g, g_k> / ||g_k|| for all k:  K w ~ n, n_k = ||g_k||
    IMTL-L   minimise sum_k e^(s_k) l_k - s_k over the model and s (T,); where s stands still all e^(s_k) l_k are 1

IMTL-G's weights sum to 1, as in the paper. IMTL-L sums: divided by T here; s is learned by Adam at the model's rate. Both: IMTL-G
on the gradients of the scaled losses; a task's own parameters get its gradient without e^(s_k), which Adam would divide out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import cosines, inverse, matrix, norms, tensor
from ...models.learned_weights import LearnedWeights


def imtl_g_weights(gram: Tensor) -> Tensor:
    """w (T,) from K; some may be negative. 0 where the solution sums to 0, as for opposite gradients.

    >>> imtl_g_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([0.6667, 0.3333], dtype=torch.float64)
    """
    K = matrix(gram)
    n = norms(K)
    v = inverse(n) * (np.linalg.pinv(cosines(K), rcond=1e-14, hermitian=True) @ (n > 0))
    total = v.sum()
    return tensor(v / total if abs(total) > 1e-12 * np.abs(v).sum() else np.zeros_like(v), gram)


class LossScales:
    """s, learned: each call gives the weights, then takes a step; with a Gram matrix, IMTL-G's on the scaled losses."""

    def __init__(self, tasks: int, lr: float) -> None:
        self.log_scale = LearnedWeights(torch.zeros(tasks), lr)

    def __call__(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        scale = self.log_scale.value.exp()
        self.log_scale.step(scale * losses - 1)
        if gram is None:
            return scale / len(scale)
        return scale * imtl_g_weights(scale[:, None] * gram * scale)


class IMTLParams(MultiTaskParams):
    """What is balanced."""

    balance: str = fixed("gradients", options=("gradients", "losses", "both"), help="IMTL-G, IMTL-L, or both")


class IMTL(BalancedRunner):
    """Impartial multi-task learning; IMTL-G unless told otherwise."""

    name = "imtl"
    title = "IMTL"
    Params = IMTLParams
    reference = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"

    def balancer(self, tasks: int, params: IMTLParams, run: RunContext) -> Balancer:
        if params.balance == "gradients":
            return Balancer.from_gram(imtl_g_weights)
        return Balancer(LossScales(tasks, params.lr), needs_gram=params.balance == "both")
