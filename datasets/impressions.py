"""Short-video logs: one row an impression, with what was shown, for how long it was watched, and what else the user did.

A dataset's table `impressions` has, in this order, those of these columns that its log has:

    user_id, item_id  int64
    time              int64    Unix time in milliseconds
    date              int32    the local day as YYYYMMDD, or the number of a day where a log has no calendar
    watch_time        float32  seconds, 0 or more; may exceed the duration (repeat plays)
    duration          float32  seconds, above 0
    click, long_view, like, follow, comment, forward, profile_enter, hate   int8, 0 or 1
    tab               int8     the scene of the app
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from .csv_columns import CODE, FLAG, WHOLE, Rule, blocks
from .hashing import hash_columns
from .ratings_file import REPAIR

FEEDBACK = ("click", "long_view", "like", "follow", "comment", "forward", "profile_enter", "hate")
REQUIRED = ("user_id", "item_id", "date", "watch_time", "duration")
TYPES: Mapping[str, Any] = {
    "user_id": np.int64,
    "item_id": np.int64,
    "time": np.int64,
    "date": np.int32,
    "watch_time": np.float32,
    "duration": np.float32,
    **dict.fromkeys(FEEDBACK, np.int8),
    "tab": np.int8,
}
OWN_RULES: Mapping[str | None, Rule] = {
    "time": replace(WHOLE, wanted="a Unix time", high=1e15),
    "date": replace(WHOLE, wanted="a day as YYYYMMDD, or its number", high=99_999_999),
    "tab": replace(WHOLE, wanted="a scene from 0 to 127", high=127),
}
SECONDS = (1, 1000)  # between these lies the median duration of any log of short videos
RATIO = (1 / 200, 10)  # and between these the median watch time (where there is any), in median durations
EARLIEST = 100_000_000_000  # a Unix time in milliseconds above it is later than 1973; in seconds, it is later than the year 5000


@dataclass(frozen=True)
class LogLayout:
    """How an impression log is written.

    columns: for each of the file's columns its name here, or None where it only tells duplicates apart; rules: what may stand in
    a column, where that is not a whole number (or 0 and 1 for feedback); units: how many of the file's units make one of ours
    (seconds; for `time` milliseconds), 1 where not given.
    """

    columns: Mapping[str, str | None]
    rules: Mapping[str, Rule]
    units: Mapping[str, float]

    def rule(self, column: str) -> Rule:
        """Of one of the file's columns."""
        ours = self.columns[column]
        return self.rules.get(column, FLAG if ours in FEEDBACK else OWN_RULES.get(ours, WHOLE))


@dataclass(frozen=True)
class Log:
    """A log as it was read: the table, how many rows the files held, and what was done beyond parsing."""

    table: pd.DataFrame
    lines: int
    notes: tuple[str, ...]


def read_log(paths: Sequence[Path], layout: LogLayout) -> Log:
    """One table from one or several files of the same layout; exact duplicates and rows without a time are dropped and counted.

    The files are streamed: memory is the table's (about 45 bytes a row), 30 bytes a row to tell duplicates, and 0.4 GB for blocks.
    Rows count as duplicates when all columns of the layout agree; they are told by a 64-bit hash, which for 3e8 rows errs with a
    probability below one in two hundred.
    Raises UsageError with file, line and column for anything that the layout does not allow.
    """
    rules = {column: layout.rule(column) for column in layout.columns}
    wanted = {ours: column for column, ours in layout.columns.items() if ours is not None}
    parts: dict[str, list[NDArray[Any]]] = {ours: [] for ours in wanted}
    hashes: list[NDArray[np.uint64]] = []
    timed: list[NDArray[np.bool_]] = []
    for path in paths:
        for block in blocks(path, rules):
            hashes.append(hash_columns(*(block[column] for column in layout.columns)))
            for ours, column in wanted.items():
                parts[ours].append(_compact(ours, block[column], layout.units.get(column, 1)))
            gaps = [np.isnan(block[column]) for column, rule in rules.items() if rule.gaps]
            timed.append(~np.any(gaps, axis=0) if gaps else np.ones(len(hashes[-1]), dtype=np.bool_))
    if not sum(map(len, hashes)):
        raise UsageError(f"{paths[0]} holds no impressions; {REPAIR}")
    repeated = pd.Series(np.concatenate(hashes)).duplicated().to_numpy()
    known = np.concatenate(timed)
    keep = known & ~repeated
    columns = {ours: np.concatenate(parts.pop(ours))[keep] for ours in TYPES if ours in wanted}
    counts = {"exact duplicates of another row": repeated, "rows without a time": ~known & ~repeated}
    notes = [f"dropped {int(dropped.sum())} {what}" for what, dropped in counts.items() if dropped.any()]
    return Log(pd.DataFrame(columns, copy=False), len(keep), tuple(notes))


