"""What balancers read off a Gram matrix K = J J' of T gradients: norms and cosines.

In NumPy, where a matrix this small is fastest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UsageError

Matrix = NDArray[np.float64]


def matrix(gram: Tensor) -> Matrix:
    """K as float64 (T, T). Raises UsageError where it is not square, FloatingPointError naming a task whose row is not finite."""
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise UsageError(f"gram: a tensor of shape {tuple(gram.shape)}; give J @ J.T, one row and column for each task")
    K: Matrix = gram.detach().to("cpu", torch.float64).numpy()
    bad = ~np.isfinite(K).all(1)
    if bad.any():
        raise FloatingPointError(f"gram: the row of task {int(bad.argmax())} is not finite")
    return K


def tensor(weights: NDArray[Any], gram: Tensor) -> Tensor:
    """Weights (T,) as a float64 tensor where K is."""
    return torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64)).to(gram.device)


def norms(K: Matrix) -> Matrix:
    """||g_k||, (T,)."""
    return np.sqrt(np.maximum(np.diagonal(K), 0.0))


def inverse(values: Matrix) -> Matrix:
    """1 / v, and 0 where v is 0: so a task without a gradient drops out."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def cosines(K: Matrix) -> Matrix:
    """<g_i, g_j> / (||g_i|| ||g_j||), (T, T); rows and columns of a task without a gradient are 0."""
    scale = inverse(norms(K))
    return np.clip(scale[:, None] * K * scale, -1.0, 1.0)


def least_norm(systems: Matrix, right: Matrix, tolerance: float = 1e-12) -> Matrix:
    """x (B, T) of least norm with A x = b, in the least-squares sense, for symmetric positive semidefinite A (B, T, T), b (B, T).

    Eigenvalues under `tolerance` times the largest of their A count as 0. (This is `pinv(A) @ b` in a third of its time.)
    """
    values, vectors = np.linalg.eigh(systems)
    inverted = np.divide(1.0, values, out=np.zeros_like(values), where=values > tolerance * values[:, -1:])
    along = vectors.transpose(0, 2, 1) @ right[:, :, None]
    return (vectors @ (inverted[:, :, None] * along))[:, :, 0]


def rows(C: Matrix, tolerance: float = 1e-14) -> tuple[Matrix, Matrix]:
    """R (r, T) with R'R = C, its columns the unit gradients in r coordinates; and the right inverse of R, (T, r).

    r is the numerical rank: eigenvalues under `tolerance` times the largest are rounding.
    """
    values, vectors = np.linalg.eigh(C)
    kept = values > tolerance * max(values[-1], 0.0)
    size = np.sqrt(values[kept])
    return size[:, None] * vectors[:, kept].T, vectors[:, kept] / size
