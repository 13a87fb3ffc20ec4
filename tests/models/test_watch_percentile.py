"""Percentile ranks as a target: what each loss is least at, both ways back to seconds, the trip through a file."""

import json

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.core.task import Watched
from craftbench.models.watch_labels import WatchTimeLabels
from craftbench.models.watch_levels import level_tops
from craftbench.models.watch_percentile import LOSSES, PercentileRank
from craftbench.models.watch_target import Target
from scipy.special import logit


def watched(rows=3000, seed=0, seconds=None):
    rng = np.random.default_rng(seed)
    long = np.full(rows, seconds) if seconds else np.round(rng.gamma(2, 20, rows) + 3, 1)
    watch = np.round(rng.lognormal(0, 1.2, rows) * long**0.6, 1)
    ids = {"user_id": rng.integers(1, 40, rows), "item_id": rng.integers(1, 80, rows)}
    return Watched(ids, {}, watch.astype(np.float32), long.astype(np.float32))


def target(rows, loss="mse", trio="none", decoder="inverse", debiased=True, **settings):
    sides = () if trio == "none" else ("user_id", "item_id")
    labels = WatchTimeLabels(**{"min_rows": 1, "duration_bins": 6, "levels": 12, "sides": sides, **settings})
    return PercentileRank.fit(rows, labels, loss=loss, trio=trio, decoder=decoder, debiased=debiased)


def least(fitted, rows):
    """The constant outputs at which the loss is least, by Newton-like descent in float64."""
    labels = torch.from_numpy(fitted.labels(rows).astype(np.float64))
    head = torch.zeros(1, fitted.outputs, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([head], max_iter=400, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        loss = fitted.loss(head.expand(len(labels), -1), labels)
        loss.backward()
        return loss

    solver.step(closure)
    return head.detach().numpy()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_least_at_the_mean_rank(loss):
    rows = watched()
    fitted = target(rows, loss)
    mean = fitted.watch_labels.transform({"watch_time": rows.watch_time, "duration": rows.duration}, ["wpr_d"]).to_numpy().mean()
    score = fitted.score(least(fitted, rows), np.float32([30.0]))
    assert score.item() == pytest.approx(logit(mean) if fitted.outputs == 1 else mean, abs=1e-4)


@pytest.mark.parametrize("loss", ["softmax", "cumulative"])
def test_the_expected_decoder_is_least_at_the_mean_watch_time(loss):
    """One group of durations: the mean over levels of their mean seconds is the mean of all rows."""
    rows = watched(seconds=20.0)
    fitted = target(rows, loss, decoder="expected")
    found = fitted.seconds(least(fitted, rows).astype(np.float32), np.float32([20.0]))
    assert found.item() == pytest.approx(rows.watch_time.mean(dtype=np.float64), rel=1e-4)
    sure = np.full((3, fitted.outputs), -50.0, dtype=np.float32)  # heads that know the level, N - 1 cuts or N classes
    for row, level in enumerate((0, 5, 11)):
        if loss == "softmax":
            sure[row, level] = 50
        else:
            sure[row, :level] = 50
    np.testing.assert_allclose(
        fitted.seconds(sure, np.full(3, 20.0, np.float32)), fitted.watch_labels.debiased.mean[0, [0, 5, 11]], rtol=1e-5
    )
    np.testing.assert_allclose(fitted.score(sure, sure[:, 0]), level_tops(12, 0.95)[[0, 5, 11]], rtol=1e-5)


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_seconds_rise_with_the_head_and_stay_in_what_was_seen(loss, debiased):
    rows = watched()
    fitted = target(rows, loss, debiased=debiased)
    head = np.linspace(-9, 9, 60, dtype=np.float32)[:, None] * np.ones((1, fitted.outputs), dtype=np.float32)
    if loss == "softmax":
        head = head * np.linspace(-1, 1, fitted.outputs, dtype=np.float32)
    seconds = fitted.seconds(head, np.full(60, 25.0, np.float32))
    assert seconds.dtype == np.float32
    assert (np.diff(seconds) >= -1e-5).all()
    assert 0 <= seconds.min() < seconds.max() <= rows.watch_time.max() + 0.05


def test_perfect_heads_come_back_to_their_level():
    rows = watched()
    fitted = target(rows)
    with np.errstate(divide="ignore"):
        head = logit(fitted.labels(rows).astype(np.float64))
    edges = np.pad(fitted.watch_labels.debiased.edges[fitted.watch_labels.groups.of(rows.duration)] / 10, ((0, 0), (1, 0)))
    level, each = fitted.watch_labels.level_of({"watch_time": rows.watch_time, "duration": rows.duration}), np.arange(3000)
    found = fitted.seconds(head, rows.duration)
    assert ((edges[each, level] < found + 1e-3) & (found < edges[each, level + 1] + 1e-3)).all()


@pytest.mark.parametrize(("trio", "names"), [("ev", ("ev_d", "ev_v", "ev_u")), ("lv", ("lv_d", "lv_v", "lv_u"))])
def test_binary_labels_are_those_of_the_library(trio, names):
    rows, other = watched(), watched(500, seed=1)
    other.inputs["user_id"][:100] = 0  # unseen in train
    fitted = target(rows, trio=trio)
    assert fitted.binary == names
    table = {"watch_time": rows.watch_time, "duration": rows.duration, **rows.inputs}
    labels = WatchTimeLabels(6, 12, min_rows=1).fit(table)
    np.testing.assert_array_equal(fitted.binary_labels(rows), labels.transform(table)[list(names)])
    unseen = fitted.binary_labels(other)[:100]
    np.testing.assert_array_equal(unseen[:, 0], unseen[:, 2])
    assert target(rows).binary_labels(rows).shape == (3000, 0)


def test_train_alone_decides():
    """Other rows, whatever they hold, change no label of train's."""
    rows = watched()
    fitted, again = target(rows, trio="ev"), target(rows, trio="ev")
    fitted.labels(watched(2000, seed=7)), fitted.binary_labels(watched(2000, seed=7))
    np.testing.assert_array_equal(fitted.labels(rows), again.labels(rows))
    np.testing.assert_array_equal(fitted.binary_labels(rows), again.binary_labels(rows))


@pytest.mark.parametrize("loss", LOSSES)
def test_restored_is_the_same(loss):
    rows = watched()
    fitted = target(rows, loss, "lv", "inverse" if loss in ("mse", "bce") else "expected")
    arrays, settings = fitted.state()
    again = Target.registry[fitted.name].restored(arrays, json.loads(json.dumps(settings)))
    head = np.random.default_rng(0).standard_normal((len(rows), fitted.outputs)).astype(np.float32)
    for use in ("labels", "binary_labels"):
        np.testing.assert_array_equal(getattr(again, use)(rows), getattr(fitted, use)(rows))
    for use in ("seconds", "score"):
        np.testing.assert_array_equal(getattr(again, use)(head, rows.duration), getattr(fitted, use)(head, rows.duration))


def test_a_decoder_that_a_loss_cannot_serve():
    with pytest.raises(UsageError, match="softmax or cumulative"):
        target(watched(), "bce", decoder="expected")
