"""One ranking out of all heads: f = sum_k w_k logit(r_k), found in the same way for every row of a comparison.

r_k is the rank of head k's output among its outputs on valid, in (0, 1). So a fused score does not depend on the scale in which a
head speaks (seconds, odds, levels): any increasing map of an output leaves it as it is.

Weights come from a fixed grid, by the watch time that the upper half of each user's list collects on valid; the mean of the best
few, for the very best is partly luck. The grid leads from equal weights to the watch head alone: draw j of 64 from the simplex is
moved j / 63 of the way to it. Uniform draws alone rarely weigh one head of seven with more than a half, and would so punish a row
for each head that it has. All this is ours: the paper names a fusion and gives neither formula nor weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.closed_loop import fusion_grid

KNOTS = 256
TRIALS, BEST = 64, 8

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Fusion:
    """weights: (T,), sum 1; outputs, logits: (T, KNOTS), of each head the logit of the rank of an output, linear in between and
    constant beyond valid's range."""

    weights: NDArray[np.float64]
    outputs: NDArray[np.float64]
    logits: NDArray[np.float64]

    @classmethod
    def fit(cls, heads: Floats, watch_time: Floats, user: NDArray[np.integer[Any]]) -> Fusion:
        """From valid's outputs (N, T), seconds (N,) and users (N,); equal weights where no user has two rows."""
        knots = [logit_ranks(head) for head in heads.T]
        outputs, logits = (np.stack(part) for part in zip(*knots, strict=True))
        grid = weight_grid(heads.shape[1])
        standard = standardised(heads, outputs, logits)
        half = UpperHalf(watch_time, user)
        value = np.array([half.watch_time(standard @ weights) for weights in grid])
        best = np.argsort(-value, kind="stable")[:BEST]
        return cls(grid[0] if np.isnan(value).all() else grid[best].mean(0), outputs, logits)

    def __call__(self, heads: Floats) -> NDArray[np.float32]:
        """The fused score (N,) of outputs (N, T); a row's does not depend on the others."""
        return (standardised(heads, self.outputs, self.logits) @ self.weights).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {"weights": self.weights, "outputs": self.outputs, "logits": self.logits}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Fusion:
        """The inverse of `arrays`."""
        return cls(arrays["weights"], arrays["outputs"], arrays["logits"])


def weight_grid(heads: int) -> NDArray[np.float64]:
    """Weights (TRIALS, T), non-negative with sum 1: first equal ones, last head 0 alone."""
    moved = np.linspace(0, 1, TRIALS)[:, None]
    return (1 - moved) * fusion_grid(heads, TRIALS) + moved * np.eye(heads)[0]


def logit_ranks(output: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Up to KNOTS distinct values of output (N,), from least to greatest, and the logits of their mid-ranks; KNOTS numbers each."""
    values, counts = np.unique(output.astype(np.float64), return_counts=True)
    rank = (np.cumsum(counts) - counts / 2) / len(output)
    place = np.linspace(0, len(values) - 1, KNOTS).round().astype(np.int64)
    return values[place], np.log(rank / (1 - rank))[place]


def standardised(heads: Floats, outputs: Floats, logits: Floats) -> NDArray[np.float64]:
    """logit(r) (N, T) of outputs (N, T) by their knots (T, KNOTS)."""
    return np.stack([np.interp(*each) for each in zip(heads.T.astype(np.float64), outputs, logits, strict=True)], axis=1)


class UpperHalf:
    """What the upper halves of the users' lists collect under a score; users with one row have none."""

    def __init__(self, watch_time: Floats, user: NDArray[np.integer[Any]]) -> None:
        self.order = np.argsort(user, kind="stable")
        _, whose, rows = np.unique(user[self.order], return_inverse=True, return_counts=True)
        self.whose = whose.astype(np.min_scalar_type(len(rows)))  # 16-bit keys are radix-sorted
        self.seconds, self.half = watch_time[self.order].astype(np.float64), rows // 2
        self.last = np.cumsum(rows) - np.maximum(self.half, 1)  # the place of a user's last row in, if sorted by score

    def watch_time(self, score: Floats) -> float:
        """Mean over users of the mean seconds of their best floor(n / 2) rows; tied rows share the places left. NaN without any."""
        listed = score[self.order]
        ranked = np.argsort(listed)
        ranked = ranked[np.argsort(self.whose[ranked], kind="stable")]
        least = listed[ranked[self.last]][self.whose]
        users, sums = len(self.half), []
        for rows in (listed > least, listed == least):
            whose = self.whose[rows]
            sums.append((np.bincount(whose, minlength=users), np.bincount(whose, self.seconds[rows], users)))
        (above, total), (tied, tied_total) = sums
        counted = self.half > 0
        if not counted.any():
            return float("nan")
        shared = (self.half - above) * tied_total / tied
        return float(((total + shared)[counted] / self.half[counted]).mean())
