"""The watch-time benchmark task: a short-video dataset, how much of its train part is used; and its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import watch_time as metrics
from ..core.metrics.classification import grouped_auc
from ..core.metrics.groups import user_group
from ..core.metrics.unlearning import grouped_rank_correlation
from ..core.task import Predictions, View, WatchTime
from ..datasets import multitask, watch_time
from ..datasets.catalogue import load
from ..datasets.multitask_rule import rule_of
from ..datasets.sim_video_worlds import WORLDS
from ..datasets.watch_time import Answers
from .benchmark import Measure, Scope, TaskSpec
from .simulated_week import GROUPS, VIEW, week_of
from .watch_time_week import measures, references

FEWEST = 4  # rows of a user whose best half is looked at
LONGER = 3.0  # seconds


@dataclass(frozen=True)
class WatchTimeSpec(TaskSpec):
    """Views: valid, test, random where the dataset has a random log, and for a simulated dataset loop.

    On valid: `xgauc` of the predicted seconds. On test and random, of the predicted seconds: `xauc`, `xgauc`, `mae`, `rmse`,
    `mape`, `mape_median`, `mape_3s` (rows of 3 s and more), `calibration` (predicted over observed total), `auc_ev` (against a
    watch time of at least train's median) and `auc_cv` (against a complete play); of what the head ranks by: `score_xauc`,
    `score_xgauc`; of each user's better half by the fused score (users with at least 4 rows): `top_watch_time` (mean seconds),
    `top_finished` and, in a simulated world, `top_satisfied` (shares). These three stand for an online test and are biased: they
    choose among what another recommender had chosen. In a simulated world also the absolute rank correlation of what the head ranks
    by with the true match, `score_match`, and with the duration, `score_duration`. On loop: what a week under the fused score
    brings (`watch_time_week.py`).

    share: of the train rows.
    """

    asks = "impressions"
    dataset: str
    scope: Scope
    share: float = 1.0

    @property
    def key(self) -> str:
        """As in "sim-video/watch" and "sim-video/watch-5%"."""
        return f"{self.dataset}/watch" + ("" if self.share == 1 else f"-{100 * self.share:g}%")

    @property
    def labels(self) -> Mapping[str, str]:
        """share: in percent."""
        return {"dataset": self.dataset, "share": f"{100 * self.share:g}"}

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        dataset = load(self.dataset, data_home)
        return {"dataset": dataset.fingerprint, "rule": repr(rule_of(dataset)), "share": self.share}

    def prepare(self, data_home: Path, folder: Path) -> str:
        dataset = load(self.dataset, data_home)
        if not self._simulated:
            return multitask.write(watch_time.prepare(dataset, self.share), folder)
        week = week_of(self.dataset)
        tables = watch_time.prepare(dataset, self.share, fresh={VIEW: week.days.rows})
        return multitask.write(replace(tables, facts={**tables.facts, **references(week)}), folder)

    @property
    def _simulated(self) -> bool:
        return self.dataset in WORLDS

    def open(self, folder: Path) -> WatchTime:
        return watch_time.task_of(multitask.read_open(folder))

    def views(self, folder: Path) -> Sequence[View]:
        tables = multitask.read_open(folder)
        loop = [watch_time.fresh_view(multitask.read_fresh(folder, VIEW), VIEW)] if self._simulated else []
        return [watch_time.view_of(tables, part) for part in ("valid", *watch_time.held_out_parts(tables))] + loop

    def keeps(self, view: str) -> bool:
        return view != VIEW

    def facts(self, folder: Path) -> Mapping[str, float]:
        return {name: value for name, value in multitask.read_open(folder).facts.items() if isinstance(value, int | float)}

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        if view.name == VIEW:
            return list(measures(week_of(self.dataset), np.asarray(predictions["fused"], dtype=np.float32)))
        tables = multitask.read_open(folder)
        if view.name == "valid":
            watched = tables.shown["valid"].watch_time
            assert watched is not None  # it is hidden for test alone
            value = metrics.xgauc(predictions["seconds"], watched, view.columns["user"])
            return [Measure("valid", "xgauc", value, rows=view.rows)]
        answers = watch_time.answers(tables, multitask.read_hidden(folder), view.name)
        found = (_ranking, _errors, _views, _chosen, _truth)
        at_least = float(tables.facts["median_watch_time"])
        return [each for part in found for each in part(view, predictions, answers, at_least)]


def _ranking(view: View, predictions: Predictions, answers: Answers, _: float) -> Iterator[Measure]:
    user = view.columns["user"]
    group, users = user_group(user, GROUPS), len(np.unique(user))
    for output, prefix in (("seconds", ""), ("score", "score_")):
        found = metrics.grouped_xauc(predictions[output], answers.watch_time, group, GROUPS)
        yield Measure(view.name, f"{prefix}xauc", *found, users=users, positives=view.rows, rows=view.rows)
        each = metrics.user_xauc(predictions[output], answers.watch_time, user)
        found = metrics.grouped_xgauc(predictions[output], answers.watch_time, user, GROUPS)
        carried = int(each.weight.sum())
        yield Measure(view.name, f"{prefix}xgauc", *found, users=each.counted, positives=carried, rows=view.rows)


def _errors(view: View, predictions: Predictions, answers: Answers, _: float) -> Iterator[Measure]:
    user = view.columns["user"]
    given = predictions["seconds"], answers.watch_time, user_group(user, GROUPS), GROUPS
    found = {
        "mae": metrics.grouped_mae(*given),
        "rmse": metrics.grouped_rmse(*given),
        "mape": metrics.grouped_mape(*given),
        "mape_median": metrics.grouped_median_ape(*given),
        "calibration": metrics.grouped_calibration(*given),
    }
    users = len(np.unique(user))
    for name, (value, without) in found.items():
        yield Measure(view.name, name, value, without, users=users, positives=view.rows, rows=view.rows)
    long = answers.watch_time >= LONGER
    value, without = metrics.grouped_mape(*given, shortest=LONGER)
    users, carried = len(np.unique(user[long])), int(long.sum())
    yield Measure(view.name, "mape_3s", value, without, users=users, positives=carried, rows=view.rows)


def _views(view: View, predictions: Predictions, answers: Answers, at_least: float) -> Iterator[Measure]:
    user = view.columns["user"]
    group, users = user_group(user, GROUPS), len(np.unique(user))
    enough = {"ev": np.float32(at_least), "cv": answers.duration}
    for name, seconds in enough.items():
        label = answers.watch_time >= seconds
        value, without = grouped_auc(predictions["seconds"], label, group, GROUPS)
        yield Measure(view.name, f"auc_{name}", value, without, users=users, positives=int(label.sum()), rows=view.rows)


def _chosen(view: View, predictions: Predictions, answers: Answers, _: float) -> Iterator[Measure]:
    user = view.columns["user"]
    weight, group = better_half(predictions["fused"], user), user_group(user, GROUPS)
    values = {"watch_time": answers.watch_time, "finished": answers.watch_time >= answers.duration, "satisfied": answers.satisfied}
    users, carried = len(np.unique(user[weight > 0])), round(float(weight.sum()))
    for name, each in values.items():
        if each is not None:
            value, without = metrics.grouped_mean(each, group, GROUPS, weight)
            yield Measure(view.name, f"top_{name}", value, without, users=users, positives=carried, rows=view.rows)


def _truth(view: View, predictions: Predictions, answers: Answers, _: float) -> Iterator[Measure]:
    if answers.match is None:
        return
    user, score = view.columns["user"], predictions["score"]
    group, users = user_group(user, GROUPS), len(np.unique(user))
    for name, other in (("match", answers.match), ("duration", answers.duration)):
        value, without = grouped_rank_correlation(score, other, group, GROUPS)
        yield Measure(view.name, f"score_{name}", abs(value), np.abs(without), users=users, positives=view.rows, rows=view.rows)


def better_half(score: NDArray[Any], user: NDArray[Any]) -> NDArray[np.float64]:
    """The weight of each row (N,) among the best floor(n / 2) of its user's n rows, 0 for users with fewer than 4.

    1 or 0, but for rows of equal score where the half ends: they share what is left of it, so no order of rows plays a part.
    """
    index = np.unique(user, return_inverse=True)[1]
    size = np.bincount(index)
    order = np.lexsort((-score, index))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(index[order]) != 0) | (score[order][1:] != score[order][:-1])
    first = np.flatnonzero(new)
    run = np.diff(np.append(first, len(order)))
    whose = index[order][first]
    before = first - (np.cumsum(size) - size)[whose]
    half = np.where(size >= FEWEST, size // 2, 0)[whose]
    weight = np.empty(len(order))
    weight[order] = np.repeat(np.clip((half - before) / run, 0, 1), run)
    return weight
