"""The floor: mean watch times without any model. A trained row below it has learned nothing of a user's taste.

    y ~ mean of the video's duration bucket + effect of the item + effect of the user

Each is a mean of what those before it left over, drawn to 0 (the bucket's: to the mean of train) as if it had k more rows there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import Predictions, View, WatchTime

EFFECTS = ("duration_bucket", "item_id", "user_id")


class WatchFloorParams(Params):
    """How far a rare bucket, item or user is drawn to the mean."""

    smoothing: float = real(20.0, low=1.0, high=500.0, log=True, minimum=1e-6, help="k, rows of the mean added to each effect")


class FittedWatchFloor:
    """effects: seconds of each id of a field, float32 (ids,); id 0, whatever train lacks, has none of its own."""

    def __init__(self, effects: Mapping[str, NDArray[np.float32]]) -> None:
        self.effects = dict(effects)

    def predict(self, view: View) -> Predictions:
        """seconds, never negative; score and fused, the same sum as it comes."""
        score = np.zeros(view.rows, dtype=np.float32)
        for field in EFFECTS:
            score += self.effects[field][view.columns[field].astype(np.int64, copy=False)]
        return {"seconds": np.maximum(score, 0), "score": score, "fused": score}

    def save(self, folder: Path) -> None:
        """Write `floor.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.effects, folder / "floor.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedWatchFloor:
        """The inverse of `save`."""
        return cls(load_file(folder / "floor.safetensors"))


class WatchFloor(Runner):
    """Smoothed means of duration, item and user, from train alone."""

    name = "watch_floor"
    title = "Means (no model)"
    task = WatchTime
    Params = WatchFloorParams
    fitted = FittedWatchFloor
    reference = "control of this house"

    def fit(self, task: WatchTime, params: WatchFloorParams, run: RunContext) -> FittedWatchFloor:
        rest = task.train.watch_time.astype(np.float64)
        mean = rest.mean()
        rest -= mean
        effects: dict[str, NDArray[np.float32]] = {}
        for field in EFFECTS:
            ids, size = task.train.inputs[field], task.fields[field]
            effect = np.bincount(ids, rest, size) / (np.bincount(ids, minlength=size) + params.smoothing)
            rest -= effect[ids]
            effects[field] = effect.astype(np.float32)
        effects[EFFECTS[0]] += np.float32(mean)
        return FittedWatchFloor(effects)
