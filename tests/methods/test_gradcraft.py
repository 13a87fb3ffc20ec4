"""GradCraft's two steps against their formulas on explicit vectors, and what follows from them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.methods.gradcraft import GradCraft, craft, gradcraft_weights
from craftbench.models.gradients import balanced_backward
from hypothesis import given
from hypothesis import strategies as st
from torchjd.aggregation import PCGradWeighting, UPGradWeighting
from torchjd.linalg import QuadprogProjector

TASKS = (2, 3, 6, 10)


def jacobian(seed, tasks=6, n=30, spread=1.0, shift=0.0):
    """Gradients of log-normal norms in `n` dimensions, all moved by `shift` along one direction."""
    rng = np.random.default_rng(seed)
    J = (rng.standard_normal((tasks, n)) + shift) * np.exp(spread * rng.standard_normal((tasks, 1)))
    return torch.from_numpy(J)


def crafted(J, tau=0.1, eps=1e-10):
    """The paper's two steps on vectors: adjusted g^ (T, n), projected g~ (T, n), conflicts C (T, T)."""
    n = J.norm(dim=1)
    adjusted = (tau * n.max() / n)[:, None] * J + (1 - tau) * J
    conflicts = adjusted @ adjusted.T < 0
    projected = adjusted.clone()
    for i in range(len(J)):
        G = adjusted[conflicts[i]]
        if len(G):
            z = eps * adjusted[i].norm() * G.norm(dim=1)
            projected[i] += G.T @ torch.linalg.solve(G @ G.T, z - G @ adjusted[i])
    return adjusted, projected, conflicts


def parts(J, **settings):
    """g~ (T, n) as the Gram form gives it."""
    found = craft(J @ J.T, **settings)
    return torch.from_numpy(found.mixing * found.scale) @ J


def gradient(J, **settings):
    return J.T @ gradcraft_weights(J @ J.T, **settings)


def close(found, expected, rtol):
    torch.testing.assert_close(found, expected, rtol=0, atol=rtol * float(expected.abs().max()))


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize(("tau", "eps"), [(0.1, 1e-10), (0.0, 0.0), (1.0, 0.05), (0.5, 1e-3)])
def test_the_gram_form_is_the_vector_form(tasks, tau, eps):
    """I4."""
    for seed in range(3):
        J = jacobian(seed, tasks)
        _, projected, conflicts = crafted(J, tau, eps)
        close(parts(J, tau=tau, eps=eps), projected, 1e-11)
        close(gradient(J, tau=tau, eps=eps), projected.mean(0), 1e-11)
        assert (craft(J @ J.T, tau, eps).conflicts == conflicts.numpy()).all()


@pytest.mark.parametrize("eps", [1e-10, 1e-2, 0.1])
def test_a_resolved_conflict_has_the_similarity_asked_for(eps):
    """I1, of every pair at once."""
    for seed in range(5):
        J = jacobian(seed)
        adjusted, projected, conflicts = crafted(J, eps=eps)
        norm = adjusted.norm(dim=1)
        found = (parts(J, eps=eps) @ adjusted.T) / torch.outer(norm, norm)
        assert conflicts.any()
        torch.testing.assert_close(found[conflicts], torch.full_like(found[conflicts], eps), rtol=0, atol=1e-13)
        cosine = (projected @ adjusted.T) / torch.outer(projected.norm(dim=1), norm)
        shorter = projected.norm(dim=1) <= norm
        assert (cosine[conflicts & shorter[:, None]] >= eps - 1e-13).all()


def test_the_length_that_is_left():
    """I2: ||g~_i||^2 = ||(I - P) g^_i||^2 + z' (G G')^-1 z."""
    for eps in (0.0, 0.05):
        J = jacobian(1)
        adjusted, _, conflicts = crafted(J, eps=eps)
        projected = parts(J, eps=eps)
        for i in range(6):
            G = adjusted[conflicts[i]]
            if not len(G):
                continue
            inverse = torch.linalg.inv(G @ G.T)
            z = eps * adjusted[i].norm() * G.norm(dim=1)
            off = adjusted[i] - G.T @ inverse @ G @ adjusted[i]
            assert float(projected[i] @ projected[i]) == pytest.approx(float(off @ off + z @ inverse @ z), rel=1e-11)
            if eps == 0.0:
                assert float(projected[i] @ adjusted[i]) == pytest.approx(float(projected[i] @ projected[i]), rel=1e-11)
                assert projected[i].norm() <= adjusted[i].norm()


def test_without_conflicts_only_norms_change():
    """I3."""
    J = jacobian(2, shift=3.0)
    assert (J @ J.T > 0).all()
    assert torch.equal(gradcraft_weights(J @ J.T, tau=0.0), torch.full((6,), 1 / 6, dtype=torch.float64))
    n = J.norm(dim=1)
    torch.testing.assert_close(gradcraft_weights(J @ J.T, tau=0.3), (0.7 + 0.3 * n.max() / n) / 6)


