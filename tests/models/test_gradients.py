"""The engine against naive references: one flat Jacobian by autograd, and the released procedure on full vectors."""

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.methods.gradcraft import gradcraft_weights
from craftbench.models.gradients import Balancer, balanced_backward

TASKS = 4


class Net(torch.nn.Module):
    """Embeddings and a layer that all tasks share, an expert and a tower of each task's own; as PLE, small."""

    def __init__(self, dtype=torch.float64, tasks=TASKS):
        super().__init__()
        g = torch.Generator().manual_seed(0)

        def matrix(*shape):
            return torch.nn.Parameter(torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) * 0.7)

        self.table, self.common = matrix(9, 3), matrix(3, 4)
        self.experts = torch.nn.ParameterList(matrix(3, 4) for _ in range(tasks))
        self.towers = torch.nn.ParameterList(matrix(4) for _ in range(tasks))
        self.sizes = 10.0 ** torch.linspace(-1, 1, tasks, dtype=torch.float64)  # losses of unlike size

    def losses(self, seed=0, rows=16):
        g = torch.Generator().manual_seed(seed)
        ids, label = torch.randint(0, 9, (rows,), generator=g), torch.randint(0, 2, (len(self.towers), rows), generator=g)
        x = self.table[ids]
        common, found = (x @ self.common).tanh(), []
        for k, (expert, tower) in enumerate(zip(self.experts, self.towers, strict=True)):
            logit = (common + (x @ expert).tanh()) @ tower
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label[k].to(logit))
            found.append(loss * self.sizes[k].to(loss))
        return found

    def shared(self):
        return [self.table, self.common]

    def private(self):
        return [[expert, tower] for expert, tower in zip(self.experts, self.towers, strict=True)]


def rows_of(losses, parameters):
    """J (T, n) by one backward pass after the other."""
    found = []
    for loss in losses:
        each = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(each, parameters, strict=True)])
        )
    return torch.stack(found)


def flat(parameters):
    return torch.cat([each.grad.flatten() for each in parameters])


