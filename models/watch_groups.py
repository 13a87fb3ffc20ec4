"""Plays grouped by the duration of their video (DML, 1.3; D2Q), and tables by group and tick that are looked up by cell."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from .watch_histogram import NEAR, SECONDS, TICK, Cells, Counts, Ints, Numbers, WatchHistogram, in_parts, refuse_milliseconds, walk
from .watch_levels import duration_bins, quantile

Bins = int | Literal["per_second"]


class DurationGroups:
    """Equal-frequency bins of whole seconds, each with at least `least` rows.

    last: the last second of each, (K,); counts: rows by (group, tick), (K, T). A duration that no row had falls between the ends of
    the bins like any other; one beyond them all, into the last. Raises UsageError for a log without rows, and for medians that look
    like milliseconds.
    """

    def __init__(self, histogram: WatchHistogram, bins: Bins, least: int = 1) -> None:
        if not histogram.rows:
            raise UsageError("there are no rows to fit on; give a log with at least one play")
        seconds = histogram.by_second()
        self.last = duration_bins(seconds, bins, least)
        self.counts: Counts = histogram.by_group(self.last)
        refuse_milliseconds(quantile(self.counts.sum(axis=0), 0.5) * TICK, quantile(seconds, 0.5))
        self.group = np.searchsorted(self.last[:-1], np.arange(SECONDS))  # of each second
        self._longest = int(self.last[-2]) + 1 if len(self) > 1 else 0  # it and all longer ones are the last group

    def __len__(self) -> int:
        return len(self.last)

    def of(self, duration: Numbers) -> Ints:
        """The group (N,) of durations in seconds."""
        found = np.empty(len(duration), dtype=np.int64)
        for rows, cells in walk(np.zeros_like(duration), duration):
            found[rows] = self.group[cells.place // NEAR]
        return found

    def walk(self, watch_time: Numbers, duration: Numbers) -> Generator[tuple[slice, Cells]]:
        """Some rows at a time: which, and their cells, to be looked up in a `table`."""
        return walk(watch_time, duration, self._longest)

    def look_up(self, table: CellTable, watch_time: Numbers, duration: Numbers, threads: int = 1) -> NDArray[Any]:
        """The values (N,) of plays."""
        found = np.empty(len(watch_time), dtype=table.values.dtype)

        def fill(part: slice) -> None:
            for rows, cells in self.walk(watch_time[part], duration[part]):
                table.look_up(cells, found[part][rows])

        in_parts(len(watch_time), threads, fill)
        return found

    def table(self, values: NDArray[Any]) -> CellTable:
        """`values` by (group, tick), (K, T) or, where they are the same for all groups, (1, T), to be looked up by cell."""
        return CellTable(values, np.minimum(self.group[: self._longest + 1], len(values) - 1))


class CellTable:
    """values: by (group, tick), (K, T), where a tick beyond T - 1 counts as T - 1; group: of each second."""

    def __init__(self, values: NDArray[Any], group: Ints) -> None:
        self.values, self.group = values, group
        wide = np.pad(values[:, :NEAR], ((0, 0), (0, max(NEAR - values.shape[1], 0))), mode="edge")
        self.near = wide[group].reshape(-1)

    def look_up(self, cells: Cells, out: NDArray[Any]) -> None:
        """The values (N,) of plays."""
        np.take(self.near, cells.place, out=out, mode="clip")
        if len(cells.far):
            group = self.group[cells.place[cells.far] // NEAR]
            out[cells.far] = self.values[group, np.minimum(cells.tick, self.values.shape[1] - 1)]
