"""Curves as a final cell keeps them: `curves.parquet` beside its metrics, a line per point."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow
import pyarrow.parquet

from ..core.curves import Curve

FILE = "curves.parquet"

_SCHEMA = pyarrow.schema(
    {
        "name": pyarrow.string(),
        "series": pyarrow.string(),
        "x": pyarrow.float64(),
        "y": pyarrow.float64(),
        "z": pyarrow.float64(),  # null in a line
    }
)


def to_bytes(curves: Sequence[Curve]) -> bytes:
    """The file's content."""
    parts = [
        pyarrow.table(
            [[each.name] * len(each.x), [each.series] * len(each.x), each.x, each.y, each.z if each.z is not None else _none(each)],
            schema=_SCHEMA,
        )
        for each in curves
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.concat_tables(parts), out)
    return out.getvalue()


def _none(curve: Curve) -> pyarrow.Array:
    return pyarrow.nulls(len(curve.x), pyarrow.float64())


def read(data: bytes | None) -> list[Curve]:
    """The curves of a record's file, in their order; none where it has no such file."""
    if data is None:
        return []
    table = pyarrow.parquet.read_table(io.BytesIO(data)).to_pandas()
    found: list[Curve] = []
    for (name, series), rows in table.groupby(["name", "series"], sort=False):
        x, y, z = (rows[column].to_numpy(dtype=np.float64) for column in "xyz")
        found.append(Curve(str(name), str(series), x, y, None if np.isnan(z).all() else z))
    return found
