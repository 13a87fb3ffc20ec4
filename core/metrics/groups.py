"""Groups of users: a metric computed once with everybody and once without each group, for the jackknife over users.

`leave_out[g]` always means: the metric of the rows that are *not* in group g. `core.statistics` turns it into a variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def user_group(user_id: ArrayLike, groups: int = 40) -> Ints:
    """The group in [0, groups) of each user, by a hash of the id (splitmix64): the same in every run and order of rows."""
    ids = np.asarray(user_id)
    if not np.issubdtype(ids.dtype, np.integer):
        raise UsageError(f"user ids must be whole numbers to be hashed into groups, not {ids.dtype}; encode them first")
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(groups)).astype(np.int64)


def group_ids(group: ArrayLike, rows: int, groups: int) -> Ints:
    """`group` as checked indices: one per row, each in [0, groups)."""
    index = np.asarray(group, dtype=np.int64)
    if index.shape != (rows,):
        raise UsageError(f"group has shape {index.shape} for {rows} rows; give one group per row")
    if rows and not 0 <= index.min() <= index.max() < groups:
        raise UsageError(f"groups range over {index.min()}..{index.max()}; they must lie in 0..{groups - 1}")
    return index


def group_sums(value: ArrayLike, group: Ints, groups: int) -> Floats:
    """(groups,) the sum of `value` (N,) over each group's rows."""
    return np.bincount(group, weights=np.asarray(value, dtype=np.float64), minlength=groups).astype(np.float64, copy=False)
