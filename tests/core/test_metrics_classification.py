"""AUC, its leave-outs and GAUC: against scikit-learn, against counting pairs, and by their symmetries."""

from __future__ import annotations

import time

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.metrics.classification import auc, gauc, grouped_auc, grouped_gauc, user_auc
from craftbench.core.metrics.groups import user_group
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

GROUPS = 7


def sample(rows: int, seed: int = 0, levels: int = 40):
    """Scores with many ties, labels, users and their groups."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 60, rows)
    return rng.integers(0, levels, rows) / 7.0, rng.integers(0, 2, rows), user, user_group(user, GROUPS)


def counted(score, label) -> float:
    """AUC by looking at every pair."""
    above, below = score[label == 1][:, None], score[label == 0][None, :]
    return float(((above > below) + 0.5 * (above == below)).mean())


rows = st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40)


@given(rows)
def test_auc_counts_pairs(table):
    score, label, _ = (np.array(column) for column in zip(*table, strict=True))
    if label.all() or not label.any():
        assert np.isnan(auc(score, label))
    else:
        assert auc(score, label) == pytest.approx(counted(score, label), abs=1e-12)


@given(rows)
def test_auc_symmetries(table):
    score, label, _ = (np.array(column) for column in zip(*table, strict=True))
    if label.all() or not label.any():
        return
    assert auc(-score, label) == pytest.approx(1 - auc(score, label), abs=1e-12)
    assert auc(score, ~label) == pytest.approx(1 - auc(score, label), abs=1e-12)
    assert auc(np.exp(score / 2.0), label) == auc(score, label)
    assert auc(np.zeros(len(score)), label) == 0.5


@given(rows)
def test_grouped_auc_is_auc_of_the_other_groups(table):
    score, label, group = (np.array(column) for column in zip(*table, strict=True))
    value, leave_out = grouped_auc(score, label, group, 5)
    np.testing.assert_allclose(value, auc(score, label), atol=1e-12)
    expected = [auc(score[group != g], label[group != g]) for g in range(5)]
    np.testing.assert_allclose(leave_out, expected, atol=1e-12)
    assert leave_out[4] == pytest.approx(value, nan_ok=True), "an empty group changes nothing"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auc_equals_scikit_learn(dtype):
    score, label, _, group = sample(5000)
    score = score.astype(dtype)
    value, leave_out = grouped_auc(score, label, group, GROUPS)
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert value == auc(score, label)
    for g in range(GROUPS):
        assert leave_out[g] == pytest.approx(roc_auc_score(label[group != g], score[group != g]), abs=1e-12)


def test_no_rows_have_no_auc():
    value, leave_out = grouped_auc([], [], [], 3)
    assert np.isnan([value, *leave_out, auc([], []), gauc([], [], [])]).all()


def test_infinite_scores_rank_at_the_ends():
    assert auc([-np.inf, 0.0, np.inf], [0, 0, 1]) == 1.0


def test_user_auc_equals_scikit_learn_per_user():
    score, label, user, _ = sample(1500)
    label[user == 3] = 1
    per_user = user_auc(score, label, user * 10**12)
    for row, u in enumerate(per_user.user // 10**12):
        mine = user == u
        expected = np.nan if u == 3 else roc_auc_score(label[mine], score[mine])
        assert per_user.auc[row] == pytest.approx(expected, nan_ok=True, abs=1e-12)
        assert per_user.impressions[row] == mine.sum()
        assert per_user.positives[row] == label[mine].sum()


@pytest.mark.parametrize("weights", ["impressions", "positives", "equal"])
def test_gauc_is_the_weighted_mean_of_users_with_both_classes(weights):
    score, label, user, _ = sample(1500)
    label[user == 3] = 0
    both = [u for u in np.unique(user) if u != 3]
    size = {u: {"impressions": (user == u).sum(), "positives": label[user == u].sum(), "equal": 1}[weights] for u in both}
    expected = np.average([counted(score[user == u], label[user == u]) for u in both], weights=list(size.values()))
    assert gauc(score, label, user, weights) == pytest.approx(expected, abs=1e-12)
    value, leave_out = grouped_gauc(score, label, user, GROUPS, weights)
    assert value == pytest.approx(expected, abs=1e-12)
    group = user_group(user, GROUPS)
    for g in range(GROUPS):
        left = group != g
        assert leave_out[g] == pytest.approx(gauc(score[left], label[left], user[left], weights), abs=1e-12)


def test_gauc_without_a_user_of_both_classes_is_nan():
    assert np.isnan(gauc([1.0, 2.0], [0, 1], [5, 6]))


def test_user_group_depends_on_the_id_alone_and_is_even():
    ids = np.arange(40_000)
    group = user_group(ids)
    shuffled = np.random.default_rng(1).permutation(ids)
    np.testing.assert_array_equal(user_group(shuffled), group[shuffled])
    np.testing.assert_array_equal(user_group(ids.astype(np.int32)), group)
    first_outputs = [16294208416658607535, 10451216379200822465]  # of splitmix64 seeded by 0 and by 1
    assert user_group(np.array([0, 1])).tolist() == [output % 40 for output in first_outputs]
    size = np.bincount(group, minlength=40)
    assert len(size) == 40
    assert 850 < size.min() <= size.max() < 1150


@pytest.mark.parametrize(
    ("score", "label", "said"),
    [([0.1, np.nan], [0, 1], "NaN"), ([0.1, 0.2], [0, 2], "0 and 1"), ([0.1, 0.2], [0], "shape"), ([[0.1]], [[1]], "shape")],
)
def test_bad_rows_are_named(score, label, said):
    with pytest.raises(UsageError, match=said):
        auc(score, label)


def test_bad_groups_and_users_are_named():
    with pytest.raises(UsageError, match=r"0\.\.1"):
        grouped_auc([0.1, 0.2], [0, 1], [0, 2], 2)
    with pytest.raises(UsageError, match="one group per row"):
        grouped_auc([0.1, 0.2], [0, 1], [0], 2)
    with pytest.raises(UsageError, match="whole numbers"):
        user_group(np.array(["a"]))
    with pytest.raises(UsageError, match="positives"):
        gauc([0.1, 0.2], [0, 1], [0, 0], "clicks")  # pyright: ignore[reportArgumentType]


def test_leave_outs_cost_a_few_sorts_not_forty():
    rng = np.random.default_rng(0)
    score, label, group = rng.normal(size=200_000), rng.integers(0, 2, 200_000), rng.integers(0, 40, 200_000)

    def seconds(work) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(lambda: grouped_auc(score, label, group, 40)) < 15 * seconds(lambda: auc(score, label))
