"""Each balancer against torchjd's, an independent library, on families of Jacobians."""

import pytest
import torch
from craftbench.baselines.multitask.aligned_mtl import aligned_mtl_weights
from craftbench.baselines.multitask.cagrad import cagrad_weights
from craftbench.baselines.multitask.dwa import LossHistory
from craftbench.baselines.multitask.famo import Famo
from craftbench.baselines.multitask.gradvac import Vaccine
from craftbench.baselines.multitask.imtl import LossScales, imtl_g_weights
from craftbench.baselines.multitask.mgda import mgda_weights
from craftbench.baselines.multitask.nash_mtl import nash_mtl_weights
from craftbench.baselines.multitask.pcgrad import pcgrad_weights
from craftbench.baselines.multitask.uc import Uncertainties
from craftbench.baselines.multitask.upgrad import upgrad_weights
from torchjd import aggregation, scalarization
from torchjd.linalg import QuadprogProjector


def same_direction(J, ours, theirs, tolerance, label):
    """The combined gradients agree, relative to the longer of theirs and the mean."""
    size = max(float((J.T @ theirs).norm()), 1e-6 * float(J.norm()))
    assert float((J.T @ (ours - theirs)).norm()) <= tolerance * size, label


def test_pcgrad(jacobians, in_index_order):
    weighting = aggregation.PCGradWeighting()
    for label, J in jacobians():
        K = J @ J.T
        torch.testing.assert_close(len(J) * pcgrad_weights(K), weighting(K), rtol=1e-9, atol=1e-9, msg=label)


def test_gradvac_over_several_steps(jacobians, in_index_order, full_rank):
    for label, J in jacobians(*full_rank):
        theirs = aggregation._gradvac.GradVacWeighting(beta=0.3, eps=0.0)
        ours = Vaccine(len(J), 0.3, torch.Generator())
        for turn in range(4):
            rotated = J.roll(turn, 1) + 0.3 * J.roll(turn, 0)
            K = rotated @ rotated.T
            torch.testing.assert_close(len(J) * ours(K), theirs(K), rtol=1e-8, atol=1e-8, msg=label)


def test_aligned_mtl(jacobians, full_rank):
    weighting = aggregation.AlignedMTLWeighting()
    for label, J in jacobians(*full_rank, "rank-deficient", "zero row", "stationary"):
        K = J @ J.T
        same_direction(J, aligned_mtl_weights(K), weighting(K), 1e-6, label)


def test_imtl_g(jacobians, full_rank):
    weighting = aggregation.IMTLGWeighting()
    for label, J in jacobians(*full_rank):
        K = J @ J.T
        torch.testing.assert_close(imtl_g_weights(K), weighting(K), rtol=1e-6, atol=1e-9, msg=label)


def test_upgrad(jacobians, full_rank):
    """quadprog wants a positive definite matrix: theirs is regularised, ours is not."""
    weighting = aggregation.UPGradWeighting(projector=QuadprogProjector(norm_eps=0.0, reg_eps=1e-10))
    for label, J in jacobians(*full_rank, "zero row"):
        K = J @ J.T
        same_direction(J, upgrad_weights(K), weighting(K), 1e-5, label)


def test_upgrad_of_two_under_their_default_regularisation(jacobians):
    for label, J in jacobians("random", "in common"):
        if len(J) == 2:
            same_direction(J, upgrad_weights(J @ J.T), aggregation.UPGradWeighting()(J @ J.T), 1e-3, label)


def test_mgda(jacobians):
    """Theirs is Frank-Wolfe, which is slow near the end: its point is near ours and never nearer to 0."""
    weighting = aggregation.MGDAWeighting(epsilon=1e-6, max_iters=2000)
    for label, J in jacobians("random", "in common", "of unlike norm", "rank-deficient"):
        K = J @ J.T
        ours, theirs = mgda_weights(K), weighting(K)
        assert ours @ K @ ours <= theirs @ K @ theirs * (1 + 1e-12) + 1e-12 * K.trace(), label
        assert (J.T @ (ours - theirs)).norm() < 0.02 * K.trace().sqrt(), label


@pytest.mark.parametrize("c", [0.2, 0.8])
def test_cagrad(jacobians, full_rank, c):
    weighting = aggregation.CAGradWeighting(c=c, norm_eps=0.0)
    for label, J in jacobians(*full_rank, "rank-deficient"):
        K = J @ J.T
        same_direction(J, cagrad_weights(K, c), weighting(K), 3e-4, label)


def test_nash_mtl_is_fairgrad_with_alpha_1(jacobians):
    weighting = aggregation.FairGradWeighting(alpha=1.0)
    for label, J in jacobians("random", "in common"):
        K = J @ J.T
        same_direction(J, len(J) * nash_mtl_weights(K), weighting(K), 1e-8, label)


def losses_of(step, tasks=4):
    g = torch.Generator().manual_seed(step)
    return torch.rand(tasks, generator=g, dtype=torch.float64) + 0.05


def test_uncertainties():
    ours, theirs = Uncertainties(4, lr=0.05), scalarization.UW(4).double()
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.05)
    for step in range(20):
        losses = losses_of(step).requires_grad_()
        optimiser.zero_grad()
        theirs(losses).backward()
        torch.testing.assert_close(4 * ours(losses.detach()), losses.grad)
        optimiser.step()


def test_loss_scales():
    ours, theirs = LossScales(4, lr=0.05), scalarization.IMTLL(4).double()
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.05)
    for step in range(20):
        losses = losses_of(step).requires_grad_()
        optimiser.zero_grad()
        theirs(losses).backward()
        torch.testing.assert_close(4 * ours(losses.detach()), losses.grad)
        optimiser.step()


def test_dwa():
    ours, theirs = LossHistory(2.0), scalarization.DWA(2.0)
    for epoch in range(5):
        ours.new_epoch()
        for batch in range(3):
            losses = losses_of(10 * epoch + batch).requires_grad_()
            theirs(losses).backward()
            torch.testing.assert_close(4 * ours(losses.detach()), losses.grad)
        theirs.step()


def test_famo():
    ours, theirs = Famo(4, lr=0.025, gamma=1e-3), scalarization.FAMO(4, lr=0.025, weight_decay=1e-3).double()
    for step in range(20):
        losses = losses_of(step).requires_grad_()
        theirs(losses).backward()
        torch.testing.assert_close(ours(losses.detach()), losses.grad)
        after = losses.detach() * losses_of(1000 + step)
        theirs.update(after)
        ours.after_step(after)
