"""How each user's and each item's plays spread over the levels of WPR^d: what ev^u, ev^v, lv^u and lv^v follow from (DML, 1.4).

    t = w Q + (1 - w) p,   w = n / (n + m);   y is an effective (p = 1/2) or long (p = 3/4) view where F^d(y) >= t

n: the user's (item's) plays; Q: of the level where their own p-quantile lies; F^d(y): the share of the duration group's plays at or
below y. Where a group's level begins below Q, as it may with few plays, its beginning stands for Q: then a play in the level of the
user's median is an effective view of m = 0 in every group. m = 0 leaves all to the user's own plays, and the one play of a user
seen once is positive; m = infinity gives ev^d and lv^d, which is also what a user or item unseen in train gets.

Memory: (users + items) x N counts of 4 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError

BLOCK = 1 << 16  # users at a time

Ids = NDArray[Any]


def ids_of(column: Ids, name: str) -> Ids:
    """Ids as int64, or as text; UsageError for gaps and for decimals."""
    if column.dtype.kind in "iub":
        return column.astype(np.int64, copy=False)
    if column.dtype.kind == "U":
        return column.astype(object)
    if column.dtype.kind == "O" and pd.api.types.infer_dtype(column, skipna=False) == "string":
        return column
    raise UsageError(f"{name} holds {column.dtype} with gaps, decimals or mixed kinds; ids must be whole numbers or text")


class LevelCounts:
    """Plays by (id, level)."""

    def __init__(self, name: str, levels: int) -> None:
        self.name, self.levels = name, levels
        self.ids: pd.Index[Any] | None = None
        self._table = np.zeros((0, levels), dtype=np.int32)

    def __len__(self) -> int:
        return 0 if self.ids is None else len(self.ids)

    @property
    def counts(self) -> NDArray[np.int32]:
        """(ids, levels)"""
        return self._table[: len(self)]

    @property
    def rows(self) -> int:
        """Plays counted."""
        return int(self.counts.sum(dtype=np.int64))

    def places(self, ids: Ids) -> NDArray[np.intp]:
        """The row (N,) of each id, -1 for one that is unknown."""
        given = ids_of(ids, self.name)
        if self.ids is None or not len(given):
            return np.full(len(given), -1)
        if (given.dtype == object) != (self.ids.dtype == object):
            kinds = ("text", "whole numbers") if given.dtype == object else ("whole numbers", "text")
            raise UsageError(f"{self.name} holds {kinds[0]}, but held {kinds[1]} in the rows counted before; use one kind of id")
        return self.ids.get_indexer(given)  # pyright: ignore[reportArgumentType]

    def add(self, ids: Ids, levels: NDArray[np.integer[Any]]) -> None:
        """Count plays (N,)."""
        place = self._known(ids)
        np.add.at(self._table.reshape(-1), place * self.levels + levels, np.int32(1))

    def _known(self, ids: Ids) -> NDArray[np.intp]:
        """The row of each id, with new rows for new ones."""
        place = self.places(ids)
        unknown = place < 0
        if unknown.any():
            code, fresh = pd.factorize(ids_of(ids, self.name)[unknown])
            place[unknown] = code + len(self)
            more_ids = pd.Index(fresh, dtype=fresh.dtype)
            self.ids = more_ids if self.ids is None else self.ids.append(more_ids)
            if len(self) > len(self._table):
                more = np.zeros((max(len(self), len(self._table) * 5 // 4), self.levels), dtype=np.int32)
                more[: len(self._table)] = self._table
                self._table = more
        return place

    def merge(self, other: LevelCounts) -> LevelCounts:
        """The counts of both, in a new table."""
        both = LevelCounts(self.name, self.levels)
        for part in (self, other):
            if part.ids is not None:
                place = both._known(part.ids.to_numpy())
                both._table[place] += part.counts
        return both

    def sparse(self) -> dict[str, NDArray[Any]]:
        """What is not 0, by id, then level: id, level (int32), count (int32)."""
        ids = np.zeros(0, dtype=np.int64) if self.ids is None else self.ids.to_numpy()
        order = np.argsort(ids, kind="stable")
        row, level = np.nonzero(self.counts[order])
        return {"id": ids[order][row], "level": level.astype(np.int32), "count": self.counts[order][row, level]}

    @classmethod
    def of(cls, name: str, levels: int, cells: Mapping[str, NDArray[Any]]) -> LevelCounts:
        """The inverse of `sparse`."""
        found = cls(name, levels)
        if len(cells["id"]):
            place = found._known(cells["id"])
            found._table[place, cells["level"]] = cells["count"]
        return found

    def thresholds(self, shares: tuple[float, ...], m: float) -> Thresholds:
        """The level where each id's own quantiles lie, and how much the id's own plays weigh."""
        rows = np.zeros(len(self) + 1, dtype=np.int64)  # the last is every unknown id
        level = np.zeros((len(shares), len(self) + 1), dtype=np.int64)
        for start in range(0, len(self), BLOCK):
            below = np.cumsum(self.counts[start : start + BLOCK], axis=1)
            part = slice(start, start + len(below))
            rows[part] = below[:, -1]
            for k, share in enumerate(shares):
                rank = np.ceil(share * below[:, -1:]).astype(np.int64)
                level[k, part] = (below < rank).sum(axis=1)
        weight = np.divide(rows, rows + m, out=np.zeros(len(rows)), where=rows > 0)
        return Thresholds(level, weight, int((rows == 1).sum()))


@dataclass(frozen=True)
class Thresholds:
    """level: (shares, ids + 1), the last column and weight for unknown ids; weight: n / (n + m); once: ids seen once."""

    level: NDArray[np.int64]
    weight: NDArray[np.float64]
    once: int
