"""Nash-MTL: the bargaining solution, where the tasks' relative gains cannot all be raised (Navon et al., ICML 2022).

    K alpha = 1 / alpha,  alpha > 0:    argmin over alpha > 0 of 1/2 alpha' K alpha - sum_k log alpha_k

The paper sums alpha_k g_k, whose norm is always sqrt(T): divided by T here, w = alpha / T. Neither its clipping of that norm nor
its reuse of weights over several steps is here.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import Matrix, cosines, inverse, matrix, norms, tensor

RIDGE = 1e-10  # on the cosines: where a positive combination of gradients is 0 there is no solution


def nash_mtl_weights(gram: Tensor) -> Tensor:
    """w (T,) from K, all positive. A task without a gradient gets 0.

    >>> import torch
    >>> nash_mtl_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([0.7071, 0.3536], dtype=torch.float64)
    """
    K = matrix(gram)
    n = norms(K)
    live = n > 0
    w = np.zeros(len(K))
    if live.any():  # the equation is the same for unit gradients, with alpha_k n_k
        w[live] = _bargain(cosines(K[np.ix_(live, live)])) * inverse(n[live])
    return tensor(w / len(K), gram)


def _bargain(C: Matrix, tolerance: float = 1e-13, steps: int = 200) -> Matrix:
    """b > 0 with C b = 1 / b. A damped Newton method; the objective is self-concordant, so it comes down from anywhere."""
    A = C + RIDGE * np.eye(len(C))
    b = np.ones(len(C))
    for _ in range(steps):
        slope = A @ b - 1 / b
        step = np.linalg.solve(A + np.diag(1 / b**2), slope)
        decrement = float(np.sqrt(max(slope @ step, 0.0)))
        b = b - step / (1 + decrement if decrement > 0.25 else 1.0)
        if decrement < tolerance:
            break
    return b


class NashMTL(BalancedRunner):
    """Multi-task learning as a bargaining game."""

    name = "nash_mtl"
    title = "Nash-MTL"
    reference = "Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"

    def balancer(self, tasks: int, params: MultiTaskParams, run: RunContext) -> Balancer:
        return Balancer.from_gram(nash_mtl_weights)
