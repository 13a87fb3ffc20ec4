"""DIN against its formulas written out, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.models.din import BN_EPS, BN_MOMENTUM, DIN, Dice, FeedBatch
from torch.func import functional_call, jvp

FIELDS = {"user_id": 5, "item_id": 9, "duration_bucket": 4, "hour": 3, "item_tag": 6}
DENSE = ("rate", "other_rate")
SIZES = {"dim": 3, "hidden": (8, 4)}


def columns(rows=7, length=6, seed=0):
    rng = np.random.default_rng(seed)
    found = {name: rng.integers(0, size, rows) for name, size in FIELDS.items()}
    found |= {name: rng.standard_normal(rows).astype(np.float32) for name in DENSE}
    history = rng.integers(1, FIELDS["item_id"], (rows, length)).astype(np.int32)
    history[np.arange(length) < rng.integers(0, length + 1, rows)[:, None]] = 0
    return {**found, "history": history}


@pytest.fixture(scope="module")
def known():
    """What is known of each item, by its id."""
    rng = np.random.default_rng(3)
    return {
        name: np.concatenate([[0], rng.integers(1, FIELDS[name], FIELDS["item_id"] - 1)])
        for name in ("duration_bucket", "item_tag")
    }


@pytest.fixture
def din(known):
    """towers -> a DIN in float64 with biases, alphas and running statistics that are not where they start."""

    def make(towers=1):
        found = DIN(FIELDS, len(DENSE), known, **SIZES, towers=towers, generator=torch.Generator().manual_seed(1)).double()
        noise = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for each in found.biases():
                each.add_(0.3 * torch.randn(each.shape, generator=noise, dtype=torch.float64))
        for part in found.modules():
            if isinstance(part, Dice):
                part.mean = torch.randn(len(part.mean), generator=noise, dtype=torch.float64)
                part.variance = 0.5 + torch.rand(len(part.mean), generator=noise, dtype=torch.float64)
        return found

    return make


def batch_of(found):
    batch = FeedBatch.of(found, tuple(FIELDS), DENSE)
    return replace(batch, dense=batch.dense.double())


def embedding(din, field, value):
    start = sum(size for name, size in FIELDS.items() if list(FIELDS).index(name) < list(FIELDS).index(field))
    return din.table[start + int(value)]


def input_of(din, found, known, row):
    """x of one row, position by position and with the attention's two layers as they are written."""
    item = ("item_id", "duration_bucket", "item_tag")
    q = torch.cat([embedding(din, name, found[name][row]) for name in item])
    pooled = torch.zeros_like(q)
    for played in found["history"][row]:
        if played == 0:
            continue
        h = torch.cat([embedding(din, name, played if name == "item_id" else known[name][played]) for name in item])
        z = torch.cat([q, h, q - h, q * h])
        pooled = pooled + din.attended(din.attention(z)) * h
    others = [embedding(din, name, found[name][row]) for name in ("user_id", "hour")]
    return torch.cat([q, pooled, *others, torch.tensor([found[name][row] for name in DENSE])])


def dice(part, x, statistics=None):
    mean, variance = (part.mean, part.variance) if statistics is None else statistics
    p = torch.sigmoid((x - mean) / torch.sqrt(variance + BN_EPS) * part.weight + part.bias)
    return p * x + part.alpha * (1 - p) * x


def test_logits_are_those_of_the_formulas(din, known):
    found, model = columns(), din().eval()
    for row, logit in enumerate(model(batch_of(found)).detach()):
        x = dice(model.first_dice, model.first(input_of(model, found, known, row)))
        x = dice(model.second_dice[0], model.second[0](x))
        assert float(logit) == pytest.approx(model.output[0](x).item(), rel=1e-12)


def test_while_training_dice_looks_at_its_batch(din, known):
    found, model = columns(), din()
    before = model.first_dice.mean.clone()
    logits = model.train()(batch_of(found))
    x = model.first(torch.stack([input_of(model, found, known, row) for row in range(7)]))
    after = (1 - BN_MOMENTUM) * before + BN_MOMENTUM * x.mean(0)
    torch.testing.assert_close(model.first_dice.mean, after)
    x = dice(model.first_dice, x, (x.mean(0), x.var(0, unbiased=False)))
    x = model.second[0](x)
    x = dice(model.second_dice[0], x, (x.mean(0), x.var(0, unbiased=False)))
    torch.testing.assert_close(logits, model.output[0](x).squeeze(1))


def test_padding_changes_nothing(din):
    found, model = columns(), din().eval()
    padded = np.concatenate([np.zeros((7, 4), dtype=np.int32), found["history"]], axis=1)
    torch.testing.assert_close(model(batch_of({**found, "history": padded})), model(batch_of(found)))


def test_the_order_of_a_history_does_not_matter_but_its_videos_do(din):
    found, model = columns(), din().eval()
    logits = model(batch_of(found))
    turned = model(batch_of({**found, "history": found["history"][:, ::-1].copy()}))
    torch.testing.assert_close(turned, logits)
    other = found["history"].copy()
    row = int(np.argmax(other[:, -1] > 0))
    other[row, -1] = other[row, -1] % 8 + 1
    changed = model(batch_of({**found, "history": other})) != logits
    assert changed.tolist() == [each == row for each in range(7)]


