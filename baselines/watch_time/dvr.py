"""DVR: watch-time gain, learned without the duration and against a head that tells it (Zheng et al., MM 2022).

    label, loss, seconds   those of WTG
    network                has no duration among its inputs, and a linear head that predicts the duration from what the network
                           made of the others, behind a gradient reversal

Seconds come back by the exact duration, which is known when a video is shown.
"""

from __future__ import annotations

from ...core.params import real
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_target import Target
from .wtg import WatchTimeGain


class DVRParams(WatchTimeParams):
    """DVR's own settings; the released command's weight."""

    adversary: float = real(0.1, low=0.01, high=1.0, log=True, minimum=1e-6, help="weight of the head that predicts the duration")


class DVR(WatchTimeRunner):
    """Debiased video recommendation."""

    name = "dvr"
    title = "DVR"
    Params = DVRParams
    reference = "Zheng et al., DVR: Micro-Video Recommendation Optimizing Watch-Time-Gain under Duration Bias, MM 2022"

    def target(self, train: Watched, params: DVRParams) -> Target:
        return WatchTimeGain.fit(train, params.adversary)
