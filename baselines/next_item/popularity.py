"""Popularity: how often an item came next in train. A row below it has learned nothing of a user's taste."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ...core.context import RunContext
from ...core.params import Params
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View


class FittedItemPopularity:
    """count: float32 (items + 1,)."""

    def __init__(self, count: NDArray[np.float32]) -> None:
        self.count = count

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}, log(1 + count) in every row, whose softmax is a distribution."""
        return {"score": np.tile(np.log1p(self.count), (view.rows, 1))}

    def save(self, folder: Path) -> None:
        """Write `popularity.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"count": self.count}, folder / "popularity.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedItemPopularity:
        """The inverse of `save`."""
        return cls(load_file(folder / "popularity.safetensors")["count"])


class ItemPopularity(Runner):
    """Targets of train, counted."""

    name = "item_popularity"
    title = "Popularity"
    task = NextItem
    Params = Params
    fitted = FittedItemPopularity
    reference = "control of this house"

    def fit(self, task: NextItem, params: Params, run: RunContext) -> FittedItemPopularity:
        return FittedItemPopularity(np.bincount(task.train.target, minlength=task.items + 1).astype(np.float32))
