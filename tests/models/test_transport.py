"""Balanced optimal transport: the sizes asked for, and a total cost that no other assignment beats."""

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.models.shards import greedy_assignment
from craftbench.models.transport import balanced_transport, equal_sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment


def total(cost, place):
    return cost[np.arange(len(cost)), place].sum()


def least_total(cost, sizes):
    """The optimum by the Hungarian method, with one column per seat."""
    seats = np.repeat(cost, sizes, axis=1)
    row, column = linear_sum_assignment(seats)
    return seats[row, column].sum()


@given(rows=st.integers(0, 10**7), places=st.integers(1, 50))
def test_equal_sizes_divide_the_rows_within_one(rows, places):
    sizes = equal_sizes(rows, places)
    assert sizes.sum() == rows
    assert sizes.max() - sizes.min() <= 1


@settings(max_examples=150, deadline=None)
@given(rows=st.integers(1, 40), places=st.integers(1, 6), levels=st.sampled_from([1, 2, 5, 10**6]), seed=st.integers(0, 2**31))
def test_the_assignment_is_balanced_and_optimal_also_under_ties(rows, places, levels, seed):
    cost = np.random.default_rng(seed).integers(0, levels, (rows, places)).astype(float)
    sizes = equal_sizes(rows, places)
    place = balanced_transport(cost, sizes)
    np.testing.assert_array_equal(np.bincount(place, minlength=places), sizes)
    assert total(cost, place) == pytest.approx(least_total(cost, sizes), rel=1e-12)


def test_uneven_sizes_zero_included_are_met_optimally():
    cost = np.random.default_rng(0).random((60, 4))
    sizes = np.array([0, 45, 5, 10])
    place = balanced_transport(cost, sizes)
    np.testing.assert_array_equal(np.bincount(place, minlength=4), sizes)
    assert total(cost, place) == pytest.approx(least_total(cost, sizes), rel=1e-12)


@pytest.mark.parametrize("sweeps", [0, 1, 30])
def test_the_number_of_sweeps_changes_the_work_not_the_optimum(sweeps):
    cost = np.random.default_rng(1).gamma(0.5, size=(400, 5)) * np.array([1, 2, 4, 8, 16])
    assert total(cost, balanced_transport(cost, equal_sizes(400, 5), sweeps)) == pytest.approx(
        least_total(cost, equal_sizes(400, 5)), rel=1e-12
    )


def test_transport_is_never_worse_than_the_greedy_pass_at_equal_capacity():
    for seed in range(5):
        cost = np.random.default_rng(seed).gamma(1.0, size=(3000, 10)) * np.linspace(1, 5, 10)
        transported = balanced_transport(cost, equal_sizes(3000, 10))
        assert total(cost, transported) < total(cost, greedy_assignment(cost, 300))


def test_the_costs_are_left_alone():
    cost = np.random.default_rng(2).random((50, 5))
    before = cost.copy()
    balanced_transport(cost, equal_sizes(50, 5))
    np.testing.assert_array_equal(cost, before)


def test_sizes_that_do_not_add_up_are_refused():
    with pytest.raises(UsageError, match="do not divide 10 rows over 3 places"):
        balanced_transport(np.ones((10, 3)), np.array([3, 3, 3]))
