"""The model that labels plays, and what is kept of a feed whose labels were learned (LabelCraft, Bai et al., WSDM 2024)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core.curves import Curve
from ..core.task import Watched
from .feed_runner import FittedFeed
from .feed_training import explicit_feedback
from .platform_objectives import OBJECTIVES, Scale

SECONDS = np.arange(0.0, 301.0, 10.0)  # where the surface of labels is looked at: watch times, and durations but 0
TITLES = ("M1, usage time", "M2, engagement", "M3, duration spread")


@dataclass(frozen=True)
class PlayInputs:
    """What g_phi makes of a play: scale, then standard units of train; None, as released: seconds as they are.

    watch, duration: scales of the two; mean, sd: (3,) of [scale(watch time), scale(duration), explicit] over train.
    """

    watch: Scale
    duration: Scale
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, z: Tensor, watch: Scale, duration: Scale) -> PlayInputs:
        """Standard units of plays z (N, 3)."""
        x = cls(watch, duration, (0.0,) * 3, (1.0,) * 3)(z).double()
        mean, sd = x.mean(0), x.std(0)
        return cls(watch, duration, tuple(map(float, mean)), tuple(float(each) or 1.0 for each in sd))

    def __call__(self, z: Tensor) -> Tensor:
        watch, duration, explicit = z.unbind(1)
        x = torch.stack([self.watch(watch), self.duration(duration), explicit], dim=1)
        return (x - x.new_tensor(self.mean)) / x.new_tensor(self.sd)


class LabelingModel(nn.Module):
    """g_phi: label (N,) in (0, 1) of plays z (N, 3) = [watch time, duration, 1 for any explicit feedback], seconds.

    inputs: fitted on train, or None, as released, for raw seconds; looked_at: which of the three are; bias: False, as released,
    makes the logit positively homogeneous in what is looked at, so that no label can turn on a number of seconds; generator: of
    the first weights, which are torch's own.
    """

    def __init__(
        self,
        inputs: PlayInputs | None,
        *,
        looked_at: tuple[bool, bool, bool] = (True, True, True),
        bias: bool = True,
        width: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.settings: dict[str, Any] = {"looked_at": looked_at, "bias": bias, "width": width}
        self.register_buffer("looked_at", torch.tensor(looked_at, dtype=torch.float32), persistent=False)
        self.layers = nn.ModuleList(nn.Linear(*size, bias=bias) for size in ((3, width), (width, width), (width, 1)))
        with torch.no_grad():
            for layer in self.layers:
                bound = layer.get_parameter("weight").shape[1] ** -0.5
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)

    @classmethod
    def of(cls, z: Tensor, **settings: Any) -> LabelingModel:
        """For plays like these of train, z (N, 3); settings: as above."""
        watch, duration = (Scale.of(z[:, column].numpy()) for column in (0, 1))
        return cls(PlayInputs.of(z, watch, duration), **settings)

    def logits(self, z: Tensor) -> Tensor:
        """(N,) before the sigmoid."""
        x = z if self.inputs is None else self.inputs(z)
        first, second, last = self.layers
        return last(torch.relu(second(torch.relu(first(x * self.get_buffer("looked_at")))))).squeeze(1)

    def forward(self, z: Tensor) -> Tensor:
        return self.logits(z).sigmoid()


def plays(rows: Watched) -> Tensor:
    """z (N, 3): watch time and duration in seconds, 1 for any explicit feedback."""
    return torch.from_numpy(np.stack([rows.watch_time, rows.duration, explicit_feedback(rows)], axis=1))


@dataclass(frozen=True)
class FittedLabels(FittedFeed):
    """The recommender, with the labels that it learned at last; curves: means of each epoch, by name."""

    labeler: LabelingModel = field(kw_only=True)
    curves: dict[str, list[float]] = field(kw_only=True)

    @torch.no_grad()
    def label(self, watch_time: NDArray[Any], duration: NDArray[Any], explicit: NDArray[Any]) -> NDArray[np.float32]:
        """Labels (N,) of plays: seconds, seconds, and 1 for any explicit feedback."""
        return self.labeler(torch.from_numpy(np.stack([watch_time, duration, explicit], axis=1).astype(np.float32))).numpy()

    def to_draw(self) -> Sequence[Curve]:
        """By epoch "objectives" and their "weights"; and "label", a surface over watch time and duration, for each feedback."""
        over = {"objectives": OBJECTIVES, "weights": tuple(f"weight_{name}" for name in OBJECTIVES)}
        lines = [
            Curve.of(name, title, np.arange(1, len(self.curves[key]) + 1), self.curves[key])
            for name, keys in over.items()
            for key, title in zip(keys, TITLES, strict=True)
        ]
        watch_time, duration = (each.ravel() for each in np.meshgrid(SECONDS, SECONDS[1:]))
        flags = {"without feedback": np.zeros_like(duration), "with feedback": np.ones_like(duration)}
        return lines + [
            Curve.of("label", title, watch_time, duration, self.label(watch_time, duration, explicit))
            for title, explicit in flags.items()
        ]

    def save(self, folder: Path) -> None:
        """Write `labeler.safetensors` and `labeler.json` beside the recommender."""
        super().save(folder)
        model = self.labeler
        save_file(model.state_dict(), folder / "labeler.safetensors")
        inputs = None if model.inputs is None else asdict(model.inputs)
        described: dict[str, Any] = {"inputs": inputs, "settings": model.settings, "curves": self.curves}
        (folder / "labeler.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedLabels:
        """The inverse of `save`: equal predictions and labels, bit for bit."""
        told: dict[str, Any] = json.loads((folder / "labeler.json").read_text(encoding="utf-8"))
        inputs: dict[str, Any] | None = told["inputs"]
        scales = {name: Scale(**inputs[name]) for name in ("watch", "duration")} if inputs else {}
        scaled = PlayInputs(**{**inputs, **scales}) if inputs else None
        labeler = LabelingModel(scaled, **told["settings"])
        labeler.load_state_dict(load_file(folder / "labeler.safetensors"), assign=True)
        fitted = FittedFeed.load(folder)
        return cls(fitted.network, fitted.inputs, fitted.sizes, labeler=labeler, curves=told["curves"])
