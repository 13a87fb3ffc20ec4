"""Training on a world where only what a user has played tells what suits: the favourite tag of a row is that of its history."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.classification import auc
from craftbench.core.metrics.lists import overall
from craftbench.core.task import Feed, View, Watched
from craftbench.models.feed_runner import FeedParams, FeedRunner, FittedFeed, Lesson, joined
from craftbench.models.feed_training import (
    FUSIONS,
    FeedInputs,
    Judge,
    answers_of,
    explicit_feedback,
    fit_feed,
    loss_of,
    outputs_of,
    stepper,
)

USERS, ITEMS, TAGS, H = 30, 40, 4, 8
TAG = np.concatenate([[0], 1 + np.arange(ITEMS) % TAGS])
BUCKET = np.concatenate([[0], 1 + np.arange(ITEMS) // 8])
FIELDS = {"user_id": USERS + 1, "item_id": ITEMS + 1, "duration_bucket": 6, "item_tag": TAGS + 1, "hour": 4}
FAST = {"lr": 0.02, "batch_size": 256, "dim": 4, "hidden": 20, "history": H, "max_epochs": 6, "patience": 2}


def watched(rows, seed):
    """Read-only columns. A video of the favourite tag is watched for most of its length, and often liked."""
    rng = np.random.default_rng(seed)
    user, item, favourite = (rng.integers(1, top + 1, rows) for top in (USERS, ITEMS, TAGS))
    other = rng.integers(1, ITEMS + 1, (rows, H))
    same = 4 * rng.integers(0, ITEMS // 4, (rows, H)) + favourite[:, None]
    history = np.where(rng.random((rows, H)) < 0.7, same, other).astype(np.int32)
    history[:, : H // 2] *= rng.random((rows, 1)) < 0.5
    suits = TAG[item] == favourite
    duration = (10 + 8 * BUCKET[item] + rng.integers(0, 3, rows)).astype(np.float32)
    watch_time = (duration * np.where(suits, 0.9, 0.2) * rng.uniform(0.7, 1.1, rows)).astype(np.float32)
    label = {"like": (suits & (rng.random(rows) < 0.5)), "follow": (suits & (rng.random(rows) < 0.1))}
    inputs = {
        "user_id": user,
        "item_id": item,
        "duration_bucket": BUCKET[item],
        "item_tag": TAG[item],
        "hour": rng.integers(0, 4, rows),
    }
    inputs |= {"rate": rng.standard_normal(rows).astype(np.float32), "history": history}
    found = Watched(inputs, {name: each.astype(np.float32) for name, each in label.items()}, watch_time, duration)
    for column in (*found.inputs.values(), *found.label.values(), watch_time, duration):
        column.flags.writeable = False
    return found


@pytest.fixture(scope="module")
def task():
    known = {"duration_bucket": BUCKET, "item_tag": TAG}
    return Feed("world", watched(2000, 0), watched(800, 1), watched(600, 2), FIELDS, ("rate",), known, 3)


@pytest.fixture(scope="module")
def test():
    """Rows that the task does not hold, and their view."""
    rows = watched(600, 3)
    return rows, View("test", {**rows.inputs, "user": rows.inputs["user_id"], "seconds_long": rows.duration})


def share(rows):
    return np.minimum(rows.watch_time / rows.duration, 1).astype(np.float32)


class Share(FeedRunner):
    name, title, reference = "share_in_test", "Share", ""

    def lesson(self, train, rows, params, run):
        return Lesson(share(rows))


class ShareAndLikes(Share):
    def lesson(self, train, rows, params, run):
        return Lesson(share(rows), explicit=1.0)


class Blind(Share):
    def lesson(self, train, rows, params, run):
        return Lesson(rows.watch_time, linear=True, adversary=0.3)


def fitted(kind, task, seed=1, **values):
    return kind().fit(task, FeedParams(**{**FAST, **values}), RunContext(seed))


def test_what_suits_is_learned_from_the_history_alone(task, test):
    rows, view = test
    suits = (share(rows) > 0.5).astype(np.float32)
    model = fitted(Share, task)
    assert auc(model.predict(view)["score"], suits) > 0.9
    blank = View("blank", {**view.columns, "history": np.zeros_like(view.columns["history"])})
    assert auc(model.predict(blank)["score"], suits) < 0.6


def test_the_same_seed_gives_the_same_digits_and_another_seed_others(task, test):
    one, again, other = (fitted(Share, task, seed, max_epochs=1).predict(test[1])["score"] for seed in (1, 1, 2))
    assert one.dtype == np.float32
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", [Share, ShareAndLikes, Blind])
def test_what_is_saved_predicts_the_same_bits(task, test, tmp_path, kind):
    model = fitted(kind, task, max_epochs=1)
    model.save(tmp_path)
    loaded = FittedFeed.load(tmp_path)
    assert loaded.predict(test[1])["score"].tobytes() == model.predict(test[1])["score"].tobytes()
    assert (loaded.fusion, loaded.linear, loaded.inputs) == (model.fusion, model.linear, model.inputs)


def test_an_adversary_sees_no_duration(task, test):
    blind, sighted = (fitted(kind, task, max_epochs=1) for kind in (Blind, Share))
    other = View("other", {**test[1].columns, "duration_bucket": np.ones(600, dtype=np.int64)})
    assert "duration_bucket" not in [*blind.inputs.fields, *blind.network.item_fields]
    assert blind.predict(test[1])["score"].tobytes() == blind.predict(other)["score"].tobytes()
    assert sighted.predict(test[1])["score"].tobytes() != sighted.predict(other)["score"].tobytes()


def test_meta_rows_are_trained_on_only_when_asked(task, test):
    emptied = replace(task, meta=watched(800, 77))
    without, still = (fitted(Share, each, max_epochs=1).predict(test[1])["score"] for each in (task, emptied))
    assert without.tobytes() == still.tobytes()
    both, changed = (fitted(Share, each, max_epochs=1, meta=True).predict(test[1])["score"] for each in (task, emptied))
    assert len({each.tobytes() for each in (without, both, changed)}) == 3


def test_joined_rows(task):
    both = joined(task.train, task.meta)
    assert len(both) == len(both.inputs["history"]) == 2800
    for part, rows in ((task.train, slice(2000)), (task.meta, slice(2000, None))):
        np.testing.assert_array_equal(both.inputs["history"][rows], part.inputs["history"])
        np.testing.assert_array_equal(both.label["like"][rows], part.label["like"])
        np.testing.assert_array_equal(both.duration[rows], part.duration)


def test_any_explicit_feedback_counts(task):
    label = task.train.label
    np.testing.assert_array_equal(explicit_feedback(task.train), ((label["like"] + label["follow"]) > 0).astype(np.float32))
    assert not explicit_feedback(replace(task.train, label={})).any()


def test_nobody_is_judged_whom_train_does_not_know(task):
    rows, score = task.valid, np.random.default_rng(0).random(600, dtype=np.float32)
    user = np.where(rows.inputs["user_id"] > 20, 0, rows.inputs["user_id"])
    judge, known = Judge.of(replace(rows, inputs={**rows.inputs, "user_id": user}), 3), user > 0
    e, d = explicit_feedback(rows), rows.duration
    assert judge(score) == overall(score[known], rows.watch_time[known], e[known], d[known], user[known], 3)
    assert judge(np.where(known, score, 7).astype(np.float32)) == judge(score)
    assert np.isnan(judge(np.full(600, np.nan, dtype=np.float32)))


def test_a_task_without_lists_is_refused(task):
    assert Share().cannot(task) is None
    strangers = replace(task.valid, inputs={**task.valid.inputs, "user_id": np.zeros(600, dtype=np.int64)})
    assert "no lists" in Share().cannot(replace(task, valid=strangers))


@pytest.mark.parametrize(
    ("lesson", "loss", "words"),
    [
        (Lesson(np.array([0.5, 1.2], dtype=np.float32)), "mse", "0.5..1.2"),
        (Lesson(np.array([0.5, np.nan], dtype=np.float32)), "mse", "1 labels"),
        (Lesson(np.array([0.5, 1.2], dtype=np.float32), linear=True), "bce", "take loss='mse'"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(task, lesson, loss, words):
    params = FeedParams(**{**FAST, "loss": loss})
    with pytest.raises(UsageError, match=words):
        fit_feed(task, task.train[np.arange(2)], lesson, FeedInputs.of(task, params), params, RunContext(1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize(("linear", "explicit"), [(False, 0.0), (False, 0.3), (True, 0.0), (True, 3.0)])
def test_the_loss_in_closed_form(loss, linear, explicit):
    rng = np.random.default_rng(0)
    s, y, e = rng.standard_normal((9, 2)), rng.random(9), rng.integers(0, 2, 9).astype(float)
    lesson = Lesson(y.astype(np.float32), linear, explicit)

    def one(s, y):
        p = sigmoid(s)
        return np.mean((p - y) ** 2) if loss == "mse" else -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    expected = (np.mean((s[:, 0] - y) ** 2) if linear else one(s[:, 0], y)) + (explicit * one(s[:, 1], e) if explicit else 0)
    found = loss_of(torch.tensor(s), torch.tensor(np.stack([y, e], axis=1)), lesson, loss)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_a_plain_step_goes_down_the_gradient(task):
    params = FeedParams(**{**FAST, "optimiser": "sgd", "lr": 0.5, "l2": 0.01})
    inputs, rows = FeedInputs.of(task, params), task.train[np.arange(64)]
    network, twin = (inputs.network(task, params, RunContext(4)) for _ in range(2))
    lesson, batch = Lesson(share(rows)), inputs.batch(rows.inputs)
    loss = (twin(batch).sigmoid() - torch.tensor(share(rows))).square().mean()
    loss = loss + 0.01 * sum(each.square().sum() for each in twin.weights())
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    stepper(network, lesson, params)(batch, answers_of(rows, lesson))
    for name, before, gradient in zip(dict(twin.named_parameters()), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(network.get_parameter(name), before.detach() - 0.5 * gradient, msg=name)


def test_the_weight_of_the_second_tower_is_the_best_on_valid(task):
    params, run = FeedParams(**{**FAST, "max_epochs": 3}), RunContext(1)
    inputs, lesson = FeedInputs.of(task, params), Lesson(share(task.train), explicit=1.0)
    network, w, training = fit_feed(task, task.train, lesson, inputs, params, run)
    outputs, judge = outputs_of(network, inputs.batch(task.valid.inputs), linear=False), Judge.of(task.valid, 3)
    worth = {each: judge((outputs[:, 0] + each * outputs[:, 1]).astype(np.float32)) for each in FUSIONS}
    assert worth[w] == max(worth.values()) == training.best_score
    assert run.notes["fusion_weight"] == w
    assert ((outputs > 0) & (outputs < 1)).all()


def test_a_last_batch_of_one_row_is_left_out(task):
    rows = task.train[np.arange(257)]
    params = FeedParams(**{**FAST, "max_epochs": 1})
    fit_feed(task, rows, Lesson(share(rows)), FeedInputs.of(task, params), params, RunContext(1))


def test_training_that_diverges_is_no_result(task):
    with pytest.raises(FloatingPointError, match="diverged"):
        fitted(Blind, task, optimiser="sgd", lr=1e9)


def test_plain_steps_learn_too(task):
    run = RunContext(1)
    params = FeedParams(**{**FAST, "optimiser": "sgd", "lr": 0.1, "max_epochs": 2})
    _, _, training = fit_feed(task, task.train, Lesson(share(task.train)), FeedInputs.of(task, params), params, run)
    assert training.best_score > Judge.of(task.valid, 3)(np.zeros(600, dtype=np.float32))


def test_dropout_draws_from_the_run_alone(task, test):
    before = torch.random.get_rng_state()
    one, again = (fitted(Share, task, max_epochs=1, dropout=0.5).predict(test[1])["score"] for _ in range(2))
    assert one.tobytes() == again.tobytes()
    assert torch.equal(before, torch.random.get_rng_state())
