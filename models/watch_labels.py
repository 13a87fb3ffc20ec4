"""Watch-time labels without duration bias, fitted on one log and applied to any (DML, 1.2-1.4 of Zhang et al., CIKM 2023).

    labels = WatchTimeLabels(duration_bins=30, levels=50, decay=0.95).fit(train)
    table = labels.transform(test)  # wpr, wpr_d, ev_d, ev_u, ev_v, lv_d, lv_u, lv_v
    seconds = labels.to_seconds(table["wpr_d"], test["duration"])  # and back

A fit reads the log twice. First it counts plays by duration and watch time, from which bins, cuts and the labels wpr, *_d follow;
then, since a user's threshold lies on the levels that these cuts make, plays by user and level and by item and level. All are
integer counts, so parts add up to the whole, bit for bit; but a part's second counts hold for its own cuts. Hence `merge` adds the
first ones, and makes the second ones anew, when they are needed, from the rows of both parts: labels remember where they found them
(a reference, no copy). Where the rows lie on several machines, see `side_counts`.

The defaults are ours: the paper gives neither N nor q_n, nor how it bins durations or treats users with few plays.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UsageError, unknown
from .watch_batches import Batches, Columns, Log, Table, columns_of
from .watch_groups import Bins, CellTable, DurationGroups
from .watch_histogram import NEAR, TICKS, Cells, WatchHistogram, in_parts
from .watch_labels_file import load_tables, save_tables, write_labelled
from .watch_levels import Edge, Ranks, level_tops
from .watch_sides import LevelCounts, Thresholds

VIEWS = {"ev": 0.5, "lv": 0.75}  # effective and long view: at or above this quantile
SIDES = {"user_id": "u", "item_id": "v"}
LABELS = ("wpr", "wpr_d", "ev_d", "ev_u", "ev_v", "lv_d", "lv_u", "lv_v")
SETTINGS = ("duration_bins", "levels", "decay", "edge", "min_rows", "shrinkage", "sides")
Decoder = Literal["inverse", "expected"]


@dataclass(frozen=True)
class SideCounts:
    """Plays by user and level, and by item and level; cut_by: a hash of the bins and cuts that made the levels."""

    cut_by: str
    counts: Mapping[str, LevelCounts]

    def merge(self, other: SideCounts) -> SideCounts:
        """The counts of both, bit for bit; UsageError where their levels are not the same."""
        if self.cut_by != other.cut_by:
            raise UsageError("these counts lie on the levels of different labels; count every part by the same, merged ones")
        return SideCounts(self.cut_by, {name: part.merge(other.counts[name]) for name, part in self.counts.items()})


class WatchTimeLabels:
    """Labels of watch time, and the way back to seconds.

    duration_bins: how many groups of durations, or "per_second"; levels: N; decay: rho in q_n ~ rho^(n-1); edge: a level's label is
    its "upper" edge Q_n, or the "mid" of the share of plays that it holds; min_rows: a bin with fewer joins its lighter neighbour;
    shrinkage: m, how many plays stand against a user's or item's own (0, as in the paper: none); sides: which of user_id, item_id
    get labels of their own; threads: how many count rows and look labels up at once (no digit depends on it).

    Watch times count in tenths of a second and durations in whole seconds, both up to an hour: at that resolution all is exact.
    Memory: a batch, tables of some 50 MB (see `watch_histogram`), and (users + items) x N x 4 bytes.
    """

    def __init__(
        self,
        duration_bins: Bins = 30,
        levels: int = 50,
        decay: float = 0.95,
        *,
        edge: Edge = "upper",
        min_rows: int = 1000,
        shrinkage: float = 20.0,
        sides: Sequence[str] = tuple(SIDES),
        threads: int = 1,
    ) -> None:
        if duration_bins != "per_second" and not (isinstance(duration_bins, int) and duration_bins >= 1):
            raise UsageError(f"duration_bins={duration_bins!r}: give a whole number from 1 on, or 'per_second'")
        if levels < 2 or not 0 < decay <= 1:
            raise UsageError(f"levels={levels}, decay={decay:g}: give 2 levels or more, and a decay above 0 and up to 1")
        if min_rows < 1 or threads < 1 or not shrinkage >= 0:
            raise UsageError(
                f"min_rows={min_rows}, threads={threads}, shrinkage={shrinkage:g}: give 1 or more, 1 or more, 0 or more"
            )
        if edge not in ("upper", "mid"):
            raise unknown("edge", edge, ("upper", "mid"))
        for name in sides:
            if name not in SIDES:
                raise unknown("side", name, SIDES)
        self.duration_bins: Bins = duration_bins
        self.edge: Edge = edge
        self.levels, self.decay, self.threads = levels, decay, threads
        self.min_rows, self.shrinkage, self.sides = min_rows, float(shrinkage), tuple(name for name in SIDES if name in sides)
        self.fallbacks: dict[str, int] = {}  # of the last transform: rows whose user or item the fit had not seen
        self._histogram: WatchHistogram | None = None
        self._logs: tuple[Log, ...] = ()
        self._sides: SideCounts | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that `transform` gives."""
        return tuple(name for name in LABELS if name[-1] not in {SIDES[side] for side in SIDES if side not in self.sides})

    @property
    def settings(self) -> dict[str, Any]:
        """What an equal one is made of."""
        return {**{name: getattr(self, name) for name in SETTINGS}, "sides": list(self.sides)}

    # Statistics

    def fit(self, log: Log) -> Self:
        """Learn bins, cuts and thresholds from watch_time and duration (seconds), user_id and item_id (whole numbers or text).

        log: a DataFrame or mapping of arrays; an iterable of such; or the path of a Parquet file or of a folder of them. It is read
        twice, once where there are no sides. Raises UsageError for a watch time that is negative or no number, for a duration of 0,
        and for medians that look like milliseconds.
        """
        if self.sides and isinstance(log, Iterator):
            raise UsageError("a fit reads the log twice and an iterator can be read once: give a list or a path, or set sides=()")
        self.count(log)
        self._count_sides()
        return self

    def count(self, log: Log) -> Self:
        """The first half of a fit: bins and cuts. The second follows by itself when it is needed and the log is there still."""
        histogram = WatchHistogram()
        for batch in Batches(log, ("watch_time", "duration")):
            histogram.add(batch["watch_time"], batch["duration"], self.threads)
        self._cut(histogram, () if isinstance(log, Iterator) else (log,))
        return self

    def _cut(self, histogram: WatchHistogram, logs: tuple[Log, ...]) -> None:
        tops = level_tops(self.levels, self.decay)
        self._histogram, self._logs, self._sides = histogram, logs, None
        self.groups = DurationGroups(histogram, self.duration_bins, self.min_rows)
        self.debiased = Ranks(self.groups.counts, tops, self.edge)
        self.pooled = Ranks(self.groups.counts.sum(axis=0, keepdims=True), tops, self.edge)
        self._tables: dict[str, CellTable] = {}

    def _fitted(self) -> WatchHistogram:
        if self._histogram is None:
            raise UsageError("these labels are not fitted yet; call fit(train) first")
        return self._histogram

    @property
    def histogram(self) -> WatchHistogram:
        """Plays by duration and watch time."""
        return self._fitted()

    @property
    def fingerprint(self) -> str:
        """Of the fitted watch times and durations: equal for equal rows, in whatever order and parts."""
        return self.histogram.fingerprint()

    def merge(self, other: WatchTimeLabels) -> WatchTimeLabels:
        """What a fit on the rows of both gives, bit for bit; UsageError where settings differ.

        The plays by user and item are counted again, when first needed, in the rows of both (see the module).
        """
        if self.settings != other.settings:
            differ = [name for name, value in self.settings.items() if other.settings[name] != value]
            raise UsageError(f"labels with different {', '.join(differ)} cannot be merged; fit both with the same settings")
        both = WatchTimeLabels(**self.settings, threads=self.threads)
        logs = (*self._logs, *other._logs) if self._logs and other._logs else ()
        both._cut(self.histogram.merge(other.histogram), logs)
        return both

    def side_counts(self, *logs: Log) -> SideCounts:
        """Plays by user and by item on the levels of these labels; integer counts that merge.

        For parts on several machines: merge WatchTimeLabels().count(part) of all parts, then merged.side_counts(part) of all, and
        give the result to merged.with_sides.
        """
        counts = {name: LevelCounts(name, self.levels) for name in self.sides}
        for log in logs if counts else ():
            for batch in Batches(log, ("watch_time", "duration", *self.sides)):
                level = self.level_of(batch)
                for name, part in counts.items():
                    part.add(batch[name], level)
        return SideCounts(self._cuts_hash(), counts)

    def _cuts_hash(self) -> str:
        return hashlib.sha256(self.groups.last.tobytes() + self.debiased.edges.tobytes()).hexdigest()

    def with_sides(self, sides: SideCounts) -> Self:
        """These labels with `side_counts` of all their rows."""
        counted = {name: part.rows for name, part in sides.counts.items()}
        if sides.cut_by != self._cuts_hash() or counted != dict.fromkeys(self.sides, self.histogram.rows):
            rows = self.histogram.rows
            raise UsageError(
                f"side counts of {counted} rows, where these labels have {rows}; count every part once, by these labels"
            )
        found = copy.copy(self)
        found._sides = sides
        return found

    def _count_sides(self) -> SideCounts:
        """The second half of a fit."""
        if self.sides and not self._logs:
            raise UsageError("labels of users and items need the rows once more: give side_counts of all parts to with_sides")
        sides = self.side_counts(*self._logs)
        if any(part.rows != self.histogram.rows for part in sides.counts.values()):
            raise UsageError(
                "the log had other rows at the second reading than at the first; leave it alone while labels are fitted"
            )
        self._sides = sides
        return sides

    @property
    def counted(self) -> Mapping[str, LevelCounts]:
        """Plays by user_id and level, and by item_id and level; counted now where that is still to do."""
        self._fitted()
        return (self._sides or self._count_sides()).counts

    def report(self) -> dict[str, Any]:
        """What a fit found: rows, the bins that were made, what collapsed, whom there is little of."""
        used = [len(np.unique(edges)) for edges in self.debiased.edges]
        constant = [int(self.groups.last[k]) for k, ticks in enumerate(self.groups.counts) if np.count_nonzero(ticks) == 1]
        found: dict[str, Any] = {
            "rows": self.histogram.rows,
            "duration_bins_asked": self.duration_bins,
            "duration_bins": len(self.groups),
            "last_seconds": self.groups.last.tolist(),
            "levels_used": [min(used), max(used)],
            "constant_bins": constant,  # by last second: one watch time, so that every play is an effective and a long view
            "plays_of_an_hour_or_more": int(self.groups.counts[:, TICKS - 1 :].sum()),
        }
        for name, part in self.counted.items():
            found |= {name: len(part), f"{name}_seen_once": int((part.counts.sum(axis=1) == 1).sum())}
        return found

    # Labels

    def _table(self, name: str) -> CellTable:
        """A label, or the level or share, of each cell."""
        if name not in self._tables:
            ranks = self.debiased
            made: dict[str, Callable[[], NDArray[Any]]] = {
                "wpr": lambda: self.pooled.label,
                "wpr_d": lambda: ranks.label,
                "level": lambda: ranks.level,
                "pooled_level": lambda: self.pooled.level,
                "share": lambda: ranks.share,
                **{f"{view}_d": lambda p=p: np.arange(ranks.ticks) >= ranks.tick_at(p) for view, p in VIEWS.items()},
            }
            self._tables[name] = self.groups.table(made[name]())
        return self._tables[name]

    def level_of(self, batch: Table, debiased: bool = True) -> NDArray[np.int32]:
        """The level (N,), 0 to N - 1, of plays: their wpr_d, or wpr, is the upper edge of it."""
        columns, table = columns_of(batch, ("watch_time", "duration")), self._table("level" if debiased else "pooled_level")
        return self.groups.look_up(table, columns["watch_time"], columns["duration"], self.threads)

    @overload
    def transform(self, log: Table, labels: Sequence[str] | None = None) -> pd.DataFrame: ...

    @overload
    def transform(self, log: str | Path | Iterable[Table], labels: Sequence[str] | None = None) -> Iterator[pd.DataFrame]: ...

    def transform(self, log: Log, labels: Sequence[str] | None = None) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """wpr, wpr_d (float32, in (0, 1]) and ev_*, lv_* (int8, 0 or 1) of each row: a table of a table, else an iterator of them.

        labels: some of them. A user or item that the fit had not seen gets the label of its duration group; `fallbacks` counts such
        rows.
        """
        wanted = self.names if labels is None else tuple(labels)
        for name in wanted:
            if name not in self.names:
                raise unknown("label", name, self.names)
        sides = {name: self._thresholds(name) for name, suffix in SIDES.items() if any(label[-1] == suffix for label in wanted)}
        self.fallbacks = dict.fromkeys(sides, 0)
        needed = ("watch_time", "duration", *sides)
        if isinstance(log, pd.DataFrame | Mapping):
            table = cast(Table, log)
            index = table.index if isinstance(table, pd.DataFrame) else None
            return pd.DataFrame(self._label(columns_of(table, needed), wanted, sides), index=index)
        return (pd.DataFrame(self._label(batch, wanted, sides)) for batch in Batches(log, needed))

    def _thresholds(self, name: str) -> Thresholds:
        return self.counted[name].thresholds(tuple(VIEWS.values()), self.shrinkage)

    def _label(self, batch: Columns, wanted: Sequence[str], sides: Mapping[str, Thresholds]) -> Columns:
        self._fitted()
        kinds = {name: np.float32 if name.startswith("wpr") else np.bool_ for name in wanted}
        found: Columns = {name: np.empty(len(batch["watch_time"]), dtype=kind) for name, kind in kinds.items()}
        ids = {name: self.counted[name].places(batch[name]) for name in sides}
        for name, place in ids.items():
            self.fallbacks[name] += int((place < 0).sum())
        tables = {name: self._table(name) for name in wanted if name[-1] not in SIDES.values()}

        def fill(part: slice) -> None:
            out = {name: column[part] for name, column in found.items()}
            own = {name: (sides[name], ids[name][part]) for name in sides}
            for rows, cells in self.groups.walk(batch["watch_time"][part], batch["duration"][part]):
                for name, table in tables.items():
                    table.look_up(cells, out[name][rows])
                self._label_sides(cells, out, own, rows)

        in_parts(len(batch["watch_time"]), self.threads, fill)
        return {name: column.view(np.int8) if column.dtype == np.bool_ else column for name, column in found.items()}

    def _label_sides(
        self, cells: Cells, found: Columns, sides: Mapping[str, tuple[Thresholds, NDArray[np.intp]]], rows: slice
    ) -> None:
        """Fill in what of ev_u, ev_v, lv_u and lv_v is wanted in some rows; sides: thresholds, and each row's place among them."""
        if not sides:
            return
        share, group = np.empty(len(cells.place)), self.groups.group[cells.place // NEAR]
        self._table("share").look_up(cells, share)
        for name, (thresholds, places) in sides.items():
            place = places[rows]
            weight = thresholds.weight[place]
            for k, (view, usual) in enumerate(VIEWS.items()):
                if (label := f"{view}_{SIDES[name]}") in found:
                    own = self.debiased.least[group, thresholds.level[k, place]]
                    np.greater_equal(share, weight * own + (1 - weight) * usual, out=found[label][rows])

    def to_seconds(
        self, p: ArrayLike, duration: ArrayLike, decoder: Decoder = "inverse", debiased: bool = True
    ) -> NDArray[np.float64]:
        """Seconds (N,), never negative, of plays of videos of this duration (N,).

        inverse: of labels p (N,), the fitted quantiles of the duration group, linear between watch times, which is like a median;
        expected: of chances p (N, levels) of the levels, the mean, which has the least squared error. debiased=False: p is about
        wpr, without groups.
        """
        self._fitted()
        given, long = np.asarray(p, dtype=np.float64), np.asarray(duration)
        wanted = (len(long), self.levels) if decoder == "expected" else (len(long),)
        if given.shape != wanted or not np.isfinite(given).all():
            raise UsageError(f"p has shape {given.shape}; decoder {decoder!r} takes finite numbers of shape {wanted}")
        group, ranks = (self.groups.of(long), self.debiased) if debiased else (np.zeros(len(long), dtype=np.int64), self.pooled)
        return ranks.expected(given, group) if decoder == "expected" else ranks.inverse(given, group)

    # Files

    def write(self, path: str | Path, folder: str | Path) -> int:
        """Each Parquet file of `path` again below `folder` with the labels behind its columns, batch by batch; returns the rows."""
        sides = {name: self._thresholds(name) for name in self.sides}
        self.fallbacks, needed = dict.fromkeys(sides, 0), ("watch_time", "duration", *sides)
        return write_labelled(
            Path(path), Path(folder), self.names, lambda batch: self._label(columns_of(batch, needed), self.names, sides)
        )

    def state(self) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Any]]:
        """Counts by table and column, and settings; `restored` is the inverse."""
        tables = {"histogram": self.histogram.sparse(), **{name: part.sparse() for name, part in self.counted.items()}}
        return tables, self.settings

    @classmethod
    def restored(cls, tables: Mapping[str, Mapping[str, NDArray[Any]]], settings: Mapping[str, Any]) -> Self:
        """Equal labels, bit for bit."""
        found = cls(**settings)
        found._cut(WatchHistogram.of(tables["histogram"]), ())
        counts = {name: LevelCounts.of(name, found.levels, tables[name]) for name in found.sides}
        return found.with_sides(SideCounts(found._cuts_hash(), counts))

    def save(self, folder: str | Path) -> None:
        """Write counts (Parquet), settings and the fingerprint (JSON) to `folder`, replacing what was there."""
        tables, settings = self.state()
        save_tables(Path(folder), tables, {"settings": settings, "fingerprint": self.fingerprint, "report": self.report()})

    @classmethod
    def load(cls, folder: str | Path, log: Log | None = None) -> Self:
        """Saved labels. log: the data that they should come from; others are refused, as are damage and a newer format."""
        tables, facts = load_tables(Path(folder))
        found = cls.restored(tables, facts["settings"])
        if log is not None and cls(sides=()).count(log).fingerprint != facts["fingerprint"]:
            raise UsageError(f"the labels in {folder} were fitted on other data than this log; fit them on it")
        return found
