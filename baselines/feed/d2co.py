"""D2Co: where a watch lies between the noisy one and the biased one of its duration (Zhao et al., RecSys 2023). Not in LabelCraft's
comparison."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import integer, real
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ..watch_time.d2co import CorrectedWatch


class FeedD2CoParams(FeedParams):
    """D2Co's own settings; the release's defaults."""

    alpha: float = real(0.3, low=0.01, high=1.0, log=True, minimum=1e-6, help="a, how late between both means the label rises")
    window: int = integer(10, low=1, high=20, minimum=1, help="T: both means are averaged over 2 T - 1 whole seconds of duration")


class FeedD2Co(FeedRunner):
    """Debiased and denoised watch-time correction."""

    name = "feed_d2co"
    title = "D2Co"
    Params = FeedD2CoParams
    reference = "Zhao et al., Uncovering User Interest from Biased and Noised Watch Time in Video Recommendation, RecSys 2023"

    def lesson(self, train: Watched, rows: Watched, params: FeedD2CoParams, run: RunContext) -> Lesson:
        return Lesson(CorrectedWatch.fit(train, params.alpha, params.window).labels(rows)[:, 0])
