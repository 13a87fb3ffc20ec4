"""Orders that look at no feedback: at random, and the shortest video first.

The order of the best list would need test's feedback, so it is no row: what an ideal list reaches is among the task's facts.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...core.context import RunContext
from ...core.params import Params
from ...core.runner import Runner
from ...core.seeds import derive
from ...core.task import Feed, Predictions, View


class FittedRandomOrder:
    """seed: of the scores; those of a view depend on it and on the view's name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def predict(self, view: View) -> Predictions:
        return {"score": np.random.default_rng(derive(self.seed, view.name)).random(view.rows, dtype=np.float32)}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "order.json").write_text(json.dumps({"seed": self.seed}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedRandomOrder:
        return cls(json.loads((folder / "order.json").read_text(encoding="utf-8"))["seed"])


class RandomOrder(Runner):
    """A random order of each list."""

    name = "random_order"
    title = "Random order"
    task = Feed
    Params = Params
    fitted = FittedRandomOrder
    reference = "control of this house"

    def fit(self, task: Feed, params: Params, run: RunContext) -> FittedRandomOrder:
        return FittedRandomOrder(run.seed("order"))


class FittedAscending:
    """column: of a view, whose least value comes first."""

    def __init__(self, column: str) -> None:
        self.column = column

    def predict(self, view: View) -> Predictions:
        return {"score": -view.columns[self.column].astype(np.float32, copy=False)}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "order.json").write_text(json.dumps({"column": self.column}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedAscending:
        return cls(json.loads((folder / "order.json").read_text(encoding="utf-8"))["column"])


class ShortFirst(Runner):
    """The shortest video first."""

    name = "short_first"
    title = "Duration ascending"
    task = Feed
    Params = Params
    fitted = FittedAscending
    reference = "control of this house"

    def fit(self, task: Feed, params: Params, run: RunContext) -> FittedAscending:
        return FittedAscending("seconds_long")
