"""Training under a balancer: one Adam step a batch, penalty folded in, leaves equal to the table, the trip through a folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.metrics.classification import auc
from craftbench.core.task import Impressions, MultiTask, View
from craftbench.models.geometry import Geometry
from craftbench.models.gradients import Balance, Balancer
from craftbench.models.multitask import MultiTaskModel
from craftbench.models.multitask_training import FittedMultiTask, MultiTaskParams, fit_tasks, rows_of, stepper
from craftbench.models.optimisers import Adam
from torch.nn.functional import binary_cross_entropy_with_logits

TASKS, FIELDS = ("seen", "liked"), {"user_id": 12, "item_id": 9}
SMALL = {"dim": 4, "hidden": 16, "init": "fan_in", "dropout": 0.0, "batch_size": 64, "lr": 1e-2, "patience": 3, "max_epochs": 12}


def impressions(rows, seed):
    """Two labels of opposite taste; read-only, as a task's tables are."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((12, 9))
    user, item = rng.integers(0, 12, rows), rng.integers(0, 9, rows)
    match = taste[user, item] + 0.3 * rng.standard_normal(rows)
    inputs = {"user_id": user, "item_id": item, "hint": (0.3 * match + rng.standard_normal(rows)).astype(np.float32)}
    label = {"seen": (match > 0).astype(np.float32), "liked": (match < -0.8).astype(np.float32)}
    for column in (*inputs.values(), *label.values()):
        column.flags.writeable = False
    return Impressions(inputs, label)


TASK = MultiTask("world", impressions(600, 0), impressions(200, 1), TASKS, FIELDS, ("hint",))
VIEW = View("test", impressions(150, 2).inputs)
MEAN = Balancer(lambda losses, gram: torch.full((len(losses),), 1 / len(losses), dtype=torch.float64), needs_gram=False)
GRAM_MEAN = Balancer(lambda losses, gram: torch.full((len(losses),), 1 / len(losses), dtype=torch.float64))


def params(**values):
    return MultiTaskParams.resolve({**SMALL, **values})


def fit(balancer=MEAN, root=0, watch=None, **values):
    return fit_tasks(TASK, TASKS, params(**values), RunContext(root), balancer, watch)


@pytest.mark.parametrize("backbone", ["ple", "mmoe", "shared_bottom"])
def test_it_learns_and_repeats_its_digits(backbone):
    model, training = fit(backbone=backbone, dropout=0.2)
    fitted = FittedMultiTask.of({TASKS: model}, TASK, params(backbone=backbone, dropout=0.2))
    again = FittedMultiTask.of({TASKS: fit(backbone=backbone, dropout=0.2)[0]}, TASK, params(backbone=backbone, dropout=0.2))
    found = fitted.predict(VIEW)
    assert set(found) == set(TASKS)
    assert training.best_score > 0.7
    for name, values in found.items():
        assert values.dtype == np.float32
        assert auc(values, impressions(150, 2).label[name]) > 0.65
        np.testing.assert_array_equal(values, again.predict(VIEW)[name])


