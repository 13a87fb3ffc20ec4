"""From a short-video log to the tables of a feed: what each user was shown, to be ranked, with what the user had played before.

    folder/...                                as `multitask.py` writes it, with ids and rates from train alone and meta marked
    folder/histories/items.parquet            each user's plays in order of time, behind as many zeros as a history is long
    folder/histories/<part>.parquet           end: where the history of each row of train (and meta), valid, test, <fresh> ends

A history holds the last 50 videos that the user was shown before the row: their encoded ids, whatever part they are from, as what
was shown is known at that time, and nothing of how the user took them. Equal times (or days, in a log without times) are in the
log's order. Videos unseen in train are left out. For rows that no log holds, the log is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.task import Feed, View, Watched
from . import multitask, watch_time
from .dataset import Dataset
from .manifest import Folder, write_folder
from .multitask import Hidden, Labels, MultiTaskTables
from .multitask_rule import PARTS, VIEWS, rule_of

HISTORY = 50
K = 10
SHORT: Mapping[str, int] = {"kuairand-pure-slice": 3}  # logs of few rows a user
HISTORIES, REPAIR = "histories", "delete the folder and prepare the task again"
SHARES = (10, 25, 50, 75, 90)  # percent: quantiles of the catalogue's durations


@dataclass(frozen=True)
class Histories:
    """items: int32, one sequence per user: HISTORY zeros, then the ids of the user's plays; end: int64 (N,) by part, the place in
    `items` behind the last play of each row's history. There, a play of a known video stands itself."""

    items: NDArray[np.int32]
    end: Mapping[str, NDArray[np.int64]]

    def of(self, part: str, rows: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
        """(N, HISTORY), the latest last and 0 for none, of all rows of a part or of those of a mask."""
        end = self.end[part] if rows is None else self.end[part][rows]
        return sliding_window_view(self.items, HISTORY)[end - HISTORY]


@dataclass(frozen=True)
class FeedTables:
    """A feed's tables, and what was played before each row; k: the length of a list."""

    tables: MultiTaskTables
    histories: Histories
    k: int


def list_length(dataset: str) -> int:
    """The k that a dataset of this name is given."""
    return SHORT.get(dataset, K)


def prepare(dataset: Dataset, k: int | None = None, fresh: Mapping[str, pd.DataFrame] | None = None) -> FeedTables:
    """The feed of a log, by the rule of its multi-task task but with ids and rates from train alone; a random log is left out.

    k: None for the dataset's own; fresh: as `multitask.prepare` takes it. Raises UsageError as that does, where the log has no
    explicit feedback, and where nobody has 2k rows in one of the parts behind train.
    """
    k = list_length(dataset.name) if k is None else k
    rule = replace(rule_of(dataset), meta_joins=False)
    if set(rule.tasks) <= set(VIEWS):
        raise UsageError(f"dataset {dataset.name!r} holds no explicit feedback, which a feed is judged by; take a log with likes")
    logged = {name: table for name, table in dataset.tables.items() if name != watch_time.RANDOM}
    tables = watch_time.prepare(replace(dataset, tables=logged), rule=rule, fresh=fresh)
    facts = {**tables.facts, **_facts(dataset, tables, k)}
    if lacking := [part for part in PARTS[1:] if not facts[f"users_{part}"]]:
        raise UsageError(
            f"nobody has {2 * k} rows in {lacking[0]} of dataset {dataset.name!r}; take a longer log, or a k below {k}"
        )
    tables = replace(tables, name=f"{dataset.name}/feed", facts=facts)
    return FeedTables(tables, _histories(dataset, tables), k)


def write(feed: FeedTables, folder: Path) -> str:
    """Write everything to `folder`, and return the fingerprint of it all, k included."""
    frames = {"items": pd.DataFrame({"item": feed.histories.items})}
    frames |= {part: pd.DataFrame({"end": end}) for part, end in feed.histories.end.items()}
    both = multitask.write(feed.tables, folder), write_folder(folder / HISTORIES, frames, {"history": HISTORY})
    return hashlib.sha256(" ".join([*both, str(feed.k)]).encode()).hexdigest()


def read_open(folder: Path) -> FeedTables:
    """Everything but test's labels and watch times, without touching the hidden part; fresh rows are left to `fresh_view`."""
    tables = multitask.read_open(folder)
    return FeedTables(tables, _read_histories(folder), tables.facts["k"])


def _read_histories(folder: Path) -> Histories:
    if not Folder.exists(folder / HISTORIES):
        raise UsageError(f"{folder} holds no histories of a feed; {REPAIR}")
    opened = Folder(folder / HISTORIES, REPAIR)
    end = {part: opened.table(part)["end"].to_numpy() for part in opened.tables if part != "items"}
    return Histories(opened.table("items")["item"].to_numpy(), end)


def task_of(feed: FeedTables) -> Feed:
    """What a runner is given."""
    tables, meta = feed.tables, feed.tables.meta
    train, learned, valid = _watched(feed, "train", ~meta), _watched(feed, "train", meta), _watched(feed, "valid")
    known = _item_fields(tables, train)
    return Feed(tables.name, train, learned, valid, tables.fields, tables.dense, known, feed.k)


def _watched(feed: FeedTables, part: str, rows: NDArray[np.bool_] | None = None) -> Watched:
    """A part's rows, or those of a mask."""
    tables, shown = feed.tables, feed.tables.shown[part]
    given = tables.train if part == "train" else tables.valid
    assert shown.watch_time is not None  # it is hidden for test alone
    label = {name: given.label[name] for name in feedback(tables)}
    whole = Watched(given.inputs, label, shown.watch_time, shown.duration)
    kept = whole if rows is None else whole[rows]
    return replace(kept, inputs={**kept.inputs, "history": feed.histories.of(part, rows)})


def _item_fields(tables: MultiTaskTables, train: Watched) -> dict[str, NDArray[np.int64]]:
    """What is known of each encoded item, as in its first row of train; 0 for id 0."""
    item = train.inputs["item_id"]
    found: dict[str, NDArray[np.int64]] = {}
    for name in tables.fields:
        if name == "duration_bucket" or (name.startswith("item_") and name != "item_id"):
            found[name] = np.zeros(tables.fields["item_id"], dtype=np.int64)
            found[name][item[::-1]] = train.inputs[name][::-1]  # of equal places the last assignment stays
    return found


def view_of(feed: FeedTables, part: str) -> View:
    """The rows of a part (valid, test): the inputs with `history`, `user` to group by, and `seconds_long`, the exact duration."""
    view = watch_time.view_of(feed.tables, part)
    return View(part, {**view.columns, "history": feed.histories.of(part)})


def fresh_view(folder: Path, name: str) -> View:
    """Rows of no log, likewise."""
    view = watch_time.fresh_view(multitask.read_fresh(folder, name), name)
    return View(name, {**view.columns, "history": _read_histories(folder).of(name)})


def feedback(tables: MultiTaskTables) -> tuple[str, ...]:
    """The labels that are explicit feedback."""
    return tuple(task for task in tables.tasks if task not in VIEWS)


def explicit(tables: MultiTaskTables, label: Labels) -> NDArray[np.bool_]:
    """(N,) whether a row has any explicit feedback, of a part's labels."""
    return np.any([label[name] > 0 for name in feedback(tables)], axis=0)


def _histories(dataset: Dataset, tables: MultiTaskTables) -> Histories:
    """One sort of the log by user and time; the known plays up to each row, and HISTORY zeros per user, tell where it stands."""
    log = dataset.impressions
    inputs = {"train": tables.train.inputs, "valid": tables.valid.inputs, "test": tables.test}
    row = np.concatenate([tables.shown[part].row for part in inputs])
    item = np.concatenate([columns["item_id"] for columns in inputs.values()])
    user, time = (log[name].to_numpy()[row] for name in ("user_id", "time" if "time" in log else "date"))
    users, index, rows = np.unique(user, return_inverse=True, return_counts=True)
    order = np.lexsort((row, time, index))
    known = np.cumsum(item[order] > 0)
    end = np.empty(len(row), dtype=np.int64)
    end[order] = HISTORY * (index[order] + 1) + known - (item[order] > 0)
    items = np.zeros(HISTORY * len(users) + known[-1], dtype=np.int32)
    items[end[item > 0]] = item[item > 0]
    borders = np.cumsum([len(tables.shown[part].row) for part in inputs])[:-1]
    ends = dict(zip(inputs, np.split(end, borders), strict=True))
    last = HISTORY * (np.arange(len(users)) + 1) + known[np.cumsum(rows) - 1]
    for name, fresh in tables.fresh.items():
        place = np.minimum(np.searchsorted(users, fresh.user), len(users) - 1)
        ends[name] = np.where(users[place] == fresh.user, last[place], HISTORY)
    return Histories(items, ends)


def _facts(dataset: Dataset, tables: MultiTaskTables, k: int) -> dict[str, Any]:
    """k; of each part, its users with 2k rows and which share of them gave any explicit feedback; quantiles of the durations of the
    scene's videos, in seconds; and what `watch_time.py` counts of train, of train without meta."""
    hidden = _hidden(tables)
    parts = {
        "train": (tables.shown["train"].user[~tables.meta], explicit(tables, tables.train.label)[~tables.meta]),
        "meta": (tables.shown["train"].user[tables.meta], explicit(tables, tables.train.label)[tables.meta]),
        "valid": (tables.shown["valid"].user, explicit(tables, tables.valid.label)),
        "test": (tables.shown["test"].user, explicit(tables, hidden.label)),
    }
    found: dict[str, Any] = {"k": k}
    for part, (user, gave) in parts.items():
        _, index, rows = np.unique(user, return_inverse=True, return_counts=True)
        enough, any_feedback = rows >= 2 * k, np.bincount(index, weights=gave) > 0
        found[f"users_{part}"] = int(enough.sum())
        found[f"explicit_users_{part}"] = float(any_feedback[enough].mean()) if enough.any() else 0.0
    shown = tables.shown["train"]
    history = np.unique(shown.user[~tables.meta], return_counts=True)[1]
    assert shown.watch_time is not None  # it is hidden for test alone
    found |= {"history_mean": float(history.mean()), "history_max": int(history.max())}
    found["median_watch_time"] = watch_time.lower_quantile(shown.watch_time[~tables.meta], 0.5)
    row = np.concatenate([each.row for each in tables.shown.values()])
    catalogue = dataset.impressions.iloc[np.sort(row)].drop_duplicates("item_id")["duration"].to_numpy()
    return found | {f"duration_{share}": float(np.quantile(catalogue, share / 100)) for share in SHARES}


def _hidden(tables: MultiTaskTables) -> Hidden:
    assert tables.hidden is not None  # they were just made
    return tables.hidden