def _compact(name: str, values: NDArray[Any], units: float) -> NDArray[Any]:
    """A block's column in our units and type."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)  # rows with a gap are dropped later
    if units != 1:
        values = values / units
    return (np.rint(values) if name == "time" else values).astype(TYPES[name])


def finished(log: Log, unknown: str) -> Log:
    """The log with rows of unknown duration dropped and units told by their medians; `unknown` names what marks those rows.

    A file that gives seconds where its format has milliseconds, or the reverse, is converted, and the note says so. The given log
    is used up, so that no second table is held.
    """
    table, notes = log.table, list(log.notes)
    zero = table["duration"].to_numpy() <= 0
    if zero.all():
        raise UsageError(f"no impression has a known duration ({unknown} on all of them); {REPAIR}")
    if zero.any():
        notes.append(f"dropped {int(zero.sum())} rows of unknown duration ({unknown})")
        table = pd.DataFrame({name: table.pop(name).to_numpy()[~zero] for name in list(table.columns)}, copy=False)
    duration, said = _rescaled("duration", table["duration"].to_numpy(), SECONDS)
    notes += said
    usual = float(np.median(duration))
    watch, said = _rescaled("watch_time", table["watch_time"].to_numpy(), (usual * RATIO[0], usual * RATIO[1]))
    notes += said
    table = table.assign(duration=duration, watch_time=watch)
    if "time" in table and (middle := float(table["time"].median())) < EARLIEST:
        notes.append(f"the median time is {middle:.0f}, so times are seconds: multiplied by 1000")
        table = table.assign(time=table["time"] * 1000)
    return Log(table, log.lines, tuple(notes))


def _rescaled(name: str, values: NDArray[Any], usual: tuple[float, float]) -> tuple[NDArray[Any], list[str]]:
    """Seconds, and what was said where the median of the positive values tells that they were given in another unit."""
    positive = values[values > 0]
    middle = float(np.median(positive)) if len(positive) else usual[0]
    if usual[0] <= middle <= usual[1]:
        return values, []
    told = f"the median {name} would be {middle:g} s"
    factor, said = (1e-3, "milliseconds: divided by 1000") if middle > usual[1] else (1e3, "seconds already: taken as such")
    seconds = np.round(values.astype(np.float64) * factor, 3).astype(np.float32)  # whole thousandths, so that 7 s stay 7 s
    return seconds, [f"{told}, so the file gives {said}"]


def validate(table: pd.DataFrame, where: str) -> None:
    """Raises UsageError, naming column and row, when a table of impressions is not as this module says."""
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UsageError(f"{where} has no column {missing[0]!r}; impressions need {', '.join(REQUIRED)}")
    if table.empty:
        raise UsageError(f"{where} is empty; give at least one impression")
    limits = {name: (0.0, 1.0) for name in FEEDBACK if name in table} | {"watch_time": (0.0, np.inf)}
    limits["duration"] = (float(np.finfo(np.float32).tiny), np.inf)
    for name, (low, high) in limits.items():
        values = table[name].to_numpy()
        wrong = ~((values >= low) & (values <= high) & np.isfinite(values))
        if wrong.any():
            row = int(np.argmax(wrong))
            allowed = "0 or 1" if high == 1 else "seconds above 0" if low > 0 else "seconds, 0 or more"
            raise UsageError(f"{where}, row {row}, column {name}: {values[row]:g} is not {allowed}; correct or drop the row")
    middle = float(table["duration"].median())
    if middle > SECONDS[1]:
        raise UsageError(f"{where}: the median duration is {middle:g} s, which looks like milliseconds; divide times by 1000")


def read_features(path: Path, key: str, ours: str, columns: Mapping[str, Rule]) -> pd.DataFrame:
    """A table of features: `ours` (int64, from the file's column `key`), then `columns`: CODE as int64 (a gap: -1), TEXT as text.

    Raises UsageError with file, line and column, and for a repeated key.
    """
    rules = {key: WHOLE, **columns}
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in rules}
    for block in blocks(path, rules):
        for name, rule in rules.items():
            values = np.nan_to_num(block[name], nan=-1).astype(np.int64) if rule is CODE else block[name]
            parts[name].append(values)
    if not sum(map(len, parts[key])):
        raise UsageError(f"{path} holds no line but its first; {REPAIR}")
    table = pd.DataFrame({ours if name == key else name: np.concatenate(found) for name, found in parts.items()})
    repeated = table[ours].duplicated()
    if repeated.any():
        raise UsageError(f"{path}: {key} {table[ours][repeated].iloc[0]} stands on two lines; {REPAIR}")
    return table
