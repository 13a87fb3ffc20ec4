"""NDT, normalised dwell time: seconds on a curve that is steep at the shortest valid watch (Xie et al., WWW 2023).

    t        = exp(mean(log(w + 1)) - std(log(w + 1)))      over train, w = min(y, d), whole seconds
    label    A sigma((w - t) / tau) - B                     A = 2.319, B = .744, tau = 20 s
    loss     (A sigma(s) - B - label)^2
    beside   valid_read = 1[w > t], by a sigmoid head of its own
    seconds  t + tau s, the inverse of the label; in [0, d]

A, B and tau are those of CWM's authors, who rank by both heads; here the heads meet in the fused score, as in every row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn.functional import mse_loss

from ...core.params import real
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_seconds import cut_watch_time, whole_seconds, within
from ...models.watch_target import Arrays, Target

A, B = 2.319, 0.744


@dataclass(frozen=True)
class NormalisedDwellTime(Target):
    """The label, in (-B, A - B). bound: t, seconds; tau: seconds."""

    name = "normalised_dwell_time"
    binary = ("valid_read",)
    bound: float
    tau: float

    @classmethod
    def fit(cls, train: Watched, tau: float) -> Self:
        log = np.log1p(cut_watch_time(train)[0])
        spread = log.std(ddof=1) if len(log) > 1 else 0.0
        return cls(float(np.exp(log.mean() - spread)), tau)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        w, _ = cut_watch_time(rows)
        return (A * expit((w - self.bound) / self.tau) - B).astype(np.float32)[:, None]

    def binary_labels(self, rows: Watched) -> NDArray[np.float32]:
        w, _ = cut_watch_time(rows)
        return (w > self.bound).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return mse_loss(A * head.sigmoid() - B, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return within(self.bound + self.tau * head[:, 0].astype(np.float64), whole_seconds(duration))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, asdict(self)


class NDTParams(WatchTimeParams):
    """NDT's own settings."""

    tau: float = real(20.0, low=5.0, high=80.0, log=True, minimum=1e-3, help="seconds in which the label's curve rises")


class NDT(WatchTimeRunner):
    """Normalised dwell time with a valid-read head."""

    name = "ndt"
    title = "NDT"
    Params = NDTParams
    reference = "Xie et al., Reweighting Clicks with Dwell Time in Recommendation, WWW 2023"

    def target(self, train: Watched, params: NDTParams) -> Target:
        return NormalisedDwellTime.fit(train, params.tau)
