"""A log of plays as batches of columns: a table, a stream of tables, a Parquet file, or a folder of them larger than memory."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.errors import UsageError, reason_of

BATCH = 1 << 20  # rows of Parquet at a time

Table: TypeAlias = "pd.DataFrame | Mapping[str, Any]"
Log: TypeAlias = "Table | str | Path | Iterable[Table]"
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Batches:
    """The named columns of a log, batch by batch."""

    log: Log
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Columns]:
        if isinstance(self.log, pd.DataFrame | Mapping):
            yield columns_of(cast(Table, self.log), self.names)
        elif isinstance(self.log, str | Path):
            for file in parquet_files(Path(self.log)):
                with opened(file) as parquet:
                    _found(parquet.schema_arrow.names, self.names, str(file))
                    for batch in parquet.iter_batches(BATCH, columns=list(self.names), use_threads=False):
                        yield columns_of(batch.replace_schema_metadata().to_pandas(), self.names)
        elif isinstance(self.log, Iterable):
            for table in cast(Iterable[Table], self.log):
                yield columns_of(table, self.names)
        else:
            yield columns_of(self.log, self.names)


def columns_of(table: Table, names: Sequence[str]) -> Columns:
    """The named columns as arrays of one length; UsageError for one that is missing, is no numbers, or has another length."""
    if not isinstance(table, pd.DataFrame | Mapping):
        kind = type(table).__name__
        raise UsageError(f"{kind!r} is no log; give a table with columns {', '.join(names)}, a stream of such tables, or a path")

    _found(list(table), names, "the table")
    found = {name: np.asarray(table[name]) for name in names}
    rows = {name: len(column) if column.ndim == 1 else column.shape for name, column in found.items()}
    if len(set(rows.values())) > 1 or not isinstance(rows[names[0]], int):
        raise UsageError(f"columns must be flat and equally long, but have {rows}")
    for name in ("watch_time", "duration"):
        if name in found and found[name].dtype.kind not in "iuf":
            raise UsageError(f"{name} holds {found[name].dtype}; it must be numbers of seconds, without gaps")
    return found


def _found(known: Sequence[Any], names: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(f"{where} has no column {', '.join(missing)}; it has {', '.join(map(str, known))}: rename yours")


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or every Parquet file below a folder, by name."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise UsageError(f"{path} is no Parquet file, nor a folder with one")
    return files


@contextmanager
def opened(file: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file; UsageError where it is none, or turns out to be damaged while it is read."""
    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of whoever writes meanwhile
            raise
        raise UsageError(f"{file} cannot be read as Parquet ({reason_of(error)}); write it again") from None
