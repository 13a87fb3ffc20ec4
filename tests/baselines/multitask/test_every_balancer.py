"""What holds for every balancer: they differ, and bear what training brings."""

import itertools

import pytest
import torch
from craftbench.baselines.multitask.aligned_mtl import AlignedMTL, aligned_mtl_weights
from craftbench.baselines.multitask.cagrad import CAGrad, cagrad_weights
from craftbench.baselines.multitask.dbmtl import DBMTL, dbmtl_weights
from craftbench.baselines.multitask.dwa import DWA
from craftbench.baselines.multitask.ew import EW
from craftbench.baselines.multitask.famo import FAMO
from craftbench.baselines.multitask.gradnorm import GradNorm
from craftbench.baselines.multitask.gradvac import GradVac, gradvac_weights
from craftbench.baselines.multitask.imtl import IMTL, imtl_g_weights
from craftbench.baselines.multitask.mgda import MGDA, mgda_weights
from craftbench.baselines.multitask.nash_mtl import NashMTL, nash_mtl_weights
from craftbench.baselines.multitask.pcgrad import PCGrad, PCGradPlus, pcgrad_plus_weights, pcgrad_weights
from craftbench.baselines.multitask.rlw import RLW
from craftbench.baselines.multitask.uc import UC
from craftbench.baselines.multitask.upgrad import UPGrad, upgrad_weights
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.methods.gradcraft import GradCraft, gradcraft_weights
from craftbench.models.gradients import balanced_backward

RUNNERS = (
    *(AlignedMTL, CAGrad, DBMTL, DWA, EW, FAMO, GradCraft, GradNorm, GradVac, IMTL, MGDA, NashMTL, PCGrad, PCGradPlus, RLW, UC),
    UPGrad,
)
DETERMINISTIC = (
    *(aligned_mtl_weights, cagrad_weights, dbmtl_weights, gradcraft_weights, imtl_g_weights, mgda_weights, nash_mtl_weights),
    upgrad_weights,
)
FUNCTIONS = (*DETERMINISTIC, gradvac_weights, pcgrad_plus_weights, pcgrad_weights)
# How w changes when all gradients are multiplied by s: not at all, but for Nash-MTL, whose gradient has a fixed norm.
DEGREE = {nash_mtl_weights: -1}

by_name = pytest.mark.parametrize("weights", FUNCTIONS, ids=lambda f: f.__name__)


def jacobian(seed, tasks=6, n=9):
    J = torch.randn(tasks, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return J * torch.tensor([1.0, 2.0, 0.5, 0.2, 3.0, 1.0], dtype=torch.float64)[:tasks, None]


def steps(runner, count=9, seed=0, **params):
    """The weights of some steps; after the first ones all state has moved."""
    balancer = runner().balancer(6, runner.Params(**params), RunContext(seed))
    g = torch.Generator().manual_seed(1)
    found = []
    for step in range(count):
        if step % 3 == 0:
            balancer.new_epoch()
        losses = torch.rand(6, generator=g, dtype=torch.float64) + 0.1
        J = jacobian(step)
        found.append(balancer.weigh(losses, J @ J.T if balancer.needs_gram else None))
        if balancer.after_step is not None:
            balancer.after_step(0.9 * torch.rand(6, generator=g, dtype=torch.float64) + 0.1)
    return torch.stack(found)


def test_no_two_balancers_are_the_same():
    kinds = {runner.name: steps(runner) for runner in RUNNERS}
    kinds |= {f"{runner.name}, released": steps(runner, variant="as_released") for runner in (UC, DWA, DBMTL, GradVac, GradNorm)}
    kinds |= {f"gradcraft, {kind}": steps(GradCraft, projection=kind) for kind in ("dual_cone", "one_by_one", "none")}
    kinds |= {f"imtl, {kind}": steps(IMTL, balance=kind) for kind in ("losses", "both")}
    kinds |= {"gradcraft, eps": steps(GradCraft, eps=0.05), "gradcraft, tau": steps(GradCraft, tau=0.5)}
    same = [(a, b) for a, b in itertools.combinations(kinds, 2) if torch.allclose(kinds[a], kinds[b], rtol=1e-4)]
    assert same == [("pcgrad_plus", "gradcraft, one_by_one")]  # the paper's "local" is its PCGrad+


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda each: each.name)
def test_a_seed_gives_the_same_weights(runner):
    first = steps(runner)
    assert first.dtype == torch.float64
    assert torch.equal(first, steps(runner))
    assert torch.equal(first, steps(runner, seed=1)) == (runner not in (GradVac, PCGrad, PCGradPlus, RLW))


