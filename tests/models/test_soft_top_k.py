"""The soft top k against brute force, its limits and Sinkhorn; the released operator against its own fixed point."""

import math

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.soft_top_k import soft_top_k, sorted_sinkhorn
from hypothesis import given, settings
from hypothesis import strategies as st


def scores(users, n, seed=0, dtype=torch.float64):
    return torch.rand(users, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bisected(row, k, temperature):
    """t by 200 bisections, in plain Python."""
    low, high = min(row) - 100 * temperature, max(row) + 100 * temperature
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if sum(logistic((s - t) / temperature) for s in row) > k else (low, t)
    return [logistic((s - t) / temperature) for s in row]


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


@settings(max_examples=40)
@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=12),
    st.integers(1, 11),
    st.sampled_from([1e-4, 1e-2, 0.3, 5.0]),
)
def test_it_is_what_bisection_finds(row, k, temperature):
    k = min(k, len(row) - 1)
    found = soft_top_k(torch.tensor([row], dtype=torch.float64), k, temperature)[0]
    assert float(found.sum()) == pytest.approx(k, abs=1e-9)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    torch.testing.assert_close(found, torch.tensor(bisected(row, k, temperature), dtype=torch.float64), atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e-2, 1.0])
def test_sums_bounds_and_symmetries(dtype, temperature):
    s = scores(60, 80, dtype=dtype)
    alpha = soft_top_k(s, 10, temperature)
    assert alpha.dtype == dtype
    assert float((alpha.double().sum(1) - 10).abs().max()) < 1e-6
    assert 0 <= float(alpha.min()) <= float(alpha.max()) <= 1
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(soft_top_k(s[:, order], 10, temperature), alpha[:, order], atol=1e-6, rtol=0)
    torch.testing.assert_close(
        soft_top_k(s.double() + 4, 10, temperature), soft_top_k(s.double(), 10, temperature), atol=1e-6, rtol=0
    )


def test_limits():
    s = scores(20, 30)
    torch.testing.assert_close(soft_top_k(torch.full((2, 8), 0.7), 3, 0.1), torch.full((2, 8), 3 / 8))
    hard = torch.zeros_like(s).scatter(1, s.topk(5, dim=1).indices, 1.0)
    torch.testing.assert_close(soft_top_k(s, 5, 1e-7), hard)
    assert soft_top_k(s, 30, 0.1).equal(torch.ones_like(s))
    tied = soft_top_k(torch.tensor([[2.0, 1.0, 1.0, 0.0]]), 2, 1e-6)
    torch.testing.assert_close(tied, torch.tensor([[1.0, 0.5, 0.5, 0.0]]))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own
def test_the_gradient():
    s = scores(4, 11).requires_grad_()
    mask = torch.arange(11) < torch.tensor([[11], [7], [4], [3]])

    def f(x):
        return soft_top_k(x, 3, 0.2, mask)

    assert torch.autograd.gradcheck(f, s, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, s)
    jacobian = torch.autograd.functional.jacobian(lambda x: soft_top_k(x[None], 3, 0.2)[0], s[0].detach())
    assert float(jacobian.diagonal().min()) > 0  # rises with its own score, falls with any other
    assert float((jacobian - jacobian.diagonal().diag()).max()) <= 0
    for axis in (0, 1):
        assert float(jacobian.sum(axis).abs().max()) < 1e-12
    hard = torch.tensor([[5.0, 4.0, 1.0, 0.0]], requires_grad=True)
    soft_top_k(hard, 2, 1e-4)[0, 0].backward()
    assert hard.grad.abs().max() == 0


def test_torch_func_sees_it():
    s = scores(3, 9)
    weight = scores(3, 9, 1)

    def value(x):
        return (soft_top_k(x, 2, 0.1) * weight).sum()

    (expected,) = torch.autograd.grad(value(leaf := s.clone().requires_grad_()), leaf)
    torch.testing.assert_close(torch.func.grad(value)(s), expected)


def test_padding_changes_nothing():
    s, extra = scores(5, 12), scores(5, 20, 1) * 100
    mask = torch.cat([torch.ones(5, 12, dtype=torch.bool), torch.zeros(5, 20, dtype=torch.bool)], dim=1)
    wide = torch.cat([s, extra], dim=1).requires_grad_()
    narrow = s.clone().requires_grad_()
    found, expected = soft_top_k(wide, 4, 0.05, mask), soft_top_k(narrow, 4, 0.05)
    assert found[:, :12].equal(expected)
    assert found[:, 12:].abs().max() == 0
    (found.square().sum() + expected.square().sum()).backward()
    torch.testing.assert_close(wide.grad[:, :12], narrow.grad)
    assert wide.grad[:, 12:].abs().max() == 0


