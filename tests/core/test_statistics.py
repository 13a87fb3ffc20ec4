"""Estimates and their tests: against SciPy and statsmodels, closed forms, and simulated worlds without a true difference."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.metrics.classification import auc, grouped_auc
from craftbench.core.statistics import (
    Estimate,
    difference,
    different,
    equivalent,
    greater,
    holm,
    intersection_union,
    less,
    ratio,
    smallest_visible,
    summary,
    trend,
    two_sided,
    upper_share,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

RNG = np.random.default_rng(3)
A, B = RNG.normal(0.75, 0.01, 8), RNG.normal(0.74, 0.01, 8)
ALPHA = 0.05


def without_each(group_values):
    """(..., G) means over all groups but one, of equally large groups' means (..., G)."""
    groups = group_values.shape[-1]
    return (group_values.sum(axis=-1, keepdims=True) - group_values) / (groups - 1)


# -- seeds alone: the paired t-test -----------------------------------------------------------------


@pytest.mark.parametrize(("test", "side"), [(greater, "greater"), (less, "less"), (two_sided, "two-sided")])
def test_seeds_alone_are_the_paired_t_test(test, side):
    expected = stats.ttest_rel(A, B, alternative=side)
    assert test(difference(A, B)) == pytest.approx(expected.pvalue, rel=1e-10)
    assert difference(A, B).df == 7


def test_interval_is_that_of_the_paired_t_test():
    expected = stats.ttest_rel(A, B).confidence_interval(0.9)
    assert difference(A, B).interval(0.9) == pytest.approx(tuple(expected), rel=1e-10)


@pytest.mark.parametrize("margin", [0.001, 0.01, 0.03])
def test_equivalence_is_two_one_sided_tests(margin):
    assert equivalent(difference(A, B), margin) == pytest.approx(ttost_paired(A, B, -margin, margin)[0], rel=1e-10)


@given(st.floats(-0.05, 0.05), st.floats(0.0, 0.05))
def test_decisions_agree_with_the_interval(shift, margin):
    estimate = difference(A, B + shift)
    low, high = estimate.interval(1 - 2 * ALPHA)
    assert (greater(estimate, margin) <= ALPHA) == (low >= margin)
    assert (less(estimate, margin) <= ALPHA) == (high <= margin)
    assert (equivalent(estimate, margin) <= ALPHA) == (-margin <= low and high <= margin)
    assert greater(estimate, margin) + less(estimate, margin) == pytest.approx(1.0)
    assert different(estimate, margin) >= min(greater(estimate, margin), less(estimate, -margin))


def test_difference_beyond_a_wide_margin_is_a_one_sided_test():
    estimate = difference(A, B)
    margin = 0.5
    shifted = difference(A + 0.51, B)
    assert different(shifted, margin) == pytest.approx(greater(shifted, margin), abs=1e-9)
    assert different(estimate, margin) == pytest.approx(1.0, abs=1e-6)


# -- users: the jackknife ---------------------------------------------------------------------------


def test_jackknife_of_a_mean_is_the_classic_variance():
    groups = RNG.normal(size=40)
    estimate = summary(np.full(3, groups.mean()), np.tile(without_each(groups), (3, 1)))
    assert estimate.se_users == pytest.approx(groups.std(ddof=1) / np.sqrt(40))
    assert (estimate.se_seeds, estimate.df) == (0.0, pytest.approx(39.0))


def test_two_parts_add_up_with_welch_satterthwaite_degrees():
    groups = RNG.normal(0, 0.01, (8, 40))
    a = A + groups.mean(axis=1)
    estimate = summary(a, A[:, None] + without_each(groups))
    seeds, users = a.var(ddof=1) / 8, groups.mean(axis=0).var(ddof=1) / 40
    assert estimate.se == pytest.approx(np.sqrt(seeds + users))
    assert estimate.df == pytest.approx((seeds + users) ** 2 / (seeds**2 / 7 + users**2 / 39))


def test_paired_leave_outs_cancel_what_rows_share():
    shared = without_each(RNG.normal(size=(8, 40)))
    estimate = difference(A, B, A[:, None] + shared, B[:, None] + shared)
    assert estimate.se_users == pytest.approx(0.0, abs=1e-12)
    assert (difference(A, B, A[:, None] + shared).n_groups, difference(A, B).n_groups) == (0, 0)


