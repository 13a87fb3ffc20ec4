"""Test labels are out of reach: of what is handed to a runner, and of everything in a worker's memory."""

import sys
from multiprocessing import forkserver

import numpy as np
import pandas as pd
import pytest
import torch
from craftbench.benchmarks.exercise import exercises, holds_any
from craftbench.core.task import UnlearningTask, View
from craftbench.testing import reachable
from toyspy import Spy


def test_reach_goes_through_attributes_closures_views_and_gc():
    secret = np.arange(7.0)
    view = secret[:3]

    def holder():
        return secret

    class Box:
        def __init__(self, inside):
            self.inside = inside

    for root in (Box({"a": [secret]}), holder, lambda at=secret: at, view, Box(holder), (each for each in [secret])):
        assert any(each is secret for each in reachable(root)), root
    assert not any(each is secret for each in reachable(Box(1), np.zeros(3), len, sys))


def test_labels_are_known_in_any_dress():
    labels = np.array([1, 0, 0, 1, 1, 0, 1], dtype=np.float32)
    hidden, views = [pd.DataFrame({"label": labels})], [View("test", {"user": np.arange(7)})]
    dresses = (labels, labels.astype(bool), 1 - labels, labels.reshape(7, 1), torch.tensor(labels), labels.tolist())
    for dress in dresses:
        assert holds_any(hidden, views, [dress])
    assert not holds_any(hidden, views, [labels[::-1], labels[:-1], torch.zeros(7), "1001101"])
    assert not holds_any([pd.DataFrame({"user": np.arange(7)})], views, [np.arange(7)])  # what a view shows is not hidden


@pytest.mark.slow
def test_a_worker_holds_no_test_label_while_a_runner_is_at_work(tmp_path, monkeypatch):
    from craftbench.benchmarks.backends.local import LocalBackend
    from craftbench.benchmarks.cell import Job

    monkeypatch.setenv("SPY_FILE", str(tmp_path / "seen.npz"))
    forkserver._forkserver._stop()  # one that another test left does not know where the spy writes
    exercise = exercises(UnlearningTask)[0]
    backend = LocalBackend(1, 4000)
    try:
        backend.submit(0, Job("final", Spy, {}, 1, exercise.spec, exercise.folder))
        events = []
        while not any(event.kind in ("outcome", "died") for event in events):
            events += backend.wait(1.0)
    finally:
        backend.close()
    result = events[-1].outcome.result
    assert result["status"] == "ok", result["traceback"]
    assert "test/auc" in result["metrics"]  # the labels were read, after predict
    with np.load(tmp_path / "seen.npz") as seen:
        arrays = [seen[name] for name in seen.files]
    valid = exercise.spec.open(exercise.folder).valid.label
    assert any(np.array_equal(each, valid) for each in arrays)  # the spy can see
    assert not holds_any(exercise.hidden(), exercise.spec.views(exercise.folder), arrays)
