"""D2Co: mixtures against scikit-learn, smoothing against pandas, the label by its formula, seconds as its inverse."""

import warnings

import numpy as np
import pandas as pd
import pytest
from craftbench.baselines.watch_time.d2co import CorrectedWatch, D2CoParams, component_means, smoothed, two_means
from craftbench.core.task import Watched
from craftbench.models.watch_seconds import Cells
from scipy.special import logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

DEFAULTS = D2CoParams()
SAMPLES = {
    "two bumps": lambda rng: np.concatenate([rng.poisson(3, 400), rng.poisson(25, 200)]),
    "close": lambda rng: np.concatenate([rng.poisson(10, 500), rng.poisson(16, 300)]),
    "exponential": lambda rng: rng.exponential(12, 900),
    "finishers": lambda rng: np.where(rng.random(700) < 0.3, 60, rng.exponential(9, 700)),
    "one bump": lambda rng: rng.normal(30, 5, 600),
    "two values": lambda rng: np.where(rng.random(50) < 0.2, 41, 7),
    "neighbours": lambda rng: np.where(rng.random(50) < 0.5, 8, 7),
    "three rows": lambda rng: np.array([1, 4, 60]),
    "means that change sides": lambda rng: np.array([17, 21, 21, 22, 22, 22, 23, 24, 24, 27]),
    "an outlier": lambda rng: np.append(rng.poisson(4, 300), 3600),
}


def watched(watch_time, duration):
    y, d = np.asarray(watch_time, np.float32), np.asarray(duration, np.float32)
    return Watched({"user_id": np.zeros(len(y), np.int64)}, {}, y, np.broadcast_to(d, y.shape))


def samples():
    """Each family as the seconds of one duration, whole."""
    for k, draw in enumerate(SAMPLES.values()):
        duration = 4000 + 3 * k
        yield duration, np.clip(np.rint(draw(np.random.default_rng(k))), 0, duration)


def log_of(pairs):
    return watched(np.concatenate([w for _, w in pairs]), np.concatenate([np.full(len(w), d) for d, w in pairs]))


def best_cut(w):
    """The two sides of the cut with the smallest sum of squares, by brute force."""
    cuts = [(w[w <= c], w[w > c]) for c in np.unique(w)[:-1]]
    return min(cuts, key=lambda sides: sum(side.var() * len(side) for side in sides))


def sklearn_means(w):
    """scikit-learn's mixture from the same start, given as parameters."""
    sides = best_cut(w)
    model = GaussianMixture(
        2,
        covariance_type="spherical",
        max_iter=500,
        weights_init=[len(side) / len(w) for side in sides],
        means_init=[[side.mean()] for side in sides],
        precisions_init=[1 / (side.var() + 1e-6) for side in sides],
    )
    return np.sort(model.fit(w[:, None]).means_[:, 0])


# The mixture


def test_start_is_the_best_cut():
    pairs = list(samples())
    cells = Cells.of_rows(log_of(pairs))
    sides = two_means(cells)
    np.testing.assert_array_equal(sides.sum(axis=1), 1)
    for k, (_, w) in enumerate(pairs):
        here = cells.of == k
        low, high = best_cut(w)
        assert set(cells.watch[here & (sides[:, 0] == 1)]) == set(low)
        assert set(cells.watch[here & (sides[:, 1] == 1)]) == set(high)


def test_all_mixtures_at_once_are_scikit_learns():
    pairs = list(samples())
    found = component_means(Cells.of_rows(log_of(pairs)))
    for (_, w), means in zip(pairs, found, strict=True):
        np.testing.assert_allclose(means, sklearn_means(w), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["two bumps", "finishers", "exponential", "two values"])
def test_as_released(name):
    """The released call, which starts from k-means."""
    w = np.clip(np.rint(SAMPLES[name](np.random.default_rng(5))), 0, 4000)
    model = GaussianMixture(2, init_params="kmeans", covariance_type="spherical", max_iter=500, random_state=61).fit(w[:, None])
    np.testing.assert_allclose(component_means(Cells.of_rows(watched(w, 4000)))[0], np.sort(model.means_[:, 0]), rtol=1e-6)


def test_two_values_are_both_means():
    assert component_means(Cells.of_rows(watched([7] * 9 + [41], 60)))[0] == pytest.approx([7, 41])


@pytest.mark.parametrize("count", [1, 12])
def test_one_value_is_both_means(count):
    """scikit-learn leaves its second component without rows and its mean at 0; ours stays with the others."""
    w = np.full(count, 13.0)
    np.testing.assert_array_equal(component_means(Cells.of_rows(watched(w, 20))), [[13, 13]])
    if count > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianMixture(2, covariance_type="spherical", random_state=61).fit(w[:, None])
        assert model.means_[np.argmax(model.weights_)] == pytest.approx(13)


