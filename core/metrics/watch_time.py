"""How well watch time is predicted: XAUC over all rows, within users (XGAUC) and without each group of users; errors in seconds.

    XAUC = (1 / pairs) sum over pairs with y_i > y_j of 1[p_i > p_j] + 1/2 1[p_i = p_j],    y watch time, p prediction

which is what the literature of watch-time prediction calls AUC, and its mean over users GAUC. A pair of equal watch times has no
right order and does not count. (Code in circulation counts it as right, so that random scores reach far more than 1/2.) Pairs are
counted twice (2 for concordant, 1 for tied predictions), so that all counts are whole numbers and exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .groups import Floats, Ints, group_ids, group_sums, user_group

Values = NDArray[np.float32] | Floats
LEAST = 1.0  # seconds: below it a watch time counts as this in a relative error


def xauc(prediction: ArrayLike, watch_time: ArrayLike) -> float:
    """The share of pairs in the order of their watch times, from (N,) and (N,); tied predictions count 1/2; NaN without a pair."""
    p, y = _checked(prediction, watch_time)
    pairs = _pairs(p, y, np.zeros(len(p), dtype=np.int64), 1)
    return float(_ratio(pairs.twice.sum(), 2 * pairs.counted.sum()))


def grouped_xauc(prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """The XAUC, and (groups,) the XAUCs without each group of `group` (N,); NaN where no pair is left.

    Removing g takes away the pairs of each of its rows with any row; those within g are taken away twice, so once put back.
    """
    p, y = _checked(prediction, watch_time)
    g = group_ids(group, len(p), groups)
    every, within = _pairs(p, y, np.zeros(len(p), dtype=np.int64), 1), _pairs(p, y, g, groups)
    sums = [group_sums(each, g, groups) for each in (every.twice, every.counted, within.twice, within.counted)]
    twice, counted, twice_within, counted_within = sums
    left = twice.sum() / 2 - twice + twice_within / 2, counted.sum() / 2 - counted + counted_within / 2
    return float(_ratio(twice.sum(), 2 * counted.sum())), _ratio(left[0], 2 * left[1])


@dataclass(frozen=True)
class UserXAUC:
    """Per user, in ascending order of `user`: the XAUC within the user's rows (NaN with a single watch time), and how many."""

    user: Ints
    xauc: Floats
    rows: Ints

    @property
    def skipped(self) -> int:
        """Users with fewer than two different watch times, who count nowhere."""
        return int(np.isnan(self.xauc).sum())

    @property
    def counted(self) -> int:
        return len(self.user) - self.skipped

    @property
    def weight(self) -> Floats:
        """(users,) each user's rows; 0 for those who are skipped."""
        return np.where(np.isnan(self.xauc), 0.0, self.rows)


def user_xauc(prediction: ArrayLike, watch_time: ArrayLike, user: ArrayLike) -> UserXAUC:
    """The XAUC within each user's rows; `user` (N,) holds ids of any size."""
    p, y = _checked(prediction, watch_time)
    ids, index = np.unique(np.asarray(user), return_inverse=True)
    index = group_ids(index, len(p), len(ids))
    pairs = _pairs(p, y, index, len(ids))
    value = _ratio(group_sums(pairs.twice, index, len(ids)), 2 * group_sums(pairs.counted, index, len(ids)))
    return UserXAUC(ids, value, np.bincount(index, minlength=len(ids)))


def xgauc(prediction: ArrayLike, watch_time: ArrayLike, user: ArrayLike) -> float:
    """The mean of the users' XAUCs, weighted by their rows; users with fewer than two different watch times are left out."""
    each = user_xauc(prediction, watch_time, user)
    return float(_ratio(np.nansum(each.xauc * each.weight), each.weight.sum()))


