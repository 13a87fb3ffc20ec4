"""From what users took, in its order, to the tables of a next-item task.

    folder/open/titles.parquet          title, by item id 1, 2, ...
    folder/open/train.parquet           user, target, h0 ... (the history, the latest last); valid likewise, test without target
    folder/hidden/test.parquet          target
    folder/facts.json                   counts; "Facts" below

Every item of a user but the first gives one row: what is taken next, behind the last `history` items before it. Who took what when
makes the parts:

    time             all rows in order of (time of the target, item, user); the first 80 % train, the next 10 % valid, the rest test
    leave_one_out    a user's last item is test, the one before valid, the rest train; users of fewer than 3 items are all train

Within a user equal times are in the order of items. In a dataset of ratings every rating counts as taken. Items of equal titles are
one item, what has no title is left out, and an item that nobody took is none. Of valid and test a fixed sample is kept, with as
many users as there are rows for.

Facts: users, items, interactions; merged_titles, items that another one of the same title stands for; untitled, interactions left
out; train, valid, test, rows before sampling; title_words and history_mean (of test), means; and of all rows of test the shares
unseen_users (without a row in train), unseen_items (never a target in train) and, by time, tied (at the time of the item before).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.task import NextItem, Sequences
from .dataset import Dataset
from .manifest import Folder, write_folder
from .titles import even

Ints = NDArray[np.int64]
Protocol = Literal["time", "leave_one_out"]

PARTS = ("train", "valid", "test")
CUTS = (0.8, 0.9)  # by time
VALID_ROWS = 2_000  # to choose by, at least, where there are as many
SEED = 1024
REPAIR = "delete the folder and prepare the task again"
CATEGORIES: Mapping[str, str] = {
    "ml-100k": "movie",
    "amazon-games": "video game",
    "amazon-office": "office product",
    "amazon-2018-cds": "CD",
    "amazon-2018-games": "video game",
    "amazon-2018-toys": "toy",
    "amazon-2018-sports": "sports product",
    "amazon-2018-books": "book",
}


@dataclass(frozen=True)
class NextItemTables:
    """Three parts in one numbering of users (0, 1, ...) and items (1, 2, ...); titles: by item id, "" for 0.

    In `test` every target is 0 where it was read without its hidden part.
    """

    name: str
    category: str
    titles: tuple[str, ...]
    train: Sequences
    valid: Sequences
    test: Sequences
    facts: Mapping[str, float]

    def task(self) -> NextItem:
        """What a runner is given."""
        return NextItem(self.name, self.train, self.valid, self.titles, self.category)


def prepare(
    dataset: Dataset, protocol: Protocol = "leave_one_out", history: int = 10, test_rows: int = 200, users: int | None = None
) -> NextItemTables:
    """The next-item tables of a dataset of ratings with times, or of sequences; both with titles.

    test_rows: of test and of the view "valid" that are kept; users: take a seeded part of them (None: all). Raises UsageError where
    the dataset has no titles, no times (for ratings, and for the protocol "time"), fewer users, or nothing for one of the parts.
    """
    if history < 1 or test_rows < 1:
        raise UsageError(f"a history of {history} items and {test_rows} rows of test are too few; give 1 or more of each")
    title_of = _numbered(dataset.titles)
    taken = _taken(dataset, protocol)
    if users is not None:
        taken = _some_users(dataset.name, taken, users)
    taken, untitled = _titled(taken, title_of)
    kept, editions = np.unique(taken["item"].to_numpy()), int(taken["item_id"].nunique())
    taken = taken.assign(user=pd.factorize(taken["user"], sort=True)[0], item=1 + np.searchsorted(kept, taken["item"]))
    rows, found = _rows(taken, history)
    part = _by_time(rows) if protocol == "time" else _leave_one_out(rows)
    if lacking := [name for place, name in enumerate(PARTS) if not (part == place).any()]:
        raise UsageError(f"dataset {dataset.name!r} has no row for {lacking[0]} by {protocol}; take one of longer sequences")
    titles = title_of.drop_duplicates("item").set_index("item")["title"].loc[kept].tolist()
    facts = {
        "users": int(taken["user"].nunique()),
        "items": len(kept),
        "interactions": len(taken),
        "merged_titles": editions - len(kept),
        "untitled": untitled,
        "title_words": float(np.mean([len(title.split()) for title in titles])),
        **_facts(rows, part, found),
    }
    sizes = {"valid": max(test_rows, VALID_ROWS), "test": test_rows}
    parts = {name: found[_chosen(rows, part == place, sizes.get(name), place)] for place, name in enumerate(PARTS)}
    name = f"{dataset.name}/{protocol.replace('_', '-')}"
    return NextItemTables(name, CATEGORIES.get(dataset.name, "item"), ("", *titles), **parts, facts=facts)


def _numbered(titles: pd.DataFrame) -> pd.DataFrame:
    """item_id, title and item of those with a title; items of equal titles have the same number, in the order of the first."""
    frame = titles.assign(title=[even(title) for title in titles["title"]])
    frame = frame[frame["title"] != ""].sort_values("item_id", ignore_index=True)
    return frame.assign(item=pd.factorize(frame["title"])[0])


def _taken(dataset: Dataset, protocol: Protocol) -> pd.DataFrame:
    """user, item_id and, where it is known, time; by user, then oldest first."""
    main = dataset.tables[dataset.main]
    if "timestamp" not in main and (protocol == "time" or dataset.main == "ratings"):
        raise UsageError(f"dataset {dataset.name!r} has no times to tell what came first; take leave_one_out, or another dataset")
    order = ["user_id", "timestamp", "item_id"] if dataset.main == "ratings" else ["user_id", "position"]
    frame = main.sort_values(order, ignore_index=True)
    times = {"time": frame["timestamp"]} if "timestamp" in main else {}
    return pd.DataFrame({"user": frame["user_id"], "item_id": frame["item_id"], **times})


def _some_users(name: str, taken: pd.DataFrame, users: int) -> pd.DataFrame:
    everybody = taken["user"].unique()
    if not 1 < users <= len(everybody):
        raise UsageError(f"dataset {name!r} has {len(everybody)} users, of which {users} cannot be taken; give 2 to that many")
    chosen = np.random.default_rng([SEED, 3]).permutation(len(everybody))[:users]
    return taken[taken["user"].isin(everybody[chosen])]


def _titled(taken: pd.DataFrame, title_of: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """What has a title, with the number of it as `item`; and how much has none."""
    place = pd.Index(title_of["item_id"]).get_indexer(pd.Index(taken["item_id"]))
    known = place >= 0
    item = title_of["item"].to_numpy()[place[known]]
    return taken[known].assign(item=item).reset_index(drop=True), int((~known).sum())


def _rows(taken: pd.DataFrame, history: int) -> tuple[pd.DataFrame, Sequences]:
    """Of each user's items but the first: user, position, how many items the user has, time and whether it ties with the item
    before; and the rows themselves, in the same order."""
    user, item = taken["user"].to_numpy().astype(np.int64), taken["item"].to_numpy().astype(np.int64)
    count = np.bincount(user)
    position = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    place = np.arange(len(user)) + history * (user + 1)  # of each item behind its user's zeros
    flat = np.zeros(len(user) + history * len(count), dtype=np.int64)
    flat[place] = item
    later = position > 0
    before = sliding_window_view(flat, history)[place[later] - history] if later.any() else np.zeros((0, history), np.int64)
    rows = pd.DataFrame({"user": user, "item": item, "position": position, "length": count[user]})
    if "time" in taken:
        rows = rows.assign(time=taken["time"], tied=taken["time"].diff() == 0)
    return rows[later].reset_index(drop=True), Sequences(user[later], before, item[later])


def _by_time(rows: pd.DataFrame) -> Ints:
    """The part (0, 1, 2) of each row."""
    order = np.lexsort((rows["user"], rows["item"], rows["time"]))
    part = np.empty(len(rows), dtype=np.int64)
    part[order] = np.searchsorted([int(cut * len(rows)) for cut in CUTS], np.arange(len(rows)), side="right")
    return part


def _leave_one_out(rows: pd.DataFrame) -> Ints:
    """The part (0, 1, 2) of each row."""
    left = (rows["length"] - rows["position"]).to_numpy()
    return np.where(rows["length"].to_numpy() < 3, 0, np.maximum(3 - left, 0))


def _chosen(rows: pd.DataFrame, mask: NDArray[np.bool_], most: int | None, stream: int) -> Ints:
    """Row numbers of a part: all of them (None), or so many in random order, first one of each user, then a second one, ..."""
    found = np.flatnonzero(mask)
    if most is None:
        return found
    found = np.random.default_rng([SEED, stream]).permutation(found)
    nth = rows["user"].iloc[found].groupby(rows["user"].iloc[found]).cumcount().to_numpy()
    return found[np.argsort(nth, kind="stable")][:most]


def _facts(rows: pd.DataFrame, part: Ints, found: Sequences) -> dict[str, float]:
    train, test = found[part == 0], found[part == 2]
    shares = {
        "history_mean": float((test.history > 0).sum(axis=1).mean()),
        "unseen_users": float((~np.isin(test.user, train.user)).mean()),
        "unseen_items": float((~np.isin(test.target, train.target)).mean()),
    }
    if "tied" in rows:
        shares["tied"] = float(rows["tied"].to_numpy()[part == 2].mean())
    return {**{name: int((part == place).sum()) for place, name in enumerate(PARTS)}, **shares}


# The folder


def write(tables: NextItemTables, folder: Path) -> str:
    """Write both parts to `folder`, the manifest last, and return the fingerprint."""
    frames = {f"open/{name}": _frame(getattr(tables, name)) for name in PARTS}
    frames["hidden/test"] = frames["open/test"][["target"]]
    if not frames["hidden/test"]["target"].all():
        raise UsageError(f"{tables.name} was read without its hidden part and cannot be written again; prepare it anew")
    frames["open/test"] = frames["open/test"].drop(columns="target")
    frames["open/titles"] = pd.DataFrame({"title": tables.titles[1:]})
    return write_folder(folder, frames, {**tables.facts, "name": tables.name, "category": tables.category})


def _frame(rows: Sequences) -> pd.DataFrame:
    history = {f"h{place}": column for place, column in enumerate(rows.history.T.astype(np.int32))}
    return pd.DataFrame({"user": rows.user, "target": rows.target, **history})


def read_open(folder: Path) -> NextItemTables:
    """Everything but the targets of test, which are 0, without touching the hidden part."""
    opened = _opened(folder)
    facts = opened.facts()
    name, category = facts.pop("name"), facts.pop("category")
    parts = {part: _sequences(opened.table(f"open/{part}")) for part in PARTS}
    return NextItemTables(name, category, ("", *opened.table("open/titles")["title"]), **parts, facts=facts)


def read_hidden(folder: Path) -> Ints:
    """The targets of the rows of test, in their order."""
    return _opened(folder).table("hidden/test")["target"].to_numpy()


def _sequences(frame: pd.DataFrame) -> Sequences:
    history = frame[[name for name in frame.columns if name.startswith("h")]].to_numpy().astype(np.int64)
    target = frame["target"].to_numpy() if "target" in frame else np.zeros(len(frame), dtype=np.int64)
    return Sequences(frame["user"].to_numpy(), history, target)


def _opened(folder: Path) -> Folder:
    if not Folder.exists(folder):
        raise UsageError(f"{folder} holds no prepared task (no manifest); prepare it again")
    return Folder(folder, REPAIR)
