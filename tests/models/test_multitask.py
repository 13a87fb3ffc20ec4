"""The multi-task networks: gates, whose gradient reaches what, gradients against differences, and the split of parameters."""

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.methods.gradcraft import gradcraft_weights
from craftbench.models.gradients import Balancer, balanced_backward
from craftbench.models.multitask import BODIES, Dropout, MultiTaskModel
from craftbench.models.multitask_gradients import Batch, losses_of, task_gradients
from craftbench.models.multitask_training import MultiTaskParams, balanced
from torch import nn
from torch.func import functional_call
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
    listed = [*model.body.shared, *model.body.private]
    assert len({id(each) for each in listed}) == len(listed)
    assert {id(each) for each in listed} == {id(each) for each in model.body.parameters()}
    assert {id(each) for each in (*model.weights(), *model.biases())} == {id(each) for each in model.parameters()}
    assert all(len(each) == TASKS for each in model.body.private)


@pytest.mark.parametrize("backbone", BODIES)
def test_a_loss_reaches_the_shared_part_and_its_own_and_nothing_else(backbone):
    model = model_of(backbone)
    ids, dense, label = batch()
    for k in range(TASKS):
        loss = binary_cross_entropy_with_logits(model(ids, dense)[k], label[:, k])
        shared = torch.autograd.grad(loss, model.body.shared, retain_graph=True)
        assert all(float(each.abs().sum()) > 0 for each in shared)
        for each in torch.autograd.grad(loss, model.body.private):
            assert float(each[k].abs().sum()) > 0
            assert not each[torch.arange(TASKS) != k].any()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("backbone", BODIES)
def test_one_pass_gives_the_gradients_of_every_task(backbone, dropout):
    """Against one autograd pass for each task, by the table itself; with dropout, under the same masks."""
    noise = torch.Generator()
    model = model_of(backbone, dropout=dropout, noise=noise).double()
    ids, dense, label = batch()
    dense, label = dense.double(), label.double()
    rows, place = model.rows(ids)
    noise.manual_seed(3)
    found = task_gradients(model, Batch(model.table.detach()[rows], place, dense, label))
    noise.manual_seed(3)
    losses = losses_of(model(ids, dense), label)
    torch.testing.assert_close(found.losses, losses.detach())
    for k in range(TASKS):
        table, *shared = torch.autograd.grad(losses[k], [model.table, *model.body.shared], retain_graph=True)
        torch.testing.assert_close(found.J[k], torch.cat([table[rows].flatten(), *(each.flatten() for each in shared)]))
        own = torch.autograd.grad(losses[k], model.body.private, retain_graph=True)
        for mine, reference in zip(found.own, own, strict=True):
            torch.testing.assert_close(mine[k], reference[k])
        norm = torch.cat([each.flatten() for each in own]).norm()
        torch.testing.assert_close(found.own_norms()[k], norm)


@pytest.mark.parametrize("scope", ["shared", "all"])
@pytest.mark.parametrize("specific", ["own", "weighted"])
def test_a_balanced_step_is_that_of_the_engine(scope, specific):
    """`multitask_training.balanced` against `balanced_backward` on the same losses, with each task's parts apart."""
    model = model_of().double()
    ids, dense, label = batch()
    dense, label = dense.double(), label.double()
    rows, place = model.rows(ids)
    params = MultiTaskParams.resolve({"scope": scope, "specific": specific})
    leaf = model.table.detach()[rows]
    balance, found = balanced(model, Batch(leaf, place, dense, label), Balancer.from_gram(gradcraft_weights), params)
    parts = {id(each): [nn.Parameter(each.detach()[k].clone()) for k in range(TASKS)] for each in model.body.private}
    apart = {name: torch.stack(list(parts[id(each)])) for name, each in model.body.named_parameters() if id(each) in parts}
    leaf.requires_grad_()
    x, fm = model.inputs(leaf[place], dense)
    logits = functional_call(Whole(model.body), {f"body.{name}": value for name, value in apart.items()}, (x, fm))
    losses = list(losses_of(logits, label))
    task_params = [[parts[id(each)][k] for each in model.body.private] for k in range(TASKS)]
    reference = balanced_backward(
        losses, [leaf, *model.body.shared], gradcraft_weights, task_params, scope=scope, specific=specific
    )
    torch.testing.assert_close(balance.weights, reference.weights)
    torch.testing.assert_close(found[model.table], leaf.grad)
    for each in model.body.shared:
        torch.testing.assert_close(found[each], each.grad)
    for each in model.body.private:
        torch.testing.assert_close(found[each], torch.stack([part.grad for part in parts[id(each)]]))


class Whole(nn.Module):
    """A body from inputs to logits."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x, fm):
        c = self.body.meet(x)
        return self.body.part(self.body.enter(x), c.expand(TASKS, *c.shape), fm.expand(TASKS, *fm.shape))


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
    assert torch.equal(whole, parts)
    (dense_gradient,) = torch.autograd.grad(whole.sum(), [model.table])
    (leaf_gradient,) = torch.autograd.grad(parts.sum(), [leaf])
    torch.testing.assert_close(dense_gradient[rows], leaf_gradient)


def test_fm_is_the_sum_of_products_of_pairs_of_fields():
    model = model_of("shared_bottom")
    ids, dense, _ = batch()
    e = model.table[ids + model.get_buffer("starts")]
    torch.testing.assert_close(model.inputs(e, dense)[1].squeeze(1), (e[:, 0] * e[:, 1]).sum(1))


def test_ple_mixes_its_own_and_the_common_expert_by_gates_that_sum_to_one():
    model = model_of()
    ids, dense, _ = batch()
    body = model.body
    x, fm = model.inputs(model.table[ids + model.get_buffer("starts")], dense)
    logits = model(ids, dense)
    for k in range(TASKS):
        gate = (x @ body.entry[k, :, -2:]).softmax(1)
        torch.testing.assert_close(gate.sum(1), torch.ones(ROWS))
        own = by_hand(body.own, k, (x @ body.entry[k, :, :-2] + body.bias[k]).relu())
        mix = gate[:, :1] * own + gate[:, 1:] * by_hand(body.common, 0, x)
        torch.testing.assert_close(logits[k], by_hand(body.towers, k, torch.cat([fm, mix], 1)).squeeze(1))


def by_hand(stack, k, x):
    """Network k of a stack, layer by layer."""
    for place, weight in enumerate(stack.weights):
        x = x @ weight[k] + stack.biases[place][k]
        x = x.relu() if stack.last or place < len(stack.weights) - 1 else x
    return x


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
    assert sum(each.numel() for each in model.body.shared) == expert
    assert sum(each[0].numel() for each in model.body.private) == own


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="mmoe"):
        model_of("mmoee")
