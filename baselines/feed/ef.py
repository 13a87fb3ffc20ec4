"""EF: whether there was any explicit feedback."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Feed, Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from ...models.feed_training import explicit_feedback


def without_explicit(task: Feed) -> str | None:
    """Why explicit feedback cannot be learned, or None.

    >>> import numpy as np
    >>> seconds = np.ones(2, dtype=np.float32)
    >>> rows = Watched({"item_id": np.arange(2)}, {"like": np.zeros(2, dtype=np.float32)}, seconds, seconds)
    >>> without_explicit(Feed("a log", rows, rows, rows, {}, (), {}, k=1))
    '0 of 2 rows of train have explicit feedback'
    """
    positives = int(explicit_feedback(task.train).sum())
    return None if 0 < positives < len(task.train) else f"{positives} of {len(task.train)} rows of train have explicit feedback"


class EFParams(FeedParams):
    """Squared error as LabelCraft, or cross-entropy."""

    loss: str = choice("mse", "bce", help="squared error, or cross-entropy")


class EF(FeedRunner):
    """Explicit feedback alone."""

    name = "ef"
    title = "EF"
    Params = EFParams
    reference = "explicit feedback, a baseline of Bai et al., LabelCraft, WSDM 2024, doi 10.1145/3616855.3635816"

    def cannot(self, task: Feed) -> str | None:
        return without_explicit(task) or super().cannot(task)

    def lesson(self, train: Watched, rows: Watched, params: EFParams, run: RunContext) -> Lesson:
        return Lesson(explicit_feedback(rows))
