"""WT+EF, D2Q+EF, DVR+EF: a second tower on the same layer learns explicit feedback.

    loss     l(f(x), y) + v l(g(x), e)
    score    f(x) + w g(x),  w by the lists of valid

The paper names the three, and neither how they share nor how they are fused: this is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core.context import RunContext
from ...core.params import choice
from ...core.task import Feed, Watched
from ...models.feed_runner import FeedParams, FeedRunner, Lesson
from .d2q import FeedD2Q, FeedD2QParams
from .dvr import FeedDVR, FeedDVRParams
from .ef import without_explicit
from .wt import WT, WTParams


class TwoTowersParams(FeedParams):
    """How much the second tower counts."""

    explicit: float = choice(1.0, 0.1, 0.3, 3.0, help="v, weight of the loss on explicit feedback")


class TwoTowers(FeedRunner):
    """Comes before the runner whose lesson it widens."""

    reference = "a two-headed baseline of Bai et al., LabelCraft, WSDM 2024, doi 10.1145/3616855.3635816"

    def cannot(self, task: Feed) -> str | None:
        return without_explicit(task) or super().cannot(task)

    def lesson(self, train: Watched, rows: Watched, params: Any, run: RunContext) -> Lesson:
        return replace(super().lesson(train, rows, params, run), explicit=params.explicit)


class WTEFParams(WTParams, TwoTowersParams):
    """Those of both."""


class WTEF(TwoTowers, WT):
    """Watch time, and explicit feedback."""

    name = "wt_ef"
    title = "WT+EF"
    Params = WTEFParams


class D2QEFParams(FeedD2QParams, TwoTowersParams):
    """Those of both."""


class D2QEF(TwoTowers, FeedD2Q):
    """The quantile of the duration group, and explicit feedback."""

    name = "d2q_ef"
    title = "D2Q+EF"
    Params = D2QEFParams


class DVREFParams(FeedDVRParams, TwoTowersParams):
    """Those of both."""


class DVREF(TwoTowers, FeedDVR):
    """Watch-time gain without the duration, and explicit feedback."""

    name = "dvr_ef"
    title = "DVR+EF"
    Params = DVREFParams
