"""Metrics by one sort, without a Python loop over users."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.core.metrics.classification import auc, gauc, grouped_auc
from sklearn.metrics import roc_auc_score

from .interleave import interleave


def scores(rows: int, users: int):
    rng = np.random.default_rng(0)
    label = (rng.random(rows) < 0.4).astype(np.float32)
    return (rng.standard_normal(rows) + label).astype(np.float32), label, rng.integers(0, users, rows)


def test_auc_of_ten_million_scores(ledger):
    score, label, _ = scores(10_000_000, 1)
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-9)
    steps = {"scikit-learn": lambda: roc_auc_score(label, score), "one sort": lambda: auc(score, label)}
    ledger.add(interleave("AUC of 1e7 scores", steps, rounds=2, warm_up=False), "scikit-learn", "one sort")


def test_auc_without_each_group(ledger):
    """Forty leave-outs for the jackknife: one sort against one AUC per group."""
    score, label, user = scores(1_000_000, 40)
    steps = {
        "one AUC per group": lambda: [auc(score[user != g], label[user != g]) for g in range(40)],
        "one sort": lambda: grouped_auc(score, label, user, 40),
    }
    np.testing.assert_allclose(steps["one sort"]()[1], steps["one AUC per group"](), atol=1e-12)
    ledger.add(interleave("AUC without each of 40 groups, 1e6 scores", steps, rounds=3), "one AUC per group", "one sort")


def test_gauc_of_many_users(ledger):
    score, label, user = scores(1_000_000, 30_000)
    steps = {"loop over users": lambda: looped_gauc(score, label, user), "one sort": lambda: gauc(score, label, user)}
    assert steps["one sort"]() == pytest.approx(steps["loop over users"](), abs=1e-12)
    ledger.add(interleave("GAUC of 1e6 scores, 30 k users", steps, rounds=3, warm_up=False), "loop over users", "one sort")


def looped_gauc(score, label, user) -> float:
    """The usual way: rows sorted by user once, then one AUC per user."""
    order = np.argsort(user, kind="stable")
    ends = np.flatnonzero(np.diff(user[order])) + 1
    parts = list(zip(np.split(score[order], ends), np.split(label[order], ends), strict=True))
    value = np.array([auc(s, y) for s, y in parts])
    weight = np.array([len(s) for s, _ in parts])
    known = ~np.isnan(value)
    return float((value[known] * weight[known]).sum() / weight[known].sum())
