"""PCR, WTG, DVR, NDT and CWM: labels by their formulas, what each loss is least at, seconds as the labels' inverse."""

import numpy as np
import pandas as pd
import pytest
import torch
from craftbench.baselines.watch_time.cwm import CWM, CounterfactualWatch, CWMParams
from craftbench.baselines.watch_time.dvr import DVR, DVRParams
from craftbench.baselines.watch_time.ndt import NormalisedDwellTime
from craftbench.baselines.watch_time.pcr import PlayedShare
from craftbench.baselines.watch_time.wtg import WTG, GainProbability, WatchTimeGain, WTGParams
from craftbench.core.task import Watched
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import norm


def watched(watch_time, duration):
    y, d = np.asarray(watch_time, np.float32), np.asarray(duration, np.float32)
    return Watched({"user_id": np.zeros(len(y), np.int64)}, {}, y, np.broadcast_to(d, y.shape))


def log(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    duration = rng.integers(4, 12, rows) * 10 + rng.uniform(-0.4, 0.4, rows)
    return watched(rng.exponential(30, rows), duration)


def least(target, labels):
    """The output of one head at which the mean loss over all labels is least."""
    labels = torch.from_numpy(labels.astype(np.float64))
    found = minimize_scalar(
        lambda s: target.loss(torch.full((len(labels), 1), s, dtype=torch.float64), labels).item(), (-1, 1), options={"xtol": 1e-10}
    )
    return found.x


def heads(values):
    return np.asarray(values, np.float32)[:, None]


def whole(rows):
    frame = pd.DataFrame({"y": rows.watch_time, "d": rows.duration}).astype(float).round()
    return frame.assign(w=frame.min(axis=1))


# PCR


def test_pcr_is_the_played_share():
    assert PlayedShare().labels(watched([0, 3.2, 5, 99], 10))[:, 0] == pytest.approx([0, 0.3, 0.5, 1])


def test_pcr_is_least_at_the_mean_share():
    labels = PlayedShare().labels(log())
    assert expit(least(PlayedShare(), labels)) == pytest.approx(labels.mean(), abs=1e-6)


def test_pcr_seconds_invert_the_label():
    w, d = np.arange(1, 10), np.full(9, 10.2, np.float32)
    share = PlayedShare().labels(watched(w, d))
    np.testing.assert_allclose(PlayedShare().seconds(logit(share), d), w, rtol=1e-5)


# WTG and DVR


def test_gain_against_pandas():
    train = log()
    frame = whole(train)
    by_duration = frame.groupby("d")["w"]
    expected = (frame.w - by_duration.transform("mean")) / by_duration.transform("std")
    gains = WatchTimeGain.fit(train).labels(train)[:, 0]
    np.testing.assert_allclose(gains, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(GainProbability.fit(train).labels(train)[:, 0], norm.cdf(expected), rtol=1e-5)
    np.testing.assert_allclose(frame.assign(z=gains).groupby("d").z.agg(["mean", "std"]), [[0, 1]] * 8, atol=1e-5)


def test_gain_is_nothing_where_all_watch_alike():
    train = watched([5, 5, 5, 2], [10, 10, 10, 20])
    for kind in (WatchTimeGain, GainProbability):
        target = kind.fit(train)
        np.testing.assert_array_equal(target.gain(watched([9, 5, 20], [10, 10, 20])), 0)
        np.testing.assert_array_equal(target.seconds(heads([7, -7]), np.float32([10, 20])), [5, 2])


def test_gain_of_an_unseen_duration_is_that_of_the_nearest():
    target = WatchTimeGain.fit(log())
    for unseen, nearest in ((1, 40), (44, 40), (45, 40), (46, 50), (999, 110)):
        rows, known = watched([30], unseen), watched([min(30, unseen)], nearest)
        np.testing.assert_array_equal(target.labels(rows), target.labels(known))


def test_gain_losses_are_least_at_the_mean_label():
    train = log()
    gains, chances = WatchTimeGain.fit(train), GainProbability.fit(train)
    some = train[:77]
    assert least(gains, gains.labels(some)) == pytest.approx(gains.labels(some).mean(), abs=1e-6)
    assert expit(least(chances, chances.labels(some))) == pytest.approx(chances.labels(some).mean(), abs=1e-6)


def test_gain_seconds_invert_the_label():
    train = log()
    w, duration = whole(train).w, train.duration
    gains, chances = WatchTimeGain.fit(train), GainProbability.fit(train)
    np.testing.assert_allclose(gains.seconds(gains.labels(train), duration), w, atol=1e-4)
    chance = norm.cdf(gains.labels(train))
    np.testing.assert_allclose(chances.seconds(logit(chance).astype(np.float32), duration), w, atol=1e-3)


def test_seconds_of_a_probability_beyond_all_digits():
    found = GainProbability.fit(log()).seconds(heads([-3e38, -200, 0, 200, 3e38]), np.full(5, 60, np.float32))
    mean = whole(log()).query("d == 60").w.mean()
    np.testing.assert_allclose(found, [0, 0, mean, 60, 60], rtol=1e-6)


def test_the_runners_choose():
    assert type(WTG().target(log(), WTGParams())) is WatchTimeGain
    assert type(WTG().target(log(), WTGParams(label="probability"))) is GainProbability
    assert WTG().target(log(), WTGParams()).adversary == 0
    against = DVR().target(log(), DVRParams())
    assert (type(against), against.adversary) == (WatchTimeGain, 0.1)
    np.testing.assert_array_equal(against.labels(log()), WatchTimeGain.fit(log()).labels(log()))


# NDT


def test_ndt_bound_and_label():
    train = log()
    w = whole(train).w
    bound = np.exp(np.log(w + 1).mean() - np.log(w + 1).std())
    target = NormalisedDwellTime.fit(train, 20.0)
    assert target.bound == pytest.approx(bound)
    np.testing.assert_allclose(target.labels(train)[:, 0], 2.319 / (1 + np.exp(-(w - bound) / 20)) - 0.744, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(target.binary_labels(train)[:, 0], w > bound)
    assert target.binary == ("valid_read",)


def test_ndt_of_one_row_has_no_spread():
    assert NormalisedDwellTime.fit(watched([7], 20), 20.0).bound == pytest.approx(8)


def test_ndt_is_zero_for_no_watch_where_the_bound_is_15():
    """What the constants were made for."""
    assert NormalisedDwellTime(15.0, 20.0).labels(watched([0], 60))[0, 0] == pytest.approx(0, abs=1e-3)


def test_ndt_is_least_at_the_mean_label():
    target = NormalisedDwellTime.fit(log(), 20.0)
    labels = target.labels(log())
    assert 2.319 * expit(least(target, labels)) - 0.744 == pytest.approx(labels.mean(), abs=1e-6)


def test_ndt_seconds_invert_the_label():
    target, train = NormalisedDwellTime.fit(log(), 20.0), log()
    share = (target.labels(train).astype(np.float64) + 0.744) / 2.319
    np.testing.assert_allclose(target.seconds(logit(share).astype(np.float32), train.duration), whole(train).w, atol=1e-3)


# CWM

EXACT = CounterfactualWatch(40.0, 2.0, 1e-12)


def test_cwm_label():
    w = np.array([1, 5, 20, 59, 60])
    r = np.exp(-40 / (w + 1))
    labels = EXACT.labels(watched([1, 5, 20, 59, 75], 60))
    np.testing.assert_allclose(labels[:, 0], np.log(r / (1 - r)), rtol=1e-5)
    np.testing.assert_array_equal(labels[:, 1], [0, 0, 0, 0, 1])


def test_cwm_keeps_r_from_0():
    labels = CounterfactualWatch(40.0, 2.0, 1e-6).labels(watched([0, 1, 2], 60))[:, 0]
    np.testing.assert_allclose(labels, [logit(1e-6), logit(1e-6), logit(np.exp(-40 / 3))], rtol=1e-5)


def test_cwm_loss_of_each_kind_of_row():
    head, labels = torch.tensor([[0.5], [0.5]]), torch.tensor([[-1.0, 0.0], [-1.0, 1.0]])
    assert EXACT.loss(head[:1], labels[:1]).item() == pytest.approx(1.5**2 / 8)
    assert EXACT.loss(head[1:], labels[1:]).item() == pytest.approx(-np.log(expit(0.75)))
    assert EXACT.loss(head, labels).item() == pytest.approx((1.5**2 / 8 - np.log(expit(0.75))) / 2)


def test_cwm_is_least_at_the_mean_of_unfinished_videos():
    labels = EXACT.labels(watched([1, 5, 20, 30], 60))
    assert least(EXACT, labels) == pytest.approx(labels[:, 0].mean(), abs=1e-5)


def test_cwm_finished_videos_pull_upwards():
    """At the least loss the pulls are even: sum (s - l) / sigma^2 over the unfinished = sum sigmoid(-(s - l) / sigma) / sigma."""
    labels = EXACT.labels(watched([5, 20, 60, 70], 60))
    s, (value, ended) = least(EXACT, labels), labels.T
    pull = np.where(ended > 0, -expit(-(s - value) / 2) / 2, (s - value) / 4)
    assert pull.sum() == pytest.approx(0, abs=1e-5)
    assert s > labels[:2, 0].mean()


def test_cwm_seconds_invert_the_label_and_end_with_the_video():
    w, d = np.arange(2, 60), np.full(58, 60, np.float32)
    np.testing.assert_allclose(EXACT.seconds(EXACT.labels(watched(w, d))[:, :1], d), w, rtol=1e-4)
    np.testing.assert_allclose(EXACT.seconds(heads([-3e38, -50, 4, 60, 3e38]), d[:5]), [0, 0, 60, 60, 60], rtol=1e-5)


def test_cwm_starts_at_the_mean_of_train():
    target, train = CWM().target(log(), CWMParams()), log()
    plain, labels = CounterfactualWatch(target.cost, target.sigma, target.clip), torch.from_numpy(target.labels(train))
    np.testing.assert_array_equal(plain.labels(train), labels)
    assert target.start == pytest.approx(labels[:, 0].mean().item(), rel=1e-5)
    head = heads(np.random.default_rng(0).normal(size=len(train)))
    shifted = heads(head[:, 0] + target.start)
    loss, expected = target.loss(torch.from_numpy(head), labels), plain.loss(torch.from_numpy(shifted), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(target.seconds(head, train.duration), plain.seconds(shifted, train.duration), rtol=1e-4)


def test_cwm_defaults_are_the_releases():
    assert (CWMParams().cost, CWMParams().sigma, CWMParams().clip) == (40, 2, 1e-6)
