"""The floor: smoothed means, one after another, by hand and by pandas; ids that train lacks; the trip through a folder."""

import numpy as np
import pandas as pd
import pytest
from craftbench.baselines.watch_time.floor import FittedWatchFloor, WatchFloor, WatchFloorParams
from craftbench.core.context import RunContext
from craftbench.core.task import View, Watched, WatchTime

FIELDS = {"user_id": 6, "item_id": 5, "duration_bucket": 4, "tag": 3}


def rows(count, seed):
    rng = np.random.default_rng(seed)
    inputs = {name: rng.integers(1, size, count) for name, size in FIELDS.items()}
    return Watched(inputs, {}, rng.exponential(20, count).astype(np.float32), np.full(count, 30, np.float32))


def fitted(train, **values):
    return WatchFloor().fit(WatchTime("toy", train, rows(9, 9), (), FIELDS, ()), WatchFloorParams(**values), RunContext(0))


def view(**ids):
    return View("test", {name: np.asarray(each, np.int64) for name, each in ids.items()})


def test_by_hand():
    ids = {"user_id": np.array([1, 1]), "item_id": np.array([1, 2]), "duration_bucket": np.array([1, 1]), "tag": np.array([1, 1])}
    train = Watched(ids, {}, np.float32([10, 30]), np.float32([60, 60]))
    found = fitted(train, smoothing=1.0).predict(view(user_id=[1, 1, 0], item_id=[1, 2, 0], duration_bucket=[1, 1, 0]))
    np.testing.assert_allclose(found["seconds"], [15, 25, 20])  # half of each item's distance from 20; no user differs


def test_against_pandas():
    train, test = rows(400, 0), rows(50, 1)
    frame = pd.DataFrame(train.inputs).assign(rest=train.watch_time.astype(float))
    mean = frame.rest.mean()
    expected = np.full(50, mean)
    frame.rest -= mean
    for field in ("duration_bucket", "item_id", "user_id"):
        effect = frame.groupby(field).rest.agg(lambda rest: rest.sum() / (len(rest) + 7))
        frame.rest -= frame[field].map(effect)
        expected += pd.Series(test.inputs[field]).map(effect).to_numpy()
    found = fitted(train, smoothing=7.0).predict(view(**test.inputs))
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["score"], found["fused"])


def test_seconds_are_never_negative_but_scores_keep_their_order():
    effects = {"duration_bucket": np.float32([5, 5]), "item_id": np.float32([0, -9]), "user_id": np.float32([0, -3])}
    found = FittedWatchFloor(effects).predict(view(duration_bucket=[1, 1, 1], item_id=[1, 1, 0], user_id=[1, 0, 0]))
    np.testing.assert_array_equal(found["seconds"], [0, 0, 5])
    np.testing.assert_array_equal(found["score"], [-7, -4, 5])


def test_heavy_smoothing_is_the_mean():
    train = rows(400, 0)
    found = fitted(train, smoothing=1e9).predict(view(**rows(20, 1).inputs))
    assert found["seconds"] == pytest.approx(np.full(20, train.watch_time.mean()), rel=1e-4)


def test_folder(tmp_path):
    floor, columns = fitted(rows(400, 0)), view(**rows(20, 1).inputs)
    floor.save(tmp_path)
    for name, values in FittedWatchFloor.load(tmp_path).predict(columns).items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, floor.predict(columns)[name])
