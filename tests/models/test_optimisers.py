"""Both Adams against torch's own."""

import numpy as np
import pytest
import torch
from craftbench.models.optimisers import Adam, RowSparseAdam

N, DIM, LR = 12, 3, 0.05


def start(dtype=torch.float64):
    return torch.randn(N, DIM, generator=torch.Generator().manual_seed(0), dtype=dtype)


def batches(steps=30, share=0.3):
    """(rows, gradient) of each step: distinct rows in any order."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        rows = rng.permutation(N)[: max(1, int(rng.binomial(N, share)))]
        yield torch.from_numpy(rows), torch.from_numpy(rng.standard_normal((len(rows), DIM)))


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_adam_is_torchs_fused_adam_to_the_last_digit(l2):
    mine, theirs = start(torch.float32), torch.nn.Parameter(start(torch.float32))
    bias, their_bias = torch.ones(()), torch.nn.Parameter(torch.ones(()))
    adam = Adam([mine, bias], LR, l2)
    reference = torch.optim.Adam([theirs, their_bias], lr=LR, weight_decay=l2, fused=True)
    for step in range(20):
        gradient = torch.randn(N, DIM, generator=torch.Generator().manual_seed(step))
        theirs.grad, their_bias.grad = gradient.clone(), gradient.mean()
        adam.step([gradient, gradient.mean()])
        reference.step()
    assert torch.equal(mine, theirs)
    assert torch.equal(bias, their_bias)


def test_row_sparse_adam_is_torchs_sparse_adam():
    mine, theirs = start(), torch.nn.Parameter(start())
    adam, reference = RowSparseAdam(mine, LR), torch.optim.SparseAdam([theirs], lr=LR)
    for rows, gradient in batches():
        adam.step(rows, gradient)
        theirs.grad = torch.sparse_coo_tensor(rows[None], gradient, (N, DIM), check_invariants=False)
        reference.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_row_sparse_adam_collects_the_penalty_of_the_steps_that_it_missed():
    l2 = 0.1
    mine, theirs = start(), torch.nn.Parameter(start())
    adam, reference = RowSparseAdam(mine, LR, l2), torch.optim.SparseAdam([theirs], lr=LR)
    last = torch.zeros(N, dtype=torch.int64)
    for step, (rows, gradient) in enumerate(batches(), start=1):
        adam.step(rows, gradient)
        due = (step - last[rows]).double()[:, None] * l2 * theirs.detach()[rows]
        last[rows] = step
        theirs.grad = torch.sparse_coo_tensor(rows[None], gradient + due, (N, DIM), check_invariants=False)
        reference.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_row_sparse_adam_is_dense_adam_when_every_step_touches_every_row():
    mine, theirs = start(), torch.nn.Parameter(start())
    adam, reference = RowSparseAdam(mine, LR, 0.1), torch.optim.Adam([theirs], lr=LR, weight_decay=0.1)
    for _, gradient in batches(share=1.0):
        adam.step(torch.arange(N), gradient)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-6, atol=1e-6)  # eps sits at another place


def test_row_sparse_adam_leaves_the_other_rows_alone():
    table = start()
    before = table.clone()
    RowSparseAdam(table, LR, 0.1).step(torch.tensor([3, 1]), torch.ones(2, DIM, dtype=torch.float64))
    moved = (table != before).any(1).nonzero().squeeze(1).tolist()
    assert moved == [1, 3]


def test_a_gradient_that_lies_otherwise_in_memory_moves_the_right_numbers():
    gradient = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    turned = gradient.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    moved = []
    for each in (gradient, turned):
        place = torch.zeros(3, 5, 4)
        Adam([place], lr=0.1).step([each])
        moved.append(place)
    assert torch.equal(*moved)
