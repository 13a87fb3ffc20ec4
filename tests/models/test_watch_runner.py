"""A row from fit to predictions: what it yields, its trip through a folder, what it cannot do."""

import json
import re
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.watch_time import xgauc
from craftbench.models.watch_runner import FittedWatchTime, WatchTimeParams, WatchTimeRunner
from craftbench.models.watch_target import Target
from torch.nn.functional import mse_loss

SMALL = {"dim": 4, "hidden": 16, "batch_size": 128, "lr": 1e-2, "patience": 3, "max_epochs": 6}


@dataclass(frozen=True)
class Quarters(Target):
    """Two outputs; watch time in units of a quarter of the longest duration, and its double."""

    name = "quarters_of_the_tests"
    outputs = 2
    binary = ("long",)
    longest: float
    adversary: float = 0.0

    def labels(self, rows):
        share = 4 * rows.watch_time[:, None] / self.longest
        return np.concatenate([share, 2 * share], axis=1)

    def binary_labels(self, rows):
        return (rows.watch_time > 20).astype(np.float32)[:, None]

    def loss(self, head, labels):
        return mse_loss(head, labels)

    def seconds(self, head, duration):
        return np.maximum(head[:, 0] + head[:, 1], 0) * np.float32(self.longest / 12)

    def score(self, head, duration):
        return head[:, 1] / duration

    def state(self):
        return {"unit": np.array(self.longest)}, {"adversary": self.adversary}

    @classmethod
    def restored(cls, arrays, settings):
        return cls(float(arrays["unit"]), **settings)


class Quartered(WatchTimeRunner):
    name, title = "quartered", "Quartered"
    adversary = 0.0

    def target(self, train, params):
        return Quarters(float(train.duration.max()), self.adversary)


class Adverse(Quartered):
    adversary = 0.1


def fit(task, runner=Quartered, root=0, **values):
    run = RunContext(root)
    return runner().fit(task, WatchTimeParams.resolve({**SMALL, **values}), run), run


def test_predictions_are_what_the_task_asks_for(watch_task, watch_test):
    rows, view = watch_test
    fitted, run = fit(watch_task)
    found = fitted.predict(view)
    assert {name: values.dtype.type for name, values in found.items()} == dict(watch_task.outputs)
    assert all(values.shape == (len(rows),) and np.isfinite(values).all() for values in found.values())
    assert run.notes["epochs"] >= run.notes["best_epoch"] >= 1
    for name, least in (("seconds", 0.8), ("fused", 0.75)):
        assert xgauc(found[name], rows.watch_time, rows.inputs["user_id"]) > least


def test_seconds_and_score_are_the_targets_by_the_exact_duration(watch_task, watch_test):
    _, view = watch_test
    fitted, _ = fit(watch_task, max_epochs=1)
    longer = replace(view, columns={**view.columns, "seconds_long": 2 * view.columns["seconds_long"]})
    once, twice = fitted.predict(view), fitted.predict(longer)
    np.testing.assert_allclose(twice["score"], once["score"] / 2, rtol=1e-6)
    np.testing.assert_array_equal(twice["seconds"], once["seconds"])


def test_rows_are_predicted_without_looking_at_the_others(watch_task, watch_test):
    _, view = watch_test
    fitted, _ = fit(watch_task, max_epochs=1)
    some = replace(view, columns={name: column[5:9] for name, column in view.columns.items()})
    for name, values in fitted.predict(some).items():
        np.testing.assert_allclose(values, fitted.predict(view)[name][5:9], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runner", [Quartered, Adverse])
def test_a_saved_model_comes_back_bit_for_bit(watch_task, watch_test, runner, tmp_path):
    _, view = watch_test
    fitted, _ = fit(watch_task, runner, max_epochs=2, backbone="ple", dropout=0.1)
    fitted.save(tmp_path / "deep" / "folder")
    loaded = FittedWatchTime.load(tmp_path / "deep" / "folder")
    assert asdict(loaded.target) == asdict(fitted.target)
    for name, values in loaded.predict(view).items():
        np.testing.assert_array_equal(values, fitted.predict(view)[name])
    assert sorted(each.suffix for each in (tmp_path / "deep" / "folder").iterdir()) == [".json", ".safetensors"]


def test_a_target_that_nobody_defined_is_told(watch_task, tmp_path):
    fit(watch_task, max_epochs=1)[0].save(tmp_path)
    described = json.loads((tmp_path / "watch_time.json").read_text())
    (tmp_path / "watch_time.json").write_text(json.dumps({**described, "target": "quarter_of_the_tests"}))
    with pytest.raises(UsageError, match=re.escape("quarters_of_the_tests")):
        FittedWatchTime.load(tmp_path)


def test_neither_the_task_nor_a_view_is_written_to(watch_task, watch_test):
    """Their columns are read-only, so that whoever tries fails."""
    assert not any(each.flags.writeable for each in (watch_task.train.watch_time, watch_test[1].columns["user_id"]))
    fit(watch_task, max_epochs=1)[0].predict(watch_test[1])


def test_a_valid_part_without_an_order_cannot_be_stopped_by(watch_task):
    assert Quartered().cannot(watch_task) is None
    constant = replace(watch_task.valid, watch_time=np.full_like(watch_task.valid.watch_time, 3))
    assert "GAUC" in Quartered().cannot(replace(watch_task, valid=constant))
    strangers = {**watch_task.valid.inputs, "user_id": np.zeros_like(watch_task.valid.inputs["user_id"])}
    assert "GAUC" in Quartered().cannot(replace(watch_task, valid=replace(watch_task.valid, inputs=strangers)))


def test_strangers_of_valid_are_no_user(watch_task):
    """Rows of users that train does not know neither stop the training nor weigh in the fusion."""
    inputs = {name: column.copy() for name, column in watch_task.valid.inputs.items()}
    inputs["user_id"][:250] = 0
    mixed = replace(watch_task.valid, inputs=inputs)
    with_strangers = replace(watch_task, valid=mixed)
    without = replace(watch_task, valid=mixed[inputs["user_id"] > 0])
    a, b = (fit(each, max_epochs=2)[0].fusion for each in (with_strangers, without))
    np.testing.assert_allclose(a.weights, b.weights)
    np.testing.assert_allclose(a.outputs, b.outputs, rtol=1e-4, atol=1e-5)