def test_it_is_sinkhorns_limit():
    """20,000 steps to two anchors, at eps = 2 tau for the cost (s - anchor)^2."""
    n, k, tau = 14, 4, 0.05
    s = scores(1, n, 3)[0]
    cost, eps = (s[:, None] - torch.tensor([1.0, 0.0])).square(), 2 * tau
    nu = torch.tensor([k / n, 1 - k / n], dtype=torch.float64)
    g = torch.zeros(2, dtype=torch.float64)
    for _ in range(20_000):
        f = math.log(1 / n) - torch.logsumexp(-cost / eps + g, 1)
        g = nu.log() - torch.logsumexp(-cost / eps + f[:, None], 0)
    plan = (-cost / eps + f[:, None] + g).exp() * n
    torch.testing.assert_close(plan[:, 0], soft_top_k(s[None], k, tau)[0], atol=1e-10, rtol=0)


def test_the_released_operator():
    s = scores(3, 15)
    found = sorted_sinkhorn(s, 3, eps=1e-2, iterations=5000)
    assert not found.unconverged.any()
    torch.testing.assert_close(found.memberships.sum(1), torch.full((3,), 3.0, dtype=torch.float64), atol=1e-9, rtol=0)
    assert float(found.memberships.max()) <= 1 + 1e-6
    assert found.memberships.argsort(1).equal(s.argsort(1))
    assert sorted_sinkhorn(scores(2, 60, 5), 5, iterations=50).unconverged.all()
    wide = torch.cat([s, torch.full((3, 5), 9.0)], dim=1)
    mask = torch.arange(20).expand(3, -1) < 15
    torch.testing.assert_close(sorted_sinkhorn(wide, 3, 1e-2, 5000, mask).memberships[:, :15], found.memberships)


def test_the_released_gradient_is_that_of_the_fixed_point():
    """The score with the largest cost stays as it is, for the scale of costs is held constant."""
    fixed, s = torch.zeros(2, 1, dtype=torch.float64), (0.2 + 0.6 * scores(2, 8)).requires_grad_()

    def f(x):
        return sorted_sinkhorn(torch.cat([fixed, x], dim=1), 2, eps=0.05, iterations=400).memberships

    assert torch.autograd.gradcheck(f, s, atol=1e-6)


def test_the_released_gradient_is_sound_where_the_top_k_is_hard():
    """At the released eps hardly any mass is free to move, and single precision has lost it by subtraction."""
    weight = torch.randn(6, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradient(dtype):
        s = scores(6, 30).to(dtype).requires_grad_()
        return torch.autograd.grad((sorted_sinkhorn(s, 3).memberships * weight.to(dtype)).sum(), s)[0].double()

    single, double = gradient(torch.float32), gradient(torch.float64)
    assert float(double.norm()) > 1
    assert float((single - double).norm() / double.norm()) < 0.05
    torch.testing.assert_close(single.sum(1), torch.zeros(6, dtype=torch.float64), atol=1e-4, rtol=0)
    apart = torch.arange(10.0, requires_grad=True)  # nothing at all can move
    (found,) = torch.autograd.grad((sorted_sinkhorn(apart[None], 3).memberships * torch.arange(10.0)).sum(), apart)
    assert found.abs().max() < 1e-6


def test_bad_input():
    s = scores(2, 6)
    for wrong, message in (
        (lambda: soft_top_k(s, 7, 0.1), "fewer candidates"),
        (lambda: soft_top_k(s, 0, 0.1), "at least k >= 1"),
        (lambda: soft_top_k(s, 2, 0.0), "must be positive"),
        (lambda: soft_top_k(s[0], 2, 0.1), r"floats \(users, n\)"),
        (lambda: soft_top_k(s, 2, 0.1, torch.ones(2, 6)), "it must be bool"),
        (lambda: soft_top_k(s, 3, 0.1, torch.arange(6) < torch.tensor([[6], [2]])), "fewer candidates"),
        (lambda: sorted_sinkhorn(s, 6), "needs more than k"),
    ):
        with pytest.raises(UsageError, match=message):
            wrong()
    assert soft_top_k(s * torch.nan, 2, 0.1).isnan().all()  # and comes to an end
