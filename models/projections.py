"""Ways to take the conflict out of T gradients, as coefficients: row i of W (T, T) says which sum of gradients replaces g_i.

    g~_i = sum_j W_ij g_j

All work on K = J J' alone. Magnitudes enter only as scales: with cosines C_ij and norms n_i, W_ij = Y_ij n_i / n_j, where Y solves
the same problem for unit gradients. So rows of very different size do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from .gram import Matrix, cosines, inverse, norms, rows


def interpolated(K: Matrix, tau: float) -> Matrix:
    """a (T,): a_i g_i has norm (1 - tau) n_i + tau max_j n_j (GradCraft, step 1). 1 for a task without a gradient."""
    n = norms(K)
    return np.where(n > 0, 1 - tau + tau * n.max(initial=0.0) * inverse(n), 1.0)


def random_orders(tasks: int, generator: torch.Generator | None = None) -> list[list[int]]:
    """For each task an order of all tasks; without a generator from torch's global stream."""
    return [torch.randperm(tasks, generator=generator).tolist() for _ in range(tasks)]


def one_by_one(K: Matrix, orders: Sequence[Sequence[int]], eps: float = 0.0) -> Matrix:
    """Each gradient gives way to one conflicting gradient after the other (PCGrad, Yu et al., NeurIPS 2020, algorithm 1).

    For j in orders[i]: where <p_i, g_j> < 0, p_i += g_j (eps n_i n_j - <p_i, g_j>) / n_j^2. The paper has eps = 0.
    """
    n = norms(K)
    W = np.eye(len(K))
    for i, order in enumerate(orders):
        for j in order:
            inner = float(W[i] @ K[j])
            if j != i and inner < 0 < n[j]:
                W[i, j] += (eps * n[i] * n[j] - inner) / K[j, j]
    return W


def dual_cone(K: Matrix, eps: float = 0.0) -> Matrix:
    """Each gradient goes to the nearest vector that conflicts with none (UPGrad: Quinton and Rey, arXiv 2406.16232, equation 3).

    g~_i = argmin ||g - g_i|| subject to <g, g_j> >= eps n_i n_j for all j, by its dual: in unit gradients u_j, with R'R = C,

        g~_i = u_i + sum_j y_j u_j,    y = argmin over y >= 0 of 1/2 ||R (e_i + y)||^2 - eps sum_j y_j

    The paper has eps = 0. With eps > 0 opposite gradients leave no such g; then the constraints hold in the least-squares sense.
    """
    n, C = norms(K), cosines(K)
    W = np.eye(len(K))
    live = np.flatnonzero(n)
    if not live.size:
        return W
    R, right = rows(C[np.ix_(live, live)])
    for at, i in enumerate(live):
        if C[i, live].min() < eps:
            y, _ = nnls(R, eps * right.sum(0) - R[:, at])
            W[i, live] += y * n[i] / n[live]
    return W


def new_conflicts(K: Matrix, W: Matrix) -> NDArray[np.bool_]:
    """(T, T): g~_i conflicts with g_j, though g_i did not; what a projection off some of the gradients can bring about."""
    slope = W @ K
    size = np.sqrt(np.maximum((slope * W).sum(1), 0.0))[:, None] * norms(K)
    return (slope < -1e-10 * size) & (K >= 0)
