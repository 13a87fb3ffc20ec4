"""The released preprocessing, against the released algorithm written out plainly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from craftbench.datasets.splits import binarise, k_core, reindex_from_train, shuffle_split
from hypothesis import given, settings
from hypothesis import strategies as st


def _rows(pairs: list[tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], "label": np.float32(1)})


def _core_by_groups(rows: pd.DataFrame, k: int) -> pd.DataFrame:
    """As released: users, then items, by group counts, until nothing changes."""
    while True:
        before = len(rows)
        for side in ("user_id", "item_id"):
            count = rows.groupby(side)[side].transform("size")
            rows = rows[count >= k]
        if len(rows) == before:
            return rows


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=60), st.integers(1, 4))
def test_core_equals_the_released_loop(pairs: list[tuple[int, int]], k: int) -> None:
    rows = _rows(pairs)
    core = k_core(rows, k)
    assert core.index.tolist() == _core_by_groups(rows, k).index.tolist()
    for side in ("user_id", "item_id"):
        assert (core[side].value_counts() >= k).all()


def test_core_needs_more_than_one_pass() -> None:
    # user 9 falls, so item 3 keeps one row and falls, so user 2 keeps one row and falls
    rows = _rows([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 3), (9, 3)])
    assert k_core(rows, 2)[["user_id", "item_id"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(("above", "expected"), [(3, [0, 0, 1, 1]), (3.5, [0, 0, 0, 1]), (0, [0, 1, 1, 1])])
def test_binarise_is_strictly_above(above: float, expected: list[int]) -> None:
    ratings = pd.DataFrame({"user_id": 0, "item_id": range(4), "rating": np.float32([0, 3, 3.5, 4]), "timestamp": 0})
    labelled = binarise(ratings, above)
    assert labelled["label"].tolist() == expected
    assert labelled["label"].dtype == np.float32
    assert labelled.columns.tolist() == ["user_id", "item_id", "label"]


@pytest.mark.parametrize("rows", [0, 1, 7, 99_287])
def test_split_is_the_released_one(rows: int) -> None:
    order = np.arange(rows)
    np.random.seed(1024)
    np.random.shuffle(order)
    train, valid, test = shuffle_split(rows)
    assert np.concatenate([train, valid, test]).tolist() == order.tolist()
    assert len(train) == int(rows * 0.6)
    assert len(train) + len(valid) == int(rows * 0.8)


def test_other_seeds_split_otherwise() -> None:
    assert shuffle_split(100, seed=1025)[0].tolist() != shuffle_split(100)[0].tolist()


def test_ids_come_from_train_in_order_of_appearance() -> None:
    train = _rows([(7, 30), (3, 10), (7, 20)])
    valid = _rows([(3, 20), (4, 10), (7, 99)])  # user 4 and item 99 are unseen
    test = _rows([(9, 9)])
    parts = reindex_from_train(train, valid, test)
    assert (parts.train.users, parts.train.items) == (2, 3)
    assert parts.train.user.tolist() == [0, 1, 0]
    assert parts.train.item.tolist() == [0, 1, 2]
    assert (parts.valid.user.tolist(), parts.valid.item.tolist()) == ([1], [2])
    assert (parts.dropped_valid, parts.dropped_test, len(parts.test)) == (2, 1, 0)
    assert parts.train.user.dtype == np.int64
