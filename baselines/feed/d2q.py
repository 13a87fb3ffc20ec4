"""D2Q: the percentile rank of a play among those of videos as long (Zhan et al., KDD 2022)."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ..watch_time.d2q import DurationQuantile


class FeedD2QParams(FeedParams):
    """How many groups of durations; LabelCraft does not say."""

    duration_bins: int = choice(30, 10, 20, 60, also=(1,), help="groups of durations of equal size")


class FeedD2Q(FeedRunner):
    """The quantile of the duration group."""

    name = "feed_d2q"
    title = "D2Q"
    Params = FeedD2QParams
    reference = "Zhan et al., Deconfounding Duration Bias in Watch-time Prediction, KDD 2022, doi 10.1145/3534678.3539092"

    def lesson(self, train: Watched, rows: Watched, params: FeedD2QParams, run: RunContext) -> Lesson:
        return Lesson(DurationQuantile.fit(train, params.duration_bins).labels(rows)[:, 0])
