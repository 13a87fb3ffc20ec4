"""From a dataset and a removal request to the tables of one unlearning task, in two parts: open, and hidden.

    folder/open/train.parquet         user, item, label (corrupted ones included), step (0 stays, k leaves with request k)
    folder/open/valid.parquet         user, item, label
    folder/open/test_pairs.parquet    user, item
    folder/open/never_seen.parquet    user, item: pairs of no split, for membership inference
    folder/hidden/test_labels.parquet label of each test pair
    folder/facts.json, manifest.json  counts for the table of data sets; hashes

Whoever reads the open part touches no byte of the hidden one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.seeds import derive
from ..core.task import Interactions, UnlearningTask, View
from . import splits
from .dataset import Dataset
from .manifest import Folder, fingerprint, write_folder
from .requests import RequestSpec

HIDDEN = "hidden/test_labels"


@dataclass(frozen=True)
class Pairs:
    """(user, item) pairs without a label; int64 (M,) each."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def view(self, name: str) -> View:
        """What a runner's fitted model is asked to score."""
        return View(name, {"user": self.user, "item": self.item})


@dataclass(frozen=True)
class UnlearningTables:
    """One unlearning task's tables.

    train: all rows, corrupted labels included; step: int16 (N,), 0 stays, k leaves with the k-th request; test: pairs, their
    labels in `test_label` (None where only the open part was read); facts: counts for the table of data sets;
    fingerprint: of the content of all tables, hidden ones included.
    """

    name: str
    train: Interactions
    step: NDArray[np.int16]
    valid: Interactions
    test: Pairs
    never_seen: Pairs
    test_label: NDArray[np.float32] | None
    facts: dict[str, Any]
    fingerprint: str

    @property
    def removed(self) -> NDArray[np.bool_]:
        """The rows to forget, all requests together; bool (N,)."""
        return self.step > 0

    def task(self, backbone: str) -> UnlearningTask:
        """What a runner is given."""
        return UnlearningTask(self.name, self.train, self.removed, self.valid, backbone, self.step)


def prepare(dataset: Dataset, request: RequestSpec, split: int = 0, *, k: int = 5) -> UnlearningTables:
    """Labels, k-core, split, request: the released protocol. Split 0 is the released seed, 1, 2, ... are further ones.

    Raises UsageError when too little is left to learn from.
    """
    core = splits.k_core(splits.binarise(dataset.ratings, dataset.positive_above), k)
    users, items = core["user_id"].nunique(), core["item_id"].nunique()
    if min(users, items) < 2:
        left = f"{users} users and {items} items with at least {k} ratings each"
        raise UsageError(f"dataset {dataset.name!r} leaves {left}; unlearning needs two of both: take a larger dataset")
    train_rows, valid_rows, test_rows = splits.shuffle_split(len(core), splits.SEED + split)
    parts = splits.reindex_from_train(core.iloc[train_rows], core.iloc[valid_rows], core.iloc[test_rows])
    removal = request.apply(parts.train, np.random.default_rng(derive("request", split)))
    train = Interactions(parts.train.user, parts.train.item, removal.label, parts.train.users, parts.train.items)
    test, test_label = Pairs(parts.test.user, parts.test.item), parts.test.label
    removed = int(np.count_nonzero(removal.step))
    never_seen = _never_seen(parts, removed, np.random.default_rng(derive("never seen", split)))
    facts = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "scope": dataset.provenance.scope,
        "rule": f"label 1 where rating > {dataset.positive_above:g}; {k}-core; {'/'.join(map(str, splits.PARTS))} by row",
        "request": request.name,
        "split": split,
        "seed": splits.SEED + split,
        "ratings": len(dataset.ratings),
        "users": users,
        "items": items,
        "interactions": len(core),
        "density": len(core) / (users * items),
        "positives": int(core["label"].sum()),
        "train": len(train),
        "valid": len(parts.valid),
        "test": len(test),
        "train_users": train.users,
        "train_items": train.items,
        "dropped_valid": parts.dropped_valid,
        "dropped_test": parts.dropped_test,
        "removed": removed,
        "requests": int(removal.step.max()),
        "never_seen": len(never_seen),
    }
    tables = _frames(train, removal.step, parts.valid, test, never_seen, test_label)
    name = f"{dataset.name}/{request.name}/split-{split}"
    return UnlearningTables(name, train, removal.step, parts.valid, test, never_seen, test_label, facts, fingerprint(tables))


