"""A row of the watch-time comparison: it names a target, and has in common with all others whatever comes after."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..core.context import RunContext
from ..core.errors import unknown
from ..core.metrics.watch_time import xgauc
from ..core.runner import Runner
from ..core.task import Predictions, View, Watched, WatchTime
from .fusion import Fusion
from .watch_network import WatchNetwork
from .watch_target import Target
from .watch_training import Inputs, WatchTimeParams, fit_watch, known_users, outputs_of

__all__ = ["FittedWatchTime", "WatchTimeParams", "WatchTimeRunner"]


@dataclass(frozen=True)
class FittedWatchTime:
    """A trained network, the target that reads it, and the fusion of its heads; network_settings: what the network is built of."""

    network: WatchNetwork
    target: Target
    fusion: Fusion
    inputs: Inputs
    network_settings: dict[str, Any]

    def predict(self, view: View) -> Predictions:
        """{seconds, score, fused: float32 (rows,)}"""
        watch, logits = outputs_of(self.network, *self.inputs.tensors(view.columns, view.rows))
        duration = view.columns["seconds_long"].astype(np.float32, copy=False)
        score = self.target.score(watch, duration).astype(np.float32)
        seconds = self.target.seconds(watch, duration).astype(np.float32)
        return {"seconds": seconds, "score": score, "fused": self.fusion(heads_of(score, logits))}

    def save(self, folder: Path) -> None:
        """Write `watch_time.safetensors` and `watch_time.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        target, settings = self.target.state()
        network = {name: value.numpy() for name, value in self.network.state_dict().items()}
        groups = {"network": network, "target": target, "fusion": self.fusion.arrays()}
        arrays = {f"{group}.{name}": np.array(value, order="C") for group, part in groups.items() for name, value in part.items()}
        save_file(arrays, folder / "watch_time.safetensors")
        described = {
            "target": self.target.name,
            "settings": settings,
            "fields": dict(self.inputs.fields),
            "dense": list(self.inputs.dense),
            "network": self.network_settings,
        }
        (folder / "watch_time.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedWatchTime:
        """The inverse of `save`: equal predictions, bit for bit. The module that defines the target must have been imported."""
        described: dict[str, Any] = json.loads((folder / "watch_time.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "watch_time.safetensors")
        groups: dict[str, dict[str, NDArray[Any]]] = {"network": {}, "target": {}, "fusion": {}}
        for name, value in arrays.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        if described["target"] not in Target.registry:
            raise unknown("watch-time target", described["target"], Target.registry)
        target = Target.registry[described["target"]].restored(groups["target"], described["settings"])
        inputs = Inputs(described["fields"], tuple(described["dense"]))
        network = _built(described["network"], inputs)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in groups["network"].items()}, assign=True)
        return cls(network, target, Fusion.of(groups["fusion"]), inputs, described["network"])


def heads_of(score: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is fused, (N, 1 + M): the watch head's own score, then the binary heads' logits."""
    return np.concatenate([score[:, None], logits], axis=1)


def _built(settings: dict[str, Any], inputs: Inputs) -> WatchNetwork:
    rest = dict(settings)
    backbone, outputs, binary = (rest.pop(name) for name in ("backbone", "outputs", "binary"))
    return WatchNetwork(backbone, tuple(inputs.fields.values()), len(inputs.dense), outputs, binary, **rest)


class WatchTimeRunner(Runner):
    """Trains the common network on the target that a subclass names."""

    task = WatchTime
    Params = WatchTimeParams
    fitted = FittedWatchTime

    @abstractmethod
    def target(self, train: Watched, params: Any) -> Target:
        """What the watch-time head learns; it may look at train alone."""

    def cannot(self, task: WatchTime) -> str | None:
        valid, known = task.valid, known_users(task.valid)
        watch_time = valid.watch_time[known]
        if not np.isfinite(xgauc(np.zeros_like(watch_time), watch_time, valid.inputs["user_id"][known])):
            return "no user of train watched two videos of valid for different times, so there is no GAUC to stop by"
        return None

    def fit(self, task: WatchTime, params: WatchTimeParams, run: RunContext) -> FittedWatchTime:
        target = self.target(task.train, params)
        network, _ = fit_watch(task, target, params, run)
        inputs, valid = Inputs.of(task, target), task.valid
        watch, logits = outputs_of(network, *inputs.tensors(valid.inputs, len(valid)))
        known = known_users(valid)
        heads = heads_of(target.score(watch, valid.duration).astype(np.float32), logits)[known]
        fusion = Fusion.fit(heads, valid.watch_time[known], valid.inputs["user_id"][known])
        sizes = {"outputs": target.outputs, "binary": logits.shape[1]}
        settings = {name: getattr(params, name) for name in ("backbone", "dim", "hidden", "dropout")}
        return FittedWatchTime(network, target, fusion, inputs, {**settings, **sizes})
