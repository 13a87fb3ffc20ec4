"""A dataset: prepared tables with their provenance, as they lie in `<data home>/<name>/`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pandas as pd

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
    positive_above: a rating above it counts as label 1, any other as 0.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    provenance: Provenance
    positive_above: float
    fingerprint: str

    @property
    def ratings(self) -> pd.DataFrame:
        return self.tables["ratings"]


def data_home() -> Path:
    """Where prepared datasets lie: `$CRAFTBENCH_DATA`, or `craftbench/data` in the user's cache folder."""
    if chosen := os.environ.get("CRAFTBENCH_DATA"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "craftbench" / "data"


def assemble(name: str, tables: Mapping[str, pd.DataFrame], provenance: Provenance, positive_above: float) -> Dataset:
    """A dataset from tables in memory."""
    return Dataset(name, MappingProxyType(dict(tables)), provenance, positive_above, manifest.fingerprint(tables))


def write(dataset: Dataset, home: Path) -> None:
    """Prepare the dataset on this machine, replacing an older one of its name."""
    facts = {**dataclasses.asdict(dataset.provenance), "name": dataset.name, "positive_above": dataset.positive_above}
    manifest.write_folder(home / dataset.name, dataset.tables, facts)


def read(folder: manifest.Folder) -> Dataset:
    """A prepared dataset; damaged files raise UsageError with the folder's repair command."""
    facts = folder.facts()
    name, positive_above, notes = facts.pop("name"), facts.pop("positive_above"), tuple(facts.pop("notes"))
    provenance = Provenance(**facts, notes=notes)
    tables = {table: folder.table(table) for table in folder.tables}
    return Dataset(name, MappingProxyType(tables), provenance, positive_above, folder.fingerprint)
