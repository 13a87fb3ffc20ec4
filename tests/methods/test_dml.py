"""DML as a row: the labels its parameters ask for, learned, kept, and the library's face."""

import numpy as np
import pytest
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.watch_time import xgauc
from craftbench.core.task import View, Watched, WatchTime
from craftbench.methods import dml
from craftbench.methods.dml import DML, DMLParams
from craftbench.models.watch_labels import WatchTimeLabels
from craftbench.models.watch_runner import FittedWatchTime

SMALL = {"dim": 4, "hidden": 16, "batch_size": 64, "lr": 1e-2, "l2": 1e-6, "max_epochs": 8, "min_rows": 50}


def watched(rows, seed):
    """Users like what suits them, and longer videos are watched for longer."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((20, 15))
    user, item = rng.integers(0, 20, rows), rng.integers(0, 15, rows)
    duration = (6 + 3 * item).astype(np.float32)
    watch_time = duration / (1 + np.exp(-2 * taste[user, item])) * rng.uniform(0.7, 1.3, rows)
    inputs = {"duration_bucket": 1 + item // 3, "item_id": 1 + item, "user_id": 1 + user}
    return Watched(inputs, {}, watch_time.astype(np.float32), duration)


TRAIN, VALID, TEST = watched(2000, 0), watched(600, 1), watched(600, 2)
TASK = WatchTime("world", TRAIN, VALID, (), {"duration_bucket": 7, "item_id": 16, "user_id": 21}, ())
VIEW = View("test", {**TEST.inputs, "seconds_long": TEST.duration})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"binary": "lv", "debiased": False},
        {"binary": "none", "loss": "bce"},
        {"binary": "none", "loss": "softmax", "decoder": "expected", "levels": 20},
        {"loss": "cumulative", "decoder": "expected", "levels": 20, "duration_bins": 0},
    ],
    ids=["default", "wpr + lv", "bce", "softmax", "cumulative"],
)
def test_a_planted_taste_is_learned_and_kept(values, tmp_path):
    params = DMLParams.resolve({**SMALL, **values})
    fitted = DML().fit(TASK, params, RunContext(3))
    fitted.save(tmp_path)
    found = fitted.predict(VIEW)
    for output, least in (("seconds", 0.6), ("fused", 0.55), ("score", 0.55)):  # a debiased score does not ask for length
        assert xgauc(found[output], TEST.watch_time, TEST.inputs["user_id"]) > least
    assert found["seconds"].min() >= 0
    for each in (DML().fit(TASK, params, RunContext(3)), FittedWatchTime.load(tmp_path)):
        for output, prediction in each.predict(VIEW).items():
            np.testing.assert_array_equal(prediction, found[output])


def test_parameters_say_which_labels():
    made = DML().target(TRAIN, DMLParams(duration_bins=0, levels=20, binary="lv", loss="softmax", min_rows=5, debiased=False))
    assert (made.outputs, made.binary, made.debiased) == (20, ("lv_d", "lv_v", "lv_u"), False)
    assert len(made.watch_labels.groups) == 15
    assert DML().target(TRAIN, DMLParams()).binary == ("ev_d", "ev_v", "ev_u")
    assert DML().target(TRAIN, DMLParams(binary="none")).watch_labels.sides == ()
    with pytest.raises(UsageError, match="softmax or cumulative"):
        DML().target(TRAIN, DMLParams(decoder="expected"))


def test_searched_are_the_labels_own_settings():
    common = set(DML.Params.__mro__[1].spaces())
    assert set(DMLParams.spaces()) - common == {"duration_bins", "levels", "decay"}
    assert set(DMLParams.spaces()["levels"].choices) == {20, 50, 100}
    assert set(DMLParams.spaces()["decay"].choices) == {1.0, 0.98, 0.95, 0.9}


def test_the_library_is_found_here():
    assert dml.WatchTimeLabels is WatchTimeLabels
