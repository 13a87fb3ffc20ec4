"""Aligned-MTL: gradients replaced by nearby ones that are orthogonal and of one norm (Senushkin et al., CVPR 2023, algorithm 1).

    K = V diag(lambda) V',   B = sqrt(lambda_min) V diag(lambda)^(-1/2) V',   g = J' B p,   p_k = 1/T

lambda_min is the least eigenvalue over the numerical rank. A mean already.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import matrix, tensor


def aligned_mtl_weights(gram: Tensor) -> Tensor:
    """w (T,) from K; equal weights where there is no gradient at all.

    >>> import torch
    >>> aligned_mtl_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([0.5578, 0.3092], dtype=torch.float64)
    """
    K = matrix(gram)
    equal = np.full(len(K), 1 / len(K))
    values, V = np.linalg.eigh(K)
    kept = values > len(K) * np.finfo(np.float64).eps * values[-1]
    if values[-1] <= 0:
        return tensor(equal, gram)
    values, V = values[kept], V[:, kept]
    return tensor(np.sqrt(values[0]) * (V / np.sqrt(values)) @ (V.T @ equal), gram)


class AlignedMTL(BalancedRunner):
    """Independent component alignment."""

    name = "aligned_mtl"
    title = "Aligned-MTL"
    reference = "Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(aligned_mtl_weights)
