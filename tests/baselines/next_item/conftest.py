"""A small world in which the last item says most of what comes next, and titles say a little of it."""

import numpy as np
import pytest
from craftbench.core.task import NextItem, Sequences, View

ITEMS, H, GROUPS = 24, 5, 4
KINDS = ("quiet", "loud", "bright", "dark")
TITLES = ("", *(f"{KINDS[i % GROUPS]} story {i}" for i in range(1, ITEMS + 1)))


def walks(users, seed):
    """Rows of walks on a ring of items, item i + 4 after i in three cases of four, else any; read-only columns."""
    rng, rows = np.random.default_rng(seed), []
    favour = np.arange(ITEMS, 0, -1) / np.arange(ITEMS, 0, -1).sum()
    for user in range(users):
        walk = [int(rng.integers(1, ITEMS + 1))]
        for _ in range(int(rng.integers(3, 12))):
            walk.append(1 + (walk[-1] - 1 + GROUPS) % ITEMS if rng.random() < 0.75 else 1 + int(rng.choice(ITEMS, p=favour)))
            past = walk[-1 - H : -1]
            rows.append((user, *[0] * (H - len(past)), *past, walk[-1]))
    table = np.array(rows)
    found = Sequences(table[:, 0].copy(), table[:, 1:-1].copy(), table[:, -1].copy())
    for column in (found.user, found.history, found.target):
        column.flags.writeable = False
    return found


def view_of(rows, name="test"):
    return View(name, {"user": rows.user, "history": rows.history})


@pytest.fixture(scope="session")
def task():
    return NextItem("ring", walks(200, 0), walks(40, 1), TITLES, "story")


@pytest.fixture(scope="session")
def test_rows():
    """Rows that the task does not hold."""
    return walks(60, 2)


@pytest.fixture(scope="session")
def test_view(test_rows):
    return view_of(test_rows)
