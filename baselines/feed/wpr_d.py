"""WPR^d: DML's percentile rank of a play within its group of durations, in levels (Zhang et al., CIKM 2023). Not in LabelCraft's
comparison."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ...models.watch_labels import WatchTimeLabels
from ...models.watch_percentile import PercentileRank


class FeedWPRDParams(FeedParams):
    """How DML cuts its levels."""

    duration_bins: int = choice(30, 10, 20, 60, also=(1,), help="groups of durations of equal size")
    levels: int = choice(50, 20, 100, help="N, levels of the percentile rank")
    decay: float = choice(0.95, 1.0, 0.98, 0.9, help="q_(n+1) / q_n; 1: levels of equal mass")


class FeedWPRD(FeedRunner):
    """DML's label of the watch-time head."""

    name = "feed_wpr_d"
    title = "WPR^d (DML)"
    Params = FeedWPRDParams
    reference = (
        "Zhang et al., Leveraging Watch-time Feedback for Short-Video Recommendations, CIKM 2023, doi 10.1145/3583780.3615483"
    )

    def lesson(self, train: Watched, rows: Watched, params: FeedWPRDParams, run: RunContext) -> Lesson:
        labels = WatchTimeLabels(params.duration_bins, params.levels, params.decay, sides=())
        return Lesson(PercentileRank.fit(train, labels).labels(rows)[:, 0])
