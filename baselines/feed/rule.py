"""Rule: what a person might write down, found by search.

    label    u 1[y >= t_y] + r 1[y / d >= t_r] + e 1[explicit feedback] + l 1[d >= t_d]

t_y and t_d are quantiles of train. Searched like any hyperparameter; no paper has this row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.context import RunContext
from ...core.params import real
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ...models.feed_training import explicit_feedback


class RuleParams(FeedParams):
    """Four weights and three thresholds; at first a play counts when its video was finished, or liked."""

    watch: float = real(0.0, low=0.0, high=1.0, help="u, for a long play")
    watch_at: float = real(0.5, low=0.05, high=0.95, minimum=0.0, maximum=1.0, help="t_y, as a quantile of train")
    ratio: float = real(1.0, low=0.0, high=1.0, help="r, for a large share of the video")
    ratio_at: float = real(1.0, low=0.1, high=1.5, minimum=0.0, help="t_r, as a share of the duration")
    flag: float = real(1.0, low=0.0, high=1.0, help="e, for any explicit feedback")
    length: float = real(0.0, low=-1.0, high=1.0, help="l, for a long video")
    length_at: float = real(0.5, low=0.05, high=0.95, minimum=0.0, maximum=1.0, help="t_d, as a quantile of train")


def ruled(train: Watched, rows: Watched, params: RuleParams) -> NDArray[np.float32]:
    """The label (N,) of `rows`.

    >>> watched, duration = np.array([1, 9, 30], dtype=np.float32), np.array([10, 9, 60], dtype=np.float32)
    >>> rows = Watched({"item_id": np.arange(3)}, {"like": np.array([1, 0, 0], dtype=np.float32)}, watched, duration)
    >>> ruled(rows, rows, RuleParams(watch=0.0, ratio=1.0, flag=1.0)).tolist()  # liked; played to its end; neither
    [1.0, 1.0, 0.0]
    """
    long_play = rows.watch_time >= np.quantile(train.watch_time, params.watch_at)
    long_video = rows.duration >= np.quantile(train.duration, params.length_at)
    finished = rows.watch_time >= params.ratio_at * rows.duration
    label = params.watch * long_play + params.ratio * finished + params.flag * explicit_feedback(rows) + params.length * long_video
    return label.astype(np.float32)


class Rule(FeedRunner):
    """The best of a small grammar of rules."""

    name = "rule"
    title = "Best rule"
    Params = RuleParams
    reference = "control of this house"

    def lesson(self, train: Watched, rows: Watched, params: RuleParams, run: RunContext) -> Lesson:
        return Lesson(ruled(train, rows, params), linear=True)
