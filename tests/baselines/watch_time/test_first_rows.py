"""TR, WLR and OR: what each loss is least at, what each decoder gives back, and heavy, constant or hours-long watch times."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from craftbench.baselines.watch_time.ordinal import Ordinal, OrdinalParams, OrdinalRegression
from craftbench.baselines.watch_time.tr import TR, Seconds
from craftbench.baselines.watch_time.wlr import WLR, Odds, WLRParams
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.watch_time import xgauc
from craftbench.core.task import View, Watched, WatchTime
from craftbench.models.watch_runner import FittedWatchTime, WatchTimeParams
from craftbench.models.watch_target import Target
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

ROWS = {"tr": TR, "wlr": WLR, "ordinal": OrdinalRegression}


def watched(watch_time):
    y = np.asarray(watch_time, np.float32)
    return Watched({"user_id": np.ones(len(y), np.int64)}, {}, y, np.full(len(y), 30, np.float32))


SAMPLE = watched(np.random.default_rng(0).exponential(20, 400).round(1))
TAIL = watched([0, 0.4, 3, 12, 40, 7200])
logs = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, 9.0, 60.0, 10800.0]), min_size=2, max_size=40).map(watched)


def best_constant(target, rows):
    """The head's outputs (outputs,), the same for every row, at which the loss is least; float64."""
    labels = torch.from_numpy(target.labels(rows).astype(np.float64))

    def loss(head):
        z = torch.tensor(head, requires_grad=True)
        value = target.loss(z.expand(len(rows), -1), labels)
        return value.item(), torch.autograd.grad(value, z)[0].numpy()

    return minimize(loss, np.full(target.outputs, 0.5), jac=True, method="BFGS", options={"gtol": 1e-10}).x


def at(target, head, rows):
    """Seconds at the same outputs for every row; float64 outputs, so that no digit is lost before the decoder."""
    return target.seconds(np.tile(head, (len(rows), 1)), rows.duration)


