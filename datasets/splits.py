"""The released preprocessing of IFRU, as pure functions: labels, 5-core, random 60/20/20 split by row, ids from train.

It reproduces `_data_process.py` of github.com/baiyimeng/IFRU row for row (same generator, same seed, same order of ids); only
the label of a rating is found before the split instead of after it, which changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.task import Interactions

SEED = 1024
PARTS = (60, 20, 20)


def binarise(ratings: pd.DataFrame, above: float) -> pd.DataFrame:
    """(user_id, item_id, label): label is float32 1 where rating > above, else 0. Rows keep their order."""
    label = (ratings["rating"].to_numpy() > above).astype(np.float32)
    return ratings[["user_id", "item_id"]].assign(label=label)


def k_core(rows: pd.DataFrame, k: int = 5) -> pd.DataFrame:
    """The largest subset in which every user and every item has at least `k` rows: users, then items, to a fixpoint."""
    user, _ = pd.factorize(rows["user_id"])
    item, _ = pd.factorize(rows["item_id"])
    kept = np.arange(len(rows))
    while True:
        before = len(kept)
        for side in (user, item):
            degree = np.bincount(side[kept], minlength=1)
            kept = kept[degree[side[kept]] >= k]
        if len(kept) == before:
            return rows.iloc[kept]


def shuffle_split(rows: int, seed: int = SEED, parts: tuple[int, int, int] = PARTS) -> tuple[NDArray[np.int64], ...]:
    """Row numbers of train, valid and test: one shuffle of all rows, cut at the percentages `parts`."""
    order = np.arange(rows)
    np.random.RandomState(seed).shuffle(order)  # the legacy generator, because the released split was drawn by it
    first, second = int(rows * (parts[0] / 100)), int(rows * ((parts[0] + parts[1]) / 100))
    return order[:first], order[first:second], order[second:]


@dataclass(frozen=True)
class Parts:
    """Train, valid and test in one numbering of users and items, and how many rows of valid and test it cannot name."""

    train: Interactions
    valid: Interactions
    test: Interactions
    dropped_valid: int
    dropped_test: int


def reindex_from_train(train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame) -> Parts:
    """Number users and items by first appearance in train; rows of valid and test with an unseen one are dropped and counted."""
    users = pd.Index(train["user_id"].unique())
    items = pd.Index(train["item_id"].unique())

    def encode(rows: pd.DataFrame) -> Interactions:
        user = users.get_indexer(pd.Index(rows["user_id"])).astype(np.int64)
        item = items.get_indexer(pd.Index(rows["item_id"])).astype(np.int64)
        known = (user >= 0) & (item >= 0)
        label = rows["label"].to_numpy(dtype=np.float32)
        return Interactions(user[known], item[known], label[known], len(users), len(items))

    coded = [encode(rows) for rows in (train, valid, test)]
    return Parts(*coded, dropped_valid=len(valid) - len(coded[1]), dropped_test=len(test) - len(coded[2]))
