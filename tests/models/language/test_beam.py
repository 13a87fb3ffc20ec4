"""The constrained beam against the exhaustive ranking (I10, I11) and against `generate` of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language import beam
from craftbench.models.language.beam import trie_beam
from craftbench.models.language.scoring import score_titles
from craftbench.models.language.trie import TitleTrie


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_as_many_beams_as_titles_are_the_exhaustive_ranking(world, penalty):
    items, scores = trie_beam(world.model, world.trie, world.prompts, world.trie.items, penalty)
    lengths = np.array([len(response) for response in world.responses])
    exact = score_titles(world.model, world.trie, world.prompts)[:, 1:] / lengths**penalty
    order = np.argsort(-exact, axis=1)
    assert (items == order + 1).all()
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, 1), rtol=1e-6)


@pytest.mark.parametrize(("beams", "penalty"), [(1, 0.0), (3, 0.0), (10, 0.0), (3, 1.0), (10, 1.0)])
def test_the_beams_of_generate_with_a_prefix_function(world, beams, penalty):
    items, scores = trie_beam(world.model, world.trie, world.prompts, beams, penalty)
    for row, prompt in enumerate(world.prompts):
        expected, expected_scores = generated(world, prompt, beams, penalty)
        assert [world.responses[item - 1] for item in items[row]] == expected
        np.testing.assert_allclose(scores[row], expected_scores, rtol=1e-5)


def generated(world, prompt, beams, penalty):
    end = world.model.tokenizer.end
    after = {}
    for response in world.responses:
        for place, token in enumerate(response):
            after.setdefault(tuple(response[:place]), set()).add(token)
    single = {} if beams == 1 else {"num_beams": beams, "early_stopping": "never", "length_penalty": penalty}
    found = world.model.network.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        prefix_allowed_tokens_fn=lambda _, ids: sorted(after.get(tuple(ids[len(prompt) :].tolist()), {end})),
        max_new_tokens=world.trie.longest,
        num_return_sequences=beams,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
        return_dict_in_generate=True,
        output_scores=True,
        **single,
    )
    rows = [ids[len(prompt) :] for ids in found.sequences.tolist()]
    responses = [row[: row.index(end) + 1] for row in rows]
    if beams == 1:
        return responses, [float(world.log_p(prompt, responses[0]).sum().detach()) / len(responses[0]) ** penalty]
    return responses, found.sequences_scores.numpy()


def test_items_are_distinct_and_scores_fall(world):
    items, scores = trie_beam(world.model, world.trie, world.prompts, 7)
    assert all(len(set(row)) == 7 for row in items)
    assert ((items > 0) & (items <= world.trie.items)).all()
    assert (np.diff(scores) <= 0).all()


def test_more_beams_than_titles_leave_places_empty(world):
    trie = TitleTrie.of(world.responses[:3])
    items, scores = trie_beam(world.model, trie, world.prompts, 5)
    assert (items[:, 3:] == 0).all()
    assert (scores[:, 3:] == -np.inf).all()
    assert (np.sort(items[:, :3]) == [1, 2, 3]).all()


def test_neither_batch_nor_order_of_prompts_matters(world, monkeypatch):
    items, scores = trie_beam(world.model, world.trie, world.prompts, 6)
    monkeypatch.setattr(beam, "TOKENS", 1)
    alone, alone_scores = trie_beam(world.model, world.trie, world.prompts[::-1], 6)
    assert (items == alone[::-1]).all()
    np.testing.assert_allclose(scores, alone_scores[::-1], rtol=1e-6)


def test_a_step_score_sees_row_node_and_log_p(world):
    """With q of a second model in the way of D3: at full width the order is that of the sums of g log p + (1 - g) log q."""
    weights = np.random.default_rng(5).random((len(world.prompts), world.trie.items + 1))
    log_mass = torch.from_numpy(np.log(world.trie.masses(weights)))
    parent = torch.from_numpy(world.trie.parent)
    items, scores = trie_beam(
        world.model,
        world.trie,
        world.prompts,
        world.trie.items,
        step_score=lambda row, node, log_p: 0.7 * log_p + 0.3 * (log_mass[row, node] - log_mass[row, parent[node]]),
    )
    shares = np.log(weights[:, 1:] / weights[:, 1:].sum(1, keepdims=True))  # the steps' quotients telescope
    exact = 0.7 * score_titles(world.model, world.trie, world.prompts)[:, 1:] + 0.3 * shares
    assert (items == np.argsort(-exact, axis=1) + 1).all()
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1), rtol=1e-6)


def test_more_beams_do_more_work_and_find_no_less(world):
    narrow, wide = (trie_beam(world.model, world.trie, world.prompts, beams)[1] for beams in (2, world.trie.items))
    assert (wide[:, :2] >= narrow - 1e-6).all()
    with pytest.raises(UsageError, match="0 beams"):
        trie_beam(world.model, world.trie, world.prompts, 0)


def test_nan_names_the_row(world):
    with pytest.raises(FloatingPointError, match="row 2 is NaN"):
        trie_beam(
            world.model,
            world.trie,
            world.prompts,
            2,
            step_score=lambda row, node, log_p: torch.where(row == 2, torch.nan, log_p),
        )
