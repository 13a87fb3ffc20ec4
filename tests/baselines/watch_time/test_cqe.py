"""CQE: quantiles that never cross, least where they are the sample's, and their mean as seconds."""

import numpy as np
import pytest
import torch
from craftbench.baselines.watch_time.cqe import CQE, CQEParams, WatchTimeQuantiles
from craftbench.core.task import Watched


def watched(watch_time):
    y = np.asarray(watch_time, np.float32)
    return Watched({"user_id": np.zeros(len(y), np.int64)}, {}, y, np.full(len(y), 30, np.float32))


SAMPLE = watched(np.random.default_rng(0).exponential(20, 101))


def head_of(quantiles, unit):
    """The outputs that stand for these quantiles, (1, K - 1)."""
    return np.diff(quantiles, prepend=0)[None] / unit


def loss_at(target, quantiles, rows):
    head = torch.from_numpy(head_of(quantiles, target.unit)).expand(len(rows), -1)
    return target.loss(head, torch.from_numpy(target.labels(rows).astype(np.float64))).item()


def test_loss_is_the_mean_pinball():
    target, quantiles = WatchTimeQuantiles(4, 2.0), np.array([3.0, 10.0, 25.0])
    level = np.array([0.25, 0.5, 0.75])
    above = SAMPLE.watch_time[:, None] - quantiles
    expected = np.where(above > 0, level * above, (level - 1) * above).mean() / 2.0
    assert loss_at(target, quantiles, SAMPLE) == pytest.approx(expected, rel=1e-6)


def test_loss_is_least_at_the_quantiles_of_the_sample():
    target = WatchTimeQuantiles.fit(SAMPLE, 10)
    y = SAMPLE.watch_time.astype(np.float64)
    best = np.quantile(y, np.arange(1, 10) / 10, method="inverted_cdf")
    least = loss_at(target, best, SAMPLE)
    for k in range(9):
        for value in y[(y >= (best[k - 1] if k else 0)) & (y <= (best[k + 1] if k < 8 else np.inf))]:
            other = best.copy()
            other[k] = value
            assert loss_at(target, other, SAMPLE) >= least - 1e-12


def test_descent_finds_them():
    target = WatchTimeQuantiles.fit(SAMPLE, 5)
    head = torch.ones(1, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.from_numpy(target.labels(SAMPLE).astype(np.float64))
    optimiser = torch.optim.Adam([head], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.98)
    for _ in range(300):
        optimiser.zero_grad()
        target.loss(head.expand(len(SAMPLE), -1), labels).backward()
        optimiser.step()
        schedule.step()
    found = target.unit * head.detach().relu().cumsum(1)[0].numpy()
    best = np.quantile(SAMPLE.watch_time, np.arange(1, 5) / 5, method="inverted_cdf")
    assert loss_at(target, found, SAMPLE) < 1.001 * loss_at(target, best, SAMPLE)


def test_seconds_are_the_mean_of_the_quantiles_and_the_score():
    target, quantiles = WatchTimeQuantiles(4, 2.0), np.array([3.0, 10.0, 25.0])
    head = head_of(quantiles, 2.0).astype(np.float32)
    assert target.seconds(head, np.float32([30]))[0] == pytest.approx(38 / 3)
    np.testing.assert_array_equal(target.score(head, np.float32([30])), target.seconds(head, np.float32([30])))


def test_a_negative_output_is_no_step_back():
    target = WatchTimeQuantiles(3, 1.0)
    assert target.seconds(np.float32([[5, -100]]), np.float32([30]))[0] == 5
    assert target.seconds(np.float32([[-5, -100]]), np.float32([30]))[0] == 0


def test_many_quantiles_have_the_mean_of_the_sample():
    y = SAMPLE.watch_time.astype(np.float64)
    target = WatchTimeQuantiles.fit(SAMPLE, 2000)
    quantiles = np.quantile(y, np.arange(1, 2000) / 2000, method="inverted_cdf")
    assert target.seconds(head_of(quantiles, target.unit), np.float32([30]))[0] == pytest.approx(y.mean(), rel=2e-3)


def test_unit_and_outputs():
    target = CQE().target(SAMPLE, CQEParams(levels=20))
    assert target.outputs == 19
    assert target.unit == pytest.approx(SAMPLE.watch_time.mean() / 20, rel=1e-6)
    assert WatchTimeQuantiles.fit(watched([0, 0]), 20).unit == 1 / 20
