"""Importance of nodes against the released loop, and the sets it selects (I11)."""

import numpy as np
import pytest
from craftbench.core.task import Interactions
from craftbench.models.pruning import degree, importance, select, select_by
from hypothesis import given, settings
from hypothesis import strategies as st

USERS, ITEMS = 8, 6

requests = st.integers(1, 60).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(0, 10_000), st.sets(st.integers(0, rows - 1), min_size=1))
)


def problem(request):
    rows, seed, chosen = request
    rng = np.random.default_rng(seed)
    data = Interactions(rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows), np.ones(rows, np.float32), USERS, ITEMS)
    removed = np.zeros(rows, dtype=bool)
    removed[list(chosen)] = True
    return data, removed


def by_loop(data, removed, hops):
    """The definition, node by node."""
    neighbours = {v: {v} for v in range(USERS + ITEMS)}
    rows, hit = np.ones(USERS + ITEMS), np.zeros(USERS + ITEMS)
    for u, i, gone in zip(data.user, USERS + data.item, removed, strict=True):
        neighbours[u].add(i)
        neighbours[i].add(u)
        for v in (u, i):
            rows[v] += 1
            hit[v] += gone
    w = hit / rows
    for _ in range(hops):
        w = np.array([sum(w[x] for x in sorted(neighbours[v])) / rows[v] for v in range(USERS + ITEMS)])
    return w


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(0, 3))
def test_importance_is_the_definition(request_, hops):
    data, removed = problem(request_)
    w = importance(data, removed, hops)
    np.testing.assert_allclose(w, by_loop(data, removed, hops), rtol=1e-14, atol=1e-17)
    assert (w >= 0).all()
    assert (w < 1).all()


@settings(max_examples=60, deadline=None)
@given(requests, st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2).map(sorted), st.integers(0, 2))
def test_sets_grow_with_keep_and_hops_and_hold_the_endpoints(request_, keeps, hops):
    data, removed = problem(request_)
    endpoints = degree(data[removed]) > 0
    np.testing.assert_array_equal(select(data, removed, 0), endpoints)
    small, large = (select(data, removed, hops, keep) for keep in keeps)
    assert (endpoints <= small).all()
    assert (small <= large).all()
    assert (select(data, removed, hops) <= select(data, removed, hops + 1)).all()


def test_keep_is_a_share_of_the_support():
    data, removed = problem((60, 0, {0}))
    support = int((importance(data, removed, 2) > 0).sum())
    assert support == USERS + ITEMS
    assert select(data, removed, 2, 0.5).sum() == support // 2
    assert select(data, removed, 2, 1.0).sum() == support


def test_nothing_removed_selects_nothing():
    data, removed = problem((20, 0, set()))
    assert not select(data, removed, 2, 0.5).any()


@pytest.mark.parametrize("size", [0, 5, 9, USERS + ITEMS])
def test_controls_take_the_endpoints_then_the_best(size):
    data, removed = problem((40, 1, {0, 1}))
    endpoints = degree(data[removed]) > 0
    score = np.arange(USERS + ITEMS, dtype=float)
    chosen = select_by(score, data, removed, size)
    assert (endpoints <= chosen).all()
    assert chosen.sum() == max(size, endpoints.sum())
    extra, rest = chosen & ~endpoints, ~chosen
    assert not extra.any() or not rest.any() or score[extra].min() > score[rest].max()
