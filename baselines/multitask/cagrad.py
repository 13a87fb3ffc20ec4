"""CAGrad: the best improvement of the worst task, near the mean gradient (Liu et al., NeurIPS 2021, algorithm 1).

    g = argmax over ||g - g_0|| <= c ||g_0|| of min_k <g_k, g>,    g_0 = (1/T) sum_k g_k
      = g_0 + c ||g_0|| g_w / ||g_w||,    g_w = J' w,   w = argmin over the simplex of <g_w, g_0> + c ||g_0|| ||g_w||

A mean already. It is not rescaled by 1 / (1 + c^2), as in the paper (some libraries do).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from ...core.context import RunContext
from ...core.errors import UsageError
from ...core.params import real
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import Matrix, cosines, matrix, norms, rows, tensor
from ...models.simplex import nearest_to_origin

SMALLEST = 1e-10


def cagrad_weights(gram: Tensor, c: float = 0.4) -> Tensor:
    """w (T,) from K. c: radius of the ball around the mean gradient; 0 is equal weights.

    Where the gradients have a convex combination that is 0 on the way out of the ball, g_w / ||g_w|| is 0 / 0 and g is g_0. A task
    without a gradient is left out of the worst.

    >>> import torch
    >>> cagrad_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([0.8464, 0.5000], dtype=torch.float64)
    """
    if c < 0:
        raise UsageError(f"c={c}: the radius of a ball is not negative")
    K = matrix(gram)
    n = norms(K)
    live = n > 0
    R, _ = rows(cosines(K))
    w = np.full(len(K), 1 / len(K))
    w[live] += _pull((R * n)[:, live], (R * n).mean(1), c)
    return tensor(w, gram)


def _pull(points: Matrix, mean: Matrix, c: float) -> Matrix:
    """w / t with ||g_w|| = s t, s = c ||g_0||: for s ||g_w|| = min over t of ||g_w||^2 / (2 t) + s^2 t / 2 turns the program into

    w(t) = argmin over the simplex of ||J' w + t g_0||^2,   and a root t of ||g_w(t)|| / (s t) = 1, which falls in t.
    """
    s = c * float(np.linalg.norm(mean))
    if s == 0.0:
        return np.zeros(points.shape[1])

    def shifted(t: float) -> Matrix:
        return nearest_to_origin(points + t * mean[:, None])

    def excess(log_t: float) -> float:
        size = float(np.linalg.norm(points @ shifted(float(np.exp(log_t)))))
        return float(np.log(max(size, 1e-300))) - log_t - float(np.log(s))

    high = float(np.log(np.linalg.norm(points, axis=0).max() / s)) + 1e-6  # no point of the hull is longer than its longest corner
    low = high + float(np.log(SMALLEST))
    if excess(low) < 0:
        return np.zeros(points.shape[1])
    t = float(np.exp(brentq(excess, low, high, xtol=1e-13, rtol=1e-13)))
    return shifted(t) / t


class CAGradParams(MultiTaskParams):
    """CAGrad's radius."""

    c: float = real(
        0.4, low=0.2, high=0.8, minimum=0.0, grid=(0.2, 0.4, 0.6, 0.8), help="radius of the ball around the mean gradient"
    )


class CAGrad(BalancedRunner):
    """Conflict-averse gradient descent."""

    name = "cagrad"
    title = "CAGrad"
    Params = CAGradParams
    reference = "Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021"

    def balancer(self, tasks: int, params: CAGradParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(lambda gram: cagrad_weights(gram, params.c))
