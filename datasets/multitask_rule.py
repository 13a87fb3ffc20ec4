"""How a short-video log becomes a multi-task task: which labels, which days, which inputs.

| task                                             | label 1 iff                                  |
| ------------------------------------------------ | -------------------------------------------- |
| ev, effective view                               | watch_time >= min(7 s, duration)             |
| lv, long view                                    | watch_time >= min(18 s, duration)            |
| cv, complete view                                | watch_time >= duration                       |
| like, follow, forward, comment, profile_enter... | the log says so                              |

The thresholds of the paper are not published; lv follows KuaiRand's own `long_view`, ev its `is_click` in a feed, cv is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from .dataset import Dataset
from .entries import outside_datasets
from .impressions import FEEDBACK
from .rates import FOLDS, PSEUDO

EV_SECONDS = 7
LV_SECONDS = 18
VIEWS = ("ev", "lv", "cv")
SIX = (*VIEWS, "like", "follow", "forward")
PARTS = ("train", "meta", "valid", "test")
BEIJING = 8  # hours


@dataclass(frozen=True)
class DaySplit:
    """Parts by day: each of meta, valid and test begins with the day named here; train is what is earlier."""

    meta: int
    valid: int
    test: int

    def parts(self, date: NDArray[np.int32]) -> NDArray[np.int64]:
        """The place in PARTS of each row; int64 (N,)."""
        return np.searchsorted([self.meta, self.valid, self.test], date, side="right")

    def __str__(self) -> str:
        return f"train before {self.meta}, meta from {self.meta}, valid from {self.valid}, test from {self.test}"


def sevenths(date: NDArray[np.int32], name: str) -> DaySplit:
    """The split of a log without one of its own: the last seventh of its days is test, the seventh before valid, before it meta.

    A seventh is rounded, and at least a day. Raises UsageError for fewer than four days.
    """
    days = np.unique(date)
    if len(days) < len(PARTS):
        raise UsageError(f"dataset {name!r} covers {len(days)} days; train, meta, valid and test need four: take a longer log")
    seventh = max(1, round(len(days) / 7))
    return DaySplit(*(int(days[-parts * seventh]) for parts in (3, 2, 1)))


@dataclass(frozen=True)
class MultiTaskRule:
    """The settings of one multi-task task.

    tasks: the labels; split: None for `sevenths`; tab: the scene kept, None for all; user_fields, item_fields: categorical columns
    of the tables `users` and `items` (those that are there), None for each with at most 200 values; utc_offset: hours, for the hour
    of day; buckets: of the duration, by quantiles of train; folds, pseudo: of the rates (`rates.py`); meta_joins: whether
    vocabularies and rates come from train and meta together (GradCraft, DML) or from train alone (LabelCraft).
    """

    tasks: tuple[str, ...] = SIX
    split: DaySplit | None = None
    tab: int | None = None
    user_fields: tuple[str, ...] | None = None
    item_fields: tuple[str, ...] | None = None
    utc_offset: int = BEIJING
    buckets: int = 20
    folds: int = FOLDS
    pseudo: float = PSEUDO
    meta_joins: bool = True


# Counts of followers and friends, the degree of activity and a video's visibility are left out: nobody says on which day they were
# taken, so they may have seen the test days. Encrypted features with more than 200 values are left out as well.
_KUAISHOU_USERS = (
    *("is_live_streamer", "is_video_author", "register_days_range"),
    *(f"onehot_feat{number}" for number in range(18) if number not in (3, 8)),
)
KUAIRAND = MultiTaskRule(
    split=DaySplit(meta=20220501, valid=20220504, test=20220506),
    tab=1,
    user_fields=_KUAISHOU_USERS,
    item_fields=("video_type", "upload_type", "music_type", "tag"),
)
RULES: Mapping[str, MultiTaskRule] = {
    "kuairand-pure": KUAIRAND,
    "kuairand-pure-slice": replace(KUAIRAND, tasks=(*VIEWS, "like", "profile_enter", "comment")),
    "kuairand-1k": KUAIRAND,
    "kuairand-27k": KUAIRAND,
    "kuairec": MultiTaskRule(tasks=VIEWS, user_fields=_KUAISHOU_USERS, item_fields=("tag",)),
    "wechat-2021": MultiTaskRule(item_fields=("tag",)),
}


def rule_of(dataset: Dataset) -> MultiTaskRule:
    """The dataset's own rule; for any other the six tasks, or those of them that its log can tell, and days in sevenths."""
    if dataset.name in RULES:
        return RULES[dataset.name]
    outside = outside_datasets().get(dataset.name)
    if outside is not None and outside.rule is not None:
        return outside.rule
    return MultiTaskRule(tasks=tuple(task for task in SIX if task in VIEWS or task in dataset.impressions))


def labels_of(table: pd.DataFrame, task: str) -> NDArray[np.float32]:
    """The label of each row; float32 (N,). Raises UsageError for a task that the log cannot tell."""
    watch, duration = table["watch_time"].to_numpy(), table["duration"].to_numpy()
    enough = {"ev": np.minimum(duration, EV_SECONDS), "lv": np.minimum(duration, LV_SECONDS), "cv": duration}
    if task in enough:
        return (watch >= enough[task]).astype(np.float32)
    if task not in FEEDBACK or task not in table:
        known = ", ".join([*VIEWS, *(name for name in FEEDBACK if name in table)])
        raise UsageError(f"this log cannot tell task {task!r}; choose from {known}")
    return table[task].to_numpy().astype(np.float32)
