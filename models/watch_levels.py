"""Percentile ranks of watch time in groups of plays, from counts: DML's labels, D2Q's label, and the ways back (DML, 1.2-1.4).

    q_n ~ decay^(n-1)                  n = 1 .. N: wide groups, in mass, for short plays
    Q_n = q_1 + ... + q_n
    e_n = t_{Q_n}                      lower empirical quantile: the least watch time with at least Q_n of the rows at or below it
    label(y) = Q_m                     e_{n-1} < y <= e_n; m = n, or the last of the levels whose edge is e_n, too

Cut by value: equal watch times have equal labels, and levels that a tie makes empty collapse into the last of them. decay = 1 gives
plain quantiles, and levels as fine as the data the share of rows at or below y.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .watch_histogram import TICK

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Edge = Literal["upper", "mid"]


def level_tops(levels: int, decay: float) -> Floats:
    """Q (N,): increasing, its last 1.

    >>> level_tops(4, 0.5).round(4)
    array([0.5333, 0.8   , 0.9333, 1.    ])
    """
    n = np.arange(1, levels + 1)
    return n / levels if decay == 1 else -np.expm1(n * np.log(decay)) / -np.expm1(levels * np.log(decay))


def rank_of(share: Floats | float, rows: Ints) -> Ints:
    """The least number of `rows` (G,) that is `share` (N,) of them or more, (G, N); a float that misses a whole number by a
    rounding counts as that number."""
    return np.clip(np.ceil(np.multiply.outer(rows, share) * (1 - 1e-12)), 1, None).astype(np.int64)


def duration_bins(rows: Ints, bins: int | Literal["per_second"], least: int) -> Ints:
    """The last second of each bin (K,), from the rows of each whole second of duration.

    Equal frequency, where a second is never split; then, until each has `least` rows, the smallest joins its lighter neighbour. So
    K may be less than asked.
    """
    total = rows.sum(keepdims=True)
    if bins == "per_second":
        last = np.flatnonzero(rows)
    else:
        last = np.unique(np.searchsorted(np.cumsum(rows), rank_of(np.arange(1, bins + 1) / bins, total)[0]))
    held = np.diff(np.cumsum(rows)[last], prepend=0).tolist()
    ends = last.tolist()
    while len(held) > 1 and min(held) < least:
        small = held.index(min(held))
        left = small == len(held) - 1 or (small > 0 and held[small - 1] <= held[small + 1])
        at = small - 1 if left else small  # joins at and at + 1
        held[at : at + 2], ends[at : at + 2] = [held[at] + held[at + 1]], [ends[at + 1]]
    return np.array(ends, dtype=np.int64)


def quantile(counts: NDArray[np.signedinteger[Any]], share: float) -> int:
    """t_share of counts (T,): the least place with `share` of them at or below it."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, rank_of(share, below[-1:])[0]))


