"""Balancers that resolve conflicts, against their algorithms written out on vectors."""

import numpy as np
import pytest
import torch
from craftbench.baselines.multitask.gradvac import GradVac, Vaccine, gradvac_weights, vaccinate
from craftbench.baselines.multitask.pcgrad import pcgrad_plus_weights, pcgrad_weights
from craftbench.baselines.multitask.upgrad import upgrad_weights
from craftbench.models.projections import dual_cone, new_conflicts, one_by_one, random_orders
from scipy.optimize import minimize


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def projected(J, orders):
    """PCGrad's p_i on explicit vectors."""
    P = J.copy()
    for i, order in enumerate(orders):
        for j in order:
            inner = P[i] @ J[j]
            if j != i and inner < 0:
                P[i] -= inner / (J[j] @ J[j]) * J[j]
    return P


@pytest.mark.parametrize("tasks", [2, 3, 6, 10])
def test_pcgrad_is_its_algorithm_on_vectors(tasks):
    J = normal(tasks, tasks, 9)
    orders = random_orders(tasks, torch.Generator().manual_seed(3))
    np.testing.assert_allclose(one_by_one(J @ J.T, orders) @ J, projected(J, orders), rtol=0, atol=1e-13)
    ours = pcgrad_weights(torch.from_numpy(J @ J.T), torch.Generator().manual_seed(3))
    np.testing.assert_allclose(ours.numpy() @ J, projected(J, orders).mean(0), rtol=0, atol=1e-13)


def test_the_order_matters_and_is_seeded():
    K = torch.from_numpy((lambda J: J @ J.T)(normal(1, 6, 9)))
    first, again, other = (pcgrad_weights(K, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pcgrad_without_conflict_is_the_mean():
    J = np.abs(normal(2, 5, 9))
    assert torch.equal(pcgrad_weights(torch.from_numpy(J @ J.T)), torch.full((5,), 0.2, dtype=torch.float64))


def test_pcgrad_plus_is_pcgrad_on_adjusted_gradients(in_index_order):
    J = normal(4, 6, 9) * np.exp(normal(5, 6, 1))
    n = np.linalg.norm(J, axis=1)
    for tau in (0.0, 0.3, 1.0):
        adjusted = (1 - tau + tau * n.max() / n)[:, None] * J
        expected = projected(adjusted, [range(6)] * 6).mean(0)
        np.testing.assert_allclose(pcgrad_plus_weights(torch.from_numpy(J @ J.T), tau).numpy() @ J, expected, atol=1e-12)


def test_gradvac_is_its_algorithm_on_vectors():
    J, rho = normal(6, 5, 9), np.random.default_rng(7).uniform(-0.3, 0.6, (5, 5))
    orders = random_orders(5, torch.Generator().manual_seed(0))
    P, seen = J.copy(), np.full((5, 5), np.nan)
    for i, order in enumerate(orders):
        for j in order:
            if j == i:
                continue
            p, q = np.linalg.norm(P[i]), np.linalg.norm(J[j])
            cos = seen[i, j] = P[i] @ J[j] / (p * q)
            if cos < rho[i, j]:
                root = np.sqrt(1 - rho[i, j] ** 2)
                P[i] += p * (rho[i, j] * np.sqrt(1 - cos**2) - cos * root) / (q * root) * J[j]
                assert P[i] @ J[j] / (np.linalg.norm(P[i]) * q) == pytest.approx(rho[i, j])  # what the formula is for
    W, found = vaccinate(J @ J.T, rho, orders)
    np.testing.assert_allclose(W @ J, P, atol=1e-12)
    np.testing.assert_allclose(found, seen, atol=1e-12)


def test_gradvac_with_rho_0_is_pcgrad(in_index_order):
    for seed in range(5):
        J = normal(seed, 6, 9)
        K = torch.from_numpy(J @ J.T)
        torch.testing.assert_close(gradvac_weights(K), pcgrad_weights(K), rtol=1e-12, atol=1e-12)


def test_targets_follow_the_cosines_and_as_released_only_fall():
    J = normal(8, 4, 9) + 2 * normal(9, 1, 9)  # in agreement
    K = torch.from_numpy(J @ J.T)
    original = Vaccine(4, 0.1, torch.Generator().manual_seed(0))
    released = Vaccine(4, 0.1, torch.Generator().manual_seed(0), only_violated=True)
    off = ~np.eye(4, dtype=bool)
    for step in range(1, 30):
        original(K)
        released(K)
        cos = (J @ J.T) / np.outer(np.linalg.norm(J, axis=1), np.linalg.norm(J, axis=1))
        np.testing.assert_allclose(original.rho[off], ((1 - 0.9**step) * cos)[off], atol=1e-12)
    assert (released.rho == 0).all()
    assert GradVac.Params().variant == "original"


@pytest.mark.parametrize("eps", [0.0, 0.05])
@pytest.mark.parametrize("tasks", [2, 3, 6, 10])
def test_the_dual_cone_projection_is_optimal(tasks, eps):
    """Feasible, dual feasible, complementary: the conditions of a convex program, which hold at its solution alone."""
    J = normal(tasks, tasks, 12) * np.exp(normal(tasks + 1, tasks, 1))
    K = J @ J.T
    W = dual_cone(K, eps)
    n = np.sqrt(np.diag(K))
    slack = W @ K / np.outer(n, n) - eps
    multiplier = (W - np.eye(tasks)) * n / n[:, None]
    assert slack.min() > -1e-12
    assert multiplier.min() >= 0
    assert np.abs(slack * multiplier).max() < 1e-12
    assert not new_conflicts(K, W).any()


def test_upgrad_against_a_general_solver():
    J = normal(3, 4, 6)
    found = [
        minimize(
            lambda g, i=i: ((g - J[i]) ** 2).sum(),
            J[i],
            jac=lambda g, i=i: 2 * (g - J[i]),
            constraints={"type": "ineq", "fun": lambda g: J @ g, "jac": lambda g: J},
            tol=1e-14,
        ).x
        for i in range(4)
    ]
    np.testing.assert_allclose(upgrad_weights(torch.from_numpy(J @ J.T)).numpy() @ J, np.mean(found, axis=0), atol=1e-6)


def test_upgrad_hurts_nobody_and_takes_no_weight_away(jacobians):
    for label, J in jacobians():
        w = upgrad_weights(J @ J.T)
        size = (J.T @ w).norm() + 1e-6 * J.norm()
        assert (J @ (J.T @ w) >= -1e-7 * size * J.norm(dim=1)).all(), label
        assert (w >= 1 / len(J)).all(), label


def test_targets_of_1_are_borne():
    """Two copies of a gradient, beta = 1: their target becomes 1, where the formula has a 0 below the line."""
    J = normal(11, 3, 9)
    J[1] = J[0]
    vaccine = Vaccine(3, 1.0, torch.Generator().manual_seed(0))
    vaccine(torch.from_numpy(J @ J.T))
    J[1] = normal(12, 9)
    assert vaccine(torch.from_numpy(J @ J.T)).isfinite().all()
