"""Regression on the logarithm of watch time: log(1 + y) in train's standard units, squared error.

y_hat  = exp(mu + sigma z) - 1, not below 0; rather a median of y than its mean
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from .tr import Seconds

LONGEST = 24.0  # log seconds: e^24 s are eight centuries, and still a float32


@dataclass(frozen=True)
class LogSeconds(Seconds):
    """Logarithm of watch time in train's standard units; mean, deviation: of log(1 + y)."""

    name = "log_seconds"

    @classmethod
    def fit(cls, train: Watched) -> Self:
        logged = _logged(train)
        return cls(float(logged.mean()), float(logged.std()) or 1.0)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return ((_logged(rows) - self.mean) / self.deviation).astype(np.float32)[:, None]

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        logged = self.mean + self.deviation * head[:, 0].astype(np.float64)
        return np.expm1(np.clip(logged, 0, LONGEST)).astype(np.float32)


def _logged(rows: Watched) -> NDArray[np.float64]:
    return np.log1p(rows.watch_time.astype(np.float64))


class LogTR(WatchTimeRunner):
    """Regression on log seconds."""

    name = "tr_log"
    title = "TR, log seconds"
    reference = "regression on log watch time, for the learning curves"

    def target(self, train: Watched, params: WatchTimeParams) -> LogSeconds:
        return LogSeconds.fit(train)
