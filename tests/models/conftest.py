"""A small world of watched videos: people watch what suits them, and longer videos for longer."""

import numpy as np
import pytest
from craftbench.core.task import View, Watched, WatchTime

USERS, ITEMS = 24, 18


def watched(rows, seed):
    """Read-only columns; id 0 stays for what train has not seen."""
    rng, taste = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((USERS, ITEMS))
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    duration = (5 + 4 * item).astype(np.float32)
    share = 1 / (1 + np.exp(-1.5 * taste[user, item] - 0.5 * rng.standard_normal(rows)))
    hint = (taste[user, item] + rng.standard_normal(rows)).astype(np.float32)
    inputs = {"duration_bucket": 1 + item // 3, "item_id": 1 + item, "user_id": 1 + user, "hint": hint}
    label = {"like": (taste[user, item] > 1).astype(np.float32)}
    watch_time = np.round(duration * share, 1).astype(np.float32)
    for column in (*inputs.values(), *label.values(), watch_time, duration):
        column.flags.writeable = False
    return Watched(inputs, label, watch_time, duration)


@pytest.fixture(scope="session")
def watch_task():
    fields = {"duration_bucket": 7, "item_id": ITEMS + 1, "user_id": USERS + 1}
    return WatchTime("world", watched(1500, 0), watched(500, 1), ("like",), fields, ("hint",))


@pytest.fixture(scope="session")
def watch_test():
    """Rows that the task does not hold, and their view."""
    rows = watched(400, 2)
    return rows, View("test", {**rows.inputs, "user": rows.inputs["user_id"], "seconds_long": rows.duration})
