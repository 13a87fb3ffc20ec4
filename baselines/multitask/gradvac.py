"""GradVac: a pair of gradients is brought to the similarity that it usually has (Wang et al., Gradient Vaccine, ICLR 2021).

    p_i = g_i;  for j != i in random order, with cos = cos(p_i, g_j):
        if cos < rho_ij:  p_i += g_j ||p_i|| (rho_ij sqrt(1 - cos^2) - cos sqrt(1 - rho_ij^2)) / (||g_j|| sqrt(1 - rho_ij^2))
        rho_ij = (1 - beta) rho_ij + beta cos
    g = sum_i p_i

rho starts at 0, where this is PCGrad. The paper sums: divided by T here. It keeps a rho for each layer; here, as in the other
balancers, the scope is one vector. As released with GradCraft: rho moves only where cos < rho, so it can only fall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed, real
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import Matrix, matrix, norms, tensor
from ...models.projections import random_orders


def gradvac_weights(gram: Tensor, rho: Matrix | None = None, generator: torch.Generator | None = None) -> Tensor:
    """w (T,) from K and the target cosines rho (T, T), all 0 where none are given.

    >>> gradvac_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0000, 0.6250], dtype=torch.float64)
    """
    K = matrix(gram)
    target = np.zeros_like(K) if rho is None else rho
    W, _ = vaccinate(K, target, random_orders(len(K), generator))
    return tensor(W.sum(0) / len(K), gram)


def vaccinate(K: Matrix, rho: Matrix, orders: Sequence[Sequence[int]]) -> tuple[Matrix, Matrix]:
    """W (T, T) with p_i = sum_j W_ij g_j, and the cosine (T, T) that each pair had at its turn, NaN where there was none.

    >>> K = np.array([[1.0, -0.5], [-0.5, 1.0]])
    >>> W, seen = vaccinate(K, np.zeros((2, 2)), [[1], [0]])  # to the cosine 0: as PCGrad
    >>> W.round(2).tolist(), float(seen[0, 1])
    ([[1.0, 0.5], [0.5, 1.0]], -0.5)
    """
    n = norms(K)
    W, seen = np.eye(len(K)), np.full_like(K, np.nan)
    for i, order in enumerate(orders):
        inner, size = K[i].copy(), n[i]  # <p_i, g_j> for all j, and ||p_i||
        for j in order:
            if j == i or n[j] == 0 or size <= 1e-12 * n[i]:
                continue
            cos = seen[i, j] = max(-1.0, min(1.0, inner[j] / (size * n[j])))
            wanted = min(rho[i, j], 1 - 1e-12)
            if cos < wanted:
                slack = math.sqrt(1 - wanted**2)
                step = size * (wanted * math.sqrt(1 - cos**2) - cos * slack) / (n[j] * slack)
                W[i, j] += step
                inner += step * K[j]
                size = math.sqrt(max(W[i] @ inner, 0.0))
    return W, seen


class Vaccine:
    """rho (T, T), moved at every step; `only_violated`: as released."""

    def __init__(self, tasks: int, beta: float, generator: torch.Generator, only_violated: bool = False) -> None:
        self.rho = np.zeros((tasks, tasks))
        self.beta, self.generator, self.only_violated = beta, generator, only_violated

    def __call__(self, gram: Tensor) -> Tensor:
        K = matrix(gram)
        W, cos = vaccinate(K, self.rho, random_orders(len(K), self.generator))
        moved = cos < self.rho if self.only_violated else np.isfinite(cos)
        self.rho = np.where(moved, (1 - self.beta) * self.rho + self.beta * cos, self.rho)
        return tensor(W.sum(0) / len(K), gram)


class GradVacParams(MultiTaskParams):
    """GradVac's own settings."""

    beta: float = real(1e-2, low=1e-3, high=0.5, log=True, minimum=0.0, maximum=1.0, help="how fast the target cosines move")
    variant: str = fixed("original", options=("original", "as_released"), help="targets always move, or only where violated")


class GradVac(BalancedRunner):
    """Gradient vaccine."""

    name = "gradvac"
    title = "GradVac"
    Params = GradVacParams
    reference = (
        "Wang et al., Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual Models, "
        "ICLR 2021"
    )

    def balancer(self, tasks: int, params: GradVacParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(Vaccine(tasks, params.beta, run.generator("balancer"), params.variant == "as_released"))