@pytest.mark.parametrize("rows", [SAMPLE, TAIL], ids=["sample", "hours"])
@pytest.mark.parametrize("target", [Seconds, Odds])
def test_the_loss_is_least_at_the_mean(target, rows):
    fitted = target.fit(rows)
    found = at(fitted, best_constant(fitted, rows), rows)
    np.testing.assert_allclose(found, rows.watch_time.mean(dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("rows", [SAMPLE, TAIL], ids=["sample", "hours"])
def test_ordinal_regression_is_least_at_the_mean_too(rows):
    """With the levels at the groups' means: sum_k P(group k) mean_k."""
    fitted = Ordinal.fit(rows)
    np.testing.assert_allclose(at(fitted, best_constant(fitted, rows), rows), rows.watch_time.mean(dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("target", [Seconds, Odds, Ordinal])
def test_a_head_of_zeros_says_the_mean_of_train(target):
    fitted = target.fit(SAMPLE)
    found = at(fitted, np.zeros(fitted.outputs), SAMPLE)
    np.testing.assert_allclose(found, SAMPLE.watch_time.mean(dtype=np.float64), rtol=1e-5)


def test_wlr_is_the_weighted_cross_entropy():
    fitted = Odds.fit(SAMPLE)
    z = torch.linspace(-3, 3, 400, dtype=torch.float64)
    p, y = (z + fitted.level).sigmoid(), torch.from_numpy(SAMPLE.watch_time.astype(np.float64))
    expected = -(y * p.log() + (1 - p).log()).mean() / (1 + y.mean())
    assert fitted.loss(z[:, None], torch.from_numpy(fitted.labels(SAMPLE)).double()).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_wlr_with_a_threshold_estimates_the_time_above_it():
    fitted = Odds.fit(SAMPLE, threshold=60)
    y = SAMPLE.watch_time.astype(np.float64)
    assert fitted.outputs == 2
    assert np.mean(y > fitted.cut) == pytest.approx(0.4, abs=0.01)
    z, c = best_constant(fitted, SAMPLE)
    assert np.exp(z + fitted.level) == pytest.approx(y[y > fitted.cut].sum() / np.sum(y <= fitted.cut), rel=1e-5)
    assert 1 / (1 + np.exp(-c)) == pytest.approx(np.mean(y > fitted.cut), rel=1e-5)
    np.testing.assert_allclose(at(fitted, [z, c], SAMPLE), np.mean(y * (y > fitted.cut)), rtol=1e-5)


@pytest.mark.parametrize("z", [-1e4, -90.0, 0.0, 90.0, 1e4])
@pytest.mark.parametrize("threshold", [0, 60])
def test_wlr_never_overflows(z, threshold):
    fitted = Odds.fit(TAIL, threshold)
    head = torch.full((6, fitted.outputs), z, requires_grad=True)
    loss = fitted.loss(head, torch.from_numpy(fitted.labels(TAIL)))
    (gradient,) = torch.autograd.grad(loss, head)
    assert loss.isfinite()
    assert (gradient[:, 0].abs() <= torch.from_numpy(1 + TAIL.watch_time) / fitted.weight / 6 * (1 + 1e-6)).all()
    seconds = at(fitted, head.detach().numpy()[0], TAIL)
    assert ((seconds >= 0) & (seconds <= 7200 * (1 + 1e-6))).all()


@given(logs, st.sampled_from(["means", "edges"]))
def test_perfect_heads_give_back_the_watch_time_where_every_value_is_a_group(rows, levels):
    values = np.unique(rows.watch_time)
    if len(values) < 2:
        return
    fitted = Ordinal.fit(rows, groups=10_000, levels=levels)
    np.testing.assert_array_equal(fitted.cuts, values[:-1])
    head = np.where(fitted.labels(rows) == 1, np.inf, -np.inf)
    np.testing.assert_allclose(fitted.seconds(head, rows.duration), rows.watch_time, rtol=1e-6, atol=1e-6)


@given(logs, st.integers(2, 60))
def test_cuts_are_by_value_and_no_group_is_empty(rows, groups):
    values = np.unique(rows.watch_time)
    if len(values) < 2:
        return
    fitted = Ordinal.fit(rows, groups)
    assert len(fitted.levels) == len(fitted.cuts) + 1 <= groups
    assert np.isin(fitted.cuts, values).all()
    assert (np.diff(fitted.cuts) > 0).all()
    assert (np.diff(fitted.levels) > 0).all()
    group = fitted.labels(rows).sum(1).astype(int)
    for k, level in enumerate(fitted.levels):
        assert rows.watch_time[group == k].mean(dtype=float) == pytest.approx(level)
    np.testing.assert_allclose(1 / (1 + np.exp(-fitted.start)), fitted.labels(rows).mean(0), rtol=1e-6)


def test_groups_have_equal_frequency():
    rows = watched(np.random.default_rng(1).permutation(1000) / 10)
    group = Ordinal.fit(rows, 50).labels(rows).sum(1).astype(int)
    np.testing.assert_array_equal(np.bincount(group), np.full(50, 20))


def test_levels_at_the_upper_edges_are_the_plain_sum():
    fitted, rng = Ordinal.fit(SAMPLE, 50, "edges"), np.random.default_rng(2)
    head = rng.standard_normal((5, fitted.outputs))
    edges = [0, *fitted.cuts, SAMPLE.watch_time.max()]
    above = np.column_stack([np.ones(5), 1 / (1 + np.exp(-head - fitted.start))])  # P(y > t_k), k = 0..K-1
    np.testing.assert_allclose(fitted.seconds(head, SAMPLE.duration), above @ np.diff(edges), rtol=1e-5)


def test_one_watch_time_cannot_be_cut():
    with pytest.raises(UsageError, match="nothing to cut"):
        Ordinal.fit(watched([5, 5, 5]))


def test_tr_never_predicts_less_than_nothing_yet_ranks():
    fitted = Seconds.fit(SAMPLE)
    head = np.float32([[-9], [-8], [0]])
    assert fitted.seconds(head, SAMPLE.duration[:3])[:2].tolist() == [0, 0]
    assert (np.diff(fitted.score(head, SAMPLE.duration[:3])) > 0).all()


@pytest.mark.parametrize("target", [Seconds.fit(SAMPLE), Odds.fit(SAMPLE), Odds.fit(SAMPLE, 60), Ordinal.fit(SAMPLE)])
def test_a_target_comes_back_from_its_state(target):
    arrays, settings = target.state()
    again = Target.registry[target.name].restored(arrays, settings)
    head = np.random.default_rng(3).standard_normal((400, target.outputs)).astype(np.float32)
    np.testing.assert_array_equal(again.labels(SAMPLE), target.labels(SAMPLE))
    np.testing.assert_array_equal(again.seconds(head, SAMPLE.duration), target.seconds(head, SAMPLE.duration))
    for name, value in asdict(target).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def played(rows, seed):
    """Users like what suits them, and one in five hundred falls asleep over a video."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((20, 15))
    user, item = rng.integers(0, 20, rows), rng.integers(0, 15, rows)
    duration = (6 + 3 * item).astype(np.float32)
    watch_time = duration / (1 + np.exp(-2 * taste[user, item])) * rng.uniform(0.7, 1.3, rows)
    watch_time[rng.random(rows) < 0.002] = 5400
    inputs = {"duration_bucket": 1 + item // 3, "item_id": 1 + item, "user_id": 1 + user}
    return Watched(inputs, {}, watch_time.astype(np.float32), duration)


@pytest.mark.parametrize(
    ("name", "values"), [("tr", {}), ("wlr", {}), ("wlr", {"threshold": 60}), ("ordinal", {}), ("ordinal", {"levels": "edges"})]
)
def test_a_planted_taste_is_learned_and_kept(name, values, tmp_path):
    task = WatchTime("world", played(2000, 0), played(600, 1), (), {"duration_bucket": 7, "item_id": 16, "user_id": 21}, ())
    runner, rows = ROWS[name], played(600, 2)
    params = runner.Params.resolve({"dim": 4, "hidden": 16, "batch_size": 64, "lr": 1e-2, "l2": 1e-6, "max_epochs": 8, **values})
    fitted, again = (runner().fit(task, params, RunContext(3)) for _ in "ab")
    fitted.save(tmp_path)
    view = View("test", {**rows.inputs, "seconds_long": rows.duration})
    found = fitted.predict(view)
    assert xgauc(found["seconds"], rows.watch_time, rows.inputs["user_id"]) > 0.6
    assert found["seconds"].min() >= 0
    for each in (again, FittedWatchTime.load(tmp_path)):
        for output, prediction in each.predict(view).items():
            np.testing.assert_array_equal(prediction, found[output])


def test_declared_settings():
    assert all(runner.name == name and issubclass(runner.Params, WatchTimeParams) for name, runner in ROWS.items())
    assert (WLRParams().threshold, OrdinalParams().groups, OrdinalParams().levels) == (0.0, 50, "means")
    with pytest.raises(UsageError, match="threshold"):
        WLRParams.resolve({"threshold": 100})
