"""A row of a feed's comparison: it names what is learned of the plays, and has in common with all others whatever comes after."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from ..core.context import RunContext
from ..core.runner import Runner
from ..core.task import Feed, Predictions, View, Watched
from .din import DIN
from .feed_training import FeedInputs, FeedParams, Lesson, fit_feed, fused, outputs_of, sizes_of, without_lists

__all__ = ["FeedParams", "FeedRunner", "FittedFeed", "Lesson"]

CATALOGUE = "catalogue"  # of what a network holds, the one array that is no state


@dataclass(frozen=True)
class FittedFeed:
    """A trained network; sizes: what it is built of; linear: whether its first tower is; fusion: w, of a second one."""

    network: DIN
    inputs: FeedInputs
    sizes: dict[str, Any]
    linear: bool = False
    fusion: float = 0.0

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows,)}; only the order within a user means something."""
        return {"score": fused(outputs_of(self.network, self.inputs.batch(view.columns), self.linear), self.fusion)}

    def save(self, folder: Path) -> None:
        """Write `feed.safetensors` and `feed.json` (what to build it into)."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {**self.network.state_dict(), CATALOGUE: self.network.catalogue}
        save_file({name: value.contiguous() for name, value in arrays.items()}, folder / "feed.safetensors")
        described = {
            "fields": dict(self.inputs.fields),
            "dense": list(self.inputs.dense),
            "history": self.inputs.history,
            "item_fields": self.network.item_fields,
            "towers": len(self.network.output),
            "sizes": self.sizes,
            "linear": self.linear,
            "fusion": self.fusion,
        }
        (folder / "feed.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedFeed:
        """The inverse of `save`: equal predictions, bit for bit."""
        told: dict[str, Any] = json.loads((folder / "feed.json").read_text(encoding="utf-8"))
        inputs = FeedInputs(told["fields"], tuple(told["dense"]), told["history"])
        arrays = load_file(folder / "feed.safetensors")
        unknown = {name: np.zeros(inputs.fields["item_id"], dtype=np.int64) for name in told["item_fields"]}
        network = DIN(inputs.fields, len(inputs.dense), unknown, **told["sizes"], towers=told["towers"])
        network.catalogue = arrays.pop(CATALOGUE)
        network.load_state_dict(arrays)  # into memory aligned as it was, on which a product's last bit depends
        return cls(network, inputs, told["sizes"], told["linear"], told["fusion"])


class FeedRunner(Runner):
    """Trains the common network on the lesson that a subclass names."""

    task = Feed
    Params = FeedParams
    fitted = FittedFeed

    @abstractmethod
    def lesson(self, train: Watched, rows: Watched, params: Any, run: RunContext) -> Lesson:
        """What is learned of `rows`: those of train, then those of meta where these are trained on. Fitted on train alone."""

    def cannot(self, task: Feed) -> str | None:
        return without_lists(task)

    def fit(self, task: Feed, params: FeedParams, run: RunContext) -> FittedFeed:
        rows = joined(task.train, task.meta) if params.meta else task.train
        lesson = self.lesson(task.train, rows, params, run)
        inputs = FeedInputs.of(task, params, duration=not lesson.adversary)
        network, fusion, _ = fit_feed(task, rows, lesson, inputs, params, run)
        return FittedFeed(network, inputs, sizes_of(params), lesson.linear, fusion)


def joined(one: Watched, other: Watched) -> Watched:
    """The rows of both, in this order."""
    inputs = {name: np.concatenate([column, other.inputs[name]]) for name, column in one.inputs.items()}
    label = {name: np.concatenate([column, other.label[name]]) for name, column in one.label.items()}
    watch_time, duration = (np.concatenate(each) for each in ((one.watch_time, other.watch_time), (one.duration, other.duration)))
    return Watched(inputs, label, watch_time, duration)
