"""Scales, objectives and their balance: closed forms, brute force, bounds, and what the released code makes of the same."""

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.platform_objectives import (
    Candidates,
    Objective,
    Scale,
    balance_weights,
    balance_weights_as_released,
    objectives,
    padded,
    scale,
    scale_as_released,
)
from craftbench.models.soft_top_k import soft_top_k
from hypothesis import given
from hypothesis import strategies as st

FULL = torch.ones(1, 50, dtype=torch.bool)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1.6


@given(st.floats(0.1, 500), st.floats(1.01, 100), st.floats(0.05, 0.95))
def test_the_scale(knee, ratio, value):
    top = knee * ratio
    y = np.linspace(0, top, 301)
    found = scale(y, knee, top, value)
    at = scale(np.array([0.0, knee, top, 2 * top]), knee, top, value)
    np.testing.assert_allclose(at, [0, value, 1, 1], atol=1e-12)
    assert (np.diff(found) > 0).all()
    step = 1e-9 * knee
    before, after = scale(np.array([knee - step, knee + step]), knee, top, value)
    assert after - before < 1e-6
    upper = 1 - (1 - value) * (top - y) / (top - knee)
    np.testing.assert_allclose(found, np.where(y <= knee, value * y / knee, upper), atol=1e-9)
    np.testing.assert_array_equal(found[7:8], scale(y[7:8], knee, top, value))  # a row does not look at the others
    torch.testing.assert_close(scale(torch.from_numpy(y), knee, top, value), torch.from_numpy(found))


def test_the_released_scale():
    seconds = np.array([0.0, 25.0, 50.0, 51.0, 700.0], dtype=np.float32)
    np.testing.assert_allclose(scale_as_released(seconds, 50.0, 0.2), [0, 0.1, 0.2, 0, 0], rtol=1e-6)
    assert scale(seconds, 50.0, 800.0, 0.2)[3] > 0.2


def test_constants_come_of_quantiles():
    seconds = np.arange(1, 10_001, dtype=np.float32)
    found = Scale.of(seconds, 0.8, 0.5)
    assert (found.knee, found.top, found.knee_value) == pytest.approx((8000.2, 9990.0, 0.5), rel=1e-4)
    assert Scale.of(seconds, two_slopes=False) == Scale(found.top, found.top, 1.0)
    constant = Scale.of(np.full(100, 7.0))
    np.testing.assert_allclose(constant(np.array([0.0, 3.5, 7.0, 9.0])), [0, 0.5, 1, 1])
    np.testing.assert_array_equal(Scale.of(np.zeros(100))(np.zeros(3)), np.zeros(3))
    with pytest.raises(UsageError, match="0 < knee <= top"):
        scale(seconds, 0.0, 1.0, 0.2)


# 1.5


def by_hand(alpha, watch, explicit, duration, mask, k):
    """User by user, in NumPy."""
    found = []
    for user in range(len(mask)):
        w = alpha[user][mask[user]].numpy() / k
        y, e, x = (each[user][mask[user]].numpy() for each in (watch, explicit, duration))
        mean = (w * x).sum()
        found.append([(w * y).sum(), (w * e).sum(), np.sqrt((w * (x - mean) ** 2).sum())])
    return np.array(found)


def world(users=6, n=20, k=4):
    mask = torch.arange(n) < torch.tensor([[20], [17], [9], [8], [20], [12]])
    alpha = soft_top_k(rand(users, n), k, 0.1, mask)
    return alpha, rand(users, n, seed=1), rand(users, n, seed=2).round(), rand(users, n, seed=3), mask, k


def test_objectives_by_hand():
    each = by_hand(*world())
    np.testing.assert_allclose(objectives(*world()).numpy(), each.mean(0))


@given(st.integers(0, 1000), st.floats(0.01, 2.0))
def test_objectives_are_bounded(seed, temperature):
    alpha = soft_top_k(rand(5, 12, seed=seed), 3, temperature)
    extreme = rand(5, 12, seed=seed + 1).round()
    usage, engagement, spread = objectives(alpha, extreme, extreme, extreme, torch.ones(5, 12, dtype=torch.bool), 3)
    assert 0 <= float(usage) <= 1 + 1e-9
    assert 0 <= float(engagement) <= 1 + 1e-9
    assert 0 <= float(spread) <= 0.5 + 1e-9


def test_the_spread():
    alpha, watch, explicit, duration, mask, k = world()
    equal = torch.full_like(duration, 0.3).requires_grad_()
    found = objectives(alpha.requires_grad_(), watch, explicit, equal, mask, k)[2]
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-8)
    assert torch.isfinite(equal.grad).all()
    assert torch.isfinite(alpha.grad).all()
    alpha = alpha.detach()
    moved = objectives(alpha, watch, explicit, duration + 0.7, mask, k)
    torch.testing.assert_close(moved[2], objectives(alpha, watch, explicit, duration, mask, k)[2])
    hard = torch.zeros(1, 50, dtype=torch.float64)
    hard[0, :10] = 1
    x = rand(1, 50)
    population = objectives(hard, x, x, x, FULL, 10)[2]
    assert float(population) == pytest.approx(float(x[0, :10].std(correction=0)))


