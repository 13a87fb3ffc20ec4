"""Smoothed rates: the formula by hand and by brute force, and that no row's label reaches its own feature."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.datasets.hashing import hash_columns
from craftbench.datasets.rates import folds_of, log_odds, out_of_fold_log_odds
from numpy.typing import NDArray

KEYS = 7
PSEUDO = 3.0


@pytest.fixture(scope="module")
def rows() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    key = rng.integers(0, KEYS - 1, 200)  # the last key has no row
    return key, (rng.random(200) < 0.2).astype(np.float32), folds_of(np.arange(200))


def _by_hand(key: NDArray[np.int64], label: NDArray[np.float32], wanted: int) -> float:
    p = (label.sum() + 1) / (len(label) + 2)
    mine = label[key == wanted]
    smoothed = (mine.sum() + PSEUDO * p) / (len(mine) + PSEUDO)
    return float(np.log(smoothed / (1 - smoothed)) - np.log(p / (1 - p)))


def test_one_key_by_hand() -> None:
    key, label = np.array([0, 0, 0, 1]), np.float32([1, 1, 0, 0])
    p = 3 / 6
    expected = np.log((2 + 4 * p) / (1 + 4 * p)), np.log((0 + 4 * p) / (1 + 4 * p)), 0.0
    assert log_odds(key, label, np.array([0, 1, 2]), 3, pseudo=4) == pytest.approx(expected)


def test_equals_brute_force(rows: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]) -> None:
    key, label, fold = rows
    found = out_of_fold_log_odds(key, label, fold, KEYS, PSEUDO)
    others = [_by_hand(key[fold != fold[row]], label[fold != fold[row]], key[row]) for row in range(len(key))]
    assert found == pytest.approx(others, abs=1e-5)
    assert found.dtype == np.float32
    query = np.arange(KEYS)
    assert log_odds(key, label, query, KEYS, PSEUDO) == pytest.approx([_by_hand(key, label, wanted) for wanted in query], abs=1e-5)
    assert log_odds(key, label, query, KEYS, PSEUDO)[-1] == 0


def test_no_row_sees_its_own_label(rows: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]) -> None:
    key, label, fold = rows
    before = out_of_fold_log_odds(key, label, fold, KEYS, PSEUDO)
    for row in range(0, len(key), 17):
        changed = label.copy()
        changed[row] = 1 - changed[row]
        after = out_of_fold_log_odds(key, changed, fold, KEYS, PSEUDO)
        same_fold = fold == fold[row]
        assert after[same_fold].tolist() == before[same_fold].tolist()
        assert (after[~same_fold & (key == key[row])] != before[~same_fold & (key == key[row])]).all()


def test_labels_without_signal_give_features_without_signal() -> None:
    rng = np.random.default_rng(1)
    key = np.repeat(np.arange(2_000), 3)
    label = (rng.random(len(key)) < 0.3).astype(np.float32)
    leaky = log_odds(key, label, key, 2_000)
    clean = out_of_fold_log_odds(key, label, folds_of(np.arange(len(key))), 2_000)
    assert np.corrcoef(leaky, label)[0, 1] > 0.5
    assert abs(np.corrcoef(clean, label)[0, 1]) < 0.05


def test_rare_and_missing_positives_stay_finite() -> None:
    key, fold = np.array([0, 1, 2, 0]), np.array([0, 0, 1, 1])
    for label in (np.zeros(4, np.float32), np.ones(4, np.float32), np.float32([1, 0, 0, 0])):
        assert np.isfinite(out_of_fold_log_odds(key, label, fold, 3)).all()
    one_fold = out_of_fold_log_odds(key, np.float32([1, 0, 1, 0]), np.zeros(4, np.int64), 3)
    assert one_fold.tolist() == [0, 0, 0, 0]


def test_folds_go_with_the_row_not_with_its_place() -> None:
    user, item = np.arange(1000) % 37, np.arange(1000)
    fold = folds_of(user, item)
    assert folds_of(user[::-1], item[::-1]).tolist() == fold[::-1].tolist()
    assert np.bincount(fold).min() > 150
    assert set(fold.tolist()) == set(range(5))


def test_hashes_tell_rows_apart() -> None:
    grid = np.meshgrid(np.arange(-50, 50), np.arange(100), indexing="ij")
    one, other = (axis.ravel() for axis in grid)
    assert len(np.unique(hash_columns(one, other))) == len(one)
    assert (hash_columns(one, other) != hash_columns(other, one))[one != other].all()
    assert (
        hash_columns(np.array([3]), np.array([0.5])).tolist() == hash_columns(np.array([3], np.int32), np.float32([0.5])).tolist()
    )
