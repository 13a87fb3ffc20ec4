"""Conjugate gradient against dense solutions, its exits, its Ritz value; the released Adam loop against torch's Adam."""

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.solvers import adam_as_released, conjugate_gradient, inner, scaled_identity
from hypothesis import given, settings
from hypothesis import strategies as st


def spd(size=30, seed=0, low=0.1, high=10.0):
    g = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(size, size, generator=g, dtype=torch.float64))[0]
    spectrum = torch.linspace(low, high, size, dtype=torch.float64)
    return Q @ torch.diag(spectrum) @ Q.T, torch.randn(size, generator=g, dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_solves_a_definite_system(size, seed):
    H, b = spd(size, seed)
    solution = conjugate_gradient(H.mv, b, tol=1e-10)
    assert solution.converged
    assert not solution.negative_curvature
    torch.testing.assert_close(solution.p, torch.linalg.solve(H, b), rtol=1e-8, atol=1e-9)
    assert solution.residual == pytest.approx(float((H @ solution.p - b).norm() / b.norm()), abs=1e-11)


def test_shape_is_free_and_inputs_stay():
    H, b = spd(12)
    table = b.view(3, 4)
    copy = table.clone()
    solution = conjugate_gradient(lambda x: (H @ x.reshape(-1)).view(3, 4), table, tol=1e-12)
    assert solution.p.shape == (3, 4)
    assert torch.equal(table, copy)


def test_preconditioner_saves_steps_and_leaves_the_solution():
    H, b = spd(40)
    scale = torch.logspace(-3, 3, 40, dtype=torch.float64)
    H = scale[:, None] * H * scale
    plain = conjugate_gradient(H.mv, b, tol=1e-8, max_iter=40)
    jacobi = conjugate_gradient(H.mv, b, lambda r: r / H.diagonal(), tol=1e-8, max_iter=200)
    assert jacobi.converged
    assert not plain.converged
    torch.testing.assert_close(jacobi.p, torch.linalg.solve(H, b), rtol=1e-5, atol=1e-6 * float(jacobi.p.abs().max()))
    exact = conjugate_gradient(H.mv, b, lambda r: torch.linalg.solve(H, r), tol=1e-6)
    assert exact.iterations == 1


def test_smallest_ritz_value_approaches_the_smallest_eigenvalue():
    H, b = spd(25)
    solution = conjugate_gradient(H.mv, b, tol=1e-12)
    assert solution.smallest_ritz == pytest.approx(0.1, rel=1e-6)
    early = conjugate_gradient(H.mv, b, max_iter=3, tol=0.0)
    assert 0.1 < solution.smallest_ritz + 1e-3 < early.smallest_ritz < early.smallest_curvature + 1e-12


def test_converges_to_the_pseudo_inverse_on_a_singular_system():
    """As at a gauge-invariant optimum: b lies in the range."""
    H, b = spd(20, low=0.0)
    b = H @ b
    solution = conjugate_gradient(H.mv, b, tol=1e-10)
    torch.testing.assert_close(solution.p, torch.linalg.pinv(H, hermitian=True, rtol=1e-10) @ b, rtol=1e-6, atol=1e-8)


def test_negative_curvature_returns_the_iterate_of_least_residual():
    H, b = spd(30, low=-2.0)
    products: list[torch.Tensor] = []
    solution = conjugate_gradient(lambda x: products.append(x.clone()) or H @ x, b)
    assert solution.negative_curvature
    assert not solution.converged
    assert 0 < solution.iterations == len(products) - 1
    assert solution.smallest_curvature < 0
    assert -2.0 <= solution.smallest_ritz < 0
    assert solution.residual == pytest.approx(float((H @ solution.p - b).norm() / b.norm()), rel=1e-10)
    again = [conjugate_gradient(H.mv, b, max_iter=k).residual for k in range(1, solution.iterations + 1)]
    assert solution.residual == min(again)


def test_negative_curvature_at_once_falls_back_on_the_preconditioned_gradient():
    b = torch.tensor([3.0, 4.0])
    solution = conjugate_gradient(scaled_identity(-1.0), b, lambda r: r / 2)
    assert torch.equal(solution.p, b / 2)
    assert (solution.iterations, solution.negative_curvature) == (0, True)
    assert solution.residual == pytest.approx(1.5)


def test_no_right_hand_side_no_step():
    b = torch.zeros(4)
    for solution in (conjugate_gradient(scaled_identity(1.0), b), adam_as_released(scaled_identity(1.0), b, 0.1, lambda _: 1.0)):
        assert torch.equal(solution.p, b)
        assert (solution.iterations, solution.residual) == (0, 0.0)


def test_values_that_are_not_finite_are_refused():
    b = torch.ones(3)
    with pytest.raises(UsageError, match="not finite"):
        conjugate_gradient(scaled_identity(float("nan")), b)
    with pytest.raises(UsageError, match="diverged"):
        adam_as_released(scaled_identity(1.0), b, 0.1, lambda _: float("-inf"))


def test_inner_product_keeps_float64_between_blocks():
    x = torch.rand(1 << 22, generator=torch.Generator().manual_seed(0))
    assert inner(x, x) == pytest.approx(float(x.double().square().sum()), rel=2e-7)


def test_adam_is_torchs_adam():
    H, b = spd(10)
    p = torch.nn.Parameter(torch.zeros_like(b))
    optimiser = torch.optim.Adam([p], lr=0.05)
    for _ in range(20):
        p.grad = (H @ p - b).detach()
        optimiser.step()
    steps: list[torch.Tensor] = []
    adam_as_released(H.mv, b, 0.05, lambda q: steps.append(q.clone()) or len(steps), max_iter=20)
    torch.testing.assert_close(steps[-1], p.detach(), rtol=1e-12, atol=1e-14)


def test_adam_first_step_is_the_sign_and_steps_are_bounded():
    """I12: a coordinate moves by about the rate, whatever the size of b."""
    H, b = spd(10)
    b = b * 1e3
    steps: list[torch.Tensor] = []
    adam_as_released(H.mv, b, 0.01, lambda q: steps.append(q.clone()) or len(steps), max_iter=30)
    torch.testing.assert_close(steps[0], 0.01 * b.sign(), rtol=1e-6, atol=0)
    for k, p in enumerate(steps, start=1):
        assert float(p.abs().max()) <= k * 3.17 * 0.01


def test_adam_keeps_the_best_iterate_and_stops_at_the_eleventh_miss():
    scores = iter([0.5, 0.7, 0.7, *[0.6] * 8, 0.8, *[0.1] * 50])
    seen: list[torch.Tensor] = []

    def score(p):
        seen.append(p.clone())
        return next(scores)

    solution = adam_as_released(scaled_identity(1.0), torch.ones(3), 0.1, score)
    assert solution.iterations == 12
    assert len(seen) == 12 + 11
    assert torch.equal(solution.p, seen[11])
    assert np.isnan(solution.smallest_ritz)
