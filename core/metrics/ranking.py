"""Where the next item stands among all items: HR@K and NDCG@K, what kind of items a ranking shows, how far two rankings lie apart.

    HR@K = 1[rank < K]        NDCG@K = 1[rank < K] / log2(rank + 2)        rank from 0, one relevant item a row

Items of equal score share their places: a value is its mean over all orders of such items, so no order of ids plays a part. A table
of scores is (N, I + 1) with a column for each item id; column 0, no item, is never looked at.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .groups import Floats, Ints

BINS = 5
BLOCK = 1 << 22  # values looked at together


@dataclass(frozen=True)
class Ranks:
    """Of each row's target, int64 (N,): how many other items have a higher score, and how many the same."""

    better: Ints
    tied: Ints

    def __len__(self) -> int:
        return len(self.better)


def ranks(score: ArrayLike, target: ArrayLike) -> Ranks:
    """From scores (N, I + 1) and the ids of the next items (N,), each in 1..I."""
    s, y = _scores(score), np.asarray(target, dtype=np.int64)
    if y.shape != (len(s),) or (len(y) and not 1 <= y.min() <= y.max() < s.shape[1]):
        raise UsageError(
            f"targets of shape {y.shape} do not name one of {s.shape[1] - 1} items for each of {len(s)} rows of scores"
        )
    better, tied = np.empty(len(s), dtype=np.int64), np.empty(len(s), dtype=np.int64)
    for rows in _blocks(s):
        own = np.take_along_axis(s[rows], y[rows, None], axis=1)
        better[rows] = np.count_nonzero(s[rows, 1:] > own, axis=1)
        tied[rows] = np.count_nonzero(s[rows, 1:] == own, axis=1) - 1
    return Ranks(better, tied)


def hit_rate(found: Ranks, k: int) -> Floats:
    """HR@k of each row, (N,): the share of orders of the tied items that put the target among the first k."""
    return np.clip(k - found.better, 0, found.tied + 1) / (found.tied + 1)


def ndcg(found: Ranks, k: int) -> Floats:
    """NDCG@k of each row, (N,): its mean over all orders of the tied items."""
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    first, last = (np.minimum(place, k) for place in (found.better, found.better + found.tied + 1))
    return (gains[last] - gains[first]) / (found.tied + 1)


def mean_ndcg(score: ArrayLike, target: ArrayLike, k: int = 10) -> float:
    """The mean of NDCG@k over rows: scores (N, I + 1), next items (N,)."""
    return float(ndcg(ranks(score, target), k).mean())


def popularity_bins(count: ArrayLike, bins: int = BINS) -> Floats:
    """(I + 1, bins): the share of each item in each bin, the rarest first, from how often each id occurs (I + 1,).

    Each bin holds as many items as the others. Items that occur equally often share their bins, so that the order of ids plays no
    part; 0 for id 0.
    """
    _, group, size = np.unique(np.asarray(count)[1:], return_inverse=True, return_counts=True)
    if bins < 1 or len(group) < bins:
        raise UsageError(f"{len(group)} items cannot be parted into {bins} bins; give more items or fewer bins")
    edge = np.arange(bins + 1) * len(group) / bins
    end = np.cumsum(size)
    low, high = np.maximum(edge[:-1], (end - size)[:, None]), np.minimum(edge[1:], end[:, None])
    share = np.maximum(high - low, 0) / size[:, None]
    return np.concatenate([np.zeros((1, bins)), share[group]])


def bin_shares(score: ArrayLike, member: ArrayLike, cuts: Sequence[int]) -> Floats:
    """(N, cuts, bins): which share of the best k items of each row, for each k of `cuts`, is from each bin.

    member: (I + 1, bins), as `popularity_bins` gives it. Of items that tie for the last places each is in as often as the others.
    """
    s, part = _scores(score), np.asarray(member, dtype=np.float64)
    items = s.shape[1] - 1
    if part.shape[:1] != (items + 1,) or not 1 <= min(cuts) <= max(cuts) <= items:
        raise UsageError(
            f"{len(part)} rows of bins and lists of {max(cuts)} do not fit scores of {items} items; give K of 1..{items}"
        )
    found = np.empty((len(s), len(cuts), part.shape[1]))
    for rows in _blocks(s):
        block = s[rows, 1:]
        ordered = np.partition(block, [items - k for k in cuts], axis=1)
        for place, k in enumerate(cuts):
            last = ordered[:, items - k, None]
            above, tied = block > last, block == last
            left = (k - np.count_nonzero(above, axis=1)) / np.count_nonzero(tied, axis=1)
            found[rows, place] = (above @ part[1:] + left[:, None] * (tied @ part[1:])) / k
    return found


def log_probabilities(score: ArrayLike) -> Floats:
    """(N, I): log softmax of the scores (N, I + 1) over the items, without id 0."""
    s = _scores(score)[:, 1:].astype(np.float64)
    s -= s.max(axis=1, keepdims=True)
    s -= np.log(np.exp(s).sum(axis=1, keepdims=True))
    return s


def divergence(score: ArrayLike, other: ArrayLike) -> Floats:
    """(N,) KL(p || q) in nats, where p and q are the softmax over items of two tables of scores (N, I + 1).

    It means something for scores that are log-probabilities, up to a constant per row.
    """
    a, b = _scores(score), _scores(other)
    if a.shape != b.shape:
        raise UsageError(f"scores of shapes {a.shape} and {b.shape} cannot be held against each other; give the same rows")
    found = np.empty(len(a))
    for rows in _blocks(a):
        log_p, log_q = log_probabilities(a[rows]), log_probabilities(b[rows])
        found[rows] = np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0)
    return found


def _scores(score: ArrayLike) -> NDArray[Any]:
    """A table of numbers for at least one item; infinities are refused with NaN, as neither has a place in a softmax."""
    s = np.asarray(score)
    if s.ndim != 2 or s.shape[1] < 2:
        raise UsageError(f"scores of shape {s.shape} are no table of rows x (items + 1); give one with a column for each item id")
    if not np.isfinite(s[:, 1:]).all():
        row = int(np.flatnonzero(~np.isfinite(s[:, 1:]).all(axis=1))[0])
        raise UsageError(f"row {row} of the scores holds a value that is no finite number; mend the model that gave it")
    return s


def _blocks(score: NDArray[Any]) -> Generator[slice]:
    """Rows by the block, so that what is computed of a large table stays small beside it."""
    step = max(1, BLOCK // score.shape[1])
    for start in range(0, len(score), step):
        yield slice(start, min(start + step, len(score)))
