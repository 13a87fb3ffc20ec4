"""The feed benchmark task: a short-video dataset, and how long a list is; and its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.curves import Curve
from ..core.metrics import watch_time as metrics
from ..core.metrics.groups import user_group
from ..core.metrics.lists import Lists, overall
from ..core.metrics.unlearning import grouped_rank_correlation
from ..core.task import Feed, Predictions, View
from ..datasets import feeds, multitask, watch_time
from ..datasets.catalogue import load
from ..datasets.manifest import MANIFEST
from ..datasets.multitask_rule import rule_of
from ..datasets.sim_video_worlds import WORLDS
from ..datasets.watch_time import Answers
from . import watch_time_week
from .benchmark import Measure, Scope, TaskSpec
from .feed_pictures import durations
from .simulated_week import GROUPS, VIEW, week_of

SHORT = 50.0  # seconds


@dataclass(frozen=True)
class FeedSpec(TaskSpec):
    """Views: valid, test, and for a simulated dataset loop.

    On valid: `overall`, the mean of NWTG@k, NEG@k and DS@k over the largest that the rows allow. On test, of each user's best k
    rows by score, for users with at least 2k: `nwtg`; `neg`, of users with any explicit feedback; `ds` (seconds), and `ds_largest`,
    the mean of the largest that the rows allow; `mean_duration` (seconds); `short`, the share of videos under 50 s; `nwtg_released`
    and `neg_released`, as the released code computes and averages them, with `zero_share`, the weight of the users without any
    explicit feedback, who count as 1 in the latter. Of all rows: `xgauc` of the score against the watch time. In a simulated world
    also `satisfied`, the share of the list that truly satisfies, and `score_match`, the rank correlation of the score with the true
    match. On loop: what a week under the score brings (`watch_time_week.py`).

    k: the length of a list, None for the dataset's own.
    """

    asks = "impressions"
    dataset: str
    scope: Scope
    k: int | None = None

    @property
    def key(self) -> str:
        """As in "sim-video/feed" and "sim-video/feed-5"."""
        return f"{self.dataset}/feed" + ("" if self.k in (None, feeds.list_length(self.dataset)) else f"-{self.k}")

    @property
    def length(self) -> int:
        return feeds.list_length(self.dataset) if self.k is None else self.k

    @property
    def labels(self) -> Mapping[str, str]:
        return {"dataset": self.dataset, "k": str(self.length)}

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        dataset = load(self.dataset, data_home)
        return {"dataset": dataset.fingerprint, "rule": repr(rule_of(dataset)), "k": self.length}

    def prepare(self, data_home: Path, folder: Path) -> str:
        dataset = load(self.dataset, data_home)
        if not self._simulated:
            return feeds.write(feeds.prepare(dataset, self.length), folder)
        week = week_of(self.dataset)
        feed = feeds.prepare(dataset, self.length, fresh={VIEW: week.days.rows})
        tables = replace(feed.tables, facts={**feed.tables.facts, **watch_time_week.references(week)})
        return feeds.write(replace(feed, tables=tables), folder)

    @property
    def _simulated(self) -> bool:
        return self.dataset in WORLDS

    def open(self, folder: Path) -> Feed:
        return feeds.task_of(_read(folder))

    def views(self, folder: Path) -> Sequence[View]:
        feed = _read(folder)
        loop = [feeds.fresh_view(folder, VIEW)] if self._simulated else []
        return [feeds.view_of(feed, part) for part in ("valid", "test")] + loop

    def keeps(self, view: str) -> bool:
        return view != VIEW

    def known(self, folder: Path, view: str) -> Mapping[str, NDArray[Any]]:
        """user and duration (seconds) of the rows of valid or test."""
        shown = _read(folder).tables.shown[view]
        return {"user": shown.user, "duration": shown.duration}

    def draw(self, folder: Path, predictions: Mapping[str, Predictions], measured: Mapping[str, float]) -> Sequence[Curve]:
        """Of test, "durations": the share of the lists' videos in bins of 50 s of their duration."""
        known = self.known(folder, "test")
        shares = durations(known["duration"], Lists(predictions["test"]["score"], known["user"], self.length).share)
        return (Curve.of("durations", "", shares["x"], shares["y"]),)

    def facts(self, folder: Path) -> Mapping[str, float]:
        return {name: value for name, value in _read(folder).tables.facts.items() if isinstance(value, int | float)}

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        score = np.asarray(predictions["score"], dtype=np.float32)
        if view.name == VIEW:
            return list(watch_time_week.measures(week_of(self.dataset), score))
        tables = _read(folder).tables
        if view.name == "valid":
            return [_objective(tables, score, self.length)]
        hidden = multitask.read_hidden(folder)
        explicit, answers = feeds.explicit(tables, hidden.label), watch_time.answers(tables, hidden, view.name)
        lists = Lists(score, view.columns["user"], self.length)
        return [*_lists(view, lists, explicit, answers), *_scores(view, score, answers)]