def test_of_two_tasks_it_is_pcgrad_and_upgrad():
    """I5."""
    for seed in range(20):
        J = jacobian(seed, tasks=2)
        K = J @ J.T
        w = gradcraft_weights(K, tau=0.0, eps=0.0)
        torch.testing.assert_close(w, PCGradWeighting()(K) / 2, rtol=1e-13, atol=0)
        torch.testing.assert_close(w, gradcraft_weights(K, tau=0.0, eps=0.0, projection="dual_cone"), rtol=1e-12, atol=0)
        torch.testing.assert_close(
            w, UPGradWeighting(projector=QuadprogProjector(norm_eps=0.0, reg_eps=1e-12))(K), rtol=1e-8, atol=0
        )


def test_the_order_of_the_tasks_plays_no_part():
    """I6; and no random number is drawn."""
    J, order = jacobian(3), torch.tensor([3, 1, 5, 0, 2, 4])
    before = torch.random.get_rng_state()
    torch.testing.assert_close(gradcraft_weights(J[order] @ J[order].T), gradcraft_weights(J @ J.T)[order], rtol=1e-12, atol=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@given(seed=st.integers(0, 10**6), tasks=st.integers(2, 10), scale=st.floats(1e-8, 1e8), tau=st.floats(0, 1))
def test_homogeneous(seed, tasks, scale, tau):
    """I7."""
    J = jacobian(seed, tasks)
    close(gradient(scale * J, tau=tau), scale * gradient(J, tau=tau), 1e-9)


def test_scales_of_single_tasks():
    """I7: with tau = 0 g~_i is scaled with g_i alone; with tau = 1 output / M does not know them."""
    J, scale = jacobian(4), torch.logspace(-3, 3, 6, dtype=torch.float64)[:, None]
    close(parts(scale * J, tau=0.0) / scale, parts(J, tau=0.0), 1e-11)
    largest = [float(each.norm(dim=1).max()) for each in (J, scale * J)]
    close(gradient(scale * J, tau=1.0) / largest[1], gradient(J, tau=1.0) / largest[0], 1e-11)


def test_coordinates():
    """I8: a rotation or coordinates that nobody uses change nothing; coordinates of single tasks do (scope "all")."""
    J = jacobian(5, n=12)
    Q = torch.linalg.qr(jacobian(6, tasks=12, n=12)).Q
    close(gradient(J @ Q), gradient(J) @ Q, 1e-11)
    close(gradient(torch.nn.functional.pad(J, (0, 4))), torch.nn.functional.pad(gradient(J), (0, 4)), 1e-13)
    K = J @ J.T
    assert not torch.allclose(gradcraft_weights(K), gradcraft_weights(K + torch.diag(K.diagonal())), rtol=1e-2)


@pytest.mark.parametrize("tau", [0.05, 0.5, 1.0])
def test_norms_are_interpolated(tau):
    """I9."""
    J = jacobian(7, spread=4.0)
    n = J.norm(dim=1)
    adjusted = n * torch.from_numpy(craft(J @ J.T, tau).scale)
    torch.testing.assert_close(adjusted, (1 - tau) * n + tau * n.max())
    assert adjusted.max() / adjusted.min() <= 1 / tau * (1 + 1e-12)
    if tau < 1:
        assert torch.equal(adjusted.argsort(), n.argsort())


@pytest.mark.parametrize(("s", "tau"), [(1.0, 1.0), (3.0, 0.0), (0.2, 0.4)])
def test_opposite_gradients_cancel(s, tau):
    """I10."""
    g = jacobian(8, tasks=1)
    J = torch.cat([g, -s * g])
    close(parts(J, tau=tau, eps=0.0) + J, J, 1e-12)


def test_conflicts_that_are_orthogonal_are_resolved_one_by_one():
    """I11: g_0 conflicts with all others, which are orthogonal to each other."""
    J = torch.eye(5, 8, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0], dtype=torch.float64)[:, None]
    J[0] = torch.tensor([0.3, -1.0, -0.2, -2.0, -0.7, 1.0, 0.0, 0.0])
    n = J.norm(dim=1)
    for eps in (0.0, 0.1):
        expected = J[0] - sum((J[0] @ g - eps * n[0] * m) * g / m**2 for g, m in zip(J[1:], n[1:], strict=True))
        close(parts(J, tau=0.0, eps=eps)[0], expected, 1e-14)
    close(parts(J, tau=0.0, eps=0.0)[0], parts(J, tau=0.0, eps=0.0, projection="one_by_one")[0], 1e-14)


