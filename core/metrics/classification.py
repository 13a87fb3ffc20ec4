"""AUC over all rows, within users (GAUC), and without each group of users; every one from one sort of the scores.

With P positives and N negatives, AUC = (1 / PN) sum over (positive p, negative n) of 1[s_p > s_n] + 1/2 1[s_p = s_n].
Pairs are counted twice (2 for concordant, 1 for tied), so that all counts are whole numbers and exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .groups import Floats, Ints, group_ids, group_sums, user_group

Weights = Literal["impressions", "positives", "equal"]
Bools = NDArray[np.bool_]


def auc(score: ArrayLike, label: ArrayLike) -> float:
    """Area under the ROC curve of `score` (N,) for `label` (N,) in {0, 1}; ties count 1/2; NaN when a class is empty."""
    s, positive = _checked(score, label)
    above, below = np.sort(s[positive]), np.sort(s[~positive])
    if not len(above) or not len(below):
        return float("nan")
    twice = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(twice / (2.0 * len(above) * len(below)))


def grouped_auc(score: ArrayLike, label: ArrayLike, group: ArrayLike, groups: int) -> tuple[float, Floats]:
    """The AUC, and (groups,) the AUCs without each group of `group` (N,); NaN where a class becomes empty.

    Let A[g, h] = concordant pairs with the positive in g and the negative in h. Removing g leaves
    sum(A) - sum_h A[g, h] - sum_h A[h, g] + A[g, g]: two marginals and a diagonal, so A itself is never formed.
    """
    s, positive = _checked(score, label)
    g = group_ids(group, len(s), groups)
    order = np.argsort(s)
    s, positive, g = s[order], positive[order], g[order]
    lower, upper = _twice(~positive, s), _twice(positive, s)
    row = group_sums(lower[positive], g[positive], groups)
    column = group_sums(2 * positive.sum() - upper[~positive], g[~positive], groups)
    pairs = _within(s, positive, g, groups)
    p, n = int(positive.sum()), int((~positive).sum())
    value = _ratio(row.sum(), 2 * p * n)
    left = _ratio(row.sum() - row - column + pairs.twice, 2 * (p - pairs.positives) * (n - pairs.negatives))
    return float(value), left


@dataclass(frozen=True)
class UserAUC:
    """Per user, in ascending order of `user`: the AUC within the user's rows (NaN with one class only) and what carries it."""

    user: Ints
    auc: Floats
    impressions: Ints
    positives: Ints

    def weights(self, weights: Weights) -> Floats:
        """(users,) the weight of each user in GAUC; 0 for users without an AUC."""
        by: dict[str, NDArray[np.generic]] = {
            "impressions": self.impressions,
            "positives": self.positives,
            "equal": np.ones(len(self.user)),
        }
        if weights not in by:
            raise UsageError(f"GAUC weights {weights!r} are unknown; use one of {', '.join(by)}")
        return np.where(np.isnan(self.auc), 0.0, by[weights].astype(np.float64))


def user_auc(score: ArrayLike, label: ArrayLike, user: ArrayLike) -> UserAUC:
    """The AUC within each user's rows; `user` (N,) holds ids of any size."""
    s, positive = _checked(score, label)
    ids, index = np.unique(np.asarray(user), return_inverse=True)
    index = group_ids(index, len(s), len(ids))
    order = np.argsort(s)
    pairs = _within(s[order], positive[order], index[order], len(ids))
    value = _ratio(pairs.twice, 2 * pairs.positives * pairs.negatives)
    return UserAUC(ids, value, pairs.positives + pairs.negatives, pairs.positives)


def gauc(score: ArrayLike, label: ArrayLike, user: ArrayLike, weights: Weights = "impressions") -> float:
    """The mean of the users' AUCs, weighted by impressions, positives or equally; users with one class only are left out."""
    per_user = user_auc(score, label, user)
    weight = per_user.weights(weights)
    return float(_ratio(np.nansum(per_user.auc * weight), weight.sum()))


def grouped_gauc(
    score: ArrayLike, label: ArrayLike, user: ArrayLike, groups: int = 40, weights: Weights = "impressions"
) -> tuple[float, Floats]:
    """GAUC, and (groups,) the GAUCs without each group of users (`user_group`); NaN where no user with an AUC is left."""
    per_user = user_auc(score, label, user)
    weight = per_user.weights(weights)
    group = user_group(per_user.user, groups)
    top = group_sums(np.nan_to_num(per_user.auc) * weight, group, groups)
    bottom = group_sums(weight, group, groups)
    return float(_ratio(top.sum(), bottom.sum())), _ratio(top.sum() - top, bottom.sum() - bottom)


@dataclass(frozen=True)
class _Pairs:
    """Per group: twice the concordant pairs within the group, its positives, its negatives; each (groups,)."""

    twice: Floats
    positives: Ints
    negatives: Ints


def _checked(score: ArrayLike, label: ArrayLike) -> tuple[Floats | NDArray[np.float32], Bools]:
    """Scores as floats and labels as booleans, both (N,), without NaN and with labels 0 and 1 only."""
    s = np.asarray(score)
    s = s if s.dtype == np.float32 else s.astype(np.float64, copy=False)
    y = np.asarray(label)
    if s.ndim != 1 or s.shape != y.shape:
        raise UsageError(f"scores have shape {s.shape} and labels {y.shape}; both must be one row of the same length")
    if np.isnan(s).any():
        raise UsageError(f"{int(np.isnan(s).sum())} of {len(s)} scores are NaN; AUC needs comparable scores")
    positive = y == 1
    if not (positive | (y == 0)).all():
        raise UsageError("labels hold values other than 0 and 1; AUC needs binary labels")
    return s, positive


def _twice(counted: Bools, *keys: NDArray[np.generic]) -> Ints:
    """For each row, of rows sorted by `keys`: 2 x the `counted` rows before its run of equal keys + 1 x those in the run."""
    first = np.ones(len(counted), dtype=np.bool_)
    first[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    seen = np.concatenate([[0], np.cumsum(counted)])
    edge = np.append(np.flatnonzero(first), len(counted))
    return (seen[edge[:-1]] + seen[edge[1:]])[np.cumsum(first) - 1]


def _within(s: NDArray[np.floating], positive: Bools, group: Ints, groups: int) -> _Pairs:
    """Pairs within each group, for rows sorted by score: a stable sort by group keeps the scores sorted inside."""
    narrow = group.astype(np.uint16) if groups <= 1 << 16 else group  # 16-bit keys are radix-sorted
    order = np.argsort(narrow, kind="stable")
    s, positive, group = s[order], positive[order], group[order]
    positives = np.bincount(group[positive], minlength=groups)
    negatives = np.bincount(group[~positive], minlength=groups)
    lower = _twice(~positive, s, group)
    before = 2 * (np.cumsum(negatives) - negatives)  # negatives of earlier groups, which `lower` counts too
    twice = group_sums((lower - before[group])[positive], group[positive], groups)
    return _Pairs(twice, positives, negatives)


def _ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """top / bottom, NaN where there is nothing to divide by."""
    over, under = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.divide(over, under, out=np.full(under.shape, np.nan), where=under != 0)