# Smoothing


@pytest.mark.parametrize("window", [1, 4, 10])
def test_smoothing_is_the_released_rolling_window(window):
    rng = np.random.default_rng(0)
    duration, rows, values = np.arange(5, 45), rng.integers(1, 99, 40), rng.uniform(0, 9, (40, 2))
    rolled = [pd.Series(each).rolling(2 * window - 1, min_periods=1, center=True).sum() for each in (*(rows * values.T), rows)]
    expected = np.stack([rolled[0] / rolled[2], rolled[1] / rolled[2]], axis=1)
    np.testing.assert_allclose(smoothed(duration, rows, values, window), expected, rtol=1e-12)


def test_the_window_is_of_seconds():
    """A duration far from the others is its own window, and its neighbour by rank does not reach into it."""
    values = np.array([[1.0, 2.0], [3.0, 4.0], [100.0, 200.0]])
    found = smoothed(np.array([10, 11, 60]), np.array([1, 3, 5]), values, 10)
    np.testing.assert_allclose(found, [[2.5, 3.5], [2.5, 3.5], [100, 200]])


# The label and the way back

ENDS = CorrectedWatch(np.array([20, 60]), np.array([[3.0, 15.0], [5.0, 40.0]]), 0.3)


@pytest.mark.parametrize("alpha", [1e-5, 0.02, 0.3])
def test_label_is_the_formula(alpha):
    target = CorrectedWatch(ENDS.duration, ENDS.ends, alpha)
    w, low, high = np.arange(0, 61), 5.0, 40.0
    expected = np.clip((np.exp(alpha * w) - np.exp(alpha * low)) / (np.exp(alpha * high) - np.exp(alpha * low)), 0, 1)
    np.testing.assert_allclose(target.labels(watched(w, 60))[:, 0], expected, rtol=1e-5)
    assert target.labels(watched([5, 40], 60))[:, 0] == pytest.approx([0, 1])


def test_a_small_alpha_is_linear():
    linear = CorrectedWatch(ENDS.duration, ENDS.ends, 1e-6)
    assert linear.labels(watched([22.0], 60))[0, 0] == pytest.approx(17 / 35, rel=1e-4)


def test_no_power_overflows():
    long = CorrectedWatch(np.array([20000]), np.array([[10.0, 19000.0]]), 1.0)
    np.testing.assert_array_equal(long.labels(watched([0, 10, 9000, 19000, 20000], 20000))[:, 0], [0, 0, 0, 1, 1])
    found = long.seconds(np.float32([[-3e38], [-5], [0], [5], [3e38]]), np.full(5, 20000, np.float32))
    assert np.isfinite(found).all()
    assert (found[0], found[-1]) == (10, 19000)


def test_equal_means_are_a_step():
    flat = CorrectedWatch(np.array([20]), np.array([[7.0, 7.0]]), 0.3)
    np.testing.assert_array_equal(flat.labels(watched([6, 7, 8], 20))[:, 0], [0, 0, 1])
    np.testing.assert_array_equal(flat.seconds(np.float32([[-9], [9]]), np.float32([20, 20])), [7, 7])


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_seconds_invert_the_label_between_the_means(alpha):
    target = CorrectedWatch(ENDS.duration, ENDS.ends, alpha)
    w = np.arange(28, 40)
    p = target.labels(watched(w, 60)).astype(np.float64)
    np.testing.assert_allclose(target.seconds(logit(p).astype(np.float32), np.full(12, 60, np.float32)), w, rtol=1e-4)


def test_seconds_are_cut_at_the_duration():
    """After smoothing w+ may exceed a short duration."""
    assert ENDS.seconds(np.float32([[40]]), np.float32([12]))[0] == 12


def test_unseen_durations_take_the_nearest():
    np.testing.assert_array_equal(ENDS.labels(watched([9], 40)), ENDS.labels(watched([9], 20)))
    np.testing.assert_array_equal(ENDS.labels(watched([9], 41)), ENDS.labels(watched([9], 60)))


def test_from_a_log():
    """Fitted on two neighbouring durations, each of two values: both means are weighted by rows."""
    train = watched([2, 10, 10, 4, 4, 4, 4, 4, 12], [20, 20, 20, 21, 21, 21, 21, 21, 21])
    np.testing.assert_allclose(CorrectedWatch.fit(train, 0.3, 1).ends, [[2, 10], [4, 12]])
    np.testing.assert_allclose(CorrectedWatch.fit(train, 0.3, 2).ends, [[10 / 3, 34 / 3]] * 2)


def test_defaults_are_the_releases():
    assert (DEFAULTS.alpha, DEFAULTS.window) == (0.3, 10)
