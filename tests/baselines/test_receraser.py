"""RecEraser: the partition is the balanced clustering of Original's embeddings (I16)."""

from functools import partial

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning.receraser import RecEraser, capacity
from craftbench.core.context import RunContext
from craftbench.core.task import Interactions, UnlearningTask
from craftbench.models.pointwise import FactorParams, FittedFactors, build
from craftbench.models.shards import cluster, greedy_assignment
from hypothesis import given, settings
from hypothesis import strategies as st

USERS, ITEMS = 30, 20
QUICK = {"shard_epochs": 1, "max_epochs": 1}


def fit(rows=400, seed=0, backbone="mf", **values):
    rng = np.random.default_rng(seed)

    def table(count):
        return Interactions(rng.integers(0, USERS, count), rng.integers(0, ITEMS, count),
                            np.arange(count, dtype=np.float32) % 2, USERS, ITEMS)  # fmt: skip

    task = UnlearningTask("small", table(rows), rng.random(rows) < 0.1, table(60), backbone)
    base = FactorParams(init_std=1.0)
    original = FittedFactors(build(backbone, task.train, base, torch.Generator().manual_seed(seed)), base, backbone)
    run = RunContext(seed, parents={"original": original})
    return RecEraser().fit(task, RecEraser.Params(**{**QUICK, **values}), run), original, task


@given(rows=st.integers(1, 10**7), shards=st.integers(1, 100))
def test_the_capacity_is_the_ceiling_in_whole_numbers(rows, shards):
    room = capacity(rows, shards)
    assert (room - 1) * 10 * shards < 12 * rows <= room * 10 * shards
    assert room * shards >= rows


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(60, 300), shards=st.integers(1, 6), seed=st.integers(0, 1000))
def test_every_row_is_in_one_shard_of_at_most_the_capacity(rows, shards, seed):
    fitted, _, _ = fit(rows, seed, shards=shards, iterations=5)
    sizes = np.bincount(fitted.partition, minlength=shards)
    assert fitted.partition.shape == (rows,)
    assert len(sizes) == shards
    assert sizes.max() <= capacity(rows, shards)


@pytest.mark.parametrize(("centroid", "collapse"), [("mean", False), ("as_released", True)])
@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_the_partition_comes_from_the_embeddings_that_original_scores_with(centroid, collapse, backbone):
    fitted, original, task = fit(backbone=backbone, shards=4, centroid=centroid)
    model = original.model
    table = model.propagate(model.embeddings).detach().numpy()
    sides = [(table[:USERS], task.train.user), (table[USERS:], task.train.item)]
    assign = partial(greedy_assignment, capacity=120)
    expected = cluster(sides, 4, assign, 50, RunContext(0).rng("partition"), collapse)
    np.testing.assert_array_equal(fitted.partition, expected)


def test_original_is_left_as_it_was():
    _, original, task = fit(shards=4)
    start = build("mf", task.train, original.params, torch.Generator().manual_seed(0))
    assert torch.equal(original.model.embeddings, start.embeddings)


def test_shards_hold_similar_rows():
    """Within a shard, rows are closer to their centroid than the same rows are in random shards."""
    fitted, original, task = fit(rows=2000, shards=5)
    table = original.model.embeddings.detach().numpy()

    def spread(partition):
        ends = (table[task.train.user], table[USERS + task.train.item])
        return sum(((e[partition == k] - e[partition == k].mean(0)) ** 2).sum() for e in ends for k in range(5))

    assert spread(fitted.partition) < 0.95 * spread(np.random.default_rng(0).permutation(fitted.partition))
