"""How much a row uses the history: spoilt histories, and what is measured of them, by hand and for rows that know the truth."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.benchmarks import history_use
from craftbench.benchmarks.history_use import VARIANTS, averaged, emptied, replaced, shuffled
from craftbench.core.metrics.groups import user_group
from craftbench.core.task import Sequences, View
from craftbench.datasets.sequences import prepare
from craftbench.datasets.sim_titles import by_word, catalogue_of, lifts, simulate, truth
from craftbench.datasets.sim_titles_worlds import WORLDS
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, pearsonr

WORLD = WORLDS["sim-titles-small"]
EMPTY = np.zeros((1, 10), int)


@pytest.fixture(scope="module")
def tables():
    return prepare(simulate(WORLD, "sim-titles-small"), "leave_one_out", 10, 150)


def _views(rows):
    names = {"test": rows.history, **{f"test-{name}": change(rows) for name, change in VARIANTS.items()}}
    names |= {"tokens": rows.history[:40], "tokens-emptied": rows.history[:40] * 0}
    return {
        name: View(name, {"user": rows.user[: len(history)], "history": history}, "exhaustive") for name, history in names.items()
    }


def _measured(tables, predict, tokens=None, world=WORLD):
    views = _views(tables.test)
    predictions = {name: {"score": predict(view.columns["history"])} for name, view in views.items()}
    for name in ("tokens", "tokens-emptied"):
        if tokens is not None:
            predictions[name]["token"] = tokens(views[name].columns["history"])
    found = list(history_use.measures(views, predictions, tables.test.target, world))
    assert {each.view for each in found} == {"history"}
    assert len({each.metric for each in found}) == len(found)
    return {each.metric: each for each in found}


def _truth(history):
    table = truth(WORLD, history)
    table[:, 0] = 0
    return table


def _pop(history):
    return np.repeat(_truth(EMPTY), len(history), axis=0)


# Spoilt histories


def _rows(histories, users=None, width=5):
    table = np.array([[0] * (width - len(each)) + list(each) for each in histories])
    return Sequences(np.arange(len(table)) if users is None else np.array(users), table, np.ones(len(table), int))


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True), min_size=1, max_size=6))
def test_shuffled_is_the_same_items_in_another_order(histories):
    rows = _rows(histories)
    found = shuffled(rows)
    assert np.array_equal(found, shuffled(rows))
    assert np.array_equal(np.sort(found, axis=1), np.sort(rows.history, axis=1))
    assert np.array_equal(found > 0, rows.history > 0)
    assert (found != rows.history).any(axis=1).tolist() == [len(own) > 1 for own in histories]
    assert not emptied(rows).any()


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30))
def test_replaced_is_a_history_of_another_user(users):
    rows = _rows([[100 * user + 1 + place] for place, user in enumerate(users)], users)
    found = replaced(rows)
    assert sorted(found[:, -1]) == sorted(rows.history[:, -1]), "each history is used once"
    if np.bincount(users).max() <= len(users) / 2:
        assert ((found[:, -1] - 1) // 100 != rows.user).all()


# Means


def test_means_over_users_and_without_groups():
    rng = np.random.default_rng(0)
    user, value = rng.integers(0, 50, 200), rng.normal(size=200)
    value[rng.random(200) < 0.2] = np.nan
    mean, without = averaged(value, user)
    each = {one: value[user == one][~np.isnan(value[user == one])].mean() for one in np.unique(user[~np.isnan(value)])}
    assert mean == pytest.approx(np.mean(list(each.values())))
    group = user_group(np.array(list(each)), 40)
    for dropped in np.unique(group)[:5]:
        assert without[dropped] == pytest.approx(np.mean([v for v, g in zip(each.values(), group, strict=True) if g != dropped]))


# Rows that know the truth, that know nothing of the history, and in between


def test_a_row_that_knows_the_truth(tables):
    found = _measured(tables, _truth)
    lift = lifts(WORLD, tables.test.history)
    p = np.exp(_truth(tables.test.history)[:, 1:])
    assert found["kl"].value == pytest.approx(np.mean([entropy(row, catalogue_of(WORLD).pop) for row in p]))
    assert found["kl"].value == pytest.approx(found["truth_kl"].value) == pytest.approx((p * np.log(lift)).sum(axis=1).mean())
    assert found["kl_truth"].value == pytest.approx(0, abs=1e-12)
    assert found["effect_match"].value == pytest.approx(1)
    assert found["drop_emptied"].value > 0.05
    assert found["drop_replaced"].value > found["drop_shuffled"].value > 0
    words = [name for name in found if name.startswith("word_")]
    assert words == [f"word_{place}" for place in range(1, 5)]
    for name in words:
        assert found[name].value == pytest.approx(found[f"truth_{name}"].value, abs=1e-12)
        assert (found[name].leave_out is not None, len(found[name].leave_out)) == (True, 40)
    subtitled = np.array([len(catalogue_of(WORLD).words[item - 1]) == 4 for item in tables.test.target])
    assert (found["word_4"].rows, found["word_1"].rows) == (subtitled.sum(), 150)
    assert not any(name.startswith(("effect_1", "token")) for name in found), "it yields no tokens"


def test_a_row_that_does_not_look_at_the_history(tables):
    found = _measured(tables, _pop)
    still = ("kl", "drop_emptied", "drop_shuffled", "drop_replaced", "effect_match", "word_1", "word_2")
    assert [found[name].value for name in still] == pytest.approx([0] * 7, abs=1e-12)
    assert found["kl_truth"].value == pytest.approx(found["truth_kl"].value)
    assert found["truth_word_1"].value > 0.1


def test_a_row_that_overdoes_it(tables):
    """Twice the true effect: still in the right direction, further from p_0 than the truth, and not the truth."""

    def twice(history):
        return 2 * _truth(history) - _pop(history) + 5

    found, right = _measured(tables, twice), _measured(tables, _truth)
    assert found["effect_match"].value == pytest.approx(1)
    assert found["kl"].value > right["kl"].value
    assert found["kl_truth"].value > 0.01


def test_effects_of_tokens(tables):
    """A row whose tokens are words, with the title's end as a last token that follows of necessity."""
    lengths = np.array([0, *(len(words) for words in catalogue_of(WORLD).words)])

    def tokens(history):
        table = np.full((len(history), 49, 5), 1.0, np.float32)
        for item in range(1, 49):
            own = by_word(WORLD, truth(WORLD, history), np.full(len(history), item))
            table[:, item, : lengths[item]] = own[:, : lengths[item]]
            table[:, item, lengths[item]] = 0
        return table

    found = _measured(tables, _truth, tokens)
    for place in range(1, 5):
        defined = lengths[tables.test.target[:40]] >= place
        effect = by_word(WORLD, truth(WORLD, tables.test.history[:40]), tables.test.target[:40])
        effect -= by_word(WORLD, truth(WORLD, EMPTY), tables.test.target[:40])
        expected = np.where(lengths[tables.test.target[:40]] >= place, np.nan_to_num(effect[:, place - 1]), 0.0)
        ended = lengths[tables.test.target[:40]] + 1 >= place
        assert found[f"effect_{place}"].value == pytest.approx(expected[ended].mean(), abs=1e-6)
        assert found[f"size_{place}"].value == pytest.approx(np.abs(expected[ended]).mean(), abs=1e-6)
        assert found[f"effect_{place}"].rows == ended.sum()
        assert found[f"token_truth_{place}"].value == pytest.approx(expected[defined].mean(), abs=1e-6)
    assert found["effect_5"].value == 0
    assert "token_truth_1" not in _measured(tables, _truth, tokens, None)
    assert {"kl", "effect_1"} <= set(_measured(tables, _truth, tokens, None)).difference({"kl_truth", "word_1", "effect_match"})


def test_match_is_pearson_over_items(tables):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(150, 49)) * 0.3

    def noisy(history):
        return _truth(history) + (noise[: len(history)] if history.any() else 0)

    found = _measured(tables, noisy)
    effect = np.log(lifts(WORLD, tables.test.history))
    each = [pearsonr(effect[row] + noise[row, 1:], effect[row]).statistic for row in range(150)]
    assert found["effect_match"].value == pytest.approx(np.mean(each))
    assert 0.3 < np.mean(each) < 0.99


def test_a_world_without_effect():
    world = WORLDS["sim-titles-none"]
    tables = prepare(simulate(world, "sim-titles-none"), "leave_one_out", 10, 50)

    def known(history):
        return np.nan_to_num(truth(world, history), neginf=0)

    found = _measured(tables, known, world=world)
    assert "effect_match" not in found, "there is nothing to match"
    assert (found["kl"].value, found["truth_kl"].value) == (0, 0)
