"""PC: whether a play is complete.

label    1[y > d]       strict, as the paper writes it
         1[y >= d]      where watch time is cut at the duration, no play is longer
"""

from __future__ import annotations

import numpy as np

from ...core.context import RunContext
from ...core.errors import UsageError
from ...core.params import fixed
from ...core.task import Feed, Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson


class PCParams(FeedParams):
    """What counts as complete."""

    strict: bool = fixed(True, help="whether a play must be longer than its video, or at least as long")


class PC(FeedRunner):
    """Complete plays."""

    name = "pc"
    title = "PC"
    Params = PCParams
    reference = "complete plays, a baseline of Bai et al., LabelCraft, WSDM 2024, doi 10.1145/3616855.3635816"

    def cannot(self, task: Feed) -> str | None:
        if not (task.train.watch_time >= task.train.duration).any():
            return "no video of train was played to its end"
        return super().cannot(task)

    def lesson(self, train: Watched, rows: Watched, params: PCParams, run: RunContext) -> Lesson:
        complete = rows.watch_time > rows.duration if params.strict else rows.watch_time >= rows.duration
        if not complete.any():
            raise UsageError("no play is longer than its video, as where watch time is cut at the duration: take strict=False")
        return Lesson(complete.astype(np.float32))
