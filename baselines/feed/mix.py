"""Mix: three numbers, the rival of a label that is learned.

    label    a scale(y) + b e + c scale(d)      watch time, explicit feedback, duration

Searched like any hyperparameter: a and b in [0, 1], as nobody wants less of either, c in [-1, 1]. No paper has this row.
"""

from __future__ import annotations

import numpy as np

from ...core.context import RunContext
from ...core.params import real
from ...core.task import Watched
from ...models.feed_runner import FeedRunner, Lesson
from ...models.feed_training import explicit_feedback
from .wt import ScaleParams, scaled


class MixParams(ScaleParams):
    """The three numbers."""

    a: float = real(0.5, low=0.0, high=1.0, help="weight of the scaled watch time")
    b: float = real(0.3, low=0.0, high=1.0, help="weight of explicit feedback")
    c: float = real(0.0, low=-1.0, high=1.0, help="weight of the scaled duration")


class Mix(FeedRunner):
    """A fixed linear mix of watch time, explicit feedback and duration."""

    name = "mix"
    title = "Fixed mix"
    Params = MixParams
    reference = "control of this house"

    def lesson(self, train: Watched, rows: Watched, params: MixParams, run: RunContext) -> Lesson:
        watched, length = (scaled(*each, params) for each in ((train.watch_time, rows.watch_time), (train.duration, rows.duration)))
        label = params.a * watched + params.b * explicit_feedback(rows) + params.c * length
        return Lesson(label.astype(np.float32), linear=True)
