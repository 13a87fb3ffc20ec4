"""What may be known of an impression when it is shown, as inputs of a model: learned from some rows of a log, applied to any other.

    encoder = Encoder.fit(dataset, rows, label, rule)     vocabularies, buckets and rates of these rows
    encoder.encode(others)                                inputs of any other rows, logged or not
    encoder.out_of_fold(rows, label)                      the rates for the learned rows themselves

Categorical fields are int64, 1, 2, ... for the values among the learned rows in ascending order and 0 for any other: user, video,
bucket of the duration, hour of the day, features of users and videos that do not change. Dense inputs are float32: a user's and a
video's log odds of each task (`rates.py`). A row to be encoded needs user_id, item_id, duration (seconds) and time (Unix
milliseconds, where the log has it), and nothing that happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from . import rates
from .dataset import Dataset
from .multitask_rule import MultiTaskRule

FEW = 200  # values that a categorical feature may have where the rule names none
HOUR = 3_600_000  # milliseconds
KNOWN = ("user_id", "item_id", "time", "duration")  # what inputs are made of, beside the tables of users and items
SIDES = ("user", "item")

Inputs = Mapping[str, NDArray[Any]]
Labels = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Features:
    """Categorical features of the users or of the items: a code for each of `ids`, by the feature's name."""

    ids: pd.Index[Any]
    codes: Mapping[str, NDArray[np.int64]]

    def of(self, key: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """The codes of each row's key; int64 (N,), -1 where the table lacks it."""
        place = self.ids.get_indexer(pd.Index(key))
        return {name: np.where(place >= 0, codes[place], -1) for name, codes in self.codes.items()}


@dataclass(frozen=True)
class Encoder:
    """What was learned. columns: what a row must have; edges: of the duration's buckets, seconds; vocabulary: by field, ascending;
    odds: by dense input, f of each id of its user or item, float32 (ids,)."""

    rule: MultiTaskRule
    columns: tuple[str, ...]
    edges: NDArray[np.floating]
    features: Mapping[str, _Features]
    vocabulary: Mapping[str, NDArray[np.int64]]
    odds: Mapping[str, NDArray[np.float32]]

    @classmethod
    def fit(cls, dataset: Dataset, rows: pd.DataFrame, label: Labels, rule: MultiTaskRule) -> Encoder:
        """Learn from `rows` (N) of the dataset's log and the labels (N,) of each task; features come from its other tables."""
        wanted = {"user": rule.user_fields, "item": rule.item_fields}
        there = [side for side in SIDES if f"{side}s" in dataset.tables]
        features = {side: _features(dataset.tables[f"{side}s"], side, wanted[side]) for side in there}
        columns = tuple(name for name in KNOWN if name in rows)
        edges = np.unique(np.quantile(rows["duration"].to_numpy(), np.arange(1, rule.buckets) / rule.buckets))
        raw = _raw(rows, edges, features, rule)
        vocabulary = {name: np.unique(values) for name, values in raw.items()}
        odds: dict[str, NDArray[np.float32]] = {}
        for side in SIDES:
            key = _encoded(raw[f"{side}_id"], vocabulary[f"{side}_id"])
            keys = len(vocabulary[f"{side}_id"]) + 1
            for task, values in label.items():
                odds[f"{side}_rate_{task}"] = rates.log_odds(key, values, np.arange(keys), keys, rule.pseudo)
        return cls(rule, columns, edges, features, vocabulary, odds)

    @property
    def fields(self) -> dict[str, int]:
        """The categorical inputs with the size of their vocabulary, 0 included."""
        return {name: len(values) + 1 for name, values in self.vocabulary.items()}

    def encode(self, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
        """The inputs of rows that nothing was learned from; (N,) each. Raises UsageError where a column is missing."""
        if lacking := [name for name in self.columns if name not in rows]:
            raise UsageError(f"rows to be scored have no column {lacking[0]!r}, which the log has; give {', '.join(self.columns)}")
        raw = _raw(rows, self.edges, self.features, self.rule)
        ids = {name: _encoded(raw[name], values) for name, values in self.vocabulary.items()}
        return {**ids, **{name: odds[ids[f"{name.partition('_')[0]}_id"]] for name, odds in self.odds.items()}}

    def out_of_fold(self, rows: pd.DataFrame, label: Labels) -> dict[str, NDArray[np.float32]]:
        """The dense inputs of the rows that were learned from, each counted without its own fold; float32 (N,)."""
        fold = rates.folds_of(*(rows[name].to_numpy() for name in self.columns if name != "duration"), folds=self.rule.folds)
        found: dict[str, NDArray[np.float32]] = {}
        for side in SIDES:
            key, keys = _encoded(rows[f"{side}_id"].to_numpy(), self.vocabulary[f"{side}_id"]), self.fields[f"{side}_id"]
            for task, values in label.items():
                found[f"{side}_rate_{task}"] = rates.out_of_fold_log_odds(key, values, fold, keys, self.rule.pseudo)
        return found


def _features(table: pd.DataFrame, side: str, wanted: tuple[str, ...] | None) -> _Features:
    """The categorical columns of a table of users or items: the wanted ones, or (None) all with few values."""
    found: dict[str, NDArray[np.int64]] = {}
    for name in table.columns.drop(f"{side}_id") if wanted is None else [name for name in wanted if name in table]:
        column = table[name]
        if wanted is None and (pd.api.types.is_float_dtype(column) or column.nunique() > FEW):
            continue
        found[f"{side}_{name.removeprefix(f'{side}_')}"] = pd.factorize(column, sort=True)[0]
    return _Features(pd.Index(table[f"{side}_id"]), found)


def _raw(
    rows: pd.DataFrame, edges: NDArray[np.floating], features: Mapping[str, _Features], rule: MultiTaskRule
) -> dict[str, NDArray[Any]]:
    """The fields' values of each row, before they become ids."""
    raw: dict[str, NDArray[Any]] = {
        "user_id": rows["user_id"].to_numpy(),
        "item_id": rows["item_id"].to_numpy(),
        "duration_bucket": np.searchsorted(edges, rows["duration"].to_numpy(), side="right"),
    }
    if "time" in rows:
        raw["hour"] = (rows["time"].to_numpy() // HOUR + rule.utc_offset) % 24
    for side, table in features.items():
        raw |= table.of(raw[f"{side}_id"])
    return raw


def _encoded(values: NDArray[np.int64], vocabulary: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 + the place of each value in the vocabulary, 0 for any that it lacks; int64 (N,)."""
    place = np.minimum(np.searchsorted(vocabulary, values), len(vocabulary) - 1)
    return np.where(vocabulary[place] == values, place + 1, 0).astype(np.int64)
