"""A 64-bit hash of rows, the same on every machine: tells duplicates, and draws folds that do not depend on the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def hash_columns(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """One hash per row of numeric columns (N,); uint64 (N,). The finaliser is that of splitmix64 (Steele, Lea, Flood 2014)."""
    found = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        wide = np.ascontiguousarray(column, dtype=np.float64 if column.dtype.kind == "f" else np.int64)
        found += wide.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found ^= found >> np.uint64(31)
    return found
