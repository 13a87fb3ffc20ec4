"""Solvers for H p = b where only products with H are known: conjugate gradient, and the Adam loop of the released IFRU.

Vectors are tensors of any shape and dtype; scalars are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

from ..core.errors import UsageError

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """An approximate solution of H p = b, and how it was reached.

    residual: ||H p - b|| / ||b||; smallest_ritz: the least eigenvalue that the solver saw, in units of the preconditioner (NaN for
    Adam): below 0 says that H is indefinite; smallest_curvature: least d'Hd / d'd over its search directions d, in units of H: at a
    negative curvature, damping has to grow by more than its size; negative_curvature: the iteration stopped there.
    """

    p: Tensor
    iterations: int
    residual: float
    converged: bool
    smallest_ritz: float
    smallest_curvature: float
    negative_curvature: bool = False


def inner(x: Tensor, y: Tensor) -> float:
    """<x, y>: dot products of 65536 entries in the vectors' dtype, summed in float64."""
    blocks = zip(x.reshape(-1).split(1 << 16), y.reshape(-1).split(1 << 16), strict=True)
    return float(torch.stack([torch.dot(a, b) for a, b in blocks]).sum(dtype=torch.float64)) if x.numel() else 0.0


def scaled_identity(scale: float) -> Product:
    """x -> scale * x."""
    return lambda x: x * scale


def conjugate_gradient(
    product: Product,
    b: Tensor,
    precondition: Product | None = None,
    tol: float = 1e-3,
    max_iter: int = 100,
    progress: Callable[[int], None] | None = None,
) -> Solution:
    """Preconditioned conjugate gradient from p = 0, stopped at ||r|| <= tol ||b||, after max_iter steps, or at negative curvature.

    product: x -> H x; precondition: x -> M^-1 x with M positive definite, near H. A direction d with d'Hd <= 0 ends it (a truncated
    Newton step); the very first such direction, M^-1 b, is then the answer. What it returns is the iterate of least residual: on a
    positive definite H nearly always the last one, while next to a negative curvature the last ones explode.
    """
    p, r = torch.zeros_like(b), b.clone()
    size = inner(b, b) ** 0.5
    if size == 0.0:
        return Solution(p, 0, 0.0, True, float("nan"), float("nan"))
    z = precondition(r) if precondition else r
    d, rz = z.clone(), inner(r, z)
    alphas: list[float] = []
    betas: list[float] = []
    curvature, residual, negative = float("inf"), float("inf"), False
    best, best_residual = p, float("inf")
    while len(alphas) < max_iter:
        if progress:
            progress(len(alphas))
        Hd = product(d)
        dHd = inner(d, Hd)
        if not np.isfinite(dHd):
            raise UsageError(f"conjugate gradient met a value that is not finite at step {len(alphas)}; raise the damping")
        curvature = min(curvature, dHd / inner(d, d))
        if dHd <= 0.0:
            negative = True
            if not alphas:  # fall back on M^-1 b
                best, best_residual = d, inner(r - Hd, r - Hd) ** 0.5 / size
            alphas.append(rz / dHd if dHd else float("-inf"))
            break
        alphas.append(rz / dHd)
        p.add_(d, alpha=alphas[-1])
        r.sub_(Hd, alpha=alphas[-1])
        residual = inner(r, r) ** 0.5 / size
        if residual < best_residual:
            best, best_residual = p.clone(), residual
        if residual <= tol:
            break
        z = precondition(r) if precondition else r
        rz, before = inner(r, z), rz
        betas.append(rz / before)
        d.mul_(betas[-1]).add_(z)
    steps = len(alphas) - negative
    return Solution(best, steps, best_residual, best_residual <= tol, smallest_ritz(alphas, betas), curvature, negative)


def smallest_ritz(alphas: list[float], betas: list[float]) -> float:
    """The least eigenvalue of the Lanczos matrix of a conjugate gradient run.

    T_jj = 1 / a_j + b_(j-1) / a_(j-1),  T_j,j+1 = sqrt(b_j) / a_j.
    """
    if not alphas:
        return float("nan")
    inverse, beta = 1.0 / np.array(alphas), np.array(betas[: len(alphas) - 1])
    diagonal = inverse.copy()
    diagonal[1:] += beta * inverse[:-1]
    return float(eigvalsh_tridiagonal(diagonal, np.sqrt(beta) * np.abs(inverse[:-1]))[0])


def adam_as_released(
    product: Product,
    b: Tensor,
    rate: float,
    score: Callable[[Tensor], float],
    patience: int = 10,
    max_iter: int = 5000,
    progress: Callable[[int], None] | None = None,
) -> Solution:
    """Minimise 0.5 p'Hp - b'p by Adam from p = 0 and keep the iterate with the best `score` (validation AUC), as released.

    It does not solve H p = b: a coordinate moves by about `rate` a step whatever the size of b. It stops when `patience` + 1 steps
    in a row brought no new best, or after `max_iter`. With H = 0 it is gradient ascent on the removed rows.
    """
    p, m, v = torch.zeros_like(b), torch.zeros_like(b), torch.zeros_like(b)
    best, best_score, best_step, best_residual = p.clone(), float("-inf"), 0, 1.0
    size = inner(b, b) ** 0.5
    gradient = -b
    for step in range(1, max_iter + 1):
        if size == 0.0:
            break
        if progress:
            progress(step)
        m.lerp_(gradient, 0.1)  # betas .9, .999; eps 1e-8
        v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = v.sqrt().div_((1 - 0.999**step) ** 0.5).add_(1e-8)
        p.addcdiv_(m, scale, value=-rate / (1 - 0.9**step))
        gradient = product(p) - b
        value = score(p)
        if value > best_score:
            best_score, best_step = value, step
            best.copy_(p)
            best_residual = inner(gradient, gradient) ** 0.5 / size
        elif step - best_step > patience:
            break
    if not np.isfinite(best_residual) or (size and best_score == float("-inf")):
        raise UsageError("the Adam loop on p diverged: no finite iterate had a finite validation score; lower the step")
    return Solution(best, best_step, best_residual if size else 0.0, False, float("nan"), float("nan"))
