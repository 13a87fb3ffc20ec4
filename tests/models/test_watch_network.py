"""The watch-time network: equal to one written head by head, exact gradients, what the penalty is on, what an adversary sees."""

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.watch_network import BACKBONES, WatchNetwork, duration_error
from torch.nn.functional import linear, relu

FIELDS, DENSE, OUTPUTS, BINARY = (5, 4, 3), 2, 2, 3


def network(backbone="mmoe", **values):
    settings = {"dim": 3, "hidden": 8, "generator": torch.Generator().manual_seed(1), **values}
    return WatchNetwork(backbone, FIELDS, DENSE, OUTPUTS, BINARY, **settings)


def impressions(rows=7):
    generator = torch.Generator().manual_seed(2)
    ids = torch.stack([torch.randint(0, size, (rows,), generator=generator) for size in FIELDS], dim=1)
    return ids, torch.randn(rows, DENSE, generator=generator)


def moved(model):
    """Every parameter away from where it starts, biases included."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.3 * torch.randn(each.shape, generator=generator, dtype=each.dtype))
    return model


def one_by_one(model, backbone, ids, dense):
    """The same by the formulas, a head and an expert at a time."""
    starts = (0, 5, 9)
    x = torch.cat([model.table[ids[:, f] + start] for f, start in enumerate(starts)] + [dense], dim=1)
    h, E = model.hidden, model.experts
    experts = []
    for j in range(E):
        first = relu(linear(x, model.entry[j * h : (j + 1) * h], model.entry_bias[j, :, 0]))
        experts.append(relu(linear(first, model.second[j], model.second_bias[j, :, 0])))
    towers = []
    for k in range(1 + BINARY):
        allowed = {"mmoe": range(E), "shared_bottom": [0], "ple": [0, 1 + k]}[backbone]
        gate = linear(x, model.entry[E * h + k * E : E * h + (k + 1) * E])[:, list(allowed)].softmax(1)
        mixture = sum(gate[:, i : i + 1] * experts[j] for i, j in enumerate(allowed))
        towers.append(relu(linear(mixture, model.tower[k], model.tower_bias[k, :, 0])))
    watch = linear(towers[0], model.watch, model.watch_bias[:, 0])
    logits = [towers[1 + k] @ model.binary[k] + model.binary_bias[k] for k in range(BINARY)]
    return watch, torch.stack(logits, dim=1), towers[0]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_is_the_network_of_the_formulas(backbone):
    model = moved(network(backbone))
    for found, expected in zip(model(*impressions()), one_by_one(model, backbone, *impressions()), strict=True):
        torch.testing.assert_close(found, expected)


class FromEmbeddings(torch.nn.Module):
    """A network as a function of the looked-up embeddings and of its parameters."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.names = [f"model.{name}" for name, _ in model.named_parameters() if name != "table"]

    def forward(self, embeddings, dense):
        return self.model.heads(embeddings, dense)[:2]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradients_agree_with_finite_differences(backbone):
    model = moved(network(backbone)).double()
    ids, dense = impressions(3)
    function = FromEmbeddings(model)

    def outputs(leaf, *values):
        return torch.func.functional_call(function, dict(zip(function.names, values, strict=True)), (leaf, dense.double()))

    leaf = model.table.detach().index_select(0, model.places(ids)).requires_grad_()
    values = [function.get_parameter(name).detach().clone().requires_grad_() for name in function.names]
    assert torch.autograd.gradcheck(outputs, (leaf, *values))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_and_biases_are_all_parameters(backbone):
    model = network(backbone)
    parts = [*model.weights(), *model.biases()]
    assert len(parts) == len({id(each) for each in parts}) == len(list(model.parameters()))
    assert all(not each.any() for each in model.biases())
    assert all(each.any() for each in model.weights())


def test_first_weights_have_the_scale_of_their_inputs():
    model = WatchNetwork("mmoe", (4000,), 36, 40, 40, dim=64, hidden=128, generator=torch.Generator().manual_seed(0))
    table, *weights = model.weights()
    assert table.std().item() == pytest.approx(0.01, rel=0.02)
    for weight in weights:
        assert weight.std().item() == pytest.approx(weight.shape[-1] ** -0.5, rel=0.05)


def test_the_size_of_the_paper_spec():
    """4 experts [128, 64], tower [64]."""
    model = WatchNetwork("mmoe", (10,), 0, 1, 2)
    assert [tuple(each.shape) for each in model.weights()] == [(10, 16), (4 * 131, 16), (4, 64, 128), (3, 64, 64), (1, 64), (2, 64)]


def test_an_impression_does_not_depend_on_its_neighbours():
    model = moved(network())
    ids, dense = impressions()
    for row in range(len(ids)):
        for alone, together in zip(model(ids[row : row + 1], dense[row : row + 1]), model(ids, dense), strict=True):
            torch.testing.assert_close(alone[0], together[row])


def test_binary_heads_start_at_the_shares_they_are_told():
    model = network()
    rates = torch.tensor([0.01, 0.5, 1.0])
    model.expect(rates)
    assert model.binary_bias[:, 0].sigmoid().tolist() == pytest.approx([0.01, 0.5, 0.9999], rel=1e-4)


def test_dropout_draws_from_its_own_stream_and_only_in_training():
    def train_output(seed):
        return network(dropout=0.5, noise=torch.Generator().manual_seed(seed)).train()(*impressions()).watch

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(train_output(1), train_output(1))
    assert not torch.equal(train_output(1), train_output(2))
    assert torch.equal(torch.rand(2), expected)
    model = network(dropout=0.5).eval()
    assert torch.equal(model(*impressions()).watch, model(*impressions()).watch)


def test_the_duration_error_is_what_a_line_leaves():
    generator = torch.Generator().manual_seed(1)
    hidden, duration = torch.randn(60, 4, generator=generator), torch.randn(60, generator=generator)
    duration = duration + hidden[:, 1] - (duration + hidden[:, 1]).mean()
    line = np.column_stack([hidden.numpy(), np.ones(60)])
    _, (left,), *_ = np.linalg.lstsq(line.astype(float), duration.double().numpy(), rcond=None)
    for scale in (1, 1e-3, 1e3):
        assert duration_error(scale * hidden, duration).item() == pytest.approx(left / 60, rel=1e-3)
    assert duration_error(torch.zeros(60, 4), duration).item() == pytest.approx(duration.square().mean().item())


def test_its_gradient_takes_the_regressor_as_fixed():
    """Where the regressor is best the two agree, up to the ridge: a step along it leaves no better line."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(40, 3, generator=generator, dtype=torch.float64).requires_grad_()
    duration = hidden.detach().sum(1) + torch.randn(40, generator=generator)
    duration = duration - duration.mean()
    (gradient,) = torch.autograd.grad(duration_error(hidden.float(), duration.float()), hidden)

    def left(x):
        line = np.column_stack([x, np.ones(40)])
        return np.linalg.lstsq(line, duration.numpy(), rcond=None)[1][0] / 40

    x, g = hidden.detach().numpy(), gradient.numpy()
    slope = (left(x + 1e-3 * g) - left(x - 1e-3 * g)) / 2e-3
    assert slope == pytest.approx((g**2).sum(), rel=1e-2)


def test_an_unknown_backbone_is_told():
    with pytest.raises(UsageError, match="backbone"):
        network("mmoo")
