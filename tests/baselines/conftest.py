"""A small world in which a fifth of the labels was flipped: what Original learns is worse than what it should know."""

import numpy as np
import pytest
from craftbench.core.context import RunContext
from craftbench.core.task import Interactions, UnlearningTask, View
from craftbench.models.pointwise import FactorParams, FittedFactors, fit_factors

USERS, ITEMS = 50, 30
FAST = {"lr": 0.05, "dim": 32, "init_std": 0.1, "l2": 1e-3, "batch_size": 64}


def world(rows, seed, flipped=0.0):
    """Labels by the sign of a rank-2 taste, the last share `flipped` of them turned over; read-only columns."""
    rng = np.random.default_rng(seed)
    taste = np.random.default_rng(9).standard_normal((USERS + ITEMS, 2))
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    label = ((taste[user] * taste[USERS + item]).sum(1) > 0).astype(np.float32)
    removed = np.arange(rows) >= rows - round(flipped * rows)
    label[removed] = 1 - label[removed]
    for column in (user, item, label, removed):
        column.flags.writeable = False
    return Interactions(user, item, label, USERS, ITEMS), removed


@pytest.fixture
def flipped_task():
    """backbone -> UnlearningTask with 1500 rows, a fifth of them flipped."""

    def make(backbone="mf"):
        train, removed = world(1500, 0, flipped=0.2)
        return UnlearningTask("flipped", train, removed, world(400, 1)[0], backbone)

    return make


@pytest.fixture
def original_of():
    """task -> its fitted Original, under settings that are fast here."""

    def fit(task, **values) -> FittedFactors:
        return fit_factors(task.backbone, task.train, task.valid, FactorParams(**{**FAST, **values}), RunContext(3))[0]

    return fit


@pytest.fixture
def fast_params():
    return FactorParams(**FAST)


@pytest.fixture
def clean_rows():
    """400 rows of the clean world that no task holds, and their view."""
    rows, _ = world(400, 2)
    return rows, View("test", {"user": rows.user, "item": rows.item})
