"""Popularity: how far a score without any model gets. A learned row below it is a bug until shown otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import Predictions, UnlearningTask, View

Floats = NDArray[np.float32]


class PopularityParams(Params):
    """How far a rare user or item is drawn to the mean."""

    smoothing: float = real(
        5.0, low=0.1, high=100.0, log=True, minimum=1e-6, help="rows of the mean label added to each user and item"
    )


class FittedPopularity:
    """s(u, i) = user[u] + item[i], log-odds."""

    def __init__(self, user: Floats, item: Floats) -> None:
        self.user, self.item = user, item

    def predict(self, view: View) -> Predictions:
        """{"score": float32 (rows,)} for the view's columns "user" and "item"."""
        user, item = (view.columns[end].astype(np.int64, copy=False) for end in ("user", "item"))
        return {"score": self.user[user] + self.item[item]}

    def save(self, folder: Path) -> None:
        """Write `popularity.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"user": self.user, "item": self.item}, folder / "popularity.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedPopularity:
        """The inverse of `save`."""
        table = load_file(folder / "popularity.safetensors")
        return cls(table["user"], table["item"])


class Popularity(Runner):
    """Smoothed log-odds of the user plus those of the item, counted on the retained rows."""

    name = "popularity"
    title = "Popularity (no model)"
    task = UnlearningTask
    Params = PopularityParams
    fitted = FittedPopularity
    reference = "control of this house"

    def fit(self, task: UnlearningTask, params: PopularityParams, run: RunContext) -> FittedPopularity:
        rows = task.retained
        mean = (rows.label.sum() + 1.0) / (len(rows) + 2.0)
        user = log_odds(rows.user, rows.label, rows.users, mean, params.smoothing)
        item = log_odds(rows.item, rows.label, rows.items, mean, params.smoothing)
        return FittedPopularity(user, item)


def log_odds(ids: NDArray[np.int64], label: Floats, size: int, mean: float, smoothing: float) -> Floats:
    """log((positives + k m) / (negatives + k (1 - m))) of each id, (size,), for k = `smoothing` and m = `mean` in (0, 1).

    >>> ids, label = np.array([0, 0, 1]), np.array([1, 1, 0], dtype=np.float32)
    >>> log_odds(ids, label, size=3, mean=0.5, smoothing=2.0).astype(float).round(2).tolist()  # nothing is known of id 2
    [1.1, -0.69, 0.0]
    """
    rows, positives = np.bincount(ids, minlength=size), np.bincount(ids, weights=label, minlength=size)
    odds = (positives + smoothing * mean) / (rows - positives + smoothing * (1.0 - mean))
    return np.log(odds).astype(np.float32)
