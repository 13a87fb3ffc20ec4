"""CQE: quantiles of the watch time (Lin et al., arXiv 2407.12223).

    quantiles  q_k = c (ReLU(s_1) + ... + ReLU(s_k))       k = 1 .. K-1, so none lies below the one before
    loss       mean over k of pinball_{k/K}(y - q_k)       pinball_a(e) = max(a e, (a - 1) e); y uncut
    seconds    the mean of the q_k, which is also the score

The mean of the quantiles at k/K is the conditional expectation up to what lies beyond the outermost two. c is the mean of train's
y over K, so that the head's numbers are about 1 for any K and any log; the loss is in units of c.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.params import choice
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_target import Arrays, Target


@dataclass(frozen=True)
class WatchTimeQuantiles(Target):
    """K - 1 quantiles of y. levels: K; unit: c, seconds."""

    name = "watch_time_quantiles"
    levels: int
    unit: float

    @property
    def outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.levels - 1

    @classmethod
    def fit(cls, train: Watched, levels: int) -> Self:
        return cls(levels, (float(train.watch_time.mean(dtype=np.float64)) or 1.0) / levels)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return (rows.watch_time / self.unit).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        level = torch.arange(1, self.levels, dtype=head.dtype, device=head.device) / self.levels
        above = labels - head.relu().cumsum(1)
        return torch.maximum(level * above, (level - 1) * above).mean()

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        quantiles = np.maximum(head, 0).cumsum(axis=1, dtype=np.float64)
        return (self.unit * quantiles.mean(axis=1)).astype(np.float32)

    def score(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.seconds(head, duration)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, asdict(self)


class CQEParams(WatchTimeParams):
    """CQE's own settings."""

    levels: int = choice(100, 20, 50, help="K: quantiles at 1/K .. (K-1)/K")


class CQE(WatchTimeRunner):
    """Conditional quantile estimation, its conditional expectation."""

    name = "cqe"
    title = "CQE"
    Params = CQEParams
    reference = "Lin et al., Conditional Quantile Estimation for Uncertain Watch Time in Short-Video Recommendation, 2024"

    def target(self, train: Watched, params: CQEParams) -> Target:
        return WatchTimeQuantiles.fit(train, params.levels)
