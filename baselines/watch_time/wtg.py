"""WTG, watch-time gain: how far above the mean of its duration a video was watched (Zheng et al., MM 2022).

    label    z = (w - mu_d) / sigma_d     mu, sigma of train's w = min(y, d) in each whole second d; 0 where sigma_d = 0
    loss     (s - z)^2                    or BCE(sigma(s), Phi(z)), as D2Co's authors train it
    seconds  mu_d + sigma_d s             or with Phi^-1(sigma(s)) for s; in [0, d]

A duration that train lacks has the statistics of the nearest whole second that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, ndtr, ndtri_exp  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from ...core.params import choice
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_seconds import Cells, Floats, Ints, cut_watch_time, nearest, whole_seconds, within
from ...models.watch_target import Arrays, Target


@dataclass(frozen=True, eq=False)
class WatchTimeGain(Target):
    """z by squared error. duration: (D,) whole seconds that train has, ascending; mean, deviation: (D,) of w there."""

    name = "watch_time_gain"
    duration: Ints
    mean: Floats
    deviation: Floats
    adversary: float = 0.0

    @classmethod
    def fit(cls, train: Watched, adversary: float = 0.0) -> Self:
        cells = Cells.of_rows(train)
        return cls(cells.duration, cells.mean, cells.deviation, adversary)

    def gain(self, rows: Watched) -> Floats:
        """z (N,)"""
        w, d = cut_watch_time(rows)
        at = nearest(self.duration, d)
        above, sigma = w - self.mean[at], self.deviation[at]
        return np.divide(above, sigma, out=np.zeros_like(above), where=sigma > 0)

    def watched(self, gain: Floats, duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """The seconds (N,) that a gain z (N,) stands for."""
        d = whole_seconds(duration)
        at = nearest(self.duration, d)
        return within(self.mean[at] + self.deviation[at] * gain, d)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return self.gain(rows).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return mse_loss(head, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.watched(head[:, 0].astype(np.float64), duration)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {"duration": self.duration, "mean": self.mean, "deviation": self.deviation}
        return arrays, {"adversary": self.adversary}


class GainProbability(WatchTimeGain):
    """Phi(z), in (0, 1), by cross-entropy."""

    name = "watch_time_gain_probability"

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return ndtr(self.gain(rows)).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(head, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        s = head[:, 0].astype(np.float64)
        tail = ndtri_exp(log_expit(-np.abs(s)))  # Phi^-1 of the smaller of sigma(s), sigma(-s): finite for every s
        return self.watched(-np.sign(s) * tail, duration)


TARGETS = {"gain": WatchTimeGain, "probability": GainProbability}


class WTGParams(WatchTimeParams):
    """WTG's own settings."""

    label: str = choice("gain", "probability", help="z, or its normal probability")


class WTG(WatchTimeRunner):
    """Watch-time gain."""

    name = "wtg"
    title = "WTG"
    Params = WTGParams
    reference = "Zheng et al., DVR: Micro-Video Recommendation Optimizing Watch-Time-Gain under Duration Bias, MM 2022"

    def target(self, train: Watched, params: WTGParams) -> Target:
        return TARGETS[params.label].fit(train)
