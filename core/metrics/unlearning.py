"""How completely a request was forgotten: distance and rank agreement with Retrain, and what an attacker can still tell.

Scores are compared, never embeddings: two models that differ by a rotation are the same model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from .classification import auc, grouped_auc
from .groups import Floats, Ints, group_ids, group_sums


def score_distance(unlearned: ArrayLike, retrained: ArrayLike, original: ArrayLike | None = None) -> float:
    """||s_unlearned - s_retrained|| / ||s_original - s_retrained|| over the same rows (N,): 0 is Retrain, 1 as far as Original.

    Without `original` the distance is relative to the size of Retrain's scores, ||s_retrained||. NaN where nothing lies below.
    """
    top, bottom = _squares(unlearned, retrained, original)
    return float(_root_ratio(top.sum(), bottom.sum()))


def grouped_score_distance(
    unlearned: ArrayLike, retrained: ArrayLike, group: ArrayLike, groups: int, original: ArrayLike | None = None
) -> tuple[float, Floats]:
    """`score_distance`, and (groups,) the same without each group of `group` (N,)."""
    top, bottom = _squares(unlearned, retrained, original)
    index = group_ids(group, len(top), groups)
    above, below = group_sums(top, index, groups), group_sums(bottom, index, groups)
    return float(_root_ratio(above.sum(), below.sum())), _root_ratio(above.sum() - above, below.sum() - below)


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's correlation of two score columns (N,), ties at their mean rank; NaN when a column is constant."""
    first, second = _same_rows(a, b)
    return _spearman(_places(first), _places(second))


def grouped_rank_correlation(a: ArrayLike, b: ArrayLike, group: ArrayLike, groups: int) -> tuple[float, Floats]:
    """`rank_correlation`, and (groups,) the same without each group of `group` (N,)."""
    first, second = map(_places, _same_rows(a, b))
    index = group_ids(group, len(first), groups)
    others = (index != g for g in range(groups))
    return _spearman(first, second), np.array([_spearman(first[rows], second[rows]) for rows in others])


def membership_auc(score: ArrayLike, label: ArrayLike, member: ArrayLike) -> float:
    """How well confidence in a row's label, (2y - 1) s, tells removed rows (`member`) from rows never seen.

    `label` (N,) in {0, 1} is the one the removed row was trained with. Removed rows may differ from unseen ones for other reasons
    than memory (flipped labels do), so the target is Retrain's own value, not 1/2; with `shadow_z` for `score` it is 1/2.
    """
    return auc(_confidence(score, label), member)


def grouped_membership_auc(
    score: ArrayLike, label: ArrayLike, member: ArrayLike, group: ArrayLike, groups: int
) -> tuple[float, Floats]:
    """`membership_auc`, and (groups,) the same without each group of `group` (N,)."""
    return grouped_auc(_confidence(score, label), member, group, groups)


def shadow_z(score: ArrayLike, shadows: ArrayLike) -> Floats:
    """(N,) each row's score in standard deviations from the mean of K >= 2 Retrain shadow models' scores, `shadows` (K, N).

    No shadow has seen the removed rows, so what remains is memory: the likelihood-ratio attack of Carlini et al. (S&P 2022) with
    Gaussian scores and "out" models only. A row on which all shadows agree has z = 0 or +-infinity.
    """
    s, out = np.asarray(score, dtype=np.float64), np.asarray(shadows, dtype=np.float64)
    if out.ndim != 2 or len(out) < 2 or out.shape[1:] != s.shape:
        raise UsageError(f"shadow scores have shape {out.shape}; at least 2 models x {len(s)} rows are needed")
    offset, spread = s - out.mean(axis=0), out.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(offset == 0, 0.0, offset / spread)


def _confidence(score: ArrayLike, label: ArrayLike) -> Floats:
    """(2y - 1) s: the score, turned so that larger means surer of the label."""
    s, _ = _same_rows(score, label)
    return np.where(np.asarray(label) == 1, s, -s)


def _same_rows(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """Both columns as float64 (N,)."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise UsageError(f"columns of shapes {first.shape} and {second.shape} cannot be compared; both need one value per row")
    return first, second


def _squares(unlearned: ArrayLike, retrained: ArrayLike, original: ArrayLike | None) -> tuple[Floats, Floats]:
    """(s_unlearned - s_retrained)^2 and (s_original - s_retrained)^2, both (N,); no original is an original of zeros."""
    s, target = _same_rows(unlearned, retrained)
    start, _ = _same_rows(np.zeros_like(target) if original is None else original, target)
    return (s - target) ** 2, (start - target) ** 2


def _root_ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """sqrt(top / bottom), NaN where bottom vanishes."""
    over, under = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.sqrt(np.divide(over, under, out=np.full(under.shape, np.nan), where=under > 0))


def _places(column: Floats) -> Ints:
    """(N,) whole numbers from 0 in the order of the values, equal values sharing one."""
    return np.unique(column, return_inverse=True)[1].astype(np.int64)


def _mid_ranks(places: Ints) -> Floats:
    """Twice the mean rank of each row, centred on 0. Counting places ranks any subset of rows without another sort."""
    count = np.bincount(places)
    ranks = (2 * np.cumsum(count) - count)[places] - len(places)
    return ranks.astype(np.float64)


def _spearman(a: Ints, b: Ints) -> float:
    """Pearson's correlation of the ranks of two columns of places."""
    x, y = _mid_ranks(a), _mid_ranks(b)
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else float("nan")
