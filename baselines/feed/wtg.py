"""WTG, watch-time gain: how far above the mean of its duration a video was watched (Zheng et al., MM 2022).

By each whole second of duration, as DML's comparison has it; not in LabelCraft's.
"""

from __future__ import annotations

from ...core.context import RunContext
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ..watch_time.wtg import WatchTimeGain


class FeedWTG(FeedRunner):
    """Watch-time gain."""

    name = "feed_wtg"
    title = "WTG"
    Params = FeedParams
    reference = "Zheng et al., DVR: Micro-Video Recommendation Optimizing Watch-Time-Gain under Duration Bias, MM 2022"

    def lesson(self, train: Watched, rows: Watched, params: FeedParams, run: RunContext) -> Lesson:
        return Lesson(WatchTimeGain.fit(train).labels(rows)[:, 0], linear=True)