def grouped_xgauc(prediction: ArrayLike, watch_time: ArrayLike, user: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """XGAUC, and (groups,) the same without each group of users (`user_group`); NaN where no user with an XAUC is left."""
    each = user_xauc(prediction, watch_time, user)
    return _shares(np.nan_to_num(each.xauc) * each.weight, each.weight, user_group(each.user, groups), groups)


def mae(prediction: ArrayLike, watch_time: ArrayLike) -> float:
    """The mean of |p - y|, seconds."""
    return _whole(grouped_mae, prediction, watch_time)


def grouped_mae(prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """`mae`, and (groups,) the same without each group of `group` (N,)."""
    p, y = _doubled(prediction, watch_time)
    return grouped_mean(np.abs(p - y), group, groups)


def rmse(prediction: ArrayLike, watch_time: ArrayLike) -> float:
    """The root of the mean of (p - y)^2, seconds."""
    return _whole(grouped_rmse, prediction, watch_time)


def grouped_rmse(prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """`rmse`, and (groups,) the same without each group of `group` (N,)."""
    p, y = _doubled(prediction, watch_time)
    value, left = grouped_mean((p - y) ** 2, group, groups)
    return float(np.sqrt(value)), np.sqrt(left)


def mape(prediction: ArrayLike, watch_time: ArrayLike, shortest: float = 0.0) -> float:
    """The mean of |p - y| / max(y, 1 s) over the rows with y >= `shortest` seconds, as a fraction; NaN without such a row."""
    p, y = _doubled(prediction, watch_time)
    long = y >= shortest
    return float(_ratio(_relative(p, y)[long].sum(), long.sum()))


def grouped_mape(
    prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40, shortest: float = 0.0
) -> tuple[float, Floats]:
    """`mape`, and (groups,) the same without each group of `group` (N,)."""
    p, y = _doubled(prediction, watch_time)
    long = (y >= shortest).astype(np.float64)
    return _shares(long * _relative(p, y), long, group_ids(group, len(p), groups), groups)


def median_ape(prediction: ArrayLike, watch_time: ArrayLike) -> float:
    """The median of |p - y| / max(y, 1 s), as a fraction."""
    return _whole(grouped_median_ape, prediction, watch_time)


def grouped_median_ape(prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """`median_ape`, and (groups,) the same without each group of `group` (N,)."""
    p, y = _doubled(prediction, watch_time)
    error, g = _relative(p, y), group_ids(group, len(p), groups)
    left = [error[g != each] for each in range(groups)]
    return _median(error), np.array([_median(each) for each in left])


def calibration(prediction: ArrayLike, watch_time: ArrayLike) -> float:
    """Mean predicted seconds over mean observed seconds: 1 where the total is right; NaN where nobody watched."""
    return _whole(grouped_calibration, prediction, watch_time)


def grouped_calibration(prediction: ArrayLike, watch_time: ArrayLike, group: ArrayLike, groups: int = 40) -> tuple[float, Floats]:
    """`calibration`, and (groups,) the same without each group of `group` (N,)."""
    p, y = _doubled(prediction, watch_time)
    return _shares(p, y, group_ids(group, len(p), groups), groups)


def grouped_mean(value: ArrayLike, group: ArrayLike, groups: int = 40, weight: ArrayLike | None = None) -> tuple[float, Floats]:
    """The mean of `value` (N,), weighted by `weight` (N,) where it is given, and (groups,) the means without each group."""
    v = np.asarray(value, dtype=np.float64)
    w = np.ones(len(v)) if weight is None else np.asarray(weight, dtype=np.float64)
    return _shares(v * w, w, group_ids(group, len(v), groups), groups)


@dataclass(frozen=True)
class _Pairs:
    """Of each row, among the rows of its node: the pairs of different watch times that it is in, and twice its concordant ones."""

    twice: Ints
    counted: Ints


def _pairs(p: Values, y: Values, node: Ints, nodes: int) -> _Pairs:
    """Each row's pairs with the rows of its own node (in [0, nodes)), by a merge count that sorts rows from the top digit down.

    Rows of a node are told apart by the binary digits of their watch time's dense rank: at each digit, from the highest, rows with
    a 0 (lower) meet rows with a 1 (upper) for the first and only time. Rows are kept sorted by prediction within what is still one
    node, so a cumulative count of lower rows tells each row's concordant pairs. Dividing all rows by the digit, stably, sorts for
    the next one.
    """
    whole = np.int32 if len(p) < 1 << 29 else np.int64  # holds all positions, and twice any count
    rank, same_y = _ranks(y, node, nodes)
    order = _order(p, node, nodes)
    size = np.bincount(node, minlength=nodes)
    start = (np.cumsum(size) - size)[size > 0].astype(whole)
    code, row, twice = rank[order].astype(whole), order.astype(whole), np.zeros(len(p), dtype=whole)
    place = _changes(p[order]).cumsum(dtype=whole)
    for digit in reversed(range(int(rank.max(initial=0)).bit_length())):
        lower = (code >> digit) & 1 == 0
        seen = np.zeros(len(code) + 1, dtype=whole)
        np.cumsum(lower, out=seen[1:])
        first = _changes(place)
        first[start] = True
        run = np.append(np.flatnonzero(first), len(code)).astype(whole)
        before = seen[run]
        both = before[1:] + before[:-1]  # twice the lower rows before the run, and once those in it
        end = np.append(start[1:], whole(len(code)))
        runs = np.diff(np.searchsorted(run, np.append(start, len(code))))
        of_upper = both - np.repeat(2 * seen[start], runs)
        of_lower = both - run[1:] - run[:-1] + np.repeat(2 * (end - seen[end]), runs)
        lowers = np.diff(before)
        uppers = np.diff(run) - lowers
        divided = np.concatenate([np.flatnonzero(lower), np.flatnonzero(~lower)])
        code, place, row, twice = (each[divided] for each in (code, place, row, twice))
        twice += np.concatenate([np.repeat(of_lower, lowers), np.repeat(of_upper, uppers)])
        start = np.concatenate([seen[start], seen[-1] + start - seen[start]])
        start = start[np.diff(start, append=len(code)) > 0]
    found = np.empty(len(p), dtype=np.int64)
    found[row] = twice
    return _Pairs(found, size[node] - same_y)


def _ranks(y: Values, node: Ints, nodes: int) -> tuple[Ints, Ints]:
    """The dense rank of each row's watch time among its node's, from 0, and how many rows of the node share it; int64 (N,)."""
    order = _order(y, node, nodes)
    new_node = _changes(node[order])
    new = new_node | _changes(y[order])
    dense = np.cumsum(new) - 1
    rank, shared = np.empty_like(dense), np.empty_like(dense)
    rank[order] = dense - dense[new_node][np.cumsum(new_node) - 1]
    shared[order] = np.bincount(dense)[dense]
    return rank, shared


def _order(value: Values, node: Ints, nodes: int) -> Ints:
    """The rows sorted by node, then value."""
    order = np.argsort(value)
    if nodes == 1:
        return order
    narrow = node.astype(np.uint16) if nodes <= 1 << 16 else node  # 16-bit keys are radix-sorted
    return order[np.argsort(narrow[order], kind="stable")]


def _changes(key: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value differs from the one before it; the first does."""
    changes = np.ones(len(key), dtype=np.bool_)
    np.not_equal(key[1:], key[:-1], out=changes[1:])
    return changes


def _checked(prediction: ArrayLike, watch_time: ArrayLike) -> tuple[Values, Values]:
    """Predictions and watch times as floats, both (N,), without NaN."""
    p, y = (each if each.dtype == np.float32 else each.astype(np.float64) for each in map(np.asarray, (prediction, watch_time)))
    if p.ndim != 1 or p.shape != y.shape:
        raise UsageError(f"predictions have shape {p.shape} and watch times {y.shape}; both must be one row of the same length")
    for name, values in (("predictions", p), ("watch times", y)):
        if np.isnan(values).any():
            raise UsageError(f"{int(np.isnan(values).sum())} of {len(values)} {name} are NaN; leave them out or mend them")
    return p, y


def _doubled(prediction: ArrayLike, watch_time: ArrayLike) -> tuple[Floats, Floats]:
    p, y = _checked(prediction, watch_time)
    return p.astype(np.float64), y.astype(np.float64)


def _relative(p: Floats, y: Floats) -> Floats:
    return np.abs(p - y) / np.maximum(y, LEAST)


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _whole(grouped: Callable[[ArrayLike, ArrayLike, ArrayLike, int], tuple[float, Floats]], p: ArrayLike, y: ArrayLike) -> float:
    """A grouped metric of all rows as one group."""
    return grouped(p, y, np.zeros(len(np.asarray(p)), dtype=np.int64), 1)[0]


def _shares(top: ArrayLike, bottom: ArrayLike, group: Ints, groups: int) -> tuple[float, Floats]:
    """The ratio of the sums of two columns (N,), and (groups,) the ratios without each group; NaN where nothing lies below."""
    over, under = group_sums(top, group, groups), group_sums(bottom, group, groups)
    return float(_ratio(over.sum(), under.sum())), _ratio(over.sum() - over, under.sum() - under)


def _ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """top / bottom, NaN where there is nothing to divide by."""
    over, under = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.divide(over, under, out=np.full(under.shape, np.nan), where=under != 0)
