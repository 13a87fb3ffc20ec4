"""The model-free floor: counted log-odds."""

from dataclasses import replace

import numpy as np
import pytest
from craftbench.baselines.unlearning.popularity import Popularity, log_odds
from craftbench.core.context import RunContext
from craftbench.core.metrics.classification import auc
from hypothesis import given
from hypothesis import strategies as st


def test_log_odds_by_hand():
    ids, label = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0], dtype=np.float32)
    odds = log_odds(ids, label, 3, mean=0.25, smoothing=4.0)
    np.testing.assert_allclose(odds, np.log([(2 + 1) / (1 + 3), (0 + 1) / (1 + 3), 1 / 3]), rtol=1e-6)


@given(smoothing=st.floats(1e-3, 1e3), mean=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_more_smoothing_draws_everybody_to_the_mean(smoothing, mean, seed):
    rng = np.random.default_rng(seed)
    ids, label = rng.integers(0, 5, 40), rng.integers(0, 2, 40).astype(np.float32)
    centre = np.log(mean / (1 - mean))
    near, far = (np.abs(log_odds(ids, label, 5, mean, k) - centre) for k in (2 * smoothing, smoothing))
    assert (near <= far + 1e-5).all()


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_kind_of_label_gives_finite_scores(label, flipped_task, clean_rows):
    task, (_, view) = flipped_task(), clean_rows
    task = replace(task, train=replace(task.train, label=np.full(len(task.train), label, np.float32)))
    score = Popularity().fit(task, Popularity.Params(), RunContext(0)).predict(view)["score"]
    assert np.isfinite(score).all()


def test_it_knows_something_and_no_seed_matters(flipped_task, clean_rows):
    task, (rows, view) = flipped_task(), clean_rows
    one, other = (Popularity().fit(task, Popularity.Params(), RunContext(root)).predict(view)["score"] for root in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert auc(one, rows.label) > 0.55