def _never_seen(parts: splits.Parts, count: int, rng: np.random.Generator) -> Pairs:
    """`count` distinct pairs that occur in no split (fewer where hardly any pair is free).

    User and item are drawn as often as they occur in train: pairs drawn evenly would differ from rows by popularity alone.
    """
    items = parts.train.items
    seen = np.unique(np.concatenate([part.user * items + part.item for part in (parts.train, parts.valid, parts.test)]))
    found = np.empty(0, dtype=np.int64)
    for _ in range(100):
        if len(found) >= count:
            break
        drawn = rng.choice(parts.train.user, size=2 * count) * items + rng.choice(parts.train.item, size=2 * count)
        found = np.concatenate([found, drawn[~np.isin(drawn, seen)]])
        _, first = np.unique(found, return_index=True)
        found = found[np.sort(first)]
    return Pairs(found[:count] // items, found[:count] % items)


def _frames(
    train: Interactions,
    step: NDArray[np.int16],
    valid: Interactions,
    test: Pairs,
    never_seen: Pairs,
    test_label: NDArray[np.float32],
) -> dict[str, pd.DataFrame]:
    return {
        "open/train": pd.DataFrame({"user": train.user, "item": train.item, "label": train.label, "step": step}),
        "open/valid": pd.DataFrame({"user": valid.user, "item": valid.item, "label": valid.label}),
        "open/test_pairs": pd.DataFrame({"user": test.user, "item": test.item}),
        "open/never_seen": pd.DataFrame({"user": never_seen.user, "item": never_seen.item}),
        HIDDEN: pd.DataFrame({"label": test_label}),
    }


def write(tables: UnlearningTables, folder: Path) -> str:
    """Write both parts to `folder`, the manifest last, and return the fingerprint."""
    if tables.test_label is None:
        raise UsageError(f"{tables.name} was read without its hidden part and cannot be written again; prepare it anew")
    frames = _frames(tables.train, tables.step, tables.valid, tables.test, tables.never_seen, tables.test_label)
    return write_folder(folder, frames, {**tables.facts, "name": tables.name})


def read_open(folder: Path) -> UnlearningTables:
    """Everything but the test labels, without touching the hidden part."""
    opened = _opened(folder)
    facts = opened.facts()
    users, items = facts["train_users"], facts["train_items"]
    train, valid = opened.table("open/train"), opened.table("open/valid")
    test, never_seen = opened.table("open/test_pairs"), opened.table("open/never_seen")

    def labelled(rows: pd.DataFrame) -> Interactions:
        return Interactions(rows["user"].to_numpy(), rows["item"].to_numpy(), rows["label"].to_numpy(), users, items)

    return UnlearningTables(
        name=facts.pop("name"),
        train=labelled(train),
        step=train["step"].to_numpy(),
        valid=labelled(valid),
        test=Pairs(test["user"].to_numpy(), test["item"].to_numpy()),
        never_seen=Pairs(never_seen["user"].to_numpy(), never_seen["item"].to_numpy()),
        test_label=None,
        facts=facts,
        fingerprint=opened.fingerprint,
    )


def read_hidden(folder: Path) -> NDArray[np.float32]:
    """The labels of the test pairs, in their order; float32 (M,)."""
    return _opened(folder).table(HIDDEN)["label"].to_numpy()


def _opened(folder: Path) -> Folder:
    if not Folder.exists(folder):
        raise UsageError(f"{folder} holds no prepared task (no manifest); prepare it again")
    return Folder(folder, "delete the folder and prepare the task again")