@by_name
def test_one_task_keeps_its_direction(weights):
    assert float(weights(torch.tensor([[4.0]]))) == pytest.approx({cagrad_weights: 1.4, nash_mtl_weights: 0.5}.get(weights, 1.0))


@by_name
def test_the_scale_of_all_gradients_plays_no_part(weights, in_index_order):
    J = jacobian(3)
    once, scaled = (weights(s**2 * J @ J.T) for s in (1.0, 1e5))
    torch.testing.assert_close(scaled, once * 1e5 ** DEGREE.get(weights, 0), rtol=1e-6, atol=0)


@by_name
def test_a_rotation_plays_no_part(weights, in_index_order):
    J = jacobian(4)
    Q = torch.linalg.qr(jacobian(5, 6, 9).T @ jacobian(6, 6, 9) + torch.eye(9)).Q
    torch.testing.assert_close(weights((J @ Q) @ (J @ Q).T), weights(J @ J.T), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("weights", DETERMINISTIC, ids=lambda f: f.__name__)
def test_the_order_of_the_tasks_plays_no_part(weights):
    for seed in range(3):
        J = jacobian(seed)
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(weights(J[order] @ J[order].T), weights(J @ J.T)[order], rtol=1e-7, atol=1e-9)


@by_name
def test_a_task_without_a_gradient_changes_nothing_but_the_mean(weights, in_index_order):
    J = jacobian(7)
    with_zero = torch.cat([J[:3], torch.zeros(1, 9, dtype=torch.float64), J[3:]])
    w = weights(with_zero @ with_zero.T)
    assert w.isfinite().all()
    kept = torch.arange(7) != 3
    direction = with_zero.T @ w
    expected = J.T @ weights(J @ J.T)
    if weights not in (imtl_g_weights, mgda_weights):  # whose weights sum to 1
        expected = expected * 6 / 7
    torch.testing.assert_close(direction, expected, rtol=1e-6, atol=1e-9)
    assert w[kept].abs().max() > 0


@by_name
@pytest.mark.parametrize("kind", ["duplicated", "collinear", "opposite", "all zero", "nearly parallel"])
def test_degenerate_gradients_are_borne(weights, kind):
    J = jacobian(8)
    if kind == "duplicated":
        J[1] = J[0]
    elif kind == "collinear":
        J = torch.outer(torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0, 1e-6], dtype=torch.float64), J[0])
    elif kind == "opposite":
        J[1:] = torch.cat([-J[:1], J[2:3], -3 * J[2:3], J[4:]])
    elif kind == "all zero":
        J = torch.zeros_like(J)
    else:
        J[1] = J[0] + 1e-9 * J[1]
    w = weights(J @ J.T)
    assert w.shape == (6,)
    assert w.isfinite().all()
    assert (J.T @ w).norm() <= 1e3 * J.norm()


@by_name
def test_what_is_no_gram_matrix_is_refused(weights):
    with pytest.raises(UsageError, match="one row and column for each task"):
        weights(torch.zeros(2, 3))
    K = torch.eye(3)
    K[1, 1] = float("nan")
    with pytest.raises(FloatingPointError, match="task 1"):
        weights(K)


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda each: each.name)
def test_a_model_learns_under_it(runner):
    """Three regressions on one hidden layer, plain gradient descent: the mean loss falls."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 5, generator=g), torch.randn(64, 5, generator=g)
    y = (x @ torch.randn(5, 3, generator=g)).tanh()
    W = (0.3 * torch.randn(5, 8, generator=g)).requires_grad_()
    towers = [(0.3 * torch.randn(8, generator=g)).requires_grad_() for _ in range(3)]
    balancer = runner().balancer(3, runner.Params(), RunContext(0))

    def losses():
        hidden = (x @ W).tanh()
        return [(hidden @ tower - y[:, k]).square().mean() for k, tower in enumerate(towers)]

    start = float(torch.stack(losses()).detach().mean())
    for step in range(60):
        if step % 10 == 0:
            balancer.new_epoch()
        balance = balanced_backward(losses(), [W], balancer, [[tower] for tower in towers])
        assert balance.weights.isfinite().all()
        with torch.no_grad():
            for parameter in (W, *towers):
                parameter -= 0.1 * parameter.grad
            if balancer.after_step is not None:
                balancer.after_step(torch.stack(losses()))
    assert float(torch.stack(losses()).detach().mean()) < 0.7 * start
