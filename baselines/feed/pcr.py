"""PCR: the share of the video that was played.

label    min(y / d, 1)     learned by a sigmoid
         y / d             learned by a linear output; a video that repeats counts for more than 1
"""

from __future__ import annotations

import numpy as np

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson


class PCRParams(FeedParams):
    """What a repeated play counts for."""

    clipped: bool = choice(True, False, help="whether a share above 1 counts as 1")


class PCR(FeedRunner):
    """Play completion rate."""

    name = "feed_pcr"
    title = "PCR"
    Params = PCRParams
    reference = "play completion rate, a baseline of Bai et al., LabelCraft, WSDM 2024, doi 10.1145/3616855.3635816"

    def lesson(self, train: Watched, rows: Watched, params: PCRParams, run: RunContext) -> Lesson:
        share = (rows.watch_time / np.maximum(rows.duration, 1)).astype(np.float32)
        return Lesson(share.clip(max=1)) if params.clipped else Lesson(share, linear=True)
