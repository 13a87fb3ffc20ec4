"""The world of titles: its truth by the formula item by item, over every history, and against what it generates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.sim_titles import by_word, catalogue_of, generate, lifts, simulate, truth, word_effects
from craftbench.datasets.sim_titles_worlds import OTHER_WORLDS, TITLES, WORLDS, TitleWorld
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

SMALL, MAIN = WORLDS["sim-titles-small"], WORLDS["sim-titles"]
TINY = TitleWorld(users=2, items=6, genres=2, themes=2, names=3, strength=0.6, weights=(0.5, 0.3, 0.2), recent=3)


def _formula(world, history):
    """p(y | h) of one history without zeros, as it is printed."""
    known = catalogue_of(world)
    last = history[-world.recent :]
    r = np.array([world.decay ** (len(last) - 1 - j) for j in range(len(last))])
    p = np.zeros(world.items)
    for y in range(world.items):
        follows = 0.0
        for h, weight in zip(last, r / r.sum(), strict=True):
            for attribute, b in zip(known.attribute, world.weights, strict=True):
                if attribute[y] == attribute[h - 1]:
                    follows += weight * b * known.pop[y] / known.pop[attribute == attribute[y]].sum()
        p[y] = (1 - world.strength) * known.pop[y] + world.strength * follows
    return p


def _padded(histories, width):
    return np.array([[0] * (width - len(each)) + list(each) for each in histories])


def _rows(sequences, width=10):
    """Each user's last item behind what was taken before."""
    taken = [group.to_numpy() for _, group in sequences.groupby("user_id")["item_id"]]
    return _padded([each[:-1][-width:] for each in taken], width), np.array([each[-1] for each in taken])


# Truth


@given(st.lists(st.lists(st.integers(1, 48), min_size=1, max_size=8), min_size=1, max_size=4))
def test_truth_is_the_formula(histories):
    found = truth(SMALL, _padded(histories, 8))
    assert np.exp(found[:, 1:]) == pytest.approx(np.array([_formula(SMALL, each) for each in histories]), rel=1e-12)
    assert (found[:, 0] == -np.inf).all()


def test_at_every_position_items_are_distributed_as_pop():
    """Over all histories of one, two and three items, by their exact probabilities."""
    pop, mass = catalogue_of(TINY).pop, np.ones(1)
    for length in range(3):
        histories = _padded(list(product(range(1, 7), repeat=length)), 3)
        joint = mass[:, None] * np.exp(truth(TINY, histories)[:, 1:])
        assert joint.sum(axis=0) == pytest.approx(pop, abs=1e-15)
        mass = joint.ravel()
    assert mass.sum() == pytest.approx(1)


def test_nothing_told_without_history_or_strength():
    pop = catalogue_of(SMALL).pop
    assert np.array_equal(truth(SMALL, np.zeros((2, 10), int))[:, 1:], np.log(np.stack([pop, pop])))
    assert np.array_equal(truth(SMALL, np.zeros((1, 1), int))[:, 1:], np.log(pop)[None])
    assert np.allclose(lifts(replace(SMALL, strength=0.0), _padded([[3, 4, 5, 6, 7]], 5)), 1)


def test_a_world_that_always_follows_has_impossible_items():
    world = replace(SMALL, strength=1.0)
    found = np.exp(truth(world, _padded([[5]], 5)))
    assert (found == 0).sum() > 1
    assert found.sum() == pytest.approx(1)


# Words


def test_words_by_summing_over_the_items_that_begin_alike():
    histories = _padded([[1, 2, 3], [40], []], 5)
    p = np.exp(truth(SMALL, histories)[:, 1:])
    words, item = catalogue_of(SMALL).words, np.array([7, 19, 48])
    found = by_word(SMALL, truth(SMALL, histories), item)
    for row, of_item in enumerate(item):
        own, before = words[of_item - 1], 1.0
        for t in range(found.shape[1]):
            if t >= len(own):
                assert np.isnan(found[row, t])
                continue
            alike = [place for place, other in enumerate(words) if other[: t + 1] == own[: t + 1]]
            assert found[row, t] == pytest.approx(np.log(p[row, alike].sum() / before), abs=1e-12)
            before = p[row, alike].sum()
    assert np.nansum(found, axis=1) == pytest.approx(np.log(p[range(3), item - 1]))


def test_effects_of_words_sum_to_that_of_the_item():
    history, item = _rows(simulate(SMALL).tables["sequences"])
    effect = word_effects(SMALL, history, item)
    assert np.nansum(effect, axis=1) == pytest.approx(np.log(lifts(SMALL, history)[range(len(item)), item - 1]))
    alone = word_effects(SMALL, history * 0, item)
    assert np.nanmax(np.abs(alone)) < 1e-12


