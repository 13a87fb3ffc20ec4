"""WT: the watch time itself, in [0, 1].

    share     min(y / w_max, 1)                 w_max: the .999 quantile of train's watch times
    scaled    scale(y), of two slopes           as LabelCraft's objectives have it, with their quantile of train as the knee

Both rise with y; they differ in what a squared error is about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ...models.platform_objectives import Scale


class ScaleParams(FeedParams):
    """Of `scale`; LabelCraft's 0.2 for the value at the knee, the rest is ours."""

    knee: float = choice(0.9, 0.8, 0.95, help="beta, the quantile of train where the slope changes")
    knee_value: float = choice(0.2, 0.5, 0.8, help="beta', what is reached there")


def scaled(train: NDArray[np.float32], values: NDArray[np.float32], params: ScaleParams) -> NDArray[np.float32]:
    """`scale` of values (N,) by the quantiles of train's.

    >>> train = np.arange(1000, dtype=np.float32)
    >>> scaled(train, np.array([0, 900, 999], dtype=np.float32), ScaleParams()).astype(float).round(2).tolist()
    [0.0, 0.21, 1.0]
    """
    return _of(Scale.of(train, params.knee, params.knee_value), values)


def _of(scale: Scale, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return scale(values.astype(np.float64)).clip(0, 1).astype(np.float32)  # its last bit may lie above 1


class WTParams(ScaleParams):
    """How seconds become a label."""

    label: str = choice("share", "scaled", help="share of the .999 quantile, or of two slopes")


class WT(FeedRunner):
    """Watch time."""

    name = "wt"
    title = "WT"
    Params = WTParams
    reference = "watch time, a baseline of Bai et al., LabelCraft, WSDM 2024, doi 10.1145/3616855.3635816"

    def lesson(self, train: Watched, rows: Watched, params: WTParams, run: RunContext) -> Lesson:
        if params.label == "scaled":
            return Lesson(scaled(train.watch_time, rows.watch_time, params))
        return Lesson(_of(Scale.of(train.watch_time, two_slopes=False), rows.watch_time))
