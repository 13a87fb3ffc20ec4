"""Balancers that solve an equation or a program, by the conditions that only its solution meets."""

import numpy as np
import pytest
import torch
from craftbench.baselines.multitask.aligned_mtl import aligned_mtl_weights
from craftbench.baselines.multitask.cagrad import cagrad_weights
from craftbench.baselines.multitask.imtl import imtl_g_weights
from craftbench.baselines.multitask.mgda import mgda_weights
from craftbench.baselines.multitask.nash_mtl import nash_mtl_weights
from craftbench.core.errors import UsageError
from craftbench.models.simplex import nearest_to_origin

SCALES = ("random", "in common", "of unlike norm", "tiny", "huge", "scales apart")


def test_mgda_of_two():
    for seed in range(20):
        J = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 3)) * [[1.0], [3.0]])
        K = J @ J.T
        first = ((K[1, 1] - K[0, 1]) / (K[0, 0] + K[1, 1] - 2 * K[0, 1])).clamp(0, 1)
        torch.testing.assert_close(mgda_weights(K), torch.stack([first, 1 - first]))


def test_mgda_is_the_nearest_point(jacobians):
    """w on the simplex and <g, g_k> >= ||g||^2 for all k: exactly then g is the point of the hull nearest to 0."""
    for label, J in jacobians(*SCALES, "rank-deficient", "stationary"):
        w = mgda_weights(J @ J.T)
        g = J.T @ w
        assert (w >= 0).all(), label
        assert float(w.sum()) == pytest.approx(1), label
        least = J.norm(dim=1).min()
        assert (J @ g >= g @ g - 1e-6 * least * J.norm(dim=1)).all(), label


def test_mgda_at_a_stationary_point_is_0(jacobians):
    for label, J in jacobians("stationary"):
        assert (J.T @ mgda_weights(J @ J.T)).norm() < 1e-6 * J.norm(), label


def test_the_nearest_point_may_be_a_corner():
    assert nearest_to_origin(np.array([[1.0, 2.0], [0.0, 1.0]])).tolist() == [1.0, 0.0]
    assert nearest_to_origin(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("c", [0.2, 0.4, 0.8])
def test_cagrad_is_the_best_of_the_ball(jacobians, c):
    """g = g_0 + c ||g_0|| g_w / ||g_w||, and every task in w has the least <g_k, g>: then no g in the ball has a greater one."""
    for label, J in jacobians("random", "in common", "of unlike norm", "tiny", "huge", "rank-deficient"):
        g0 = J.mean(0)
        w = cagrad_weights(J @ J.T, c) - 1 / len(J)
        g = g0 + J.T @ w
        assert float((g - g0).norm()) == pytest.approx(c * float(g0.norm()), rel=1e-6), label
        assert (w >= 0).all(), label
        gain = J @ g
        tolerance = 1e-6 * float(g.norm() * J.norm(dim=1).max())
        assert float((w / w.sum()) @ gain) <= float(gain.min()) + tolerance, label


def test_cagrad_without_a_ball_is_the_mean(jacobians):
    for _, J in jacobians():
        assert torch.equal(cagrad_weights(J @ J.T, 0.0), torch.full((len(J),), 1 / len(J), dtype=torch.float64))
    with pytest.raises(UsageError, match="not negative"):
        cagrad_weights(torch.eye(2), -0.1)


def test_cagrad_stays_in_the_ball_everywhere(jacobians):
    for label, J in jacobians():
        g0 = J.mean(0)
        assert (J.T @ cagrad_weights(J @ J.T, 0.5) - g0).norm() <= 0.5 * g0.norm() * (1 + 1e-6), label


def test_cagrad_of_opposite_gradients_and_a_third_is_the_mean():
    """Nothing in the ball helps the worst task: 0 / 0 in the formula."""
    J = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(cagrad_weights(J @ J.T, 0.5), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_imtl_g_projects_equally(jacobians):
    for label, J in jacobians(*SCALES):
        w = imtl_g_weights(J @ J.T)
        along = J @ (J.T @ w) / J.norm(dim=1)
        torch.testing.assert_close(along / along.mean(), torch.ones_like(along), rtol=1e-6, atol=0, msg=label)
        assert float(w.sum()) == pytest.approx(1), label


def test_imtl_g_is_the_papers_matrix_formula():
    """alpha_2..T = g_1 U' (D U')^-1 with D = g_1 - g_k, U = u_1 - u_k."""
    J = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 12)))
    units = J / J.norm(dim=1, keepdim=True)
    D, U = J[0] - J[1:], units[0] - units[1:]
    rest = J[0] @ U.T @ torch.linalg.inv(D @ U.T)
    torch.testing.assert_close(imtl_g_weights(J @ J.T), torch.cat([1 - rest.sum().reshape(1), rest]), rtol=1e-10, atol=1e-12)


def test_nash_mtl_solves_its_equation(jacobians):
    for label, J in jacobians(*SCALES):
        K = J @ J.T
        alpha = len(J) * nash_mtl_weights(K)
        assert (alpha > 0).all(), label
        torch.testing.assert_close(alpha * (K @ alpha), torch.ones_like(alpha), rtol=1e-7, atol=0, msg=label)
        assert float((J.T @ alpha).norm()) == pytest.approx(len(J) ** 0.5), label


def test_nash_mtl_at_a_stationary_point_stays_bounded(jacobians):
    for label, J in jacobians("stationary", "rank-deficient"):
        w = nash_mtl_weights(J @ J.T)
        assert w.isfinite().all(), label
        assert (J.T @ w).norm() <= len(J) ** -0.5 * (1 + 1e-6), label


def test_aligned_gradients_are_orthogonal_and_of_one_norm():
    """With B of the paper, B J has all singular values equal to the least one of J; B is read off by unit preferences."""
    J = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 12)))
    least = float(torch.linalg.svdvals(J)[-1])
    values, V = torch.linalg.eigh(J @ J.T)
    B = least * V @ torch.diag(values**-0.5) @ V.T
    torch.testing.assert_close(torch.linalg.svdvals(B @ J), torch.full((5,), least, dtype=torch.float64))
    torch.testing.assert_close(aligned_mtl_weights(J @ J.T), B.mean(1))


def test_orthogonal_gradients_of_one_norm_are_left_alone():
    K = 4 * torch.eye(3, dtype=torch.float64)
    equal = torch.full((3,), 1 / 3, dtype=torch.float64)
    for weights in (mgda_weights, imtl_g_weights, aligned_mtl_weights):
        torch.testing.assert_close(weights(K), equal)
    torch.testing.assert_close(cagrad_weights(K, 0.5), 1.5 * equal)
    torch.testing.assert_close(nash_mtl_weights(K), equal / 2)