@pytest.mark.parametrize(
    ("name", "order"), [("sim-titles", (0, 1, 2)), ("sim-titles-weak", (0, 1, 2)), ("sim-titles-late", (2, 1, 0))]
)
def test_which_words_a_history_tells(name, order):
    """The mean effect falls with the word's place, or rises up to the name; a subtitle behind it is told by the name alone."""
    history, item = _rows(generate(name).tables["sequences"])
    mean = np.nanmean(word_effects(WORLDS[name], history, item), axis=0)
    assert mean[order[0]] > mean[order[1]] > mean[order[2]]
    assert mean[3] == pytest.approx(0, abs=1e-12)
    assert mean.sum() > 0.05


# What is generated


def test_tables():
    dataset = generate("sim-titles-small")
    sequences, titles = dataset.tables["sequences"], dataset.tables["titles"]
    assert (dataset.main, dataset.rows, dataset.provenance.scope) == ("sequences", len(sequences), "simulated")
    assert titles["item_id"].tolist() == list(range(1, 49))
    assert titles["title"].is_unique
    assert set(sequences["item_id"]) == set(titles["item_id"]), "every item is taken"
    by_user = sequences.groupby("user_id")
    assert by_user.ngroups == 300
    assert (by_user.size() >= 3).all()
    assert (sequences["position"] == by_user.cumcount()).all()
    assert (by_user["timestamp"].diff().dropna() > 0).all()
    assert generate("sim-titles-small").fingerprint == dataset.fingerprint
    assert simulate(replace(SMALL, seed=2)).fingerprint != dataset.fingerprint


def test_sizes_of_the_main_world():
    dataset = generate("sim-titles")
    users, rows = MAIN.users, dataset.rows
    assert 12_000 <= rows - 3 * users <= 20_000, "rows of train under leave-one-out"
    assert len(dataset.tables["titles"]) == 360
    assert dataset.tables["sequences"]["item_id"].nunique() == 360
    known = catalogue_of(MAIN)
    assert 100 <= len({word for words in known.words for word in words}) <= 500
    assert pd.DataFrame(known.attribute.T).drop_duplicates().shape == (360, 3)
    assert all(np.unique(attribute, return_counts=True)[1].max() > 1 for attribute in known.attribute)
    words = known.words
    assert not any(a != b and b[: len(a)] == a for a in words for b in words), "no title begins another"


def test_what_is_taken_follows_the_truth():
    world = replace(SMALL, users=20_000, length=4.0)
    sequences = simulate(world).tables["sequences"]
    known = catalogue_of(world)
    for position in (0, 1, 3):
        count = sequences["item_id"][sequences["position"] == position].value_counts().reindex(range(1, 49), fill_value=0)
        assert chisquare(count, count.sum() * known.pop).pvalue > 1e-3
    history, item = _rows(sequences)
    p = np.exp(truth(world, history)[:, 1:])
    for attribute in known.attribute:
        for back in (1, 2, 3):
            earlier = history[:, -back]
            there = earlier > 0
            alike = attribute == attribute[earlier[there] - 1][:, None]
            expected = (p[there] * alike).sum(axis=1)
            seen = alike[np.arange(there.sum()), item[there] - 1]
            z = (seen - expected).sum() / np.sqrt((expected * (1 - expected)).sum())
            assert abs(z) < 4
    gained = np.log(p[range(len(item)), item - 1]) - (p * np.log(p)).sum(axis=1)
    assert abs(gained.mean()) < 4 * gained.std() / np.sqrt(len(item))


def test_the_grid():
    assert set(TITLES) == set(WORLDS)
    assert all(
        WORLDS[name].items == MAIN.items and catalogue_of(WORLDS[name]).titles == catalogue_of(MAIN).titles for name in OTHER_WORLDS
    )
    assert generate("sim-titles-none").fingerprint != generate("sim-titles").fingerprint


def test_bad_input():
    with pytest.raises(UsageError, match="weights sum to 1"):
        TitleWorld(weights=(0.5, 0.5, 0.5))
    with pytest.raises(UsageError, match=r"2 genres x 8 themes x 3 names do not make 360 different titles"):
        TitleWorld(genres=2, names=3)
    with pytest.raises(UsageError, match="cannot take 2 items on average and 3 at least"):
        TitleWorld(length=2.0)
    with pytest.raises(UsageError, match="up to 12 genres and 12 themes"):
        catalogue_of(TitleWorld(genres=20))
    for wrong in (np.array([[1, 2, 3]]), np.array([[0, 0, 0, 0, 49]])):
        with pytest.raises(UsageError, match=r"are not the last 5 items or more, each in 0\.\.48"):
            truth(SMALL, wrong)