def test_the_released_spread_rewards_long_lists():
    hard = torch.zeros(1, 50)
    hard[0, :10] = 1
    lists = {
        "equal, long": torch.full((10,), 0.2),
        "spread": torch.linspace(0.02, 0.2, 10),
        "equal, short": torch.full((10,), 0.05),
    }
    found, corrected = {}, {}
    for name, chosen in lists.items():
        duration = torch.zeros(1, 50)
        duration[0, :10] = chosen
        arguments = (hard, duration, duration, duration, FULL, 10)
        found[name] = round(float(objectives(*arguments, released_spread=True)[2]), 3)
        corrected[name] = float(objectives(*arguments)[2])
    assert found == {"equal, long": 0.081, "spread": 0.051, "equal, short": 0.02}
    assert max(corrected, key=corrected.get) == "spread"


# 1.7


@pytest.mark.parametrize("tau", [0.0, 0.5, 3.0, 100.0])
@pytest.mark.parametrize("values", [(0.1, 0.02, 0.3), (0.0, 0.0, 0.0), (0.0, 1e4, 3.0)])
def test_weights(values, tau):
    M = torch.tensor(values, dtype=torch.float64)
    for w in (balance_weights(M, tau), balance_weights_as_released(M, tau)):
        assert torch.isfinite(w).all()
        assert float(w.sum()) == pytest.approx(1)
        assert float(w[M.argmin()]) == float(w.max())
        if tau == 0:
            torch.testing.assert_close(w, torch.full((3,), 1 / 3, dtype=torch.float64))


def test_the_released_weights_by_their_loop():
    M = torch.tensor([0.03, 0.2, 0.7], dtype=torch.float64)
    lifted = M.clone()
    while float(lifted.min()) < 1:
        lifted *= 10
    expected = (-0.5 * lifted).exp() / (-0.5 * lifted).exp().sum()
    torch.testing.assert_close(balance_weights_as_released(M, 0.5), expected)
    large = torch.tensor([400.0, 420.0, 500.0], dtype=torch.float64)
    assert float((-2 * large).exp().sum()) == 0  # where the code divides by 0
    torch.testing.assert_close(balance_weights_as_released(large, 2.0), torch.tensor([1.0, 0, 0], dtype=torch.float64))


def test_gradients_through_the_balance():
    tau = 5.0
    found = {}
    for literal in (False, True):
        M = torch.tensor([0.1, 0.02, 0.3], dtype=torch.float64, requires_grad=True)
        achieved = Objective(3, tau=tau, literal=literal).combined(M)
        achieved.value.backward()
        found[literal] = M.grad
    w = achieved.weights
    torch.testing.assert_close(found[False], w)
    torch.testing.assert_close(found[True], w * (1 - tau * (M.detach() - achieved.value.detach())))


def test_sums_sharpen_the_balance():
    M = torch.tensor([0.1, 0.02, 0.3], dtype=torch.float64)
    summed = Objective(3, tau=0.5, sums=True).combined(M, users=40)
    torch.testing.assert_close(summed.weights, balance_weights(40 * M, 0.5))
    assert float(summed.value) == pytest.approx(float((summed.weights * M).sum()))
    released = Objective(3, tau=0.5, released_weights=True).combined(M, users=40)
    torch.testing.assert_close(released.weights, balance_weights_as_released(40 * M, 0.5))


def test_an_objective_that_is_left_out_weighs_nothing():
    M = torch.tensor([0.1, 0.02, 0.3], dtype=torch.float64)
    achieved = Objective(3, tau=5.0, kept=(True, False, True)).combined(M)
    assert float(achieved.weights[1]) == 0
    torch.testing.assert_close(achieved.weights[[0, 2]], balance_weights(M[[0, 2]], 5.0))
    assert float(achieved.value) == pytest.approx(float((achieved.weights * M).sum()))


# All together


def candidates():
    _, watch, explicit, duration, mask, _ = world()
    return Candidates(watch, explicit, duration, mask)


@pytest.mark.parametrize(
    "settings",
    [{}, {"relative": True}, {"sinkhorn": True}, {"released_weights": True}, {"released_spread": True}, {"sums": True}],
    ids=str,
)
def test_every_variant_has_a_gradient_and_differs(settings):
    shown = candidates()
    s = rand(int(shown.mask.sum()), seed=8).requires_grad_()
    value = Objective(4, 0.1, **settings)(s, shown).value
    (gradient,) = torch.autograd.grad(value, s)
    assert float(gradient.abs().max()) > 0
    assert torch.isfinite(gradient).all()
    assert not settings or not value.equal(Objective(4, 0.1)(s, shown).value)


def test_a_relative_temperature_does_not_ask_for_a_scale():
    shown, s = candidates(), rand(86, seed=8)
    soft = Objective(4, 0.3, relative=True)
    torch.testing.assert_close(soft(s, shown).value, soft(0.01 * s, shown).value)
    assert torch.isfinite(soft(torch.zeros_like(s), shown).value)


def test_no_feedback_and_equal_videos_are_no_obstacle():
    shown = candidates()
    nothing = Candidates(torch.zeros_like(shown.watch), torch.zeros_like(shown.watch), torch.zeros_like(shown.watch), shown.mask)
    for settings in ({}, {"released_weights": True}, {"released_spread": True}):
        s = rand(86, seed=8).requires_grad_()
        value = Objective(4, 0.1, **settings)(s, nothing).value
        (gradient,) = torch.autograd.grad(value, s)
        assert float(value.detach().abs() + gradient.abs().sum()) == 0


def test_flat_rows_are_put_in_their_places():
    mask = torch.tensor([[True, False, True], [True, True, False]])
    assert padded(torch.tensor([1.0, 2.0, 3.0, 4.0]), mask).tolist() == [[1, 0, 2], [3, 4, 0]]
