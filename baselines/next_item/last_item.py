"""Last item: what was taken last is taken again, then what was taken before it. All other items tie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...core.context import RunContext
from ...core.params import Params
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View


class FittedLastItem:
    """items: how many there are."""

    def __init__(self, items: int) -> None:
        self.items = items

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}: the place in the history, from 1, where an item is last found; 0 where nowhere."""
        history = view.columns["history"].astype(np.int64, copy=False)
        score = np.zeros((view.rows, self.items + 1), dtype=np.float32)
        for place in range(history.shape[1]):
            score[np.arange(view.rows), history[:, place]] = place + 1
        score[:, 0] = 0
        return {"score": score}

    def save(self, folder: Path) -> None:
        """Write `last_item.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last_item.json").write_text(json.dumps({"items": self.items}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedLastItem:
        """The inverse of `save`."""
        return cls(json.loads((folder / "last_item.json").read_text(encoding="utf-8"))["items"])


class LastItem(Runner):
    """The history, the latest item first."""

    name = "last_item"
    title = "Last item"
    task = NextItem
    Params = Params
    fitted = FittedLastItem
    reference = "control of this house"

    def fit(self, task: NextItem, params: Params, run: RunContext) -> FittedLastItem:
        return FittedLastItem(task.items)
