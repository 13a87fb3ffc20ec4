"""The model of titles: probabilities that sum to 1, by hand, and what the history's words add to them."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from craftbench.baselines.next_item.title_ngram import END, Ngrams, TitleNgram, counts
from craftbench.baselines.next_item.title_words import words
from craftbench.core.context import RunContext
from craftbench.core.task import NextItem, Sequences, View
from hypothesis import given, settings
from hypothesis import strategies as st

SENTENCES = [["a", "b"], ["a", "c", "b"], ["b"], []]


def fitted(task, **values):
    return TitleNgram().fit(task, TitleNgram.Params.resolve(values), RunContext(1))


def scores(task, history, **values):
    return fitted(task, **values).predict(View("test", {"history": np.array(history)}))["score"]


def test_words():
    assert words("The Legend of Zelda: Link's Été-2") == ["the", "legend", "of", "zelda", ":", "link", "'", "s", "été", "-", "2"]
    assert words("  ") == []


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=5), min_size=1, max_size=8),
    st.integers(1, 4),
    st.floats(0, 0.99),
    st.lists(st.sampled_from("abcdx"), max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_what_may_come_next_sums_to_one(sentences, order, mix, context):
    model = Ngrams(sentences, [1 + k % 3 for k in range(len(sentences))], order, mix)
    assert sum(model.probability(word, tuple(context)) for word in model.words) == pytest.approx(1, rel=1e-12)


def test_all_sentences_sum_to_one():
    """Those of up to 12 words and the weight of all longer ones, by the model's own steps."""
    model = Ngrams([["a", "b"], ["a"], ["b", "b"]], [3, 2, 1], 2, 0.8)
    short = sum(math.exp(model.log_probability(each)) for n in range(13) for each in product("ab", repeat=n))
    going = {word: model.probability(word, ()) for word in "ab"}
    for _ in range(12):
        going = {word: sum(going[before] * model.probability(word, (before,)) for before in "ab") for word in "ab"}
    assert short + sum(going.values()) == pytest.approx(1, rel=1e-12)


def test_a_bigram_by_hand():
    model = Ngrams(SENTENCES, [1, 2, 1, 1], 2, 0.6)
    assert model.words == [END, "a", "b", "c"]
    alone = {"": 5 / 14, "a": 3 / 14, "b": 4 / 14, "c": 2 / 14}
    smooth = {word: 0.6 * share + 0.4 / 4 for word, share in alone.items()}
    for word, expected in smooth.items():
        assert model.probability(word) == pytest.approx(expected)
        assert model.probability(word, ("nowhere",)) == pytest.approx(expected)
    assert model.probability("c", ("a",)) == pytest.approx(0.6 * 2 / 3 + 0.4 * smooth["c"])
    logs = [smooth["a"], 0.6 / 3 + 0.4 * smooth["b"], 0.6 * 4 / 4 + 0.4 * smooth[END]]
    assert model.log_probability(["a", "b"]) == pytest.approx(sum(map(math.log, logs)))


def test_without_the_history_it_is_a_prior_of_titles(task, test_rows):
    score = scores(task, test_rows.history, cache=0.0)
    assert (score == score[0]).all()
    taken_often = np.bincount(task.train.target, minlength=task.items + 1)
    model = Ngrams([words(title) for title in task.titles[1:]], (1 + taken_often[1:]).tolist(), 3, 0.7)
    np.testing.assert_allclose(score[0, 1:], [model.log_probability(words(title)) for title in task.titles[1:]], rtol=1e-6)
    assert np.corrcoef(score[0, 1:], np.log1p(taken_often[1:]))[0, 1] > 0.9
    blind = scores(task, test_rows.history, cache=0.0, prior="titles")
    assert (blind != score).any()


def test_an_empty_history_adds_nothing(task):
    np.testing.assert_array_equal(scores(task, [[0, 0, 0]], cache=2.0), scores(task, [[0, 0, 0]], cache=0.0))


def test_the_mix_with_the_history_is_a_loop(task, test_rows):
    values = {"order": 2, "cache": 1.5, "share": 0.4, "decay": 0.6}
    score, prior = scores(task, test_rows.history, **values), scores(task, [[0]], **values)[0]
    told = [words(title) for title in task.titles]
    times = 1 + np.bincount(task.train.target, minlength=task.items + 1)
    model = Ngrams(told[1:], times[1:].tolist(), 2, 0.7)
    for row in range(0, len(test_rows), 9):
        history, cache = test_rows.history[row].tolist(), Counter()
        for place, item in enumerate(history):
            if item and item not in history[place + 1 :]:
                cache.update({word: 0.6 ** (len(history) - 1 - place) * times for word, times in Counter(told[item]).items()})
        total = sum(cache.values())
        for item in range(1, task.items + 1):
            gain = sum(
                math.log((0.4 * cache[word] / total + 0.6 * model.probability(word)) / model.probability(word))
                for word in told[item]
            )
            assert score[row, item] == pytest.approx(prior[item] + 1.5 * gain, rel=1e-5)


def test_a_shared_word_lifts_a_title():
    rows = Sequences(np.zeros(4, dtype=np.int64), np.zeros((4, 2), dtype=np.int64), np.array([1, 2, 3, 4]))
    titles = ("", "Red Moon", "Red Sun", "Blue Sun", "Green Tree")
    score = scores(NextItem("colours", rows, rows, titles, "colour"), [[0, 1], [0, 3], [0, 0]])
    gain = score[:2, 1:] - score[2, 1:]
    assert gain[0].argmax() == 0
    assert gain[0, 1] > gain[0, 2] == pytest.approx(gain[0, 3], abs=1e-5)
    assert gain[1, 1] > gain[1, 0]


def test_titles_without_words_have_a_score():
    rows = Sequences(np.zeros(2, dtype=np.int64), np.array([[1], [2]]), np.array([2, 1]))
    score = scores(NextItem("odd", rows, rows, ("", " ", "?! ?!"), "thing"), [[1], [2]])
    assert np.isfinite(score).all()
    assert counts([[], ["?", "!", "?", "!"]], ["!", "?"]).toarray().tolist() == [[0, 0], [2, 2]]