class Ranks:
    """Where a watch time stands among those of its group.

    counts: rows by (group, tick), (G, T); tops: Q (N,), or None for as many levels as there are watch times; edge: a level's label
    is its upper edge Q_n, or the middle of the share of rows that it holds (whose mean over train is 1/2, ties or not). A tick
    beyond T - 1 counts as T - 1.
    """

    def __init__(self, counts: NDArray[np.signedinteger[Any]], tops: Floats | None, edge: Edge = "upper") -> None:
        self.below = np.cumsum(counts, axis=1, dtype=np.int64)  # rows at or below each tick
        self.groups, self.ticks = counts.shape
        self.rows = self.below[:, -1]
        self.tops, self.edge = tops, edge

    def tick_at(self, share: float | Floats) -> Ints:
        """t_share: ticks (G, N), of which `share` (N,) of the group's rows are at or below."""
        ranks = rank_of(np.atleast_1d(share), self.rows)
        return np.stack([np.searchsorted(*each) for each in zip(self.below, ranks, strict=True)])

    @cached_property
    def edges(self) -> Ints:
        """e (G, N), ticks."""
        assert self.tops is not None
        return self.tick_at(self.tops)

    def _cuts(self, group: int) -> tuple[Ints, Ints]:
        """The last tick of each level in use, and which level (0 to N - 1) it is."""
        if self.tops is None:
            last = np.flatnonzero(np.diff(self.below[group], prepend=0))
            return last, np.arange(len(last))
        level = np.flatnonzero(np.diff(self.edges[group], append=self.ticks))
        return self.edges[group, level], level

    @cached_property
    def level(self) -> NDArray[np.int32]:
        """The level of each tick, from 0, (G, T)."""
        return self._by_tick(lambda group, last, level: level, np.int32)

    @cached_property
    def label(self) -> NDArray[np.float32]:
        """The label of each tick, (G, T)."""

        def label(group: int, last: Ints, level: Ints) -> Floats:
            share = self.below[group, last] / self.rows[group]
            if self.edge == "mid":
                return (share + np.concatenate([[0.0], share[:-1]])) / 2
            return share if self.tops is None else self.tops[level]

        return self._by_tick(label, np.float32)

    def _by_tick(self, value: Any, kind: Any) -> NDArray[Any]:
        found = np.empty((self.groups, self.ticks), dtype=kind)
        for group in range(self.groups):
            last, level = self._cuts(group)
            values = value(group, last, level)
            found[group, last[-1] :] = values[-1]
            found[group, : last[-1] + 1] = np.repeat(values, np.diff(last, prepend=-1))
        return found

    @cached_property
    def share(self) -> Floats:
        """The share of the group's rows at or below each tick, exactly, (G, T)."""
        return self.below / self.rows[:, None]

    @cached_property
    def least(self) -> Floats:
        """Q of each level, or the share of rows at or below its least watch time where that is lower, (G, N).

        So the rows whose share is at least this are those of the level and of higher ones, ties or not.
        """
        assert self.tops is not None
        first = self._by_level(lambda below, before, last: below[np.searchsorted(below, before + 1)] / below[-1])
        return np.minimum(first, self.tops)

    @cached_property
    def mean(self) -> Floats:
        """Mean watch time of each level, seconds (G, N); of one that a tie made empty, that of the level it collapsed into."""
        tick = np.arange(self.ticks)

        def mean(below: Ints, before: Ints, last: Ints) -> Floats:
            sums = np.cumsum(np.diff(below, prepend=0) * tick)[last]
            return np.diff(sums, prepend=0) / (below[last] - before) * TICK

        return self._by_level(mean)

    def _by_level(self, value: Any) -> Floats:
        found = np.empty(self.edges.shape)
        for group in range(self.groups):
            last, level = self._cuts(group)
            before = np.concatenate([[0], self.below[group, last[:-1]]])
            found[group] = np.repeat(value(self.below[group], before, last), np.diff(level, prepend=-1))
        return found

    @cached_property
    def _quantiles(self) -> tuple[Floats, Floats]:
        """Knots of every group's inverse distribution, one group after the other: 2 g + share, and seconds."""
        group, tick = np.nonzero(np.diff(self.below, prepend=0))
        knot, second = 2 * group + self.below[group, tick] / self.rows[group], tick * np.float64(TICK)
        first = np.flatnonzero(np.diff(group, prepend=-1))
        return np.insert(knot, first, 2.0 * group[first]), np.insert(second, first, second[first])

    def inverse(self, p: NDArray[np.floating[Any]], group: Ints) -> Floats:
        """Seconds (N,) at percentile ranks p (N,): the group's train quantiles, linear between one watch time and the next."""
        return np.interp(2 * group + np.clip(p.astype(np.float64), 0, 1), *self._quantiles)

    def expected(self, chances: NDArray[np.floating[Any]], group: Ints) -> Floats:
        """Seconds (N,) expected under chances of the levels (N, levels)."""
        return np.einsum("nl,nl->n", chances, self.mean[group])
