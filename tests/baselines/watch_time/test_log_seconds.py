"""Log seconds: the labels of TR on another scale, and back without overflow."""

import numpy as np
from craftbench.baselines.watch_time.log_seconds import LogSeconds
from craftbench.core.task import Watched


def _rows(watch_time):
    watch = np.asarray(watch_time, dtype=np.float32)
    return Watched({}, {}, watch, np.full(len(watch), 30, dtype=np.float32))


def test_labels_are_standard_and_decode_to_the_watch_time():
    rows = _rows([0, 0.4, 3, 60, 4000])
    target = LogSeconds.fit(rows)
    labels = target.labels(rows)
    assert abs(labels.mean()) < 1e-6
    assert abs(labels.std() - 1) < 1e-6
    assert np.allclose(target.seconds(labels, rows.duration), rows.watch_time, rtol=1e-5, atol=1e-5)


def test_seconds_are_finite_and_not_negative():
    target = LogSeconds.fit(_rows([1, 2, 3]))
    seconds = target.seconds(np.array([[-1e6], [1e6]], dtype=np.float32), np.ones(2, dtype=np.float32))
    assert seconds[0] == 0
    assert np.isfinite(seconds).all()


def test_one_watch_time_for_all():
    target = LogSeconds.fit(_rows([5, 5]))
    assert np.allclose(target.seconds(target.labels(_rows([5])), np.ones(1, dtype=np.float32)), 5)
