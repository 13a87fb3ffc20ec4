"""Grounding: nearest titles of a generated text, one beam after another (I11, I13)."""

from __future__ import annotations

import numpy as np
import torch
from craftbench.models.language.grounding import FreeBeams, ground, ground_adjusted, round_robin, title_embeddings
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist


def embeddings(rows, beams, items, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rows, beams, 3, generator=draw), torch.randn(items, 3, generator=draw)


def ranking(scores):
    """Item ids, best first, equal scores by id."""
    return np.argsort(-scores[:, 1:], axis=1, kind="stable") + 1


def test_ground_is_minus_the_distance_of_the_best_beam():
    generated, items = embeddings(6, 4, 11, 0)
    scores = ground(generated, items)
    np.testing.assert_allclose(scores[:, 1:], -cdist(generated[:, 0], items), rtol=1e-5)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1:].min(1) - 1)


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 70), st.integers(0, 99))
def test_the_round_robin_by_hand(beams, items, entries, seed):
    generated, titles = embeddings(3, beams, items, seed)
    scores = ground_adjusted(generated, titles, entries)
    assert scores.dtype == np.float32
    for row in range(3):
        nearest = np.argsort(cdist(generated[row], titles), axis=1, kind="stable") + 1
        hand = [int(nearest[beam, rank]) for rank in range(items) for beam in range(beams)][:entries]
        assert round_robin(generated, titles, entries)[row].tolist() == hand
        distinct = list(dict.fromkeys(hand))
        assert ranking(scores)[row, : len(distinct)].tolist() == distinct
        rest = [item for item in range(1, items + 1) if item not in distinct]
        assert len({scores[row, item] for item in rest}) <= 1
        assert all(scores[row, item] < scores[row, distinct[-1]] for item in rest)


def test_one_beam_and_equal_beams_are_the_original_grounding():
    generated, items = embeddings(5, 1, 30, 1)
    original = ranking(ground(generated, items))
    assert (ranking(ground_adjusted(generated, items)) == original).all()
    assert (ranking(ground_adjusted(generated.expand(-1, 5, -1), items)) == original).all()
    assert (np.sort(original) == np.arange(1, 31)).all()


def test_a_titles_own_text_grounds_to_it(world):
    texts = [world.template.response(title) for title in ("Star Moon II", "Starlight")]
    items = title_embeddings(world.model, ["Red Red", *texts, "River"])
    generated = title_embeddings(world.model, texts)[:, None]
    assert (ranking(ground(generated, items))[:, 0] == [2, 3]).all()
    ids = torch.tensor([world.model.tokenizer.prompt(texts[1])])
    torch.testing.assert_close(items[2], world.model.decoder(input_ids=ids).last_hidden_state[0, -1], atol=1e-12, rtol=0)


def test_free_beams_say_what_is_likeliest(world):
    """Texts of one more token: the beams are the likeliest first tokens, and no sampling is in them."""
    beams = FreeBeams(beams=3, least_tokens=1, most_tokens=1)
    texts = beams.generate(world.model, world.prompts)
    for prompt, found in zip(world.prompts, texts, strict=True):
        logits = world.model.network(torch.tensor([prompt])).logits[0, -1]
        logits[world.model.tokenizer.end] = -torch.inf
        assert found == [world.model.tokenizer.decode([token]) for token in logits.topk(3).indices.tolist()]
    longer = FreeBeams(beams=2, least_tokens=2, most_tokens=6)
    together, alone = (
        longer.generate(world.model, world.prompts),
        [longer.generate(world.model, [each])[0] for each in world.prompts],
    )
    assert together == alone
