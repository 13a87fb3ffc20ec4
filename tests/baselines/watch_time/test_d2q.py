"""D2Q: the exact rank in the group against scipy, back to the second; DML's label with as many levels as rows."""

import numpy as np
import torch
from craftbench.baselines.watch_time.d2q import D2Q, D2QParams, DurationQuantile
from craftbench.core.context import RunContext
from craftbench.core.metrics.watch_time import xgauc
from craftbench.core.task import View, Watched, WatchTime
from craftbench.models.watch_labels import WatchTimeLabels
from craftbench.models.watch_percentile import PercentileRank
from craftbench.models.watch_runner import FittedWatchTime
from scipy.special import logit
from scipy.stats import rankdata


def watched(rows=3000, seed=0):
    """Users like what suits them, longer videos are watched for longer, and every tenth play ends with the video."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((20, 15))
    user, item = rng.integers(0, 20, rows), rng.integers(0, 15, rows)
    duration = (6 + 3 * item).astype(np.float32)
    watch_time = duration / (1 + np.exp(-2 * taste[user, item])) * rng.uniform(0.7, 1.3, rows)
    watch_time = np.where(rng.random(rows) < 0.1, duration, watch_time.round(1))
    inputs = {"duration_bucket": 1 + item // 3, "item_id": 1 + item, "user_id": 1 + user}
    return Watched(inputs, {}, watch_time.astype(np.float32), duration)


ROWS = watched()
SMALL = {"dim": 4, "hidden": 16, "batch_size": 64, "lr": 1e-2, "l2": 1e-6, "max_epochs": 8}


def test_the_label_is_the_rank_in_the_group_and_comes_back():
    fitted = DurationQuantile.fit(ROWS, 5)
    g = fitted.groups.of(ROWS.duration)
    assert len(np.unique(g)) == 5
    found = fitted.labels(ROWS)
    for k in range(5):
        wanted = rankdata(np.rint(ROWS.watch_time[g == k] * 10), method="max") / (g == k).sum()
        np.testing.assert_array_equal(found[g == k, 0], wanted.astype(np.float32))
    with np.errstate(divide="ignore"):
        back = fitted.seconds(logit(found.astype(np.float64)), ROWS.duration)
    np.testing.assert_allclose(back, ROWS.watch_time, atol=0.02)


def test_it_is_dml_with_one_group_and_as_many_equal_levels_as_rows():
    labels = WatchTimeLabels(1, 3000, 1.0, min_rows=1, sides=())
    dml, d2q = PercentileRank.fit(ROWS, labels), DurationQuantile.fit(ROWS, 1)
    np.testing.assert_array_equal(dml.labels(ROWS), d2q.labels(ROWS))
    head = np.random.default_rng(0).standard_normal((3000, 1)).astype(np.float32)
    np.testing.assert_array_equal(dml.seconds(head, ROWS.duration), d2q.seconds(head, ROWS.duration))
    z, label = torch.from_numpy(head), torch.from_numpy(d2q.labels(ROWS))
    assert dml.loss(z, label) == d2q.loss(z, label)


def test_labels_of_rows_that_train_has_not():
    fitted = DurationQuantile.fit(ROWS, 5)
    before = fitted.labels(ROWS)
    long = np.float32([1, 9000, 20, 20])
    other = fitted.labels(Watched({"user_id": np.zeros(4, np.int64)}, {}, np.float32([0, 7200, 0, 7200]), long))
    assert other[1] == other[3] == 1
    assert (other > 0).all()
    np.testing.assert_array_equal(fitted.labels(ROWS), before)


def test_restored_is_the_same():
    fitted = DurationQuantile.fit(ROWS, 5)
    again = DurationQuantile.restored(*fitted.state())
    head = np.random.default_rng(0).standard_normal((3000, 1)).astype(np.float32)
    np.testing.assert_array_equal(again.labels(ROWS), fitted.labels(ROWS))
    np.testing.assert_array_equal(again.seconds(head, ROWS.duration), fitted.seconds(head, ROWS.duration))


def test_a_planted_taste_is_learned_and_kept(tmp_path):
    task = WatchTime("world", ROWS, watched(600, 1), (), {"duration_bucket": 7, "item_id": 16, "user_id": 21}, ())
    params, rows = D2QParams.resolve({**SMALL, "duration_bins": 10}), watched(600, 2)
    fitted, again = (D2Q().fit(task, params, RunContext(3)) for _ in "ab")
    assert len(fitted.target.groups) == 10
    fitted.save(tmp_path)
    view = View("test", {**rows.inputs, "seconds_long": rows.duration})
    found = fitted.predict(view)
    assert xgauc(found["seconds"], rows.watch_time, rows.inputs["user_id"]) > 0.6
    for each in (again, FittedWatchTime.load(tmp_path)):
        for output, prediction in each.predict(view).items():
            np.testing.assert_array_equal(prediction, found[output])