def test_jackknife_of_auc_equals_brute_force():
    score, label, group = RNG.normal(size=300), RNG.integers(0, 2, 300), RNG.integers(0, 10, 300)
    value, leave_out = grouped_auc(score, label, group, 10)
    brute = np.array([auc(score[group != g], label[group != g]) for g in range(10)])
    estimate = summary([value, value], [leave_out, leave_out])
    assert estimate.se_users == pytest.approx(np.sqrt(0.9 * np.sum((brute - brute.mean()) ** 2)))


def test_groups_without_rows_are_not_counted():
    leave_out = A[:, None] + without_each(RNG.normal(size=(8, 6)))
    with_empty = np.concatenate([leave_out[:, :2], np.tile(A[:, None], 34), leave_out[:, 2:]], axis=1)
    assert summary(A, with_empty) == summary(A, leave_out)
    assert summary(A, with_empty).n_groups == 6


def test_users_all_in_one_group_leave_the_error_unknown():
    leave_out = np.tile(A[:, None], 40)
    leave_out[:, 7] = np.nan
    assert np.isnan(summary(A, leave_out).se)


def test_one_seed_has_an_estimate_but_no_test():
    estimate = summary([0.7], [[0.6, 0.8]])
    assert (estimate.mean, estimate.n_seeds) == (0.7, 1)
    assert np.isnan([estimate.se, estimate.df, greater(estimate), two_sided(estimate), *estimate.interval()]).all()


def test_no_spread_at_all_decides_without_dividing_by_zero():
    equal, above = difference([1.0, 1.0], [1.0, 1.0]), difference([2.0, 2.0], [1.0, 1.0])
    assert (greater(equal), less(equal), two_sided(equal), equivalent(equal, 0.1)) == (0.5, 0.5, 1.0, 0.0)
    assert (greater(above), less(above), two_sided(above), equivalent(above, 0.1)) == (0.0, 1.0, 0.0, 1.0)


# -- trends and ratios ------------------------------------------------------------------------------


def test_trend_is_the_mean_of_the_seeds_slopes():
    levels = np.array([1.0, 2.0, 4.0, 9.0])
    values = RNG.normal(size=(6, 4)) + 0.3 * levels
    groups = RNG.normal(size=(6, 4, 5))
    slopes = [stats.linregress(levels, row).slope for row in values]
    estimate = trend(levels, values, values[..., None] + groups)
    assert estimate.mean == pytest.approx(np.mean(slopes))
    assert estimate.se_seeds == pytest.approx(stats.sem(slopes))
    left = np.mean([[stats.linregress(levels, values[i] + groups[i, :, g]).slope for g in range(5)] for i in range(6)], axis=0)
    assert estimate.se_users == pytest.approx(np.sqrt(0.8 * np.sum((left - left.mean()) ** 2)))


def test_ratio_is_tested_on_the_log_scale_and_shown_as_a_ratio():
    slow, fast = np.array([200.0, 220.0, 190.0, 260.0]), np.array([1.0, 1.1, 0.9, 1.2])
    speedup, logs = ratio(slow, fast), np.log(slow / fast)
    assert speedup.value == pytest.approx(np.exp(logs.mean()))
    assert speedup.interval() == pytest.approx(tuple(np.exp(stats.ttest_1samp(logs, 0).confidence_interval())))
    expected = stats.ttest_1samp(logs, np.log(150), alternative="greater").pvalue
    assert greater(speedup, 150) == pytest.approx(expected)
    assert two_sided(speedup) == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)
    assert equivalent(ratio(fast, fast * [1.01, 0.99, 1.02, 1.0]), 1.25) < 0.001


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n_seeds", [5, 20])
def test_smallest_visible_difference_is_seen_as_often_as_it_says(log, n_seeds):
    visible = smallest_visible(Estimate(0.0, 1 / np.sqrt(n_seeds), 0.0, n_seeds, 0, log), power=0.8)
    world = np.random.default_rng(0).normal(np.log(visible) if log else visible, 1.0, (4000, n_seeds))
    seen = stats.ttest_1samp(world, 0.0, axis=1, alternative="greater").pvalue <= ALPHA
    assert seen.mean() == pytest.approx(0.8, abs=0.04)


