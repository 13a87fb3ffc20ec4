"""Balancers that look at losses, and those that learn their weights."""

import math

import pytest
import torch
from craftbench.baselines.multitask.dbmtl import DBMTL, dbmtl_weights
from craftbench.baselines.multitask.dwa import DWA, LossHistory, dwa_weights
from craftbench.baselines.multitask.ew import equal_weights
from craftbench.baselines.multitask.famo import Famo, famo_weights
from craftbench.baselines.multitask.gradnorm import GradNorm, GradNormWeights, gradnorm_slope
from craftbench.baselines.multitask.imtl import IMTL, imtl_g_weights
from craftbench.baselines.multitask.rlw import rlw_weights
from craftbench.baselines.multitask.uc import UC, ReleasedUncertainties, Uncertainties, uc_weights
from craftbench.core.context import RunContext

LOSSES = torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)


def gram(seed=0, tasks=3):
    J = torch.randn(tasks, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return J @ J.T


def test_equal_weights():
    assert torch.equal(equal_weights(torch.zeros(4)), torch.full((4,), 0.25, dtype=torch.float64))


def test_uncertainties_come_to_rest_where_the_variance_is_the_loss():
    state = Uncertainties(3, lr=0.05)
    for _ in range(1500):
        state(LOSSES)
    torch.testing.assert_close(state.log_variance.value.exp(), LOSSES, rtol=1e-4, atol=0)
    torch.testing.assert_close(uc_weights(LOSSES.log()), 1 / (2 * LOSSES) / 3)


def test_released_uncertainties_descend_their_objective():
    state, w = ReleasedUncertainties(3, lr=0.01), torch.full((3,), 1 / 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([w], lr=0.01)
    for _ in range(50):
        torch.testing.assert_close(state(LOSSES), w.detach())
        optimiser.zero_grad()
        (w @ LOSSES + (1 + 0.5 / w).log().sum()).backward()
        optimiser.step()


def test_dwa_by_hand():
    last, before = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.0])
    e = [math.exp(0.25), math.exp(0.5)]
    torch.testing.assert_close(dwa_weights(last, before), torch.tensor([e[0] / sum(e), e[1] / sum(e)], dtype=torch.float64))
    assert dwa_weights(torch.zeros(2), torch.zeros(2)).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("per_batch", [False, True])
def test_dwa_of_constant_losses_is_equal_weights(per_batch):
    history = LossHistory(2.0, per_batch)
    for _ in range(4):
        history.new_epoch()
        for _ in range(4):
            torch.testing.assert_close(history(LOSSES), equal_weights(LOSSES))


def test_dwa_sees_epochs_and_as_released_batches():
    epochs, batches = LossHistory(2.0), LossHistory(2.0, per_batch=True)
    losses = [LOSSES * torch.tensor([1.0, 1.0 - 0.1 * t, 1.0]) for t in range(6)]
    seen = {"epochs": [], "batches": []}
    for epoch in (losses[:3], losses[3:], losses[:3]):
        for name, history in (("epochs", epochs), ("batches", batches)):
            history.new_epoch()
            seen[name] += [history(each) for each in epoch]
    equal = equal_weights(LOSSES)
    assert [bool(torch.equal(w, equal)) for w in seen["epochs"]] == [True] * 6 + [False] * 3
    assert [bool(torch.equal(w, equal)) for w in seen["batches"]] == [True, True, False] * 3
    means = [torch.stack(part).mean(0) for part in (losses[:3], losses[3:])]
    torch.testing.assert_close(seen["epochs"][-1], dwa_weights(means[1], means[0]))
    torch.testing.assert_close(seen["batches"][2], dwa_weights(losses[1], losses[0]))
    assert DWA().balancer(3, DWA.Params(variant="as_released"), RunContext(0)).weights.per_batch


def test_random_weights_are_a_softmax_of_normals():
    g = torch.Generator().manual_seed(0)
    draws = torch.stack([rlw_weights(3, g) for _ in range(4000)])
    torch.testing.assert_close(draws.sum(1), torch.ones(4000, dtype=torch.float64))
    torch.testing.assert_close(draws.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), rtol=0, atol=0.02)
    logits = draws.log() - draws.log().mean(1, keepdim=True)
    assert float(logits.var() * 3 / 2) == pytest.approx(1, abs=0.05)


