"""DVR: watch-time gain, learned without the duration and against a head that tells it (Zheng et al., MM 2022).

    label    z = (y - mu_g) / sigma_g     mu, sigma of train's watch times in each group g of durations; 0 where sigma_g = 0
    loss     (f(x) - z)^2 - adversary duration_error

Groups have equal size; a duration that train lacks falls into the group whose range it lies in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.context import RunContext
from ...core.params import choice, real
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ...models.watch_groups import DurationGroups
from ...models.watch_histogram import WatchHistogram


def group_gain(train: Watched, rows: Watched, bins: int) -> NDArray[np.float32]:
    """z (N,) of `rows`, by the means and deviations of `train`.

    >>> watched = np.array([2, 4, 10, 30], dtype=np.float32)  # two plays of short videos, two of long ones
    >>> rows = Watched({"item_id": np.arange(4)}, {}, watched, np.array([5, 5, 60, 60], dtype=np.float32))
    >>> group_gain(rows, rows, bins=2).tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    histogram = WatchHistogram()
    histogram.add(train.watch_time, train.duration)
    groups = DurationGroups(histogram, bins)
    g, y = groups.of(train.duration), train.watch_time.astype(np.float64)
    count = np.bincount(g, minlength=len(groups))
    mean = np.bincount(g, y, len(groups)) / count
    deviation = np.sqrt(np.bincount(g, (y - mean[g]) ** 2, len(groups)) / count)
    g = groups.of(rows.duration)
    above = rows.watch_time - mean[g]
    return np.divide(above, deviation[g], out=np.zeros_like(above), where=deviation[g] > 0).astype(np.float32)


class FeedDVRParams(FeedParams):
    """The adversary's weight as in DVR's release; LabelCraft does not say how many groups of durations."""

    duration_bins: int = choice(30, 10, 20, 60, also=(1,), help="groups of durations of equal size")
    adversary: float = real(0.1, low=0.01, high=1.0, log=True, minimum=1e-6, help="weight of the head that predicts the duration")


class FeedDVR(FeedRunner):
    """Debiased video recommendation."""

    name = "feed_dvr"
    title = "DVR"
    Params = FeedDVRParams
    reference = "Zheng et al., DVR: Micro-Video Recommendation Optimizing Watch-Time-Gain under Duration Bias, MM 2022"

    def lesson(self, train: Watched, rows: Watched, params: FeedDVRParams, run: RunContext) -> Lesson:
        return Lesson(group_gain(train, rows, params.duration_bins), linear=True, adversary=params.adversary)
