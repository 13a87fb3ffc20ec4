"""XAUC, its leave-outs and XGAUC: against counting pairs, scipy and their symmetries, under heavy ties; and errors in seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.metrics import watch_time as metrics
from craftbench.core.metrics.classification import auc
from craftbench.core.metrics.groups import user_group
from craftbench.core.metrics.watch_time import grouped_xauc, grouped_xgauc, user_xauc, xauc, xgauc
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

GROUPS = 7
rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40)


def columns(table):
    prediction, watch, group = (np.array(column) for column in zip(*table, strict=True))
    return prediction / 2.0, watch * 1.5, group


def counted(p, y) -> float:
    """XAUC by looking at every pair; NaN without one."""
    longer = y[:, None] > y[None, :]
    right = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    return float(right[longer].mean()) if longer.any() else float("nan")


def sample(size: int, seed: int = 0, levels: int = 40):
    """Predictions and watch times with many ties, users and their groups."""
    rng = np.random.default_rng(seed)
    watch, user = rng.integers(0, levels, size) / 4.0, rng.integers(0, 60, size)
    return np.round(watch + rng.normal(0, 5, size)), watch, user, user_group(user, GROUPS)


# XAUC


@given(rows)
def test_xauc_counts_pairs(table):
    p, y, _ = columns(table)
    assert xauc(p, y) == pytest.approx(counted(p, y), nan_ok=True, abs=1e-12)


@given(rows)
def test_xauc_symmetries(table):
    p, y, _ = columns(table)
    if len(np.unique(y)) < 2:
        assert np.isnan(xauc(p, y))
        return
    assert xauc(y, y) == 1
    assert xauc(-y, y) == 0
    assert xauc(np.full(len(y), 7.0), y) == 0.5
    assert xauc(-p, y) == pytest.approx(1 - xauc(p, y), abs=1e-12)
    assert xauc(np.exp(p), np.sqrt(y)) == xauc(p, y)
    order = np.random.default_rng(0).permutation(len(y))
    assert xauc(p[order], y[order]) == xauc(p, y)


@given(rows)
def test_grouped_xauc_is_xauc_of_the_other_groups(table):
    p, y, group = columns(table)
    value, leave_out = grouped_xauc(p, y, group, 5)
    assert value == pytest.approx(xauc(p, y), nan_ok=True)
    expected = [counted(p[group != g], y[group != g]) for g in range(5)]
    np.testing.assert_allclose(leave_out, expected, atol=1e-12)
    assert leave_out[4] == pytest.approx(value, nan_ok=True), "an empty group changes nothing"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_xauc_and_its_leave_outs_at_size(dtype):
    p, y, _, group = (each.astype(dtype) if each.dtype == np.float64 else each for each in sample(3000))
    value, leave_out = grouped_xauc(p, y, group, GROUPS)
    assert value == xauc(p, y) == pytest.approx(counted(p, y), abs=1e-12)
    for g in range(GROUPS):
        assert leave_out[g] == pytest.approx(counted(p[group != g], y[group != g]), abs=1e-12)


def test_xauc_is_kendalls_tau_moved_to_a_share():
    """tau-b = (C - D) / sqrt(pairs untied in p x pairs untied in y), and XAUC = (1 + (C - D) / pairs untied in y) / 2."""
    p, y, _, _ = sample(200_000, levels=3000)
    untied = [
        len(y) * (len(y) - 1) // 2 - int((n * (n - 1) // 2).sum()) for n in (np.unique(c, return_counts=True)[1] for c in (p, y))
    ]
    difference = kendalltau(p, y).statistic * np.sqrt(untied[0]) * np.sqrt(untied[1])
    assert xauc(p, y) == pytest.approx((1 + difference / untied[1]) / 2, abs=1e-10)


def test_with_two_watch_times_it_is_auc():
    p, y, _, _ = sample(2000, levels=2)
    assert xauc(p, y) == auc(p, y > 0)


def test_random_predictions_are_worth_a_half_even_under_heavy_ties():
    """Code that takes pairs of equal watch times for right gives 1/2 + P(tie)/2, here 2/3."""
    rng = np.random.default_rng(5)
    found = np.array([xauc(rng.random(300), rng.integers(0, 3, 300)) for _ in range(200)])
    assert abs(found.mean() - 0.5) < 3 * found.std() / np.sqrt(200)
    assert found.std() / np.sqrt(200) < 0.003


def test_no_rows_have_no_xauc():
    value, leave_out = grouped_xauc([], [], [], 3)
    assert np.isnan([value, *leave_out, xauc([], []), xgauc([], [], [])]).all()


def test_infinite_predictions_rank_at_the_ends():
    assert xauc([-np.inf, 0.0, np.inf], [1, 2, 3]) == 1


# within users


@given(rows)
def test_user_xauc_counts_pairs_within_users(table):
    p, y, group = columns(table)
    each = user_xauc(p, y, group * 10**12)
    users = np.unique(group)
    assert each.user.tolist() == (users * 10**12).tolist()
    assert each.rows.tolist() == [np.count_nonzero(group == u) for u in users]
    expected = [counted(p[group == u], y[group == u]) for u in users]
    np.testing.assert_allclose(each.xauc, expected, atol=1e-12)
    assert each.skipped == np.isnan(expected).sum() == len(users) - each.counted
    assert each.weight.tolist() == [0 if np.isnan(e) else n for e, n in zip(expected, each.rows, strict=True)]


def test_xgauc_is_the_mean_over_users_with_two_watch_times_by_rows():
    p, y, user, group = sample(1500)
    y[user == 3] = 2.0
    with_pairs = [u for u in np.unique(user) if u != 3]
    by_user = {u: counted(p[user == u], y[user == u]) for u in with_pairs}
    size = {u: np.count_nonzero(user == u) for u in with_pairs}
    value, leave_out = grouped_xgauc(p, y, user, GROUPS)
    for found in (value, xgauc(p, y, user)):
        assert found == pytest.approx(np.average(list(by_user.values()), weights=list(size.values())))
    for g in range(GROUPS):
        left = np.intersect1d(with_pairs, user[group != g])
        expected = np.average([by_user[u] for u in left], weights=[size[u] for u in left])
        assert leave_out[g] == pytest.approx(expected)
        assert leave_out[g] == pytest.approx(xgauc(p[group != g], y[group != g], user[group != g]))


def test_xgauc_without_a_user_of_two_watch_times_is_nan():
    assert np.isnan(xgauc([1.0, 2.0], [3, 4], [5, 6]))


# errors in seconds


def test_errors_by_hand():
    p, y = np.array([2.0, 10.0, 0.5, 40.0]), np.array([0.0, 4.0, 1.5, 50.0])
    assert metrics.mae(p, y) == (2 + 6 + 1 + 10) / 4
    assert metrics.rmse(p, y) == pytest.approx(np.sqrt((4 + 36 + 1 + 100) / 4))
    ratios = [2.0, 6 / 4, 1 / 1.5, 10 / 50]  # a watch time below a second counts as one
    assert metrics.mape(p, y) == pytest.approx(np.mean(ratios))
    assert metrics.mape(p, y, shortest=3) == pytest.approx((6 / 4 + 10 / 50) / 2)
    assert metrics.median_ape(p, y) == pytest.approx((6 / 4 + 1 / 1.5) / 2)
    assert metrics.calibration(p, y) == pytest.approx(52.5 / 55.5)
    assert metrics.grouped_mean([1.0, 5.0, 9.0], [0, 1, 1], 3, [1, 1, 3])[0] == (1 + 5 + 27) / 5


WHOLE = {
    metrics.grouped_mae: metrics.mae,
    metrics.grouped_rmse: metrics.rmse,
    metrics.grouped_mape: metrics.mape,
    metrics.grouped_median_ape: metrics.median_ape,
    metrics.grouped_calibration: metrics.calibration,
}


@pytest.mark.parametrize("grouped", WHOLE, ids=lambda each: each.__name__)
def test_a_grouped_error_is_the_error_of_the_other_groups(grouped):
    p, y, _, group = sample(900)
    p += np.random.default_rng(1).random(900)
    group[group == 2] = 3
    value, leave_out = grouped(p, y, group, GROUPS)
    assert value == pytest.approx(WHOLE[grouped](p, y))
    for g in range(GROUPS):
        assert leave_out[g] == pytest.approx(WHOLE[grouped](p[group != g], y[group != g]))
    assert leave_out[2] == pytest.approx(value)
    assert leave_out[0] != pytest.approx(value)


def test_mape_of_long_watches_leaves_the_others_out():
    p, y, _, group = sample(900)
    value, leave_out = metrics.grouped_mape(p, y, group, GROUPS, shortest=3.0)
    assert value == pytest.approx(np.mean(np.abs(p - y)[y >= 3] / y[y >= 3]))
    kept = (y >= 3) & (group != 1)
    assert leave_out[1] == pytest.approx(np.mean(np.abs(p - y)[kept] / y[kept]))
    assert np.isnan(metrics.mape(p, y, shortest=1e9))


# bad input, and cost


@pytest.mark.parametrize(
    ("p", "y", "said"),
    [
        ([0.1, np.nan], [0, 1], "1 of 2 predictions are NaN"),
        ([0.1, 0.2], [0, np.nan], "1 of 2 watch times are NaN"),
        ([0.1, 0.2], [0], "shape"),
        ([[0.1]], [[1]], "shape"),
    ],
)
def test_bad_rows_are_named(p, y, said):
    for metric in (xauc, metrics.mae, metrics.mape):
        with pytest.raises(UsageError, match=said):
            metric(p, y)


def test_bad_groups_are_named():
    for metric in (grouped_xauc, metrics.grouped_mae, metrics.grouped_median_ape):
        with pytest.raises(UsageError, match=r"0\.\.1"):
            metric([0.1, 0.2], [0, 1], [0, 2], 2)


def _seconds(work) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def test_a_merge_count_grows_as_a_sort_does_and_leave_outs_cost_two():
    rng = np.random.default_rng(0)
    y = rng.exponential(30, 80_000).astype(np.float32)
    p, group = (y + rng.normal(0, 30, len(y))).astype(np.float32), rng.integers(0, 40, len(y))
    whole, part = _seconds(lambda: xauc(p, y)), _seconds(lambda: xauc(p[:10_000], y[:10_000]))
    assert whole < 8 * 4 * part
    assert _seconds(lambda: grouped_xauc(p, y, group, 40)) < 8 * whole
