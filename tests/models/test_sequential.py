"""The networks against what they are made of: no look ahead, no trace of padding, and the same sums as torch's own layers."""

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.sequential import NETWORKS, Caser, GRU4Rec, SASRec
from torch import nn

ITEMS, L, D = 11, 6, 8
KINDS = sorted(NETWORKS)
EVERY_POSITION = [name for name in KINDS if NETWORKS[name].every_position]


def network(kind, **sizes):
    made = NETWORKS[kind](ITEMS, **{"dim": D, "length": L, "generator": torch.Generator().manual_seed(3), **sizes})
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:  # biases and norms that are not what a network starts with
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    return made.double().eval()


def histories(*rows):
    return torch.tensor([[0] * (L - len(row)) + list(row) for row in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_what_is_no_item(kind):
    made = network(kind)
    history = histories([1, 2, 3], [4], [])
    assert made.states(history).shape == (3, L if made.every_position else 1, D)
    logits = made(history)
    assert logits.shape == (3, ITEMS + 1)
    assert torch.isfinite(logits).all()
    assert not logits[2].any()
    assert made.table[0].abs().sum() == 0


@pytest.mark.parametrize("kind", EVERY_POSITION)
def test_no_state_knows_a_later_item(kind):
    made, history = network(kind), torch.randint(1, ITEMS + 1, (5, L), generator=torch.Generator().manual_seed(0))
    before = made.states(history)
    for place in range(L):
        changed = history.clone()
        changed[:, place:] = changed[:, place:] % ITEMS + 1
        after = made.states(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-14)
        assert (after[:, place] - before[:, place]).abs().amin(0).max() > 1e-6


@pytest.mark.parametrize("kind", EVERY_POSITION)
def test_a_history_starts_at_its_first_item(kind):
    """What stands behind no item cannot be told by how much padding there is, or by what a padded state held."""
    made = network(kind)
    if kind == "sasrec":
        with torch.no_grad():
            made.position.zero_()  # which alone says where a row's end is
    long, short = made.states(histories([5, 2, 7, 7]))[:, 2:], made.states(torch.tensor([[5, 2, 7, 7]]))
    torch.testing.assert_close(long, short, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_look_at_each_other(kind):
    made = network(kind)
    history = histories([1, 2, 3, 4, 5, 6], [7, 8], [9], [])
    alone = torch.cat([made(row[None]) for row in history])
    torch.testing.assert_close(made(history), alone, rtol=0, atol=1e-13)


def test_sasrec_is_its_formula():
    made = network("sasrec", blocks=2, heads=2)
    ids = [3, 9, 1, 1]
    x = torch.stack([made.table[i] * D**0.5 + made.position[L - 4 + place] for place, i in enumerate(ids)])
    for block in range(2):
        q, k, v = made.projected[block](made.before[2 * block](x)).split(D, dim=1)
        rows = []
        for place in range(4):
            heads = []
            for part in (slice(0, D // 2), slice(D // 2, D)):
                weight = torch.softmax(k[: place + 1, part] @ q[place, part] / (D // 2) ** 0.5, dim=0)
                heads.append(weight @ v[: place + 1, part])
            rows.append(torch.cat(heads))
        x = x + made.mixed[block](torch.stack(rows))
        x = x + made.outer[block](torch.relu(made.inner[block](made.before[2 * block + 1](x))))
    expected = made.after(x)
    torch.testing.assert_close(made.states(histories(ids))[0, 2:], expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(made(histories(ids))[0], made.table @ expected[-1], rtol=0, atol=1e-13)


def test_gru4rec_is_torch_s_cell():
    made, ids = network("gru4rec"), [3, 9, 1]
    cell = nn.GRUCell(D, D).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in made.gru.state_dict().items()})
    state = torch.zeros(1, D, dtype=torch.float64)
    for i in ids:
        state = cell(made.table[i][None], state)
    torch.testing.assert_close(made.states(histories(ids))[:, -1], state, rtol=0, atol=1e-14)
    torch.testing.assert_close(made(histories(ids)), made.output(state), rtol=0, atol=1e-14)


def test_caser_is_two_kinds_of_convolution():
    made, history = network("caser", horizontal=5, vertical=3), histories([4, 2], [1, 2, 3, 4, 5, 6])
    image = made.table[history][:, None]
    vertical = torch.conv2d(image, made.vertical.weight[:, None, :, None], made.vertical.bias)
    parts = [vertical[:, :, 0].permute(0, 2, 1).reshape(2, -1)]  # by dimension, then by filter
    for height, layer in zip((2, 3, 4), made.horizontal, strict=True):
        weight = layer.weight.view(5, D, height).transpose(1, 2)[:, None]
        parts.append(torch.conv2d(image, weight, layer.bias).relu()[:, :, :, 0].amax(2))
    expected = made.output(made.hidden(torch.cat(parts, dim=1)).relu())
    torch.testing.assert_close(made(history), expected, rtol=0, atol=1e-13)


def test_a_height_over_the_length_is_left_out():
    assert Caser(ITEMS, length=3).heights == (2, 3)
    assert Caser(ITEMS, length=1, generator=torch.Generator().manual_seed(0))(torch.tensor([[4]])).shape == (1, ITEMS + 1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="heads=3"):
        SASRec(ITEMS, dim=8, heads=3)


@pytest.mark.parametrize("kind", KINDS)
def test_first_weights_come_from_the_generator_alone(kind):
    state = torch.get_rng_state()
    one, same, other = (NETWORKS[kind](ITEMS, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for first, second, third in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
        assert first.dim() == 1 or not torch.equal(first, third)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_there_while_training_and_from_its_own_stream(kind):
    history = histories([1, 2, 3])

    def twice(seed):
        made = NETWORKS[kind](ITEMS, length=L, dropout=0.5, **streams(seed))
        return made(history).detach().numpy(), made(history).detach().numpy(), made.eval()(history).detach().numpy()

    def streams(seed):
        return {"generator": torch.Generator().manual_seed(1), "noise": torch.Generator().manual_seed(seed)}

    first, second, still = twice(5)
    assert (first != second).any()
    for one, other in zip((first, second, still), twice(5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (twice(6)[0] != first).any()
    np.testing.assert_array_equal(twice(6)[2], still)


def test_padding_teaches_nothing():
    for made in (Caser(ITEMS, length=L), GRU4Rec(ITEMS, length=L), SASRec(ITEMS, length=L)):
        made.start(torch.Generator().manual_seed(1))
        made(histories([1, 2])).logsumexp(1).sum().backward()
        assert made.table.grad[1].any()
        if not isinstance(made, SASRec):
            assert not made.table.grad[0].any()
