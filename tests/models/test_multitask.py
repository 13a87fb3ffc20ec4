"""The multi-task networks: gates, whose gradient reaches what, gradients against differences, and the split of parameters."""

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.multitask import BODIES, PLE, Dropout, MMoE, MultiTaskModel
from torch.nn.functional import binary_cross_entropy_with_logits

FIELDS, TASKS, DENSE, ROWS = (7, 5), 3, 2, 12


def model_of(backbone="ple", **settings):
    generator = torch.Generator().manual_seed(0)
    settings = {"dim": 4, "hidden": 16, "dropout": 0.0, "init": "fan_in", "generator": generator, **settings}
    return MultiTaskModel(backbone, FIELDS, DENSE, TASKS, **settings)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randint(0, size, (ROWS,), generator=generator) for size in FIELDS], dim=1)
    dense = torch.randn(ROWS, DENSE, generator=generator)
    return ids, dense, (torch.rand(ROWS, TASKS, generator=generator) < 0.5).float()


@pytest.mark.parametrize("backbone", BODIES)
def test_shared_and_private_parameters_are_disjoint_and_complete(backbone):
    model = model_of(backbone)
    listed = [*model.body.shared(), *(each for k in range(TASKS) for each in model.body.private(k))]
    assert len({id(each) for each in listed}) == len(listed)
    assert {id(each) for each in listed} == {id(each) for each in model.body.parameters()}


@pytest.mark.parametrize("backbone", BODIES)
def test_a_loss_reaches_the_shared_part_and_its_own_and_nothing_else(backbone):
    model = model_of(backbone)
    ids, dense, label = batch()
    for k in range(TASKS):
        loss = binary_cross_entropy_with_logits(model(ids, dense)[k], label[:, k])
        everything = [*model.body.shared(), *(each for j in range(TASKS) for each in model.body.private(j))]
        found = torch.autograd.grad(loss, everything, allow_unused=True)
        gradients = dict(zip(map(id, everything), found, strict=True))
        assert all(gradients[id(each)] is not None for each in (*model.body.shared(), *model.body.private(k)))
        others = [each for j in range(TASKS) if j != k for each in model.body.private(j)]
        assert all(gradients[id(each)] is None for each in others)


@pytest.mark.parametrize("backbone", BODIES)
def test_gradients_equal_differences(backbone):
    model = model_of(backbone).double()
    ids, dense, label = batch()
    dense, label = dense.double(), label.double()
    rows, place = model.rows(ids)

    def loss(leaf):
        logits = model.heads(leaf[place], dense)
        return sum(binary_cross_entropy_with_logits(each, label[:, k]) for k, each in enumerate(logits))

    assert torch.autograd.gradcheck(loss, (model.table.detach()[rows].requires_grad_(),), eps=1e-6, atol=1e-7)


def test_leaf_rows_give_the_tables_output_and_gradient():
    model = model_of()
    ids, dense, _ = batch()
    rows, place = model.rows(ids)
    leaf = model.table.detach()[rows].requires_grad_()
    whole, parts = model(ids, dense), model.heads(leaf[place], dense)
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a, b)
    (dense_gradient,) = torch.autograd.grad(sum(each.sum() for each in whole), [model.table])
    (leaf_gradient,) = torch.autograd.grad(sum(each.sum() for each in parts), [leaf])
    torch.testing.assert_close(dense_gradient[rows], leaf_gradient)


def test_fm_is_the_sum_of_products_of_pairs_of_fields():
    model = model_of("shared_bottom")
    ids, dense, _ = batch()
    seen = []
    model.body.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model(ids, dense)
    e = model.table[ids + model.get_buffer("starts")]
    torch.testing.assert_close(seen[0].squeeze(1), (e[:, 0] * e[:, 1]).sum(1))


def test_ple_mixes_its_own_and_the_common_expert_and_mmoe_all():
    x, fm = torch.randn(5, 10), torch.zeros(5, 1)
    none = Dropout(0.0, torch.Generator())
    for body, experts in ((PLE(10, 16, TASKS, none), 2), (MMoE(10, 16, TASKS, none), TASKS + 1)):
        gates = [gate(x).softmax(1) for gate in body.gates]
        assert all(gate.shape == (5, experts) for gate in gates)
        torch.testing.assert_close(torch.stack([gate.sum(1) for gate in gates]), torch.ones(TASKS, 5))
        assert [each.shape for each in body(x, fm)] == [(5,)] * TASKS


def test_dropout_keeps_the_mean_and_ends_with_training():
    dropout, x = Dropout(0.2, torch.Generator().manual_seed(0)), torch.ones(200, 100)
    assert set(dropout(x).unique().tolist()) == {0.0, 1.25}
    assert float(dropout(x).mean()) == pytest.approx(1.0, abs=0.02)
    assert dropout.eval()(x) is x


def test_the_published_ple_has_its_published_size():
    """F = 6 fields of 16: experts 96-256-128-64, gates 96 x 2, towers 65-32-16-1 (the constant linear input left out)."""
    model = MultiTaskModel("ple", (10,) * 6, 0, 6)
    expert = 96 * 256 + 256 + 256 * 128 + 128 + 128 * 64 + 64
    own = expert + 96 * 2 + 65 * 32 + 32 + 32 * 16 + 16 + 16 + 1
    assert sum(each.numel() for each in model.body.shared()) == expert
    assert sum(each.numel() for each in model.body.private(0)) == own


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="mmoe"):
        model_of("mmoee")
