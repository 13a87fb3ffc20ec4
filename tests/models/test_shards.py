"""Partitions of rows: every row in one shard, balance, the greedy pass against the walk over sorted pairs."""

from functools import partial

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.models.shards import cluster, greedy_assignment, random_partition
from hypothesis import given, settings
from hypothesis import strategies as st


def walk(cost, capacity):
    """The greedy assignment as it is defined: all pairs in ascending (cost, row, shard), one by one."""
    rows, shards = cost.shape
    partition, room = np.full(rows, -1), [capacity] * shards
    for _, row, shard in sorted((cost[row, shard], row, shard) for row in range(rows) for shard in range(shards)):
        if partition[row] < 0 and room[shard] > 0:
            partition[row] = shard
            room[shard] -= 1
    return partition


def world(rows=300, users=40, items=30, dim=4, seed=0):
    """Two sides of random rows on random embeddings."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    table = rng.standard_normal((users + items, dim)).astype(np.float32)
    return [(table[:users], user), (table[users:], item)]


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 200), shards=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_random_shards_hold_every_row_once_and_differ_by_one_row(rows, shards, seed):
    shards = min(rows, shards)
    partition = random_partition(rows, shards, np.random.default_rng(seed))
    sizes = np.bincount(partition, minlength=shards)
    assert partition.shape == (rows,)
    assert len(sizes) == shards
    assert sizes.max() - sizes.min() <= 1


@settings(max_examples=150, deadline=None)
@given(rows=st.integers(1, 40), shards=st.integers(1, 6), levels=st.sampled_from([1, 2, 5, 10**6]), data=st.data())
def test_greedy_equals_the_walk_over_sorted_pairs_also_under_ties(rows, shards, levels, data):
    capacity = data.draw(st.integers(-(-rows // shards), rows))
    cost = np.random.default_rng(data.draw(st.integers(0, 2**31))).integers(0, levels, (rows, shards)).astype(float)
    partition = greedy_assignment(cost, capacity)
    np.testing.assert_array_equal(partition, walk(cost, capacity))
    assert np.bincount(partition, minlength=shards).max() <= capacity


def test_greedy_equals_the_walk_at_a_size_where_many_shards_fill():
    cost = np.random.default_rng(1).gamma(1.0, size=(2000, 10)) * np.linspace(1, 4, 10)
    np.testing.assert_array_equal(greedy_assignment(cost, 240), walk(cost, 240))


def test_without_a_binding_capacity_greedy_is_the_nearest_centroid():
    cost = np.random.default_rng(2).random((100, 5))
    np.testing.assert_array_equal(greedy_assignment(cost, 100), cost.argmin(1))


def test_assignment_leaves_the_costs_alone():
    cost = np.random.default_rng(3).random((50, 5))
    before = cost.copy()
    greedy_assignment(cost, 10)
    np.testing.assert_array_equal(cost, before)


def naive_cluster(sides, shards, capacity, iterations, rng, collapse):
    """RecEraser's loop row by row, without the early stop at a fixpoint."""
    rows = len(sides[0][1])
    points = [table[index].astype(np.float64) for table, index in sides]
    first = rng.choice(rows, shards, replace=False)
    centroids = [p[first] for p in points]
    for _ in range(iterations):
        cost = np.array([[np.prod([((p[r] - c[k]) ** 2).sum() for p, c in zip(points, centroids, strict=True)])
                          for k in range(shards)] for r in range(rows)])  # fmt: skip
        partition = walk(cost, capacity)
        for p, c in zip(points, centroids, strict=True):
            for k in range(shards):
                if (partition == k).any():
                    c[k] = p[partition == k].mean() if collapse else p[partition == k].mean(0)
    return partition


@pytest.mark.parametrize("collapse", [False, True])
def test_clustering_equals_the_plain_loop(collapse):
    sides = world(rows=120)
    found = cluster(sides, 4, partial(greedy_assignment, capacity=36), 12, np.random.default_rng(5), collapse)
    np.testing.assert_array_equal(found, naive_cluster(sides, 4, 36, 12, np.random.default_rng(5), collapse))


def test_collapsed_centroids_give_another_partition():
    sides, assign = world(), partial(greedy_assignment, capacity=90)
    whole = cluster(sides, 4, assign, 10, np.random.default_rng(0))
    collapsed = cluster(sides, 4, assign, 10, np.random.default_rng(0), collapse=True)
    assert (whole != collapsed).mean() > 0.1


def test_a_fixpoint_ends_the_loop_and_more_rounds_change_nothing():
    sides, rounds = world(), []

    def assign(cost):
        rounds.append(1)
        return greedy_assignment(cost, 90)

    settled = cluster(sides, 4, assign, 500, np.random.default_rng(0))
    used = len(rounds)
    assert used < 500
    np.testing.assert_array_equal(settled, cluster(sides, 4, assign, used + 50, np.random.default_rng(0)))


def test_clustering_finds_planted_blocks():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(3), 100)
    table = (10 * np.eye(3)[np.repeat(np.arange(3), 20)] + 0.1 * rng.standard_normal((60, 3))).astype(np.float32)
    index = block * 20 + rng.integers(0, 20, 300)
    # One good start is enough; k-means started from random rows is known to miss some.
    found = [cluster([(table, index)], 3, partial(greedy_assignment, capacity=120), 50, np.random.default_rng(s)) for s in range(8)]
    assert any(all(len(set(partition[block == b])) == 1 for b in range(3)) for partition in found)


def test_one_shard_takes_all():
    assert not random_partition(7, 1, np.random.default_rng(0)).any()
    assert not cluster(world(rows=7), 1, partial(greedy_assignment, capacity=9), 3, np.random.default_rng(0)).any()


def test_bad_sizes_are_refused():
    with pytest.raises(UsageError, match="3 rows into 4 shards"):
        random_partition(3, 4, np.random.default_rng(0))
    with pytest.raises(UsageError, match="cannot hold 10 rows"):
        greedy_assignment(np.ones((10, 3)), 3)
    with pytest.raises(UsageError, match="iterations=0"):
        cluster(world(), 4, partial(greedy_assignment, capacity=90), 0, np.random.default_rng(0))
