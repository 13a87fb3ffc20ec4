"""What the catalogue knows about a dataset before it is here: one that somebody recorded, or one that is generated.

Other packages declare theirs by the entry point `craftbench.datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .dataset import Dataset, Scope
from .ratings_file import Parsed
from .sources import Source

if TYPE_CHECKING:
    from .multitask_rule import MultiTaskRule


@dataclass(frozen=True)
class Recorded:
    """A dataset that somebody recorded: what it is, what may be done with it, where it is, how its raw files are read.

    page: where a person finds it; sources: tried in order (none: only by hand); raw: the names of the raw files that would do, best
    first; beside: those of further files that are read with it where they lie in the same place (both may be patterns);
    read: takes the raw file and those beside it; positive_above: see `Dataset.threshold`; rows: what the whole dataset has, None
    where releases differ; sha256: of the unpacked content of the only raw file that counts, None where any whole one does; tables:
    those that its sources give, so that what was prepared with fewer is prepared anew when it is asked for again, and what papers a
    dataset of another package can join; rule: how a short-video log of another package becomes a task.
    """

    name: str
    title: str
    licence: str
    terms: str
    citation: str
    page: str
    raw: tuple[str, ...]
    read: Callable[..., Parsed]
    positive_above: float | None = None
    beside: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    rows: int | None = None
    sha256: str | None = None
    scope: Scope = "whole"
    tables: tuple[str, ...] = ()
    rule: MultiTaskRule | None = None

    @property
    def command(self) -> str:
        """What puts it onto this machine."""
        return f"craftbench data get {self.name}" if self.sources else f"craftbench data import {self.name} PATH"


@dataclass(frozen=True)
class Simulated:
    """A dataset that is generated; the same everywhere.

    generate: takes the name; describe: says what ("12000 ratings"); tables, rule: as in `Recorded`.
    """

    name: str
    title: str
    generate: Callable[[str], Dataset]
    describe: str
    licence: str = "CC0-1.0"
    tables: tuple[str, ...] = ()
    rule: MultiTaskRule | None = None

    @property
    def command(self) -> str:
        return f"craftbench data get {self.name}"


@cache
def outside_datasets() -> Mapping[str, Recorded | Simulated]:
    """What installed packages declare, by name. Raises UsageError, naming the entry point, for one that is no dataset."""
    found = [_loaded(entry) for entry in sorted(entry_points(group="craftbench.datasets"))]
    return {each.name: each for each in found}


def _loaded(entry: EntryPoint) -> Recorded | Simulated:
    where = f"the entry point {entry.name} = {entry.value} of craftbench.datasets"
    try:
        found = entry.load()
    except Exception as error:
        raise UsageError(f"{where} cannot be imported ({type(error).__name__}: {error}); mend or uninstall its package") from error
    if not isinstance(found, Recorded | Simulated):
        raise UsageError(f"{where} is no Recorded or Simulated of craftbench.datasets.entries; correct it in its package")
    return found
