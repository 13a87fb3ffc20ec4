"""Popularity, last item, ItemKNN and EASE against loops, pandas and the constrained ridge itself."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.baselines.next_item.ease import EASE, too_large, without_itself
from craftbench.baselines.next_item.histories import taken, weighted
from craftbench.baselines.next_item.item_knn import AT_ONCE, ItemKNN
from craftbench.baselines.next_item.last_item import LastItem
from craftbench.baselines.next_item.popularity import ItemPopularity
from craftbench.core.context import RunContext
from craftbench.core.task import NextItem, Sequences, View
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

histories_of = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(0, 4))


def fitted(kind, task, **values):
    return kind().fit(task, kind.Params.resolve(values), RunContext(1))


def scores(kind, task, history, **values):
    return fitted(kind, task, **values).predict(View("test", {"history": history}))["score"]


def of_users(rows, items):
    """{user: items taken}, by a loop."""
    found = {}
    for user, history, target in zip(rows.user.tolist(), rows.history.tolist(), rows.target.tolist(), strict=True):
        found.setdefault(user, set()).update(i for i in (*history, target) if i)
    return found


def test_who_took_what(task):
    found, expected = taken(task.train, task.items).toarray(), of_users(task.train, task.items)
    assert found.shape == (len(expected), task.items + 1)
    for row, user in zip(found, sorted(expected), strict=True):
        assert set(np.flatnonzero(row)) == expected[user]
    assert set(np.unique(found)) == {0, 1}


@given(histories_of, st.sampled_from([1.0, 0.5, 0.3]))
@settings(max_examples=60, deadline=None)
def test_a_history_counts_an_item_where_it_is_last_found(history, decay):
    expected = np.zeros((len(history), 5))
    for row, known in enumerate(history):
        for place, item in enumerate(known):
            if item:
                expected[row, item] = decay ** (len(known) - 1 - place)
    np.testing.assert_allclose(weighted(history, 4, decay).toarray(), expected)


def test_nothing_was_taken_without_rows():
    none = Sequences(*(np.zeros(shape, dtype=np.int64) for shape in (0, (0, 3), 0)))
    assert taken(none, 4).shape == (0, 5)


def test_popularity(task, test_rows):
    score = scores(ItemPopularity, task, test_rows.history)
    count = pd.Series(task.train.target).value_counts()
    assert (score.shape, score.dtype) == ((len(test_rows), task.items + 1), np.float32)
    np.testing.assert_allclose([score[0, i] for i in count.index], np.log(1 + count.to_numpy()), rtol=1e-6)
    share = np.exp(score[0, 1:])
    np.testing.assert_allclose(
        share / share.sum(), (1 + count.reindex(range(1, task.items + 1), fill_value=0)) / (len(task.train) + task.items), rtol=1e-5
    )
    assert (score == score[0]).all()
    assert score[0, 0] == 0


def test_last_item_repeats_the_history(task):
    score = scores(LastItem, task, np.array([[0, 3, 5, 3], [0, 0, 0, 0]]))
    assert np.argsort(-score[0], kind="stable")[:2].tolist() == [3, 5]
    assert (score[0, [3, 5]].tolist(), np.count_nonzero(score[0])) == ([4, 3], 2)
    assert not score[1].any()


@pytest.mark.parametrize("similarity", ["cosine", "count"])
def test_item_knn_is_a_loop(task, test_rows, similarity):
    k, shrinkage, decay = 3, 2.0, 0.7
    who = {i: {u for u, took in of_users(task.train, task.items).items() if i in took} for i in range(1, task.items + 1)}
    near = {}
    for i, takers in who.items():
        found = []
        for j, others in who.items():
            both = len(takers & others)
            like = both / ((len(takers) * len(others)) ** 0.5 + shrinkage) if similarity == "cosine" else both
            found.append((-like if i != j else 0.0, j))
        near[i] = [(j, -like) for like, j in sorted(found)[:k]]
    expected = np.zeros((len(test_rows), task.items + 1))
    for row, history in enumerate(test_rows.history.tolist()):
        for place, i in enumerate(history):
            if i and i not in history[place + 1 :]:
                for j, like in near[i]:
                    expected[row, j] += decay ** (len(history) - 1 - place) * like
    values = {"similarity": similarity, "neighbours": k, "shrinkage": shrinkage, "decay": decay}
    np.testing.assert_allclose(scores(ItemKNN, task, test_rows.history, **values), expected, rtol=1e-6)


def test_item_knn_of_more_items_than_are_held_at_once():
    items, rng = AT_ONCE + 90, np.random.default_rng(0)
    rows = Sequences(rng.integers(0, 300, 3000), rng.integers(1, items + 1, (3000, 3)), rng.integers(1, items + 1, 3000))
    wide = NextItem("wide", rows, rows, ("", *map(str, range(1, items + 1))), "number")
    users = taken(rows, items).toarray()
    together = users.T @ users
    count = np.diag(together).copy()
    np.fill_diagonal(together, 0)
    expected = together / (np.sqrt(np.outer(count, count)) + 1.0)
    found = fitted(ItemKNN, wide, neighbours=items).similarity.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ease_is_the_best_map_without_a_diagonal(task):
    users, l2 = taken(task.train, task.items).toarray()[:, 1:], 3.0
    weights = without_itself(users.T @ users, l2)
    for j in range(0, task.items, 5):
        others = np.arange(task.items) != j
        x, y = users[:, others], users[:, j]
        ridge = np.linalg.solve(x.T @ x + l2 * np.eye(task.items - 1), x.T @ y)
        np.testing.assert_allclose(weights[others, j], ridge, rtol=1e-8, atol=1e-11)

        def loss(b, x=x, y=y):
            return ((y - x @ b) ** 2).sum() + l2 * (b**2).sum(), -2 * x.T @ (y - x @ b) + 2 * l2 * b

        found = minimize(loss, np.zeros(task.items - 1), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9})
        np.testing.assert_allclose(weights[others, j], found.x, atol=1e-6)
    assert (np.diag(weights) == 0).all()


def test_ease_scores_a_history(task, test_rows):
    users = taken(task.train, task.items).toarray()[:, 1:]
    weights = without_itself(users.T @ users, 50.0)
    expected = np.array([sum(weights[i - 1] for i in set(history) if i) for history in test_rows.history.tolist()])
    np.testing.assert_allclose(scores(EASE, task, test_rows.history, l2=50.0)[:, 1:], expected, rtol=1e-4, atol=1e-6)


def test_ease_refuses_what_does_not_fit(task, monkeypatch):
    assert EASE().cannot(task) is None
    assert too_large(1000, 64_000_000) is None
    assert "1,001 x 1,001" in too_large(1001, 64_000_000)
    many = replace(task, titles=tuple(map(str, range(300_001))))
    assert "300,000 x 300,000 weights" in EASE().cannot(many)