def test_training_leaves_the_global_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(dropout=0.5, max_epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_model_comes_back_bit_for_bit(tmp_path):
    model, _ = fit(max_epochs=2)
    fitted = FittedMultiTask.of({TASKS: model}, TASK, params())
    fitted.save(tmp_path)
    for name, values in FittedMultiTask.load(tmp_path).predict(VIEW).items():
        np.testing.assert_array_equal(values, fitted.predict(VIEW)[name])


def one_step(adam_steps, balancer=MEAN, l2=1e-2, steps=1):
    """(the model before, after, the batch)."""
    settings = params(l2=l2, adam_steps=adam_steps, lr=1e-3)
    models = [
        MultiTaskModel(
            "ple", tuple(FIELDS.values()), 1, 2, dim=4, hidden=16, dropout=0.0, init="fan_in", generator=seeded()
        ).double()
        for _ in range(2)
    ]
    rows = rows_of(TASK.train, TASK, TASKS)
    rows = replace(rows, dense=rows.dense.double(), label=rows.label.double())
    step = stepper(models[1], settings, balancer)
    for _ in range(steps):
        step(rows.ids, rows.dense, rows.label, False)
    return *models, rows


def seeded():
    return torch.Generator().manual_seed(0)


def test_a_step_is_adam_on_the_mean_loss_plus_the_penalty():
    before, after, rows = one_step("one")
    logits = before(rows.ids, rows.dense)
    loss = sum(binary_cross_entropy_with_logits(each, rows.label[:, k]) for k, each in enumerate(logits)) / 2
    (loss + 1e-2 * sum(each.square().sum() for each in before.weights())).backward()
    torch.optim.Adam(before.parameters(), lr=1e-3).step()
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_own_parameters_get_their_own_gradient_under_a_gram_balancer():
    """Shared parameters get the mean, private ones are not divided by T (Adam hides that but for its epsilon)."""
    _, by_loss, _ = one_step("one", MEAN, l2=0.0)
    _, by_gram, _ = one_step("one", GRAM_MEAN, l2=0.0)
    torch.testing.assert_close(by_loss.table, by_gram.table, rtol=0, atol=1e-6)


def test_a_second_adam_step_a_batch_moves_further_by_the_square_root_of_two():
    """Why one step is the rule: a step with a vanishing gradient after each real one is 1.414 times the rate (I17)."""
    moved = []
    for extra in (False, True):
        place = torch.zeros(1, dtype=torch.float64)
        optimiser = Adam([place], lr=1e-3)
        for step in range(6000):
            if step == 5000:
                settled = place.clone()
            optimiser.step([torch.ones_like(place)])
            if extra:
                optimiser.step([torch.zeros_like(place)])
        moved.append(float((place - settled).abs()))
    assert moved[1] / moved[0] == pytest.approx(2**0.5, rel=1e-3)


def test_the_released_second_step_is_of_the_penalty_alone():
    _, after, _ = one_step("two", GRAM_MEAN, l2=1e-2)
    _, without, _ = one_step("one", GRAM_MEAN, l2=0.0)
    assert not torch.equal(after.table, without.table)
    assert not torch.equal(after.body.common.weights[0], without.body.common.weights[0])
    assert torch.equal(after.body.common.biases[0], without.body.common.biases[0])  # no penalty on biases


def test_geometry_counts_on_rows_that_ask_for_gradients_and_on_those_that_do_not():
    notes = []
    for balancer in (MEAN, GRAM_MEAN):
        geometry, run = Geometry(), RunContext(0)
        fit(balancer, watch=geometry, max_epochs=2)
        geometry.note(run)
        notes.append(run.notes)
        assert len(geometry.seen["conflicts"]) == 2
    assert notes[0] == pytest.approx(notes[1], rel=0.05, abs=0.5)
    assert notes[0]["hurt"] == notes[0]["hurt_by_mean"]


def test_geometry_on_a_known_gram_matrix():
    gram = torch.tensor([[4.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    geometry, run = Geometry(), RunContext(0)
    geometry(Balance(torch.tensor([1.0, -0.5], dtype=torch.float64), gram, gram))
    geometry.note(run)
    assert run.notes == {
        "conflicts": 1.0, "hurt": 1.0, "hurt_by_mean": 0.0, "norm_ratio": 2.0, "least_weight": -1.0, "negative_weight": 1.0
    }  # fmt: skip


def test_one_sided_labels_are_named():
    label = {"seen": TASK.train.label["seen"], "liked": np.zeros(600, dtype=np.float32)}
    task = MultiTask("world", Impressions(TASK.train.inputs, label), TASK.valid, TASKS, FIELDS, ("hint",))
    assert TASK.one_sided() is None
    assert "liked" in task.one_sided()