def test_famo_begins_with_equal_relative_rates():
    torch.testing.assert_close(famo_weights(torch.zeros(3), LOSSES) * LOSSES, torch.full((3,), 1 / (1 / LOSSES).sum()).double())


def test_famo_turns_to_the_task_that_lags():
    state = Famo(3, lr=0.025, gamma=1e-3)
    before = state(LOSSES)
    for _ in range(20):
        state(LOSSES)
        state.after_step(LOSSES * torch.tensor([0.9, 0.9, 1.0]))
    after = state(LOSSES)
    assert after[2] > before[2]
    assert (after[:2] < before[:2]).all()


def test_gradnorms_slope_is_that_of_its_objective():
    norms, progress = torch.tensor([1.0, 2.0, 0.3]).double(), torch.tensor([0.9, 0.5, 0.8]).double()
    w = torch.tensor([0.7, 1.1, 1.2]).double().requires_grad_()
    target = (w * norms).mean().detach() * (progress / progress.mean()) ** 1.5
    (w * norms - target).abs().sum().backward()
    torch.testing.assert_close(gradnorm_slope(w.detach(), norms, progress, 1.5), w.grad)


def test_gradnorm_evens_out_norms_of_tasks_that_progress_alike():
    K = torch.diag(torch.tensor([1.0, 4.0, 0.25]).double())
    state = GradNormWeights(3, alpha=1.5, lr=0.002)
    for _ in range(3000):
        w = state(LOSSES, K)
    sizes = w * K.diagonal().sqrt()
    torch.testing.assert_close(sizes / sizes.mean(), torch.ones(3).double(), rtol=0.02, atol=0)
    assert float(w.sum()) == pytest.approx(1)


def test_gradnorm_as_released_starts_from_ln_2():
    state = GradNorm().balancer(3, GradNorm.Params(variant="as_released"), RunContext(0)).weights
    state(LOSSES, gram())
    assert state.alpha == 0.5
    torch.testing.assert_close(state._start, torch.full((3,), math.log(2.0)))
    moved = state.weights.value / state.weights.value.sum()
    assert 0 < float((moved - 1 / 3).abs().max()) < 2 * GradNorm.Params().lr


def test_dbmtl_as_released_is_a_sum_of_unit_vectors():
    K = gram()
    n = K.diagonal().sqrt()
    released = DBMTL().balancer(3, DBMTL.Params(variant="as_released"), RunContext(0))
    torch.testing.assert_close(released.weights(LOSSES, K), n.max() / n)


def test_dbmtl_balances_the_gradients_of_log_losses():
    K = gram()
    w = DBMTL().balancer(3, DBMTL.Params(), RunContext(0)).weights(LOSSES, K)
    log_gram = K / torch.outer(LOSSES, LOSSES)
    torch.testing.assert_close(w, dbmtl_weights(log_gram) / LOSSES)
    torch.testing.assert_close(w * K.diagonal().sqrt(), log_gram.diagonal().sqrt().max().expand(3) / 3)


def test_imtl_of_both_kinds():
    """IMTL-G on the scaled losses has IMTL-G's direction; its length follows the scales."""
    K = gram()
    both = IMTL().balancer(3, IMTL.Params(balance="both", lr=0.05), RunContext(0))
    first = both.weights(LOSSES, K)
    torch.testing.assert_close(first, imtl_g_weights(K))
    for _ in range(10):
        later = both.weights(LOSSES, K)
    assert not torch.allclose(later, first)
    torch.testing.assert_close(later / later.norm(), first / first.norm())
    losses = IMTL().balancer(3, IMTL.Params(balance="losses", lr=0.05), RunContext(0))
    assert not losses.needs_gram
    for _ in range(2000):
        w = losses.weights(LOSSES, None)
    torch.testing.assert_close(3 * w * LOSSES, torch.ones(3).double(), rtol=1e-3, atol=0)


def test_uc_declares_its_variants():
    assert UC.Params.resolve({"variant": "as_released"}).variant == "as_released"
    assert isinstance(UC().balancer(3, UC.Params(), RunContext(0)).weights, Uncertainties)
