"""Original, Retrain, fine-tuning and popularity: what each may see, and what each leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning.fine_tuning import FineTuning
from craftbench.baselines.unlearning.original import Original
from craftbench.baselines.unlearning.popularity import Popularity
from craftbench.baselines.unlearning.retrain import Retrain
from craftbench.baselines.unlearning.scif import SCIF
from craftbench.core.context import RunContext
from craftbench.core.metrics.classification import auc
from craftbench.core.task import Interactions
from craftbench.models.lightgcn import LightGCN, normalised_adjacency
from craftbench.models.pointwise import FactorParams, fit_factors

RUNNERS = [Original, Retrain, FineTuning, Popularity, SCIF]
BLIND = [Retrain, FineTuning, Popularity]  # rows that must not see D_r once they have their parents


def settings(runner, fast):
    return fast if runner.Params is FactorParams else runner.Params()


def fit(runner, task, fast, original=None, root=3, **context):
    run = RunContext(root, parents={"original": original} if runner.requires else {}, **context)
    return runner().fit(task, settings(runner, fast), run)


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_same_seed_same_digits_inputs_left_alone_and_the_folder_keeps_them(
    runner, backbone, flipped_task, original_of, fast_params, clean_rows, tmp_path
):
    task, (_, view) = flipped_task(backbone), clean_rows
    original = original_of(task)
    start = {name: value.clone() for name, value in original.model.state_dict().items()}
    tables = [task.train.user, task.train.item, task.train.label, task.removed, task.valid.label]
    before = [table.copy() for table in tables]
    fitted = fit(runner, task, fast_params, original)
    score = fitted.predict(view)["score"]
    assert score.shape == (view.rows,)
    assert score.dtype == np.float32
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(score, fit(runner, task, fast_params, original).predict(view)["score"])
    fitted.save(tmp_path)
    np.testing.assert_array_equal(score, runner.fitted.load(tmp_path).predict(view)["score"])
    for table, copy in zip(tables, before, strict=True):
        np.testing.assert_array_equal(table, copy)
    for name, value in original.model.state_dict().items():
        assert torch.equal(value, start[name])


@pytest.mark.parametrize("runner", RUNNERS)
def test_parameters_survive_json(runner):
    params = runner.Params()
    assert runner.Params.model_validate_json(params.model_dump_json()) == params


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
@pytest.mark.parametrize("runner", BLIND)
def test_removed_rows_leave_no_trace(runner, backbone, flipped_task, original_of, fast_params, clean_rows):
    task, (_, view) = flipped_task(backbone), clean_rows
    original = original_of(task)
    others = Interactions(
        np.where(task.removed, 0, task.train.user), np.where(task.removed, 1, task.train.item),
        np.where(task.removed, 1, task.train.label).astype(np.float32), task.train.users, task.train.items,
    )  # fmt: skip
    one, other = (fit(runner, given, fast_params, original) for given in (task, replace(task, train=others)))
    np.testing.assert_array_equal(one.predict(view)["score"], other.predict(view)["score"])


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_retrain_is_better_than_original_and_fine_tuning_lies_between(backbone, flipped_task, original_of, fast_params, clean_rows):
    task, (rows, view) = flipped_task(backbone), clean_rows
    original = original_of(task)

    def quality(fitted):
        return auc(fitted.predict(view)["score"], rows.label)

    tuned = FineTuning().fit(task, FineTuning.Params(tuning_lr=1e-2), RunContext(3, parents={"original": original}))
    assert quality(original) < quality(tuned) < quality(fit(Retrain, task, fast_params))


def test_original_is_trained_on_all_rows_with_the_shared_streams(flipped_task, fast_params, clean_rows):
    task, (_, view) = flipped_task(), clean_rows
    run = RunContext(3)
    fitted = Original().fit(task, fast_params, run)
    expected, training = fit_factors("mf", task.train, task.valid, fast_params, RunContext(3))
    np.testing.assert_array_equal(fitted.predict(view)["score"], expected.predict(view)["score"])
    assert run.notes == {"best_epoch": training.best_epoch}


def test_retrain_tells_when_it_was_best_and_when_it_stopped(flipped_task, fast_params):
    run = RunContext(3)
    Retrain().fit(flipped_task(), fast_params, run)
    assert 0 < run.clocks["to_best"] < run.clocks["to_stop"]
    assert run.notes["epochs"] - run.notes["best_epoch"] == fast_params.patience + 1


def test_fine_tuning_starts_from_original_on_the_retained_graph(flipped_task, original_of):
    task = flipped_task("lightgcn")
    original = original_of(task)
    run = RunContext(3, parents={"original": original})
    model = FineTuning().fit(task, FineTuning.Params(tuning_lr=0.0, tuning_epochs=1), run).model
    assert isinstance(model, LightGCN)
    assert torch.equal(model.embeddings, original.model.embeddings)
    positive = task.retained[task.retained.label == 1]
    expected = normalised_adjacency(positive.user, positive.item, positive.users, positive.items)
    assert torch.equal(model.adjacency.to_dense(), expected.to_dense())


@pytest.mark.parametrize("runner", [Original, Retrain, FineTuning])
def test_epochs_are_reported(runner, flipped_task, original_of, fast_params):
    seen = []
    task = flipped_task()
    fit(runner, task, fast_params, original_of(task), listener=lambda step, value: seen.append((step, value)))
    assert [step for step, _ in seen] == list(range(1, len(seen) + 1))
    assert all(0 < value < 1 for _, value in seen)