def test_all_conflicts_at_once():
    """I12: off the plane of both others; one by one it is not, unless they are orthogonal."""
    J = torch.tensor([[1.0, 0.2, 0.0], [0.5, 1.0, 0.0], [-1.0, -1.0, 1.0]], dtype=torch.float64)
    assert (parts(J, tau=0.0, eps=0.0)[2] @ J[:2].T).abs().max() < 1e-14
    assert (parts(J, tau=0.0, eps=0.0, projection="one_by_one")[2] @ J[:2].T).abs().max() > 0.1


def test_a_task_without_a_gradient():
    """I13: the others' g~ are what they were."""
    J = jacobian(9)
    with_zero = torch.cat([J[:2], torch.zeros(1, 30, dtype=torch.float64), J[2:]])
    found = parts(with_zero)
    close(found[torch.arange(7) != 2], parts(J), 1e-12)
    assert (found[2] == 0).all()


def test_a_task_that_is_there_twice():
    """I13: a singular system has the solution of one copy."""
    J = jacobian(10)
    twice = torch.cat([J, 2 * J[:1]])
    close(parts(twice, tau=0.0)[:6], parts(J, tau=0.0), 1e-12)


def test_the_guarantee_is_one_sided():
    """3.2 of the notes on the paper: new conflicts arise, seldom for three tasks, nearly always for ten; the dual cone has none."""
    share = {}
    for tasks in TASKS:
        found = [craft((lambda J: J @ J.T)(jacobian(seed, tasks, 12)), 0.1, 1e-10) for seed in range(60)]
        share[tasks] = np.mean([each.created.any() for each in found])
        assert not any((each.created & each.conflicts).any() for each in found)
    assert share[2] == 0
    assert share[3] < share[6] < share[10]
    cones = [craft((lambda J: J @ J.T)(jacobian(seed, 10, 12)), projection="dual_cone") for seed in range(20)]
    assert not any(each.created.any() for each in cones)


def test_weights_can_be_negative():
    assert min(float(gradcraft_weights((lambda J: J @ J.T)(jacobian(seed, 10, 12))).min()) for seed in range(30)) < 0


def test_bad_settings_are_refused():
    for settings in ({"tau": 1.5}, {"tau": -0.1}, {"eps": -1e-3}):
        with pytest.raises(UsageError, match="tau lies in"):
            gradcraft_weights(torch.eye(2), **settings)
    with pytest.raises(UsageError, match="did you mean 'equality'"):
        gradcraft_weights(torch.eye(2), projection="equalities")


def test_params_tell_the_published_eps_from_a_searched_one():
    assert GradCraft.Params().eps == 1e-10
    assert GradCraft.Params.resolve({"eps": 0.0}).eps == 0.0
    space = GradCraft.Params.spaces()["eps"]
    assert (space.low, space.high, space.log) == (1e-12, 0.1, True)
    with pytest.raises(UsageError, match="projection"):
        GradCraft.Params.resolve({"projection": "none of these"})


def test_runner_passes_its_settings_on():
    J = jacobian(11)
    K, losses = J @ J.T, torch.ones(6, dtype=torch.float64)
    for settings in ({}, {"tau": 0.7}, {"eps": 0.05}, {"projection": "dual_cone"}):
        balancer = GradCraft().balancer(6, GradCraft.Params(**settings), RunContext(0))
        assert torch.equal(balancer.weigh(losses, K), gradcraft_weights(K, **settings))
    assert GradCraft().balancer(6, GradCraft.Params(every=4), RunContext(0)).every == 4


def test_the_public_form_on_a_model():
    """The three lines of the docs: the gradient in `.grad` is J' w."""
    g = torch.Generator().manual_seed(0)
    x, W = torch.randn(20, 4, generator=g), torch.randn(4, 3, generator=g).requires_grad_()
    rows = torch.stack([torch.autograd.grad((x @ W)[:, k].sin().mean() + W.sum().square() * k, W)[0].flatten() for k in range(3)])
    losses = [(x @ W)[:, k].sin().mean() + W.sum().square() * k for k in range(3)]
    balance = balanced_backward(losses, [W], gradcraft_weights)
    torch.testing.assert_close(W.grad.flatten().double(), gradient(rows.double()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(balance.weights, gradcraft_weights(balance.gram))


def test_the_diff_of_the_docs_runs():
    """The page's training loop as it was, and with the diff: other weights, from the same names."""
    page = (Path(__file__).parents[2] / "docs/methods/gradcraft.md").read_text(encoding="utf-8")
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    preparation = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    trained = []
    for kept in (" -", " +"):
        names = {"__name__": "example"}
        torch.manual_seed(0)
        exec(preparation, names)
        exec("".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] in kept), names)
        trained.append(names["model"].bottom[0].weight.detach())
    assert names["balance"].weights.shape == (3,)
    assert trained[0].isfinite().all()
    assert not torch.equal(*trained)
