"""A dataset: prepared tables with their provenance, as they lie in `<data home>/<name>/`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pandas as pd

from ..core.errors import UsageError
from . import manifest

Scope = Literal["whole", "slice", "simulated"]


@dataclass(frozen=True)
class Provenance:
    """Where a dataset comes from and what may be done with it.

    source: where the bytes came from; files: SHA-256 of each raw file read; rows: of each table; scope: the whole dataset, a
    slice of it, or simulated; notes: what the reader did beyond parsing ("dropped 3 repeated pairs").
    """

    title: str
    source: str
    licence: str
    citation: str
    terms: str
    scope: Scope
    files: Mapping[str, str]
    rows: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Prepared tables, by agreement never mutated.

    tables["ratings"]: user_id and item_id (int64 or text), rating float32, timestamp int64 (Unix seconds; not in every dataset).
    tables["impressions"]: a short-video log, as `impressions.py` defines it; tables["users"], tables["items"]: features.
    tables["sequences"]: what each user took: user_id and item_id (int64 or text), position int64 (0, 1, ... within a user, oldest
    first), timestamp int64 (Unix seconds; not in every dataset); tables["titles"]: item_id, title (text, may be empty).
    threshold: a rating above it counts as label 1, any other as 0; None where there are no ratings.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    provenance: Provenance
    threshold: float | None
    fingerprint: str

    @property
    def main(self) -> str:
        """The name of the table that everything else is about."""
        return main_table(self.tables)

    @property
    def rows(self) -> int:
        """Of the main table."""
        return len(self.tables[self.main])

    @property
    def ratings(self) -> pd.DataFrame:
        """Raises UsageError where the dataset has none."""
        return self._table("ratings")

    @property
    def impressions(self) -> pd.DataFrame:
        """Raises UsageError where the dataset has none."""
        return self._table("impressions")

    @property
    def titles(self) -> pd.DataFrame:
        """Raises UsageError where the dataset has none."""
        return self._table("titles")

    @property
    def positive_above(self) -> float:
        """The threshold of a dataset of ratings; raises UsageError for any other."""
        if self.threshold is None:
            raise UsageError(f"dataset {self.name!r} holds no ratings, so no rating counts as a positive; take one of ratings")
        return self.threshold

    def _table(self, name: str) -> pd.DataFrame:
        if name not in self.tables:
            raise UsageError(f"dataset {self.name!r} holds {', '.join(self.tables)} and no {name}; take a dataset of {name}")
        return self.tables[name]


def main_table(tables: Iterable[str]) -> str:
    """Which of a dataset's tables is the one of events: `ratings`, `impressions` or `sequences`."""
    return next(name for name in ("ratings", "impressions", "sequences") if name in tables)


def data_home() -> Path:
    """Where prepared datasets lie: `$CRAFTBENCH_DATA`, or `craftbench/data` in the user's cache folder."""
    if chosen := os.environ.get("CRAFTBENCH_DATA"):
        return Path(os.path.abspath(chosen))  # pyarrow would take a relative "a:b" for an address
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "craftbench" / "data"


def assemble(name: str, tables: Mapping[str, pd.DataFrame], provenance: Provenance, positive_above: float | None = None) -> Dataset:
    """A dataset from tables in memory; `positive_above` is for ratings."""
    return Dataset(name, MappingProxyType(dict(tables)), provenance, positive_above, manifest.fingerprint(tables))


def write(dataset: Dataset, home: Path) -> None:
    """Prepare the dataset on this machine, replacing an older one of its name."""
    facts = {**dataclasses.asdict(dataset.provenance), "name": dataset.name, "positive_above": dataset.threshold}
    manifest.write_folder(home / dataset.name, dataset.tables, facts)


def read(folder: manifest.Folder) -> Dataset:
    """A prepared dataset; damaged files raise UsageError with the folder's repair command."""
    facts = folder.facts()
    name, positive_above, notes = facts.pop("name"), facts.pop("positive_above"), tuple(facts.pop("notes"))
    provenance = Provenance(**facts, notes=notes)
    tables = {table: folder.table(table) for table in folder.tables}
    return Dataset(name, MappingProxyType(tables), provenance, positive_above, folder.fingerprint)
