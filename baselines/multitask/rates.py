"""Rates: the model-free floor. How often this user, and this item, got a feedback before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]

from ...core.context import RunContext
from ...core.params import Params
from ...core.runner import Runner
from ...core.task import MultiTask, Predictions, View


class FittedRates:
    """For each task, the sum of the log-odds of the user's and of the item's rate."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)

    def predict(self, view: View) -> Predictions:
        """{task: float32 (rows,)}, the two rates' log-odds added and squashed; only their order means something."""
        odds = {task: view.columns[f"user_rate_{task}"] + view.columns[f"item_rate_{task}"] for task in self.tasks}
        return {task: expit(score).astype(np.float32) for task, score in odds.items()}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rates.json").write_text(json.dumps({"tasks": self.tasks}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedRates:
        return cls(json.loads((folder / "rates.json").read_text(encoding="utf-8"))["tasks"])


class Rates(Runner):
    """Smoothed user rate x smoothed item rate, from train alone; a trained row below it has learned nothing."""

    name = "rates"
    title = "Rates (no model)"
    task = MultiTask
    Params = Params
    fitted = FittedRates
    reference = "smoothed rates, no model"

    def fit(self, task: MultiTask, params: Params, run: RunContext) -> FittedRates:
        return FittedRates(task.tasks)
