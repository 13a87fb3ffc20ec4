"""D2Q: the exact percentile rank of a play among those of videos as long (Zhan et al., KDD 2022).

    label    F_g(y)                      share of the group's plays at or below y; groups of durations of equal size
    loss     (sigmoid(z) - F_g(y))^2
    seconds  F_g^-1(sigmoid(z))          linear between the group's watch times

It is DML's label with as many levels of equal mass as there are watch times. Exact to a tenth of a second, the last of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from ...core.params import choice
from ...core.task import Watched
from ...models.watch_groups import DurationGroups
from ...models.watch_histogram import WatchHistogram
from ...models.watch_levels import Ranks
from ...models.watch_runner import WatchTimeRunner
from ...models.watch_target import Arrays, Target
from ...models.watch_training import WatchTimeParams


class DurationQuantile(Target):
    """F_g(y). histogram: plays of train; bins: groups asked for."""

    name = "duration_quantile"

    def __init__(self, histogram: WatchHistogram, bins: int) -> None:
        self.histogram, self.bins = histogram, bins
        self.groups = DurationGroups(histogram, bins)
        self.ranks = Ranks(self.groups.counts, None)
        self.table = self.groups.table(self.ranks.label)

    @classmethod
    def fit(cls, train: Watched, bins: int) -> DurationQuantile:
        histogram = WatchHistogram()
        histogram.add(train.watch_time, train.duration)
        return cls(histogram, bins)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return self.groups.look_up(self.table, rows.watch_time, rows.duration)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return (head[:, 0].sigmoid() - labels[:, 0]).square().mean()

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.ranks.inverse(expit(head[:, 0].astype(np.float64)), self.groups.of(duration)).astype(np.float32)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return self.histogram.sparse(), {"bins": self.bins}

    @classmethod
    def restored(cls, arrays: Arrays, settings: Mapping[str, Any]) -> DurationQuantile:
        return cls(WatchHistogram.of(arrays), **settings)


class D2QParams(WatchTimeParams):
    """How many groups of durations."""

    duration_bins: int = choice(30, 10, 20, 60, also=(1,), help="groups of durations of equal size")


class D2Q(WatchTimeRunner):
    """The quantile of the duration group."""

    name = "d2q"
    title = "D2Q"
    Params = D2QParams
    reference = "Zhan et al., Deconfounding Duration Bias in Watch-time Prediction, KDD 2022, doi 10.1145/3534678.3539092"

    def target(self, train: Watched, params: D2QParams) -> DurationQuantile:
        return DurationQuantile.fit(train, params.duration_bins)
