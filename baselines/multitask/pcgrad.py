"""PCGrad: gradients that conflict are projected off each other, one after the other (Yu et al., NeurIPS 2020, algorithm 1).

    p_i = g_i;  for j != i in random order: if <p_i, g_j> < 0: p_i -= <p_i, g_j> / ||g_j||^2 g_j
    g   = sum_i p_i

The paper sums: divided by T here. PCGrad+ (Bai et al., KDD 2024, their variant) first draws the norms together, as GradCraft does;
that its release adds eps n_i n_j to every coordinate is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.params import real
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import matrix, tensor
from ...models.projections import interpolated, one_by_one, random_orders


def pcgrad_weights(gram: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """w (T,) from K; the order of the projections from `generator`, else from torch's global stream.

    >>> pcgrad_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0000, 0.6250], dtype=torch.float64)
    """
    return pcgrad_plus_weights(gram, 0.0, generator)


def pcgrad_plus_weights(gram: Tensor, tau: float = 0.1, generator: torch.Generator | None = None) -> Tensor:
    """w (T,) from K; tau: how far norms are drawn to the largest one before the projections.

    >>> pcgrad_plus_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0500, 0.6375], dtype=torch.float64)
    """
    K = matrix(gram)
    a = interpolated(K, tau)
    W = one_by_one(a[:, None] * K * a, random_orders(len(K), generator))
    return tensor(a * W.sum(0) / len(K), gram)


class PCGrad(BalancedRunner):
    """Projecting conflicting gradients."""

    name = "pcgrad"
    title = "PCGrad"
    reference = "Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        generator = run.generator("balancer")
        return Balancer.from_gram(lambda gram: pcgrad_weights(gram, generator))


class PCGradPlusParams(MultiTaskParams):
    """GradCraft's first hyperparameter."""

    tau: float = real(
        0.1,
        low=0.0,
        high=1.0,
        minimum=0.0,
        maximum=1.0,
        grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        help="how far norms are drawn to the largest one",
    )


class PCGradPlus(BalancedRunner):
    """PCGrad after GradCraft's magnitude adjustment."""

    name = "pcgrad_plus"
    title = "PCGrad+"
    Params = PCGradPlusParams
    reference = "Bai et al., GradCraft, KDD 2024, doi 10.1145/3637528.3671585 (the row PCGrad+)"

    def balancer(self, tasks: int, params: PCGradPlusParams, run: RunContext) -> Balancer:
        generator = run.generator("balancer")
        return Balancer.from_gram(lambda gram: pcgrad_plus_weights(gram, params.tau, generator))
