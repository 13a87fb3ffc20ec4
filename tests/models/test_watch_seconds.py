"""Whole seconds: cutting, the cells of a histogram and their statistics against pandas, the nearest known duration."""

import numpy as np
import pandas as pd
import pytest
from craftbench.core.task import Watched
from craftbench.models.watch_seconds import Cells, cut_watch_time, nearest, whole_seconds, within
from hypothesis import given
from hypothesis import strategies as st

LOG = st.lists(st.tuples(st.floats(0, 2e4, width=32), st.floats(0.125, 2e4, width=32)), min_size=1, max_size=40)


def watched(watch_time, duration):
    y, d = np.asarray(watch_time, np.float32), np.asarray(duration, np.float32)
    return Watched({"user_id": np.zeros(len(y), np.int64)}, {}, y, d)


def test_cut():
    w, d = cut_watch_time(watched([0.0, 3.4, 3.6, 25.0, 7200.0], [10.0, 10.0, 3.2, 10.4, 0.2]))
    np.testing.assert_array_equal(w, [0, 3, 3, 10, 1])
    np.testing.assert_array_equal(d, [10, 10, 3, 10, 1])
    assert w.dtype == d.dtype == np.int64


def test_whole_seconds_are_at_least_one():
    np.testing.assert_array_equal(whole_seconds(np.float32([0.01, 0.6, 59.7])), [1, 1, 60])


def test_within():
    found = within(np.array([-2.0, 3.5, 90.0]), np.array([10, 10, 10]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [0, 3.5, 10])


@given(known=st.sets(st.integers(1, 60), min_size=1, max_size=9), d=st.integers(1, 70))
def test_nearest_against_brute_force(known, d):
    known = np.array(sorted(known))
    assert nearest(known, np.array([d]))[0] == np.argmin(np.abs(known - d))  # the first of two as near is the shorter


@given(LOG)
def test_cells_against_pandas(log):
    rows = watched(*zip(*log, strict=True))
    frame = pd.DataFrame(dict(zip("wd", cut_watch_time(rows), strict=True)))
    cells, grouped = Cells.of_rows(rows), frame.groupby("d")["w"]
    counted = frame.groupby(["d", "w"]).size()
    np.testing.assert_array_equal(cells.duration[cells.of], counted.index.get_level_values("d"))
    np.testing.assert_array_equal(cells.watch, counted.index.get_level_values("w"))
    np.testing.assert_array_equal(cells.rows, counted)
    np.testing.assert_array_equal(cells.count, grouped.size())
    np.testing.assert_allclose(cells.mean, grouped.mean(), rtol=1e-12)
    np.testing.assert_allclose(cells.deviation, grouped.std().fillna(0), rtol=1e-9, atol=1e-9)


def test_a_duration_of_one_value_has_no_deviation():
    assert Cells.of_rows(watched([7] * 31, [40] * 31)).deviation == [0.0]


def test_only_keeps_whole_durations():
    rng = np.random.default_rng(0)
    rows = watched(rng.uniform(0, 9, 300), rng.integers(3, 9, 300))
    cells, some = Cells.of_rows(rows), rows[np.isin(rows.duration, [4, 7, 8])]
    kept, alone = cells.only(np.isin(cells.duration, [4, 7, 8])), Cells.of_rows(some)
    for name in ("duration", "first", "of", "watch", "rows"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(alone, name))


def test_totals_of_columns():
    cells = Cells.of_rows(watched([1, 2, 2, 5], [2, 3, 3, 9]))
    values = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    assert cells.totals(values) == pytest.approx(values)
