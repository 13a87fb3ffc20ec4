"""Watch-time labels on disk: their counts as Parquet, their settings as JSON; and a folder of Parquet with labels beside its rows.

folder/histogram.parquet                 second, tick, count
folder/{user_id,item_id}.parquet         id, level, count
folder/facts.json, manifest.json         format, settings, the log's fingerprint and what a fit says of itself; hashes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..datasets.manifest import Folder, explain_write_errors, write_folder
from .watch_batches import BATCH, Columns, opened, parquet_files

FORMAT = 1

Tables = Mapping[str, Mapping[str, NDArray[Any]]]


def save_tables(folder: Path, tables: Tables, facts: Mapping[str, Any]) -> None:
    """Write both; what was there is replaced only when all of it is written."""
    frames = {name: pd.DataFrame(dict(columns)) for name, columns in tables.items()}
    write_folder(folder, frames, {"labels_format": FORMAT, **facts})


def load_tables(folder: Path) -> tuple[Tables, dict[str, Any]]:
    """The inverse; UsageError where there are none, where bytes are damaged, and for a format of a newer version."""
    repair = "fit the labels again and save them"
    if not Folder.exists(folder):
        raise UsageError(f"{folder} holds no saved labels (no manifest); {repair}")
    saved = Folder(folder, repair)
    facts = saved.facts()
    version = facts.get("labels_format")
    if not isinstance(version, int):
        raise UsageError(f"{folder} holds no watch-time labels but something else that craftbench wrote; name another folder")
    if version > FORMAT:
        raise UsageError(
            f"{folder} was written by a newer craftbench (labels format {version}, known {FORMAT}); upgrade craftbench"
        )
    frames = {name: saved.table(name) for name in saved.tables}
    return {name: {str(column): frame[column].to_numpy() for column in frame} for name, frame in frames.items()}, facts


def write_labelled(path: Path, folder: Path, names: Sequence[str], label: Callable[[pd.DataFrame], Columns]) -> int:
    """Each Parquet file of `path` again below `folder`, its columns followed by `names`, which `label` gives a batch.

    Returns the rows written. A file appears under its name when all of it is written.
    """
    base, rows = (path if path.is_dir() else path.parent), 0
    if folder.resolve() == base.resolve() or base.resolve() in folder.resolve().parents:
        raise UsageError(f"{folder} lies within {base}, which is read; write the labels elsewhere")
    for file in parquet_files(path):
        out = folder / file.relative_to(base)
        partial = out.with_name(f".{out.name}.partial")
        with explain_write_errors(folder), opened(file) as source:
            out.parent.mkdir(parents=True, exist_ok=True)
            if taken := [name for name in names if name in source.schema_arrow.names]:
                raise UsageError(f"{file} has columns {', '.join(taken)} already; drop or rename them")
            writer: pq.ParquetWriter | None = None
            for batch in source.iter_batches(BATCH, use_threads=False):
                table = pa.Table.from_batches([batch])
                for name, column in label(batch.replace_schema_metadata().to_pandas()).items():
                    table = table.append_column(name, pa.array(column))
                writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
                writer.write_table(table)
                rows += len(table)
            if writer is not None:
                writer.close()
                partial.rename(out)
    return rows
