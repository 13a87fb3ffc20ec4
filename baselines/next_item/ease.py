"""EASE: the linear map of a history to all items that fits train's best, and maps no item to itself (its Eq. (8)).

    B = argmin |X - X B|^2 + l2 |B|^2  with  diag B = 0;    P = (X'X + l2)^-1,  B_ij = -P_ij / P_jj for i != j

X: which user took which item. Like the paper's, a history has no order and no repeats here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.linalg import cho_factor, cho_solve

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from .histories import taken, weighted

SQUARES = 4  # items x items float64 that a fit holds at once


class EASEParams(Params):
    """How large the map may be."""

    l2: float = real(200.0, low=1.0, high=5000.0, log=True, minimum=1e-6, grid=(200.0, 500.0, 1000.0), help="lambda")


class FittedEASE:
    """weights: B, float32 (items + 1, items + 1), 0 for id 0."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self.weights = weights

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}."""
        history = weighted(view.columns["history"], len(self.weights) - 1)
        return {"score": (history.astype(np.float32) @ self.weights)}

    def save(self, folder: Path) -> None:
        """Write `ease.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights}, folder / "ease.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedEASE:
        """The inverse of `save`."""
        return cls(load_file(folder / "ease.safetensors")["weights"])


class EASE(Runner):
    """Ridge regression of each item on all others."""

    name = "ease"
    title = "EASE"
    task = NextItem
    Params = EASEParams
    fitted = FittedEASE
    reference = "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, doi 10.1145/3308558.3313710"

    def cannot(self, task: NextItem) -> str | None:
        return too_large(task.items, psutil.virtual_memory().total)

    def fit(self, task: NextItem, params: EASEParams, run: RunContext) -> FittedEASE:
        users = taken(task.train, task.items)[:, 1:]
        gram = (users.T @ users).toarray()
        weights = np.zeros((task.items + 1,) * 2, dtype=np.float32)
        weights[1:, 1:] = without_itself(gram, params.l2)
        return FittedEASE(weights)


def too_large(items: int, memory: int) -> str | None:
    """Why a map of so many items to themselves does not fit in half of `memory` (bytes), or None.

    >>> too_large(1_000, memory=2**33) is None
    True
    >>> too_large(100_000, memory=2**33)
    "it solves for 100,000 x 100,000 weights in 298.0 GiB, over half of this machine's 8.0 GiB"
    """
    needed = SQUARES * 8 * items**2
    if 2 * needed <= memory:
        return None
    here = f"over half of this machine's {memory / 2**30:.1f} GiB"
    return f"it solves for {items:,} x {items:,} weights in {needed / 2**30:.1f} GiB, {here}"


def without_itself(gram: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """B (I, I) of X'X (I, I).

    >>> without_itself(np.array([[2.0, 1.0], [1.0, 2.0]]), l2=0.0).round(3).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    ridge = gram.copy()
    np.fill_diagonal(ridge, gram.diagonal() + l2)
    inverse = cho_solve(cho_factor(ridge, overwrite_a=True), np.eye(len(gram)), overwrite_b=True)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights
