"""Whole seconds: watch time cut at the duration, and what train holds of each duration.

w = min(y, d)                     whole seconds; what a label says that knows no repeats
rows of train with each (d, w)    integer counts, from which every statistic of a duration comes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.task import Watched

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def whole_seconds(duration: NDArray[np.float32]) -> Ints:
    """d (N,), the duration to the nearest whole second, at least 1."""
    return np.maximum(np.rint(duration), 1).astype(np.int64)


def cut_watch_time(rows: Watched) -> tuple[Ints, Ints]:
    """w and d (N,), whole seconds, 0 <= w <= d: a repeated video counts as one that was finished."""
    d = whole_seconds(rows.duration)
    return np.minimum(np.rint(rows.watch_time), d).astype(np.int64), d


def within(seconds: Floats, d: Ints) -> NDArray[np.float32]:
    """Seconds (N,) moved into [0, d], where w lies."""
    return np.clip(seconds, 0, d).astype(np.float32)


def nearest(known: Ints, d: Ints) -> NDArray[np.intp]:
    """For each of d (N,), the place in `known` (D,), ascending, of the nearest known duration; of two as near, the shorter."""
    return np.searchsorted((known[1:] + known[:-1]) / 2, d)


@dataclass(frozen=True)
class Cells:
    """How many rows have each pair of whole seconds (d, w): one cell for each pair that occurs, by d, then by w.

    duration: (D,) the durations that occur, ascending; first: (D,) the first cell of each; of: (C,) the place in `duration` of a
    cell's d; watch: (C,) its w; rows: (C,) its rows.
    """

    duration: Ints
    first: Ints
    of: Ints
    watch: Ints
    rows: Ints

    @classmethod
    def of_rows(cls, rows: Watched) -> Cells:
        w, d = cut_watch_time(rows)
        longest = d.max() + 1
        pair, count = np.unique(d * longest + w, return_counts=True)
        return cls._of_pairs(*np.divmod(pair, longest), count)

    @classmethod
    def _of_pairs(cls, d: Ints, watch: Ints, rows: Ints) -> Cells:
        duration, first, of = np.unique(d, return_index=True, return_inverse=True)
        return cls(duration, first, of, watch, rows)

    def only(self, keep: NDArray[np.bool_]) -> Cells:
        """The cells of the durations that a mask (D,) keeps."""
        cells = keep[self.of]
        return self._of_pairs(self.duration[self.of][cells], self.watch[cells], self.rows[cells])

    def totals(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums of values (C, ...) over the cells of each duration, (D, ...)."""
        return np.add.reduceat(values, self.first, axis=0)

    @property
    def count(self) -> Ints:
        """n (D,), the rows of each duration."""
        return self.totals(self.rows)

    @property
    def mean(self) -> Floats:
        """mu (D,), the mean w of each duration, seconds."""
        return self.totals(self.rows * self.watch) / self.count

    @property
    def deviation(self) -> Floats:
        """sigma (D,), the sample standard deviation of w in each duration, seconds; 0 for a single row."""
        squares = self.totals(self.rows * (self.watch - self.mean[self.of]) ** 2)
        return np.sqrt(squares / np.maximum(self.count - 1, 1))
