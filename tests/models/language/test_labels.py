"""Logits at label positions: packed = separate, padded = unpadded, the mask from lengths (I3, I6, I7)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language import labels
from craftbench.models.language.labels import buckets, label_logits
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def rows(world):
    """Factual prompts, then as many counterfactual ones, with the same responses."""
    prompts = [*world.prompts[1:], *[world.prompts[0]] * 4]
    return prompts, [world.responses[item] for item in (0, 7, 20, 31)] * 2


def test_packed_is_separate_and_each_row_alone(world, rows):
    prompts, responses = rows
    logits, row, position = label_logits(world.model, prompts, responses)
    assert len(logits) == len(row) == len(position) == sum(map(len, responses))
    assert row.tolist() == sorted(row.tolist())
    for half in (slice(0, 4), slice(4, 8)):
        apart, _, _ = label_logits(world.model, prompts[half], responses[half])
        torch.testing.assert_close(logits[(row >= half.start) & (row < half.stop)], apart, atol=1e-12, rtol=0)
    for place, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        here = row == place
        assert position[here].tolist() == list(range(len(response)))
        found = logits[here].log_softmax(1)[torch.arange(len(response)), torch.tensor(response)]
        torch.testing.assert_close(found, world.log_p(prompt, response), atol=1e-12, rtol=0)


@pytest.mark.parametrize("forward", [0, 10_000])
def test_buckets_change_no_logit_and_no_gradient(world, rows, monkeypatch, forward):
    def found():
        logits, _, _ = label_logits(world.model, *rows)
        world.model.network.zero_grad()
        logits.square().mean().backward()
        return logits.detach(), world.model.decoder.layers[0].self_attn.q_proj.weight.grad.clone()

    expected = found()
    monkeypatch.setattr(labels, "FORWARD", forward)
    for one, other in zip(expected, found(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-8)


def test_padding_id_means_nothing_and_zeros_in_a_prompt_do(world):
    """Masks are of lengths: what stands in front of a row is not read, an id that pads elsewhere is."""
    ids, lengths = world.model.padded([[5, 6, 7], [5, 6, 7, 8, 9]])
    other = ids.clone()
    other[0, :2] = 11
    torch.testing.assert_close(world.model.hidden(ids, lengths)[0, 2:], world.model.hidden(other, lengths)[0, 2:], atol=0, rtol=0)
    padded, own = world.model.padded([[0, 6, 7], [6, 7]])
    last = world.model.hidden(padded, own)[:, -1]
    assert (last[0] - last[1]).abs().max() > 1e-3
    torch.testing.assert_close(last[0], world.model.hidden(padded[:1], own[:1])[0, -1], atol=1e-12, rtol=0)


def test_logits_of_the_difference_are_those_of_log_probabilities(world, rows):
    """CE(a - b) is one number for logits and log-probabilities, and -log of the renormalised quotient p_h / p_0."""
    prompts, responses = rows
    logits, row, _ = label_logits(world.model, prompts, responses)
    a, b = logits[row < 4], logits[row >= 4]
    y = torch.tensor([token for response in responses[:4] for token in response])
    expected = torch.nn.functional.cross_entropy(a - b, y)
    found = torch.nn.functional.cross_entropy(a.log_softmax(1) - b.log_softmax(1), y)
    quotient = a.softmax(1) / b.softmax(1)
    ratio = -(quotient / quotient.sum(1, keepdim=True))[torch.arange(len(y)), y].log().mean()
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(ratio, expected, atol=1e-10, rtol=0)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=9))
def test_buckets_are_the_cheapest_of_all_cuts(lengths):
    groups = buckets(lengths)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    cost = sum(len(group) * max(lengths[row] for row in group) + labels.FORWARD for group in groups)
    order = sorted(lengths)
    cheapest = np.inf
    for cuts in range(1 << (len(order) - 1)):
        edges = [0, *(k + 1 for k in range(len(order) - 1) if cuts >> k & 1), len(order)]
        cheapest = min(cheapest, sum((b - a) * order[b - 1] + labels.FORWARD for a, b in pairwise(edges)))
    assert cost == cheapest


def test_short_counterfactual_rows_are_not_computed_at_full_width(world, rows, monkeypatch):
    widths = []
    whole = world.model.hidden
    monkeypatch.setattr(world.model, "hidden", lambda ids, lengths: widths.append(tuple(ids.shape)) or whole(ids, lengths))
    label_logits(world.model, [[7] * 50] * 16 + [[7]] * 16, [world.responses[0]] * 32)
    short = len(world.responses[0])
    assert widths == [(16, short), (16, 49 + short)]


def test_bad_rows_are_named(world):
    response = world.responses[0]
    with pytest.raises(UsageError, match=r"row 1 has .* tokens, the model's context is 64"):
        label_logits(world.model, [[1], [1] * 64], [response] * 2)
    with pytest.raises(UsageError, match="prompt of row 0 is empty"):
        label_logits(world.model, [[], [1]], [response] * 2)
    norm = world.model.decoder.norm.weight
    saved = norm.detach().clone()
    with torch.no_grad():
        norm.fill_(torch.nan)
    try:
        with pytest.raises(FloatingPointError, match="row 0 of the batch is not finite"):
            label_logits(world.model, [[1], [2]], [response] * 2)
    finally:
        with torch.no_grad():
            norm.copy_(saved)
