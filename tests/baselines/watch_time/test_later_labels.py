"""What every later label promises: finite on any log, seconds in their range, train alone, one state; and what its row learns."""

import json

import numpy as np
import pytest
import torch
from craftbench.baselines.watch_time.cqe import CQE
from craftbench.baselines.watch_time.cwm import CWM
from craftbench.baselines.watch_time.d2co import D2Co
from craftbench.baselines.watch_time.dvr import DVR
from craftbench.baselines.watch_time.floor import WatchFloor
from craftbench.baselines.watch_time.ndt import NDT
from craftbench.baselines.watch_time.pcr import PCR
from craftbench.baselines.watch_time.wtg import WTG
from craftbench.core.context import RunContext
from craftbench.core.metrics.watch_time import xauc
from craftbench.core.task import View, Watched, WatchTime
from craftbench.models.watch_target import Target
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

ROWS = {"pcr": (PCR, {}), "wtg": (WTG, {}), "wtg-probability": (WTG, {"label": "probability"}), "dvr": (DVR, {}), "ndt": (NDT, {})}
ROWS |= {"d2co": (D2Co, {}), "cwm": (CWM, {}), "cqe": (CQE, {"levels": 20})}
CUT = set(ROWS) - {"cqe"}  # whose seconds end with the video
EVERY = pytest.mark.parametrize("key", ROWS)
USERS, ITEMS = 30, 20


