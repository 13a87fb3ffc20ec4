"""DML: watch-time labels without duration bias, which a multi-task model learns (Zhang et al., CIKM 2023).

    wpr_d            a play's percentile rank among the plays of videos as long, in N levels Q_n = q_1 + ... + q_n
    ev_d, ev_v, ev_u an effective view: at or above the median of plays of videos as long, of the video, of the user
    lv_d, lv_v, lv_u a long view: at or above the 75 % quantile of the same

The labels are the method; network and training are those of every row. `WatchTimeLabels` makes them of any log.

Not known of the paper: N and q_n, the bins of durations, the loss on wpr, the way back to seconds, and how users with few plays are
treated. What stands here for them is ours.
"""

from __future__ import annotations

from ..core.params import choice, fixed
from ..core.task import Watched
from ..models.watch_labels import WatchTimeLabels
from ..models.watch_percentile import DECODERS, LOSSES, TRIOS, PercentileRank
from ..models.watch_runner import WatchTimeRunner
from ..models.watch_training import WatchTimeParams

__all__ = ["DML", "DMLParams", "PercentileRank", "WatchTimeLabels"]

PER_SECOND = 0


class DMLParams(WatchTimeParams):
    """The labels, and how the watch-time head learns them."""

    duration_bins: int = choice(
        30, 10, 20, 60, also=(1, PER_SECOND), help="groups of durations of equal size; 0: every second its own"
    )
    levels: int = choice(50, 20, 100, help="N, levels of the percentile rank")
    decay: float = choice(0.95, 1.0, 0.98, 0.9, help="q_(n+1) / q_n; 1: levels of equal mass")
    debiased: bool = fixed(True, help="wpr_d, within groups of durations; or wpr, among all plays")
    binary: str = fixed(
        "ev", options=tuple(TRIOS), help="binary labels beside: effective or long views by duration, video and user"
    )
    loss: str = fixed("mse", options=LOSSES, help="of the percentile rank, or of its level")
    decoder: str = fixed("inverse", options=DECODERS, help="seconds from the head; expected needs softmax or cumulative")
    min_rows: int = fixed(1000, minimum=1, help="a group with fewer plays joins its lighter neighbour")
    shrinkage: float = fixed(20.0, minimum=0.0, help="plays that stand against a user's or a video's own; 0, as in the paper")


class DML(WatchTimeRunner):
    """wpr_d and the three labels of effective views; by its parameters, any row of the paper's tables."""

    name = "dml"
    title = "DML"
    Params = DMLParams
    reference = (
        "Zhang et al., Leveraging Watch-time Feedback for Short-Video Recommendations, CIKM 2023, doi 10.1145/3583780.3615483"
    )

    def target(self, train: Watched, params: DMLParams) -> PercentileRank:
        labels = WatchTimeLabels(
            "per_second" if params.duration_bins == PER_SECOND else params.duration_bins,
            params.levels,
            params.decay,
            min_rows=params.min_rows,
            shrinkage=params.shrinkage,
            sides=() if params.binary == "none" else ("user_id", "item_id"),
        )
        return PercentileRank.fit(
            train, labels, loss=params.loss, decoder=params.decoder, debiased=params.debiased, trio=params.binary
        )
