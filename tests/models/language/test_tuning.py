"""Tuning on titles: micro-batches, shared counterfactual rows, the pace of the learning rate, and that it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.methods.cft import Counterfactual
from craftbench.models.language.labels import label_logits
from craftbench.models.language.params import TuningParams
from craftbench.models.language.tiny import TinySizes, tiny
from craftbench.models.language.title_loss import ByPosition, CrossEntropy, token_weights
from craftbench.models.language.title_rows import TitleRows
from craftbench.models.language.tuning import Tuning, factual_loss, loss_parts, tune
from torch.nn.functional import cross_entropy

TITLES = ("Winter", "Winter Harbour of Oru", "Garden Sadi", "Mirror Lake House")


@pytest.fixture(scope="module")
def model():
    sizes = TinySizes(layers=1, width=16, heads=2, feed_forward=24, vocabulary=280, context=64)
    return tiny(TITLES, sizes, seed=3)


@pytest.fixture(scope="module")
def rows(model):
    """16 rows: the title of the last of the history."""
    encode, respond = model.tokenizer.prompt, model.tokenizer.response
    last = [k % 4 for k in range(16)]
    factual = [encode(f"{TITLES[(k + 1) % 3]}\n{TITLES[k]}\n>") for k in last]
    return TitleRows(factual, [encode(">")] * 16, [respond(TITLES[k]) for k in last])


def gradients(model, rows, loss, **params):
    model = copy.deepcopy(model)
    tuning = Tuning(model, rows, loss, TuningParams(**params), RunContext(1))
    tuning.backward(rows)
    return [each.grad.clone() for each in model.network.parameters()]


def far(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def test_micro_batches_change_nothing_with_one_denominator_and_something_with_theirs(model, rows):
    loss = Counterfactual(0.1, 0.25)
    whole = gradients(model, rows, loss)
    assert far(whole, gradients(model, rows, loss, micro_batch=4)) < 1e-6
    assert far(whole, gradients(model, rows, loss, denominator="micro_batch")) < 1e-6  # one batch is its own micro-batch
    uneven = TitleRows(rows.factual[::2] + rows.factual[1::2], rows.counterfactual, rows.response[::2] + rows.response[1::2])
    released = gradients(model, uneven, loss, micro_batch=8, denominator="micro_batch")
    assert far(whole, released) > 1e-4
    parts = [gradients(model, uneven[range(start, start + 8)], loss) for start in (0, 8)]
    assert far(released, [(a + b) / 2 for a, b in zip(*parts, strict=True)]) < 1e-6


def test_rows_of_equal_titles_share_a_counterfactual_row_and_say_the_same(model, rows):
    found, weight = loss_parts(model, rows, Counterfactual(0.3, 0.5), counterfactual=True)
    a, row, position = label_logits(model, rows.factual, rows.response)
    b, _, _ = label_logits(model, rows.counterfactual, rows.response)
    length = torch.tensor([len(y) for y in rows.response])[row]
    target = torch.tensor([token for y in rows.response for token in y])
    w = token_weights(position, length, 0.5).float()
    each = cross_entropy(a, target, reduction="none") + 0.3 * cross_entropy(a - b, target, reduction="none")
    assert found.item() == pytest.approx((w * each).sum().item(), rel=1e-5)
    assert weight.item() == pytest.approx(w.sum().item(), rel=1e-6)


def test_without_lambda_and_weights_the_gradient_is_bigrecs(model, rows):
    assert far(gradients(model, rows, Counterfactual(0.0, 1.0)), gradients(model, rows, CrossEntropy())) == 0
    assert far(gradients(model, rows, ByPosition(0.25)), gradients(model, rows, CrossEntropy())) > 1e-4


def test_validation_looks_at_the_factual_loss_alone(model, rows):
    assert factual_loss(model, rows, Counterfactual(0.3, 0.5)) == factual_loss(model, rows, ByPosition(0.5))


def test_the_learning_rate_goes_up_then_down_in_lines(model, rows):
    tuning = Tuning(copy.deepcopy(model), rows, CrossEntropy(), TuningParams(batch_size=4, epochs=2.5, warmup=3), RunContext(1))
    paces = []
    for step in range(tuning.steps):
        tuning.done = step
        paces.append(tuning._pace())
    assert tuning.steps == 10
    assert paces[:4] == [0.25, 0.5, 0.75, 1.0]
    assert paces[3:] == pytest.approx([k / 7 for k in range(7, 0, -1)])


def test_a_part_of_an_epoch_is_a_part_of_its_steps(model, rows):
    tuning = Tuning(copy.deepcopy(model), rows, CrossEntropy(), TuningParams(batch_size=4, epochs=1.5), RunContext(1))
    tuning.epoch()
    tuning.epoch()
    assert tuning.done == 6


@pytest.mark.slow
def test_it_learns_what_the_history_says(model, rows):
    tuned = copy.deepcopy(model)
    before = factual_loss(tuned, rows, CrossEntropy())
    run = RunContext(1)
    tune(tuned, rows, rows, CrossEntropy(), TuningParams(lr=3e-2, batch_size=4, epochs=30.0, patience=5), run)
    after = factual_loss(tuned, rows, CrossEntropy())
    assert after < 0.5 < 2 < before
    assert run.notes["valid_loss"] == pytest.approx(after, rel=1e-6)