def test_a_row_without_history_pools_to_nothing(din):
    found, model = columns(), din().eval()
    blank = batch_of({**found, "history": np.zeros_like(found["history"])})
    before = model(blank)
    with torch.no_grad():
        model.attended.bias.add_(5.0)
    torch.testing.assert_close(model(blank), before)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(din, training):
    model, batch = din().train(training), batch_of(columns())
    names = [name for name, _ in model.named_parameters()]
    buffers = {name: each.clone() for name, each in model.named_buffers()}

    def logits(*values):
        return functional_call(model, {**dict(zip(names, values, strict=True)), **buffers}, (batch,))

    assert torch.autograd.gradcheck(logits, tuple(each.detach().requires_grad_() for each in model.parameters()))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, at its first forward derivative
@pytest.mark.parametrize("training", [True, False])
def test_forward_mode_agrees_with_differences_and_leaves_the_module_alone(din, training):
    model, batch = din().train(training), batch_of(columns())
    theta = {name: each.detach() for name, each in model.named_parameters()}
    buffers = {name: each.clone() for name, each in model.named_buffers()}
    noise = torch.Generator().manual_seed(5)
    v = {name: torch.randn(each.shape, generator=noise, dtype=torch.float64) for name, each in theta.items()}

    def logits(values):
        return functional_call(model, {**values, **buffers}, (batch,))

    _, product = jvp(logits, (theta,), (v,))
    h = 1e-6
    ahead, behind = (logits({name: each + side * v[name] for name, each in theta.items()}) for side in (h, -h))
    torch.testing.assert_close(product, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)
    assert all(torch.equal(each, buffers[name]) for name, each in model.named_buffers())


def test_statistics_come_back_through_given_buffers(din):
    model, batch = din().train(), batch_of(columns())
    values = {**dict(model.named_parameters()), **{name: each.clone() for name, each in model.named_buffers()}}
    given = values["first_dice.mean"]
    kept = given.clone()
    logits = functional_call(model, values, (batch,))
    assert torch.equal(model.first_dice.mean, kept)
    assert torch.equal(given, kept)
    torch.testing.assert_close(logits, model(batch))
    torch.testing.assert_close(values["first_dice.mean"], model.first_dice.mean)


def test_towers_share_all_but_themselves(din, known):
    model, found = din(towers=2).eval(), columns()
    logits = model(batch_of(found))
    assert logits.shape == (7, 2)
    x = torch.stack([dice(model.first_dice, model.first(input_of(model, found, known, row))) for row in range(7)])
    second = model.output[1](dice(model.second_dice[1], model.second[1](x))).squeeze(1)
    torch.testing.assert_close(logits[:, 1], second)


def test_sizes_of_the_release():
    fields = {"user_id": 990, "item_id": 46628, "duration_bucket": 92, "item_tag": 785}
    none = {name: np.zeros(fields["item_id"], dtype=np.int64) for name in ("duration_bucket", "item_tag")}
    parts = {name: each.numel() for name, each in DIN(fields, 0, none).named_parameters()}
    assert sum(parts.values()) == 621_198


def test_first_weights_are_xavier_normal_by_table(known):
    fields = {**FIELDS, "user_id": 4000}
    model = DIN(fields, 0, known, dim=16)
    assert model.table[:4000].std().item() == pytest.approx((2 / 4016) ** 0.5, rel=0.02)
    assert model.first.weight.std().item() == pytest.approx((2 / sum(model.first.weight.shape)) ** 0.5, rel=0.03)
    assert not any(each.any() for name, each in model.named_parameters() if name.endswith("bias"))


def test_weights_and_biases_are_all_there_is(din):
    model = din(towers=2)
    both = [*model.weights(), *model.biases()]
    assert {id(each) for each in both} == {id(each) for each in model.parameters()}
    assert len(both) == len({id(each) for each in both})
    assert all(each.dim() == 2 for each in model.weights())


def test_batches():
    found = columns(rows=9)
    batch = FeedBatch.of(found, tuple(FIELDS), DENSE, history=4)
    assert (batch.ids.dtype, batch.dense.dtype) == (torch.int64, torch.float32)
    np.testing.assert_array_equal(batch.history.numpy(), found["history"][:, -4:])
    rows = torch.tensor([5, 0, 5])
    np.testing.assert_array_equal(batch[rows].ids[:, 1].numpy(), found["item_id"][[5, 0, 5]])
    np.testing.assert_array_equal(batch[rows].dense[:, 0].numpy(), found["rate"][[5, 0, 5]])
    assert [len(part) for part in batch.split(4)] == [4, 4, 1]
    batch.history.zero_()
    assert found["history"].any()  # copies
    assert FeedBatch.of(found, tuple(FIELDS), (), history=99).history.shape == (9, 6)
