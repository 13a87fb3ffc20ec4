"""Watch times counted by duration and length: integers from which every label follows, and which add up.

A cell is a whole second of duration and a tick (.1 s) of watch time. An hour and more is one second, and one tick: of a longer
video or play it is only known that it is longer. Cells below 409.5 s of watch time have their place in a table, one for each thread
(10 MB where the longest video has ten minutes, 59 MB at most), while rows are counted; then those that occur are listed, 16 bytes
each, as are the others.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import UsageError

TICK = 0.1  # seconds
LONGEST = 3600  # seconds
SECONDS, TICKS = LONGEST + 1, round(LONGEST / TICK) + 1
NEAR = 1 << 12  # ticks of a row of the table, of which the last stands for all longer ones
CHUNK = 1 << 16  # rows at a time, so that what is computed on the way stays in the processor's cache
WAITING = 1 << 20  # long plays that are listed before they are counted
NONE = np.zeros(0, dtype=np.int64)
HALF_HOUR, LOOPS = 1800, 30  # a median beyond half an hour, or of a play that repeats its video 30 times, is in milliseconds

Ints = NDArray[np.int64]
Counts = NDArray[np.signedinteger[Any]]
Numbers = NDArray[np.number[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Cells:
    """Where plays (N,) belong. place: second * NEAR + tick, at most the last tick of the second; far: (F,) which rows stand at that
    one; tick: (F,) their own."""

    place: NDArray[np.int32]
    far: NDArray[np.intp]
    tick: Ints


def in_parts(rows: int, threads: int, work: Callable[[slice], T]) -> list[T]:
    """`work` on as many equal parts of the rows as there are threads, at once; NumPy lets them run side by side."""
    ends = [rows * k // threads for k in range(threads + 1)]
    parts = [slice(*each) for each in itertools.pairwise(ends)]
    if threads == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def walk(watch_time: Numbers, duration: Numbers, longest: int = LONGEST) -> Generator[tuple[slice, Cells]]:
    """Some rows at a time of watch times and durations (N,), in seconds: which, and their cells, which the next step overwrites.

    A longer duration than `longest` counts as that. Raises UsageError for a watch time that is negative or no number, and for a
    duration that is 0, negative or no number.
    """
    rows = min(CHUNK, len(watch_time))
    kinds = (np.float32 if column.dtype == np.float32 else np.float64 for column in (watch_time, duration))
    watched, long = (np.empty(rows, dtype=kind) for kind in kinds)
    place = np.empty(rows, dtype=np.int32)
    for start in range(0, len(watch_time), CHUNK):
        part = slice(start, start + CHUNK)
        rows = len(watch_time[part])
        yield part, _cells(watch_time[part], duration[part], longest, watched[:rows], long[:rows], place[:rows])


def _cells(watch_time: Numbers, duration: Numbers, longest: int, tick: Any, second: Any, place: NDArray[np.int32]) -> Cells:
    most, longest_here = watch_time.max(), duration.max()
    if not (watch_time.min() >= 0 and duration.min() > 0 and most < np.inf and longest_here < np.inf):
        _refuse("watch_time", watch_time, watch_time >= 0, "0 or more")  # NaN fails every comparison
        _refuse("duration", duration, duration > 0, "more than 0")
    np.multiply(watch_time, 1 / TICK, out=tick)
    np.rint(tick, out=tick)
    np.rint(duration, out=second)
    if longest_here > longest:
        np.minimum(second, longest, out=second)
    far, beyond = NONE, NONE
    if most > (NEAR - 2) * TICK:
        far = np.flatnonzero(tick >= NEAR - 1)
        beyond = np.minimum(tick[far], TICKS - 1).astype(np.int64)
        tick[far] = NEAR - 1
    second *= NEAR  # whole numbers below 2^24: exact in float32, too
    second += tick
    np.copyto(place, second, casting="unsafe")
    return Cells(place, far, beyond)


def _refuse(name: str, values: Numbers, right: NDArray[np.bool_], wanted: str) -> None:
    wrong = np.flatnonzero(~(right & (values < np.inf)))
    if len(wrong):
        raise UsageError(f"{name} is {values[wrong[0]]} somewhere in this log; it must be {wanted} seconds: drop such rows")


class WatchHistogram:
    """Rows by cell: equal bits for equal rows, in whatever order and parts."""

    def __init__(self) -> None:
        self.rows = 0
        self._listed = np.zeros((2, 0), dtype=np.int64)  # second * TICKS + tick, ascending; rows
        self._new_table()

    def _new_table(self) -> None:
        self._tables = [_empty_table()]  # one for each thread that has counted
        self._in_table, self._seconds = 0, 0
        self._long: list[Ints] = []  # second * TICKS + tick of rows beyond the table

    def add(self, watch_time: Numbers, duration: Numbers, threads: int = 1) -> None:
        """Count rows of watch times and durations (N,), in seconds; each thread has a table of its own."""
        if self._in_table + len(watch_time) > np.iinfo(np.int32).max:
            self._list()
        self._tables += [_empty_table() for _ in range(threads - len(self._tables))]
        free = list(self._tables)

        def count(part: slice) -> tuple[int, list[Ints]]:
            return _counted(watch_time[part], duration[part], free.pop())

        for seconds, long in in_parts(len(watch_time), threads, count):
            self._seconds = max(self._seconds, seconds)
            self._long += long
        self._in_table += len(watch_time)
        self.rows += len(watch_time)
        if sum(map(len, self._long)) > WAITING:
            self._long_listed()

    @property
    def _table(self) -> NDArray[np.int32]:
        """Rows by (second, tick), up to the longest video; the last tick's are listed, too."""
        first, *others = self._tables
        for each in others:
            first[: self._seconds] += each[: self._seconds]
        self._tables = [first]
        return first[: self._seconds]

    def _long_listed(self) -> None:
        new = np.concatenate([self._listed[0], *self._long])
        self._listed = _summed(new, np.concatenate([self._listed[1], np.ones(len(new) - len(self._listed[0]), dtype=np.int64)]))
        self._long = []

    def _list(self) -> Ints:
        """All cells in the list, and an empty table."""
        if self._in_table:
            self._long_listed()
            self._table[:, -1] = 0
            table = self._table.reshape(-1)
            place = np.flatnonzero(table != 0)
            near = np.stack([place // NEAR * TICKS + place % NEAR, table[place].astype(np.int64)])
            self._listed = _summed(*np.concatenate([self._listed, near], axis=1))
            self._new_table()
        return self._listed

    @property
    def cells(self) -> tuple[Ints, Ints, Ints]:
        """second, tick and rows of the cells that occur, by second, then tick."""
        key, rows = self._list()
        return *np.divmod(key, TICKS), rows

    def merge(self, other: WatchHistogram) -> WatchHistogram:
        """The counts of both, in a new histogram."""
        both = WatchHistogram()
        both.rows = self.rows + other.rows
        both._listed = _summed(*np.concatenate([self._list(), other._list()], axis=1))
        return both

    def by_second(self) -> Ints:
        """Rows of each second of duration, up to the longest video."""
        second, _, rows = self._beyond()
        near = self._near.sum(axis=1)
        found = np.zeros(max(len(near), int(second.max(initial=-1)) + 1), dtype=np.int64)
        found[: len(near)] = near
        np.add.at(found, second, rows)
        return found

    def by_group(self, last: Ints) -> Ints:
        """Rows by (group, tick), where `last` is the last second of each group; ticks up to the longest play."""
        second, tick, rows = self._beyond()
        spans = itertools.pairwise([0, *(last + 1).tolist()])
        near = np.stack([self._near[start:end].sum(axis=0, dtype=np.int32) for start, end in spans])  # its total fits an int32
        ticks = 1 + max(int(tick.max(initial=0)), int(np.flatnonzero(near.any(axis=0)).max(initial=0)))
        found = np.zeros((len(last), ticks), dtype=np.int64)
        found[:, : near.shape[1]] = near[:, :ticks]
        np.add.at(found.reshape(-1), np.searchsorted(last, second) * ticks + tick, rows)
        return found

    @property
    def _near(self) -> NDArray[np.int32]:
        """Rows by (second, tick) that are counted in the table alone."""
        return self._table[:, :-1]

    def _beyond(self) -> tuple[Ints, Ints, Ints]:
        """second, tick and rows of the cells that are not."""
        self._long_listed()
        return *np.divmod(self._listed[0], TICKS), self._listed[1]

    def sparse(self) -> dict[str, NDArray[Any]]:
        """`cells` in small types: second (int16), tick (int32), count (int64)."""
        second, tick, rows = self.cells
        return {"second": second.astype(np.int16), "tick": tick.astype(np.int32), "count": rows}

    @classmethod
    def of(cls, cells: Mapping[str, NDArray[Any]]) -> WatchHistogram:
        """The inverse of `sparse`."""
        found = cls()
        found._listed = np.stack([cells["second"].astype(np.int64) * TICKS + cells["tick"], cells["count"]])
        found.rows = int(cells["count"].sum())
        return found

    def fingerprint(self) -> str:
        """SHA-256 of the content, equal on every machine."""
        return hashlib.sha256(self._list().astype("<i8").tobytes()).hexdigest()


def _empty_table() -> NDArray[np.int32]:
    return np.zeros((SECONDS, NEAR), dtype=np.int32)  # takes room where it is used


def _counted(watch_time: Numbers, duration: Numbers, table: NDArray[np.int32]) -> tuple[int, list[Ints]]:
    """Count rows in a table: how many seconds of it are in use, and second * TICKS + tick of rows beyond it.

    By torch, which lets threads run side by side where `np.add.at` makes them wait for each other.
    """
    flat, one = torch.from_numpy(table.reshape(-1)), torch.ones(CHUNK, dtype=torch.int32)
    index = torch.empty(CHUNK, dtype=torch.int64)
    seconds, long = 0, list[Ints]()
    for _, cells in walk(watch_time, duration):
        rows = len(cells.place)
        flat.scatter_add_(0, index[:rows].copy_(torch.from_numpy(cells.place)), one[:rows])
        seconds = max(seconds, int(cells.place.max()) // NEAR + 1)
        if len(cells.far):
            long.append(cells.place[cells.far] // NEAR * TICKS + cells.tick)
    return seconds, long


def _summed(key: Ints, rows: Ints) -> Ints:
    """Keys ascending, each once, and the sum of its rows; (2, C)."""
    order = np.argsort(key, kind="stable")
    key, rows = key[order], rows[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return np.stack([key[first], np.add.reduceat(rows, first) if len(first) else rows])


def refuse_milliseconds(watched: float, long: float) -> None:
    """UsageError where the medians of watch time and duration, in seconds, say that one of them is not in seconds."""
    if long > HALF_HOUR or watched > min(HALF_HOUR, LOOPS * max(long, 10)):
        raise UsageError(
            f"half of the videos last {_said(long)} or more and half of the plays {_said(watched)} or more, which looks like "
            "milliseconds; watch_time and duration must both be in seconds: divide by 1000"
        )


def _said(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < LONGEST else "an hour"
