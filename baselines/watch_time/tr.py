"""TR, traditional regression: watch time in seconds, squared error.

    loss   = ((y - mu) / sigma - z)^2,  mu and sigma of train's watch times
    y_hat  = max(mu + sigma z, 0)

The head speaks in standard units (ours), which divides the loss by sigma^2 and leaves its minimiser E[y | x] where it is: in
seconds, Adam would spend its first thousand steps on the mean, and the losses of the other heads would not be heard.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_target import Arrays, Target


@dataclass(frozen=True)
class Seconds(Target):
    """Watch time in train's standard units; mean, deviation: in seconds."""

    name = "seconds"
    mean: float
    deviation: float

    @classmethod
    def fit(cls, train: Watched) -> Self:
        watch_time = train.watch_time.astype(np.float64)
        return cls(float(watch_time.mean()), float(watch_time.std()) or 1.0)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return ((rows.watch_time.astype(np.float64) - self.mean) / self.deviation).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return mse_loss(head, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.maximum(self.mean + self.deviation * head[:, 0].astype(np.float64), 0).astype(np.float32)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, asdict(self)


class TR(WatchTimeRunner):
    """Regression on seconds."""

    name = "tr"
    title = "TR"
    reference = "regression on watch time, a baseline of Zhang et al., CIKM 2023, doi 10.1145/3583780.3615483"

    def target(self, train: Watched, params: WatchTimeParams) -> Seconds:
        return Seconds.fit(train)