def _read(folder: Path) -> feeds.FeedTables:
    """The open tables, whose arrays nobody can write to, read once: a cell looks at one view after the other."""
    manifest = folder / MANIFEST
    return _read_once(folder, manifest.stat().st_mtime_ns) if manifest.exists() else feeds.read_open(folder)


@lru_cache(maxsize=1)
def _read_once(folder: Path, written: int) -> feeds.FeedTables:
    return feeds.read_open(folder)


def _objective(tables: multitask.MultiTaskTables, score: NDArray[np.float32], k: int) -> Measure:
    shown = tables.shown["valid"]
    assert shown.watch_time is not None  # it is hidden for test alone
    explicit = feeds.explicit(tables, tables.valid.label)
    value = overall(score, shown.watch_time, explicit, shown.duration, shown.user, k)
    return Measure("valid", "overall", value, rows=len(score))


def _lists(view: View, lists: Lists, explicit: NDArray[np.bool_], answers: Answers) -> Iterator[Measure]:
    """Each with the users that it is a mean of and, for explicit feedback and satisfaction, the positives among the rows that it
    looks at; else the listed rows."""
    watch, duration = answers.watch_time, answers.duration
    with_list = np.isin(view.columns["user"], lists.user)
    listed, gave = lists.k * len(lists.user), int(explicit[with_list].sum())
    found = {
        "nwtg": (lists.nwtg(watch), listed, False),
        "neg": (lists.neg(explicit), gave, False),
        "ds": (lists.duration_spread(duration), listed, False),
        "ds_largest": (lists.largest_duration_spread(duration), listed, False),
        "mean_duration": (lists.mean(duration), listed, False),
        "short": (lists.mean(duration < SHORT), listed, False),
        "nwtg_released": (lists.nwtg_as_released(watch), listed, True),
        "neg_released": (lists.neg_as_released(explicit), gave, True),
        "zero_share": (lists.none(explicit), gave, True),
    }
    if answers.satisfied is not None:
        found["satisfied"] = (lists.mean(answers.satisfied), round(float(lists.share @ answers.satisfied)), False)
    for name, (values, carried, by_rows) in found.items():
        value, without = lists.averaged(values, GROUPS, by_rows)
        users = int(np.count_nonzero(~np.isnan(values)))
        yield Measure(view.name, name, value, without, users=users, positives=carried, rows=view.rows)


def _scores(view: View, score: NDArray[np.float32], answers: Answers) -> Iterator[Measure]:
    user = view.columns["user"]
    each = metrics.user_xauc(score, answers.watch_time, user)
    found = metrics.grouped_xgauc(score, answers.watch_time, user, GROUPS)
    yield Measure(view.name, "xgauc", *found, users=each.counted, positives=int(each.weight.sum()), rows=view.rows)
    if answers.match is not None:
        found = grouped_rank_correlation(score, answers.match, user_group(user, GROUPS), GROUPS)
        yield Measure(view.name, "score_match", *found, users=len(np.unique(user)), positives=view.rows, rows=view.rows)