def test_shared_scope_is_the_explicit_jacobian():
    net = Net()
    J = rows_of(net.losses(), net.shared())
    own = [rows_of([loss], private)[0] for loss, private in zip(net.losses(), net.private(), strict=True)]
    balance = balanced_backward(net.losses(), net.shared(), gradcraft_weights, net.private())
    torch.testing.assert_close(balance.gram, J @ J.T, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(balance.weights, gradcraft_weights(J @ J.T), rtol=1e-9, atol=0)
    torch.testing.assert_close(flat(net.shared()), J.T @ balance.weights, rtol=1e-12, atol=1e-14)
    for private, gradient in zip(net.private(), own, strict=True):
        assert torch.equal(flat(private), gradient)


def test_scope_all_weighted_is_the_released_procedure():
    """Full vectors over every parameter, both steps on them, the mean on shared coordinates, the sum on the others."""
    net, tau, eps = Net(), 0.1, 1e-10
    everything = [*net.shared(), *(each for private in net.private() for each in private)]
    J = rows_of(net.losses(), everything)
    n = J.norm(dim=1)
    adjusted = tau * (n.max() / n)[:, None] * J + (1 - tau) * J
    projected = adjusted.clone()
    for i in range(TASKS):
        hit = adjusted @ adjusted[i] < 0
        G = adjusted[hit]
        if len(G):
            z = eps * adjusted[i].norm() * G.norm(dim=1)
            projected[i] += G.T @ torch.linalg.inv(G @ G.T) @ (z - G @ adjusted[i])
    common = sum(each.numel() for each in net.shared())
    expected = torch.cat([projected[:, :common].mean(0), projected[:, common:].sum(0)])
    assert (adjusted @ adjusted.T < 0).any()
    balance = balanced_backward(net.losses(), net.shared(), gradcraft_weights, net.private(), scope="all", specific="weighted")
    torch.testing.assert_close(flat(everything), expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(balance.gram, J @ J.T, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(balance.shared_gram, J[:, :common] @ J[:, :common].T, rtol=1e-12, atol=1e-14)


def test_the_scope_changes_the_method():
    """Coordinates of single tasks are in the norms only: the shared conflict is resolved in part."""
    net = Net()
    shared, everything = (
        balanced_backward(net.losses(), net.shared(), lambda K: gradcraft_weights(K, 0.0, 0.0), net.private(), scope=scope)
        for scope in ("shared", "all")
    )
    assert shared.conflicts == everything.conflicts > 0
    assert not torch.allclose(shared.weights, everything.weights, rtol=1e-3)


def test_equal_weights_are_the_mean_loss():
    net = Net()
    torch.stack(net.losses()).mean().backward()
    parameters = list(net.parameters())
    expected = [each.grad.clone() for each in parameters]
    for balancer in (Balancer(lambda losses, _: torch.full((4,), 0.25), needs_gram=False), lambda K: torch.full((4,), 0.25)):
        balance = balanced_backward(net.losses(), net.shared(), balancer, net.private(), specific="weighted")
        for each, gradient in zip(net.shared(), expected, strict=False):
            torch.testing.assert_close(each.grad, gradient)
        assert torch.equal(balance.weights, torch.full((4,), 0.25, dtype=torch.float64))
    scale = {id(each): 4.0 for private in net.private() for each in private}  # T w_k g_k
    for each, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(each.grad, scale.get(id(each), 1.0) * gradient)


def test_weighed_losses_take_one_pass_over_all_parameters():
    net, w = Net(), torch.tensor([0.1, -0.2, 0.3, 0.4], dtype=torch.float64)
    sum(each * loss for each, loss in zip(w, net.losses(), strict=True)).backward()
    expected = [each.grad.clone() for each in net.parameters()]
    seen = []

    def weights(losses, gram):
        seen.append((losses, gram))
        return w

    balance = balanced_backward(net.losses(), net.shared(), Balancer(weights, needs_gram=False), net.private())
    for each, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(each.grad, gradient)
    ((losses, gram),) = seen
    torch.testing.assert_close(losses, torch.stack(net.losses()).detach())
    assert gram is None
    assert balance.gram is None
    with pytest.raises(UsageError, match="losses alone"):
        _ = balance.conflicts


@pytest.mark.parametrize("specific", ["own", "weighted"])
def test_weights_are_reused(specific):
    """every=3: computed in steps 0 and 3; in between the gradients are what they would be under the old weights."""
    net, calls = Net(), []

    def weights(gram):
        calls.append(gram)
        return gradcraft_weights(gram)

    balancer = Balancer.from_gram(weights, every=3)
    for step in range(5):
        balance = balanced_backward(net.losses(step), net.shared(), balancer, net.private(), specific=specific)
        assert len(calls) == 1 + step // 3
        w = gradcraft_weights(calls[-1])
        torch.testing.assert_close(balance.weights, w)
        torch.testing.assert_close(flat(net.shared()), rows_of(net.losses(step), net.shared()).T @ w)
        for k, (loss, private) in enumerate(zip(net.losses(step), net.private(), strict=True)):
            factor = 1.0 if specific == "own" else TASKS * w[k]
            torch.testing.assert_close(flat(private), factor * rows_of([loss], private)[0])


def test_float32_gradients_have_a_float64_gram():
    exact, single = Net(), Net(torch.float32)
    reference = balanced_backward(exact.losses(), exact.shared(), gradcraft_weights, exact.private())
    balance = balanced_backward(single.losses(), single.shared(), gradcraft_weights, single.private())
    assert balance.gram.dtype == balance.weights.dtype == torch.float64
    J = rows_of(single.losses(), single.shared()).double()
    torch.testing.assert_close(balance.gram, J @ J.T, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(balance.gram, reference.gram, rtol=1e-4, atol=1e-6)
    assert all(each.grad.dtype == torch.float32 for each in single.parameters())


def test_gradients_replace_what_was_there_and_the_graph_is_freed():
    net = Net()
    losses = net.losses()
    balanced_backward(losses, net.shared(), gradcraft_weights, net.private())
    first = flat(net.parameters())
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        losses[-1].backward()
    balanced_backward(net.losses(), net.shared(), gradcraft_weights, net.private())
    assert torch.equal(flat(net.parameters()), first)


def test_looked_up_rows_as_leaves_are_the_whole_table():
    net = Net()
    whole = balanced_backward(net.losses(), net.shared(), gradcraft_weights, net.private())
    expected = net.table.grad.clone()
    ids = torch.randint(0, 9, (16,), generator=torch.Generator().manual_seed(0))
    rows, place = torch.unique(ids, return_inverse=True)
    leaf = net.table.detach()[rows].requires_grad_()
    net.table = torch.nn.Parameter(net.table.detach())

    class Rows(torch.nn.Module):
        def __getitem__(self, _):
            return leaf[place]

    table, net.table = net.table, None
    net.__dict__["table"] = Rows()
    balance = balanced_backward(net.losses(), [leaf, net.common], gradcraft_weights, net.private())
    torch.testing.assert_close(balance.gram, whole.gram, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.zeros_like(table).index_copy(0, rows, leaf.grad), expected)


def test_one_task_is_its_own_gradient():
    net = Net(tasks=1)
    net.losses()[0].backward()
    expected = [each.grad.clone() for each in net.parameters()]
    for balancer in (lambda K: gradcraft_weights(K), Balancer(lambda losses, _: torch.ones(1), needs_gram=False)):
        balanced_backward(net.losses(), net.shared(), balancer, net.private())
        for each, gradient in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(each.grad, gradient)


def test_parameters_that_a_loss_does_not_reach_count_as_0():
    a, b, unused = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    losses = [a.sum(), (a * b).sum(), torch.zeros(())]  # the last is a constant, as where every label is masked
    balance = balanced_backward(losses, [a, b, unused], lambda K: torch.tensor([1.0, 1.0, 1.0]))
    assert balance.gram.tolist() == [[2, 3, 0], [3, 10, 0], [0, 0, 0]]
    assert a.grad.tolist() == [2, 3]
    assert b.grad.tolist() == [1, 2]
    assert unused.grad.tolist() == [0, 0]
    balanced_backward([a.sum(), (a * a).sum(), torch.zeros(())], [a], gradcraft_weights, [[], [b], [unused]])
    assert b.grad.tolist() == [0, 0]


def test_what_a_balance_says():
    J = torch.tensor([[1.0, 0.0], [-0.2, 0.5], [0.1, -2.0]], dtype=torch.float64)
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    balance = balanced_backward([row @ theta for row in J], [theta], lambda K: torch.full((3,), 1 / 3))
    assert balance.conflicts == 2
    assert balance.hurt == balance.hurt_by_mean == 1
    assert balance.norm_ratio == pytest.approx(float(J[2].norm() / J[1].norm()))
    cone = balanced_backward([row @ theta for row in J], [theta], lambda K: gradcraft_weights(K, projection="dual_cone"))
    assert cone.hurt == 0
    assert cone.hurt_by_mean == 1


# Bad input


def poisoned(value):
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    a.grad, b.grad = torch.full((2,), 7.0), torch.full((2,), 8.0)
    return a, b, [a.sum(), (a * torch.tensor([value, 1.0])).sum() + b.sum()]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("needs_gram", [True, False])
def test_a_poisoned_task_is_named_and_nothing_is_touched(value, needs_gram):
    a, b, losses = poisoned(value)
    called = []
    balancer = Balancer(lambda losses, gram: called.append(1) or torch.ones(2), needs_gram)
    with pytest.raises(FloatingPointError, match="loss of task 1 is not finite"):
        balanced_backward(losses, [a], balancer, [[], [b]])
    assert a.grad.tolist() == [7, 7]
    assert b.grad.tolist() == [8, 8]
    assert called == []  # nor is a balancer's state


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("needs_gram", [True, False])
def test_a_finite_loss_with_a_poisoned_gradient(private, needs_gram):
    a, b = torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    losses = [a.sum(), a.sum() + (b if private else a - a.detach()).abs().sqrt().sum()]  # sqrt has no slope at 0
    balancer = Balancer(lambda losses, gram: torch.ones(2), needs_gram)
    with pytest.raises(FloatingPointError, match=r"the gradient of (task 1|the weighted losses) is not finite"):
        balanced_backward(losses, [a], balancer, [[], [b]])
    assert a.grad is None
    assert b.grad is None


def test_weights_that_are_not_finite_are_refused():
    a = torch.ones(2, requires_grad=True)
    with pytest.raises(FloatingPointError, match="weights are not finite"):
        balanced_backward([a.sum(), a.sum()], [a], lambda K: torch.tensor([1.0, float("nan")]))
    assert a.grad is None


def test_problems_that_are_none():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    with pytest.raises(UsageError, match="share no parameter"):
        balanced_backward([a.sum(), b.sum()], [], gradcraft_weights, [[a], [b]])
    with pytest.raises(UsageError, match="reached by two losses"):
        balanced_backward([a.sum(), b.sum()], [a, b], gradcraft_weights)
    with pytest.raises(UsageError, match="there is none"):
        balanced_backward([], [a], gradcraft_weights)
    with pytest.raises(UsageError, match=r"task 1 has shape \(2,\)"):
        balanced_backward([a.sum(), 2 * a], [a], gradcraft_weights)
    with pytest.raises(UsageError, match="1 lists for 2 losses"):
        balanced_backward([a.sum(), a.sum()], [a], gradcraft_weights, [[b]])
    with pytest.raises(UsageError, match="listed twice"):
        balanced_backward([a.sum(), a.sum()], [a], gradcraft_weights, [[c], [c]])
    for wrong in ({"scope": "every"}, {"specific": "mine"}):
        with pytest.raises(UsageError, match=r'"own" or "weighted"'):
            balanced_backward([a.sum(), a.sum()], [a], gradcraft_weights, **wrong)
