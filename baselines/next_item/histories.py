"""Histories as sparse matrices, for rows that count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ...core.task import Sequences


def taken(rows: Sequences, items: int) -> csr_array:
    """float64 (users, items + 1): 1 where a user of `rows` took an item, in a history or next; column 0 is empty.

    >>> rows = Sequences(np.array([7, 9]), np.array([[0, 1], [1, 2]]), np.array([2, 3]))
    >>> taken(rows, items=3).toarray().tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]]
    """
    user = np.unique(rows.user, return_inverse=True)[1]
    places = np.concatenate([user, np.repeat(user, rows.history.shape[1])])
    item = np.concatenate([rows.target, rows.history.ravel()])
    found = np.unique(places[item > 0] * (items + 1) + item[item > 0])
    shape = (int(user.max(initial=-1)) + 1, items + 1)
    return csr_array((np.ones(len(found)), (found // (items + 1), found % (items + 1))), shape=shape)


def weighted(history: NDArray[Any], items: int, decay: float = 1.0) -> csr_array:
    """float64 (N, items + 1): decay^a of an item last found a places before the end of a history (N, H); column 0 is empty.

    >>> weighted(np.array([[0, 2, 1], [3, 1, 3]]), items=3, decay=0.5).toarray().tolist()
    [[0.0, 1.0, 0.5, 0.0], [0.0, 0.5, 0.0, 1.0]]
    """
    rows, width = history.shape
    age = np.broadcast_to(np.arange(width)[::-1], history.shape)
    row, column = np.nonzero(history)
    place = row * (items + 1) + history[row, column].astype(np.int64)
    latest = np.lexsort((age[row, column], place))
    place, first = np.unique(place[latest], return_index=True)
    value = decay ** age[row, column][latest][first].astype(np.float64)
    return csr_array((value, (place // (items + 1), place % (items + 1))), shape=(rows, items + 1))
