"""SISA: equal random shards; with one shard it is Retrain, and an aggregator (I16)."""

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning.sisa import SISA
from craftbench.core.context import RunContext
from craftbench.core.metrics.classification import auc
from craftbench.core.task import Interactions, UnlearningTask, View
from craftbench.models.aggregation import AttentionAggregation, MeanOfShards
from craftbench.models.pointwise import FittedFactors, build, train

USERS, ITEMS = 60, 40


def rows(count, seed):
    """Labels from a planted low-rank taste."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, USERS, count), rng.integers(0, ITEMS, count)
    taste = np.random.default_rng(9).standard_normal((USERS + ITEMS, 2))
    label = ((taste[user] * taste[USERS + item]).sum(1) + 0.8 > 0).astype(np.float32)
    return Interactions(user, item, label, USERS, ITEMS)


@pytest.fixture(scope="module")
def task():
    removed = np.random.default_rng(5).random(2000) < 0.1
    return UnlearningTask("planted", rows(2000, 0), removed, rows(800, 1), "mf")


@pytest.fixture(scope="module")
def test_view():
    test = rows(800, 2)
    return View("test", {"user": test.user, "item": test.item}), test.label


def params(**values):
    return SISA.Params(**{"lr": 0.05, "init_std": 0.1, "batch_size": 256, "max_epochs": 25, "shard_epochs": 25, **values})


def retrained(task, params, run):
    """Retrain, on the seed streams of shard 0."""
    model = build(task.backbone, task.retained, params, run.generator("shard 0 init"))
    train(model, task.retained, task.valid, params, run, stream="shard 0 batches")
    return model


def test_shards_differ_by_one_row(task):
    sizes = np.bincount(SISA().fit(task, params(shards=7, shard_epochs=1, max_epochs=1), RunContext(0)).partition)
    assert sizes.sum() == 2000
    assert sizes.max() - sizes.min() <= 1


def test_one_shard_is_retrain_bit_for_bit(task, test_view):
    settings = params(shards=1, aggregate="mean")
    fitted = SISA().fit(task, settings, RunContext(0))
    model = retrained(task, settings, RunContext(0))
    assert torch.equal(fitted.combination.tables[0], model.embeddings.detach())
    score = FittedFactors(model, settings, "mf").predict(test_view[0])["score"]
    np.testing.assert_allclose(fitted.predict(test_view[0])["score"], score, rtol=1e-4, atol=1e-5)


def test_one_shard_under_attention_is_retrain_and_an_aggregator(task, test_view):
    settings = params(shards=1)
    fitted = SISA().fit(task, settings, RunContext(0))
    assert torch.equal(fitted.combination.tables[0], retrained(task, settings, RunContext(0)).embeddings.detach())
    assert auc(fitted.predict(test_view[0])["score"], test_view[1]) > 0.8


def test_the_named_aggregation_is_the_one_that_runs(task):
    quick = {"shards": 3, "shard_epochs": 1, "max_epochs": 1}
    assert isinstance(SISA().fit(task, params(**quick), RunContext(0)).combination, AttentionAggregation)
    assert isinstance(SISA().fit(task, params(**quick, aggregate="mean"), RunContext(0)).combination, MeanOfShards)


@pytest.mark.parametrize("aggregate", ["attention", "mean"])
def test_it_learns(task, test_view, aggregate):
    fitted = SISA().fit(task, params(shards=3, aggregate=aggregate), RunContext(0))
    assert auc(fitted.predict(test_view[0])["score"], test_view[1]) > 0.7
