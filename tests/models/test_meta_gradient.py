"""dM/dphi against the closed form of a linear recommender, finite differences, and differentiation through the step."""

import gc

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.din import DIN, FeedBatch
from craftbench.models.meta_gradient import LOSSES, METHODS, InnerStep, generators, meta_gradient, mode
from craftbench.models.platform_objectives import Candidates, Objective
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

B, LR = 24, 0.3
FIELDS = {"user_id": 7, "item_id": 9, "duration_bucket": 4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=generator(seed), dtype=dtype)


def filled(module, dtype, seed):
    """Weights of a module's own generator."""
    noise = generator(seed)
    for each in module.parameters():
        each.data = 0.5 * torch.randn(each.shape, generator=noise, dtype=torch.float64).to(dtype)
    return module.to(dtype)


class Flat(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        return self.parts(x).squeeze(1)


def labeler(dtype=torch.float64):
    return filled(Flat(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Sigmoid()), dtype, 3)


def mlp(dtype):
    """A recommender with dropout and torch's batch norm, both while training."""
    net = filled(Flat(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Tanh(), nn.Dropout(0.3), nn.Linear(10, 1)), dtype, 1)
    return net, rand(B, 6, seed=4, dtype=dtype), rand(16, 6, seed=5, dtype=dtype)


def din(dtype):
    items = {"duration_bucket": torch.randint(4, (9,), generator=generator(2)).numpy()}
    net = DIN(FIELDS, 2, items, dim=4, hidden=(10, 4), dropout=0.2, generator=generator(1), noise=generator(9)).to(dtype)

    def rows(n, seed):
        ids = torch.stack(
            [torch.randint(size, (n,), generator=generator(seed + k)) for k, size in enumerate(FIELDS.values())], dim=1
        )
        return FeedBatch(ids, rand(n, 2, seed=seed, dtype=dtype), torch.randint(9, (n, 5), generator=generator(seed)))

    return net, rows(B, 4), rows(16, 5)


NETWORKS = {"mlp": mlp, "din": din}


def objective(dtype, **settings):
    shown = Candidates(*(rand(2, 8, seed=k, dtype=dtype) for k in (6, 7, 8)), torch.ones(2, 8, dtype=torch.bool))
    return lambda scores: Objective(3, 0.2, **settings)(scores, shown).value


def flat(found):
    return torch.cat([each.flatten() for each in found.gradients.values()])


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


# 4.1


def linear_world():
    X, H, weight = rand(B, 4) - 0.5, rand(10, 4, seed=1), rand(10, seed=2)
    return Flat(nn.Linear(4, 1, bias=False)), X, H, weight


@pytest.mark.parametrize("method", METHODS)
def test_the_linear_recommender(method):
    """dM/dy = (2 lr / B) X grad M, and central differences of M in each parameter of the labeler."""
    net, X, H, weight = linear_world()
    filled(net, torch.float64, 1)
    z, g = rand(B, 3, seed=3), labeler()
    found = meta_gradient(net, g, X, z, H, lambda s: (weight * s).sum(), LR, loss="linear", method=method)
    at_labels = 2 * LR / B * X @ (H.T @ weight)
    phi = list(g.parameters())
    expected = torch.autograd.grad(g(z), phi, at_labels)
    torch.testing.assert_close(flat(found), torch.cat([each.flatten() for each in expected]), atol=1e-8, rtol=1e-8)
    if method != "double_backward":
        torch.testing.assert_close(found.at_labels, at_labels, atol=1e-8, rtol=1e-8)

    def value():
        theta = net.parts[0].weight[0]
        ahead = theta - 2 * LR / B * X.T @ (X @ theta - g(z))
        return (weight * (H @ ahead)).sum()

    assert float(found.value) == pytest.approx(float(value().detach()))
    for parameter, gradient in zip(phi, found.gradients.values(), strict=True):
        assert central(value, parameter) == pytest.approx(float(gradient.flatten()[0]), abs=1e-8)


@torch.no_grad()
def central(value, parameter, h=1e-4):
    """The slope of a function in a parameter's first number."""
    place = parameter.view(-1)
    sides = []
    for step in (h, -2 * h):
        place[0] += step
        sides.append(float(value()))
    place[0] += h
    return (sides[0] - sides[1]) / (2 * h)


# 4.2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("loss", ["mse", "bce", "linear"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_methods_agree(network, loss, dtype):
    """With batch statistics, dropout and L2."""
    net, batch, holdout = NETWORKS[network](dtype)
    g, z, M = labeler(dtype), rand(B, 3, dtype=dtype), objective(dtype)
    l2 = {next(iter(dict(net.named_parameters()))): 1e-2}
    found = {}
    for method in METHODS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if network == "din":
                net.dropout.generator.manual_seed(5)
            found[method] = meta_gradient(net, g, batch, z, holdout, M, LR, loss=loss, method=method, l2=l2)
    exact = flat(found["double_backward"])
    assert relative(flat(found["jvp"]), exact) < {torch.float64: 1e-9, torch.float32: 1e-5}[dtype]
    assert relative(flat(found["two_forwards"]), exact) < 2e-3
    assert relative(flat(found["one_forward"]), exact) < 2e-2
    assert {float(each.value) for each in found.values()} == {float(found["jvp"].value)}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_either_module_changes(network, method):
    net, batch, holdout = NETWORKS[network](torch.float64)
    g = labeler()
    net.parts[0].eval() if network == "mlp" else net.first_dice.eval()
    before = {name: each.clone() for module in (net, g) for name, each in module.state_dict(prefix=type(module).__name__).items()}
    modes = [part.training for part in net.modules()]
    meta_gradient(net, g, batch, rand(B, 3), holdout, objective(torch.float64), LR, method=method)
    after = {name: each for module in (net, g) for name, each in module.state_dict(prefix=type(module).__name__).items()}
    assert all(each.equal(before[name]) for name, each in after.items())
    assert [part.training for part in net.modules()] == modes
    assert all(each.grad is None for module in (net, g) for each in module.parameters())


# 4.10, 4.11, 4.13


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_step_ahead_is_plain_training(network, loss):
    """theta' and buffers equal one SGD step of the module itself, bit for bit, and score as it does."""
    net, batch, holdout = NETWORKS[network](torch.float64)
    labels = rand(B, seed=11)
    with mode(net, False):  # without dropout
        inner = InnerStep(net, batch, LOSSES[loss])
        ahead = inner.ahead(labels, LR)
        scores = inner.scores(ahead, holdout)
        logits = net(batch)
        mean = mse_loss(logits.sigmoid(), labels) if loss == "mse" else binary_cross_entropy_with_logits(logits, labels)
        mean.backward()
        torch.optim.SGD(net.parameters(), LR).step()
        assert all(each.equal(ahead[name]) for name, each in net.named_parameters())
        assert net(holdout).sigmoid().equal(scores)


@pytest.mark.parametrize("network", NETWORKS)
def test_running_statistics_are_those_that_the_batch_leaves(network):
    net, batch, _ = NETWORKS[network](torch.float64)
    with torch.random.fork_rng():
        noise = [(each, each.get_state()) for each in generators(net)]
        buffers = InnerStep(net, batch, LOSSES["mse"]).buffers
        for each, state in noise:
            each.set_state(state)
        net(batch)
    assert {name for name, each in net.named_buffers() if not each.equal(buffers[name])} == set()


def test_without_a_step_labels_do_not_matter():
    net, batch, holdout = mlp(torch.float64)
    found = meta_gradient(net, labeler(), batch, rand(B, 3), holdout, objective(torch.float64), 0.0)
    assert float(flat(found).abs().max()) == 0
    nothing = meta_gradient(net, labeler(), batch, rand(B, 3), holdout, lambda s: 0 * s.sum(), LR, method="two_forwards")
    assert float(flat(nothing).abs().max()) == 0


@pytest.mark.parametrize("network", NETWORKS)
def test_a_small_ascent_ascends(network):
    net, batch, holdout = NETWORKS[network](torch.float64)
    net.eval()
    g, z, M = labeler(), rand(B, 3), objective(torch.float64, literal=True)
    before = meta_gradient(net, g, batch, z, holdout, M, LR)
    size = float(flat(before).norm())
    with torch.no_grad():
        for name, each in g.named_parameters():
            each += 1e-5 / size * before.gradients[name]
    gain = float(meta_gradient(net, g, batch, z, holdout, M, LR).value - before.value)
    assert gain == pytest.approx(1e-5 * size, rel=0.02)


# Memory


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_flat(method):
    net, batch, holdout = mlp(torch.float32)
    g, z, M = labeler(torch.float32), rand(B, 3, dtype=torch.float32), objective(torch.float32)
    alive = []
    for step in range(200):
        found = meta_gradient(net, g, batch, z, holdout, M, LR, method=method)
        with torch.no_grad():
            for name, each in g.named_parameters():
                each += found.gradients[name]
        if step in (9, 199):
            del found
            gc.collect()
            alive.append(sum(type(each) in (torch.Tensor, nn.Parameter) for each in gc.get_objects()))
    assert alive[0] == alive[1]


def test_unknown_names():
    net, batch, holdout = mlp(torch.float64)
    for wrong in ({"method": "jpv"}, {"loss": "mae"}):
        with pytest.raises(UsageError, match="unknown"):
            meta_gradient(net, labeler(), batch, rand(B, 3), holdout, torch.sum, LR, **wrong)