def watched(watch_time, duration, user=None, item=None):
    y, d = np.asarray(watch_time, np.float32), np.asarray(duration, np.float32)
    ids = [np.zeros(len(y), np.int64) if each is None else each for each in (user, item)]
    bucket = 1 + np.clip(d // 10, 0, 8).astype(np.int64)
    return Watched(dict(zip(("user_id", "item_id", "duration_bucket"), (*ids, bucket), strict=True)), {}, y, d)


def world(rows, seed):
    """A user watches a share of a video that their match decides; item k lasts 6 + 4 k seconds."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((USERS + ITEMS, 2))
    user, item = rng.integers(1, USERS, rows), rng.integers(1, ITEMS, rows)
    duration = 6.0 + 4 * item
    match = (taste[user] * taste[USERS + item]).sum(1)
    share = 1 / (1 + np.exp(-1.5 * match - 0.5 * rng.standard_normal(rows)))
    found = watched(duration * np.minimum(1.2 * share, 1), duration, user, item)
    for column in (*found.inputs.values(), found.watch_time, found.duration):
        column.flags.writeable = False
    return found


FIELDS = {"user_id": USERS, "item_id": ITEMS, "duration_bucket": 10}
TASK = WatchTime("world", world(3000, 0), world(600, 1), (), FIELDS, ())
FRESH = world(600, 2)
VIEW = View("test", {**FRESH.inputs, "user": FRESH.inputs["user_id"], "seconds_long": FRESH.duration})
SMALL = {"dim": 8, "hidden": 16, "batch_size": 256, "lr": 1e-2, "l2": 1e-6, "max_epochs": 20, "patience": 8}


def target_of(key, train):
    runner, pinned = ROWS[key]
    return runner().target(train, runner.Params.resolve(pinned))


def fit(key, **values):
    runner, pinned = ROWS[key]
    return runner().fit(TASK, runner.Params.resolve({**SMALL, **pinned, **values}), RunContext(0))


# Any log

SECONDS = st.sampled_from([0.0, 0.4, 1.0, 1.5, 7.0, 30.0, 240.0, 3599.5, 20000.0]) | st.floats(0, 400, width=32)
LENGTHS = st.sampled_from([0.25, 1.0, 2.0, 15.0, 60.0, 9000.0]) | st.floats(0.25, 400, width=32)
SAME = st.tuples(SECONDS, LENGTHS, st.integers(1, 9)).map(lambda each: [each[:2]] * each[2])
LOGS = st.lists(st.tuples(SECONDS, LENGTHS), min_size=1, max_size=30) | SAME


@EVERY
@given(log=LOGS, other=LOGS, head=hnp.arrays(np.float32, (4, 19), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_finite_on_any_log(key, log, other, head):
    target = target_of(key, watched(*zip(*log, strict=True)))
    for rows in (watched(*zip(*log, strict=True)), watched(*zip(*other, strict=True))):
        labels, binary = target.labels(rows), target.binary_labels(rows)
        assert (labels.dtype, labels.ndim, len(labels)) == (np.float32, 2, len(rows))
        assert np.isfinite(labels).all()
        assert binary.shape == (len(rows), len(target.binary))
        assert set(binary.ravel()) <= {0, 1}
        start = torch.zeros(len(rows), target.outputs, requires_grad=True)
        loss = target.loss(start, torch.from_numpy(labels))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(start.grad).all()
    duration = np.resize(np.float32([each[1] for each in other]), 4)
    outputs = np.ascontiguousarray(head[:, : target.outputs])
    seconds = target.seconds(outputs, duration)
    assert (seconds.dtype, seconds.shape) == (np.float32, (4,))
    assert np.isfinite(seconds).all()
    assert (seconds >= 0).all()
    if key in CUT:
        assert (seconds <= np.maximum(np.rint(duration), 1)).all()


@EVERY
@given(log=LOGS)
def test_equal_watches_have_equal_labels_and_longer_ones_no_lower(key, log):
    target = target_of(key, watched(*zip(*log, strict=True)))
    longer = np.sort(np.float32([y for y, _ in log] * 2))
    labels = target.labels(watched(longer, np.full(len(longer), log[0][1])))[:, 0]
    np.testing.assert_array_equal(labels[::2], labels[1::2])
    assert (np.diff(labels) >= 0).all()


@EVERY
def test_seconds_rise_with_the_output(key):
    target = target_of(key, TASK.train)
    head = np.repeat(np.linspace(-6, 6, 50, dtype=np.float32)[:, None], target.outputs, axis=1)
    seconds = target.seconds(head, np.full(50, 50, np.float32))
    assert (np.diff(seconds) >= 0).all()
    assert seconds[-1] > seconds[0]
    assert (np.diff(target.score(head, np.full(50, 50, np.float32))) >= 0).all()


@EVERY
def test_labels_depend_on_train_alone(key):
    """The same target, whatever other rows it is asked about with a row, and however train is sorted."""
    target, order = target_of(key, TASK.train), np.random.default_rng(0).permutation(len(TASK.train))
    again = target_of(key, TASK.train[order])
    np.testing.assert_array_equal(target.labels(FRESH[:50]), target.labels(FRESH)[:50])
    np.testing.assert_allclose(again.labels(FRESH), target.labels(FRESH), rtol=1e-5, atol=1e-6)


@EVERY
def test_state(key):
    target = target_of(key, TASK.train)
    arrays, settings = target.state()
    assert Target.registry[target.name] is type(target)
    again = type(target).restored({name: each.copy() for name, each in arrays.items()}, json.loads(json.dumps(settings)))
    head = np.random.default_rng(0).normal(size=(len(FRESH), target.outputs)).astype(np.float32)
    assert (again.outputs, again.binary, again.adversary) == (target.outputs, target.binary, target.adversary)
    np.testing.assert_array_equal(again.labels(FRESH), target.labels(FRESH))
    np.testing.assert_array_equal(again.seconds(head, FRESH.duration), target.seconds(head, FRESH.duration))
    np.testing.assert_array_equal(again.binary_labels(FRESH), target.binary_labels(FRESH))


# Rows


@EVERY
def test_a_row_learns_and_survives_a_folder(key, tmp_path):
    fitted = fit(key)
    found = fitted.predict(VIEW)
    assert {name: (each.dtype, each.shape) for name, each in found.items()} == dict.fromkeys(TASK.outputs, (np.float32, (600,)))
    floor = WatchFloor().fit(TASK, WatchFloor.Params(), RunContext(0)).predict(VIEW)
    assert xauc(found["seconds"], FRESH.watch_time) > xauc(floor["seconds"], FRESH.watch_time)
    fitted.save(tmp_path)
    loaded = type(fitted).load(tmp_path).predict(VIEW)
    for name, values in found.items():
        np.testing.assert_array_equal(values, loaded[name])


def test_names():
    assert {runner.name for runner, _ in ROWS.values()} == {"pcr", "wtg", "dvr", "ndt", "d2co", "cwm", "cqe"}
