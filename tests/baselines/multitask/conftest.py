"""Families of Jacobians J (T, n) with a known structure, made once."""

import numpy as np
import pytest
import torch


def _normal(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def _common(tasks, seed):
    """Gradients with something in common, so that they conflict seldom."""
    return _normal(seed, tasks, 30) + 0.7 * _normal(seed + 1, 1, 30)


def _stationary(tasks, seed):
    """A positive combination of the rows is 0."""
    J, w = _normal(seed, tasks, 30), torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 2.0, tasks))
    return torch.cat([J[:-1], -(w[:-1] @ J[:-1] / w[-1])[None]])


def _zero_row(tasks, seed):
    J = _normal(seed, tasks, 30)
    J[tasks // 2] = 0.0
    return J


FAMILIES = {
    "random": lambda tasks, seed: _normal(seed, tasks, 12),
    "in common": _common,
    "of unlike norm": lambda tasks, seed: _normal(seed, tasks, 12) * _normal(seed + 1, tasks, 1).exp(),
    "tiny": lambda tasks, seed: 1e-8 * _normal(seed, tasks, 12),
    "huge": lambda tasks, seed: 1e8 * _normal(seed, tasks, 12),
    "scales apart": lambda tasks, seed: _normal(seed, tasks, 12) * torch.logspace(-8, 8, tasks, dtype=torch.float64)[:, None],
    "rank-deficient": lambda tasks, seed: _normal(seed, tasks, max(tasks // 2, 1)) @ _normal(seed + 1, max(tasks // 2, 1), 30),
    "zero row": _zero_row,
    "stationary": _stationary,
}
TASKS = (2, 3, 6, 10)
FULL_RANK = ("random", "in common", "of unlike norm", "tiny", "huge")


@pytest.fixture(scope="session")
def jacobians():
    """names of families -> [(label, J)]: each in several sizes, two of each."""

    def make(*names):
        chosen = names or tuple(FAMILIES)
        return [
            (f"{name}, T={tasks}, {seed}", FAMILIES[name](tasks, 10 * seed + tasks))
            for name in chosen
            for tasks in TASKS
            for seed in range(2)
        ]

    return make


@pytest.fixture(scope="session")
def full_rank():
    return FULL_RANK


@pytest.fixture
def in_index_order(monkeypatch):
    """Every random order becomes 0, 1, 2, ..."""
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n))