# -- many tests -------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_equals_statsmodels(ps):
    np.testing.assert_allclose(holm(ps), multipletests(ps, method="holm")[1], rtol=1e-12, atol=1e-300)
    assert intersection_union(ps) == max(ps)


# -- worlds without a difference --------------------------------------------------------------------


def false_alarms(noise: float, n_seeds: int, worlds: int, count_users: bool) -> float:
    """How often equals are called better, with test-sample noise of `noise` times a seed's."""
    rng = np.random.default_rng([int(10 * noise), n_seeds])
    seeds = rng.normal(size=(worlds, n_seeds))
    groups = rng.normal(0.0, noise * np.sqrt(40), (worlds, 40))
    values = seeds + groups.mean(axis=1, keepdims=True)
    leave_out = seeds[:, :, None] + without_each(groups)[:, None, :]
    estimates = [summary(values[w], leave_out[w] if count_users else None) for w in range(worlds)]
    return float(np.mean([greater(estimate) <= ALPHA for estimate in estimates]))


@pytest.mark.parametrize("n_seeds", [5, 10])
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_false_alarms_stay_at_alpha_whatever_the_test_sample(noise, n_seeds):
    worlds = 2000
    tolerance = 3 * np.sqrt(ALPHA * (1 - ALPHA) / worlds)
    assert false_alarms(noise, n_seeds, worlds, count_users=True) <= ALPHA + tolerance


def test_seeds_alone_raise_false_alarms():
    assert false_alarms(0.0, 5, 2000, count_users=False) == pytest.approx(ALPHA, abs=0.015)
    assert false_alarms(1.0, 5, 2000, count_users=False) > 0.2
    assert false_alarms(2.0, 5, 2000, count_users=False) > 0.3


def auc_of_equals(rng: np.random.Generator, n_seeds: int = 5, users: int = 120, rows: int = 6):
    """(n,) AUCs and (n, G) leave-outs of a model whose skill differs by user, around the same mean skill for every model."""
    group = np.repeat(np.arange(users) % 20, rows)
    label = rng.integers(0, 2, users * rows)
    skill = np.repeat(rng.normal(1.0, 1.0, users), rows)
    scores = label * (skill + rng.normal(0.0, 0.1, (n_seeds, 1))) + rng.normal(size=(n_seeds, users * rows))
    found = [grouped_auc(score, label, group, 20) for score in scores]
    return np.array([value for value, _ in found]), np.array([leave_out for _, leave_out in found])


def test_false_alarms_of_auc_stay_at_alpha_where_seeds_alone_do_not():
    rng, worlds = np.random.default_rng(11), 400
    pairs = [(auc_of_equals(rng), auc_of_equals(rng)) for _ in range(worlds)]
    both = [greater(difference(a, b, a_left, b_left)) <= ALPHA for (a, a_left), (b, b_left) in pairs]
    seeds = [greater(difference(a, b)) <= ALPHA for (a, _), (b, _) in pairs]
    assert np.mean(both) <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / worlds)
    assert np.mean(seeds) > 0.15


# -- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: summary([]), "one value per seed"),
        (lambda: summary([1.0, 2.0], [[1.0, 2.0]]), "one row per seed"),
        (lambda: difference([1.0, 2.0], [1.0]), "paired"),
        (lambda: trend([1.0, 1.0], [[1.0, 2.0]]), "2 levels"),
        (lambda: ratio([1.0, 0.0], [1.0, 1.0]), "positive"),
        (lambda: greater(ratio([1.0, 2.0], [1.0, 1.0]), 0.0), "positive"),
        (lambda: equivalent(difference(A, B), -0.1), "at least 0"),
        (lambda: equivalent(ratio(A, B), 0.9), "at least 1"),
    ],
)
def test_bad_input_is_named(work, said):
    with pytest.raises(UsageError, match=said):
        work()


@pytest.mark.parametrize(("count", "of"), [(0, 1), (0, 20), (1, 20), (7, 20), (20, 20)])
def test_the_upper_share_leaves_five_per_cent_for_so_few_hits(count, of):
    share = upper_share(count, of)
    assert stats.binom.cdf(count, of, share) == pytest.approx(1.0 if count == of else 0.05)


def test_twenty_matches_leave_under_fourteen_per_cent():
    assert 0.139 < upper_share(0, 20) < 0.14
    assert upper_share(0, 0) == 1.0
