"""Scores of a whole catalogue against every title scored alone (I9, I12)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language import scoring
from craftbench.models.language.model import LanguageModel
from craftbench.models.language.scoring import prior_scores, score_titles
from craftbench.models.language.trie import TitleTrie


@pytest.fixture(scope="module")
def brute(world):
    """(N, I, longest), log p of every token by the whole network, 1 behind a title's end."""
    found = np.ones((len(world.prompts), len(world.responses), world.trie.longest))
    with torch.no_grad():
        for row, prompt in enumerate(world.prompts):
            for item, response in enumerate(world.responses):
                found[row, item, : len(response)] = world.log_p(prompt, response)
    return found


def test_scores_are_those_of_every_title_alone(world, brute):
    scores, tokens = score_titles(world.model, world.trie, world.prompts, tokens=True)
    np.testing.assert_allclose(tokens[:, 1:], brute, atol=1e-12)
    np.testing.assert_allclose(scores[:, 1:], np.where(brute < 1, brute, 0).sum(2), atol=1e-12)
    assert (scores[:, 0] == scores[:, 1:].min(1) - 1).all()
    assert (tokens[:, 0] == 1).all()
    assert (np.exp(scores[:, 1:]).sum(1) < 1).all()


@pytest.mark.parametrize(("chunk", "tokens", "logits"), [(1, 1, 1), (3, 6, 900), (1000, 100_000, 1 << 20)])
def test_neither_batch_nor_chunk_matters(world, brute, monkeypatch, chunk, tokens, logits):
    for name, value in (("CHUNK", chunk), ("TOKENS", tokens), ("LOGITS", logits)):
        monkeypatch.setattr(scoring, name, value)
    scores = score_titles(world.model, world.trie, world.prompts)
    np.testing.assert_allclose(scores[:, 1:], np.where(brute < 1, brute, 0).sum(2), atol=1e-12)
    single = [prior_scores(world.model, world.trie, prompt) for prompt in world.prompts]
    np.testing.assert_allclose(scores, np.stack(single), atol=1e-12)


def test_items_in_another_order_have_the_same_scores(world):
    order = np.random.default_rng(3).permutation(len(world.responses))
    trie = TitleTrie.of([world.responses[item] for item in order])
    scores = score_titles(world.model, world.trie, world.prompts)
    np.testing.assert_allclose(score_titles(world.model, trie, world.prompts)[:, 1:], scores[:, 1:][:, order], atol=1e-12)


def test_among_allowed_tokens_probabilities_sum_to_one(world, brute):
    scores, tokens = score_titles(world.model, world.trie, world.prompts, allowed_only=True, tokens=True)
    np.testing.assert_allclose(np.exp(scores[:, 1:]).sum(1), 1, atol=1e-12)
    with torch.no_grad():
        for item in (0, 5, len(world.responses) - 1):
            response, path = world.responses[item], world.trie.paths[item]
            ids = torch.tensor([[*world.prompts[2], *response]])
            logits = world.model.network(ids).logits[0, len(world.prompts[2]) - 1 : -1]
            for place, token in enumerate(response):
                parent = world.trie.parent[path[place]]
                allowed = world.trie.token[world.trie.first[parent] : world.trie.first[parent + 1]]
                expected = logits[place, token] - logits[place, torch.from_numpy(allowed)].logsumexp(0)
                np.testing.assert_allclose(tokens[2, item + 1, place], expected, atol=1e-12)


def test_float32_is_what_a_float32_network_gives(world):
    model = LanguageModel(type(world.model.network)(world.model.config), world.model.tokenizer)
    model.network.load_state_dict(world.model.network.state_dict())
    scores = score_titles(model, world.trie, world.prompts)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, score_titles(world.model, world.trie, world.prompts), rtol=1e-4)


def test_equal_titles_tie(world):
    trie = TitleTrie.of([*world.responses, world.responses[4]])
    scores = score_titles(world.model, trie, world.prompts[:2])
    assert (scores[:, 5] == scores[:, -1]).all()


def test_a_title_that_does_not_fit_names_its_row(world):
    room = world.model.context - world.trie.longest + 1
    score_titles(world.model, world.trie, [world.prompts[0], [1] * room])
    with pytest.raises(UsageError, match="row 1 has 65 tokens, the model's context is 64"):
        score_titles(world.model, world.trie, [world.prompts[0], [1] * (room + 1)])
    with pytest.raises(UsageError, match="prompt of row 1 is empty"):
        score_titles(world.model, world.trie, [world.prompts[0], []])


def test_nan_names_the_row(world):
    prompts = [[3, 5], [3, 7, 3], [2]]
    before = world.model.decoder.embed_tokens.weight[7].clone()
    head = world.model.network.get_output_embeddings()
    saved = head.weight
    head.weight = torch.nn.Parameter(saved.detach().clone())  # only what is read is damaged, not what is predicted
    try:
        with torch.no_grad():
            world.model.decoder.embed_tokens.weight[7] = torch.nan
        trie = TitleTrie.of([[4, world.model.tokenizer.end], [6, world.model.tokenizer.end]])
        with pytest.raises(FloatingPointError, match="prompt of row 1 is not finite"):
            score_titles(world.model, trie, prompts)
    finally:
        with torch.no_grad():
            world.model.decoder.embed_tokens.weight[7] = before
        head.weight = saved
