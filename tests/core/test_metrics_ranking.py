"""Ranking metrics: by hand, against every order of tied items, and against scikit-learn and scipy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.metrics import ranking
from craftbench.core.metrics.ranking import Ranks, bin_shares, divergence, hit_rate, mean_ndcg, ndcg, popularity_bins, ranks
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import rel_entr, softmax
from sklearn.metrics import ndcg_score

CUTS = (1, 3, 5, 10, 20, 50)


def _table(rows, items, levels=None, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(rows, items + 1)) if levels is None else rng.integers(0, levels, (rows, items + 1))
    return score.astype(np.float32), rng.integers(1, items + 1, rows)


def test_by_hand():
    score = np.array([[9, 4, 3, 2, 1], [0, 1, 1, 1, 1], [0, 0, 2, 2, 5]])
    found = ranks(score, [2, 1, 3])
    assert (found.better.tolist(), found.tied.tolist()) == ([1, 0, 1], [0, 3, 1])
    assert hit_rate(found, 1).tolist() == [0, 0.25, 0]
    assert hit_rate(found, 2).tolist() == [1, 0.5, 0.5]
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert ndcg(found, 2).tolist() == pytest.approx([second, (1 + second) / 4, second / 2])
    assert ndcg(found, 3).tolist() == pytest.approx([second, (1 + second + third) / 4, (second + third) / 2])
    assert mean_ndcg(score, [2, 1, 3], 1) == pytest.approx(1 / 12)


@given(arrays.arrays(np.int8, (3, 6), elements=st.integers(0, 2)), st.integers(1, 6))
def test_every_order_of_tied_items(score, k):
    """Items are put in each order; the sort by score is stable, so that the order decides among the tied."""
    target = np.array([1, 3, 5])
    hits, gains = np.zeros(3), np.zeros(3)
    orders = list(permutations(range(1, 6)))
    for order in orders:
        for row in range(3):
            place = sorted(order, key=lambda item: -score[row, item]).index(target[row])
            hits[row] += place < k
            gains[row] += (place < k) / np.log2(place + 2)
    found = ranks(score, target)
    assert hit_rate(found, k) == pytest.approx(hits / len(orders))
    assert ndcg(found, k) == pytest.approx(gains / len(orders))


@pytest.mark.parametrize("k", CUTS)
def test_against_scikit_learn(k):
    score, target = _table(40, 60)
    relevant = np.zeros((40, 60))
    relevant[np.arange(40), target - 1] = 1
    assert mean_ndcg(score, target, k) == pytest.approx(ndcg_score(relevant, score[:, 1:], k=k))


def test_ndcg_and_hit_rate_agree():
    """I14: NDCG <= HR, equal at 1, both rising with K; a perfect rank gives 1."""
    score, target = _table(200, 80, levels=9)
    found = ranks(score, target)
    assert np.array_equal(ndcg(found, 1), hit_rate(found, 1))
    for values in ([hit_rate(found, k) for k in CUTS], [ndcg(found, k) for k in CUTS]):
        assert (np.diff(values, axis=0) >= -1e-12).all()
    assert all((ndcg(found, k) <= hit_rate(found, k) + 1e-12).all() for k in CUTS)
    assert hit_rate(found, 80) == pytest.approx(np.ones(200))
    score[np.arange(200), target] = 10
    assert all((ndcg(ranks(score, target), k) == 1).all() for k in CUTS)


def test_the_order_of_ids_and_id_0_play_no_part(monkeypatch):
    score, target = _table(50, 30, levels=4)
    order = np.concatenate([[0], 1 + np.random.default_rng(1).permutation(30)])
    moved = np.empty_like(score)
    moved[:, order] = score
    first, other = ranks(score, target), ranks(moved, order[target])
    assert np.array_equal(first.better, other.better)
    assert np.array_equal(first.tied, other.tied)
    score[:, 0] = 1e9
    monkeypatch.setattr(ranking, "BLOCK", 100)
    in_blocks = ranks(score, target)
    assert np.array_equal(first.better, in_blocks.better)
    assert len(first) == 50


def test_a_constant_score_is_chance():
    found = Ranks(np.zeros(3, np.int64), np.full(3, 99))
    assert hit_rate(found, 10).tolist() == [0.1] * 3


# Popularity


def test_bins_by_hand():
    member = popularity_bins([7, 1, 5, 3, 3], 2)  # of four items, ids 1 and 3 or 4 are the rarer half
    assert member.tolist() == [[0, 0], [1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]]
    assert popularity_bins(np.r_[0, np.ones(7)], 5)[1:] == pytest.approx(np.full((7, 5), 0.2))


@given(arrays.arrays(np.int64, 14, elements=st.integers(0, 4)))
def test_bins_hold_as_many_items_each_and_equals_share(count):
    member = popularity_bins(count, 5)
    assert member[1:].sum(axis=1) == pytest.approx(np.ones(13))
    assert member.sum(axis=0) == pytest.approx(np.full(5, 13 / 5))
    for value in np.unique(count[1:]):
        same = member[1:][count[1:] == value]
        assert np.array_equal(same, np.tile(same[0], (len(same), 1)))
    mean_bin = member[1:] @ np.arange(5)
    assert (np.diff(mean_bin[np.argsort(count[1:], kind="stable")]) >= -1e-9).all()


def test_shares_of_bins_by_sorting(monkeypatch):
    score, _ = _table(20, 60)
    member = popularity_bins(np.random.default_rng(2).integers(0, 9, 61))
    monkeypatch.setattr(ranking, "BLOCK", 300)
    found = bin_shares(score, member, CUTS)
    best = 1 + np.argsort(-score[:, 1:], axis=1)
    for place, k in enumerate(CUTS):
        assert found[:, place] == pytest.approx(member[best[:, :k]].mean(axis=1))
    assert found.sum(axis=2) == pytest.approx(np.ones((20, 6)))


def test_shares_of_bins_over_every_order_of_tied_items():
    score, member = np.array([[0, 2, 1, 1, 1, 0]]), np.eye(6)[:, 1:]
    assert bin_shares(score, member, (1, 3))[0] == pytest.approx(np.array([[1, 0, 0, 0, 0], [1 / 3, 2 / 9, 2 / 9, 2 / 9, 0]]))


# Divergence


def test_divergence_against_scipy():
    a, b = _table(6, 9, seed=3)[0], _table(6, 9, seed=4)[0]
    expected = rel_entr(softmax(a[:, 1:].astype(float), axis=1), softmax(b[:, 1:].astype(float), axis=1)).sum(axis=1)
    assert divergence(a, b) == pytest.approx(expected)
    assert divergence(a, a + 3) == pytest.approx(np.zeros(6), abs=1e-7)
    far = np.array([[0, 1000.0, 0]])
    assert divergence(far, -far) == pytest.approx([1000])


def test_bad_input():
    score, target = _table(3, 5)
    with pytest.raises(UsageError, match=r"targets of shape \(3,\) do not name one of 5 items"):
        ranks(score, [0, 1, 2])
    with pytest.raises(UsageError, match="no table of rows"):
        ranks(score[0], target)
    score[1, 2] = np.nan
    with pytest.raises(UsageError, match="row 1 of the scores holds a value that is no finite number"):
        ranks(score, target)
    with pytest.raises(UsageError, match="3 items cannot be parted into 5 bins"):
        popularity_bins([0, 1, 2, 3])
    with pytest.raises(UsageError, match=r"lists of 6 do not fit scores of 5 items"):
        bin_shares(_table(3, 5)[0], np.ones((6, 5)), (6,))
    with pytest.raises(UsageError, match="cannot be held against each other"):
        divergence(_table(3, 5)[0], _table(3, 6)[0])
