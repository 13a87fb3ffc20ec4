"""The multi-task benchmark task: a short-video dataset, which feedbacks are predicted; and its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.metrics.classification import auc, grouped_auc, grouped_gauc, user_auc
from ..core.metrics.groups import user_group
from ..core.task import MultiTask, Predictions, View
from ..datasets import multitask
from ..datasets.catalogue import load
from ..datasets.dataset import Dataset
from ..datasets.entries import Recorded, Simulated
from ..datasets.multitask_rule import VIEWS, MultiTaskRule, rule_of
from ..datasets.sim_video_worlds import WORLDS
from .benchmark import Measure, Scope, TaskSpec
from .simulated_week import VIEW, week_of

GROUPS = 40
TITLES = {
    "ev": "EV",
    "lv": "LV",
    "cv": "CV",
    "like": "Like",
    "follow": "Follow",
    "forward": "Forward",
    "profile_enter": "ProfileEnter",
    "comment": "Comment",
}


@dataclass(frozen=True)
class MultiTaskSpec(TaskSpec):
    """Views: valid, test, and for a simulated dataset loop. On test a task k has `auc_k` and `gauc_k` (users weighted by their
    impressions); on valid: `auc`, the mean of the tasks' AUCs; on loop what a week under the frozen model brings
    (`simulated_week.py`).

    tasks: the labels to predict.
    """

    asks = "impressions"
    dataset: str
    scope: Scope
    tasks: tuple[str, ...]

    @property
    def key(self) -> str:
        """As in "sim-video/6-tasks"."""
        return f"{self.dataset}/{len(self.tasks)}-tasks"

    @property
    def labels(self) -> Mapping[str, str]:
        return {
            "dataset": self.dataset,
            "tasks": str(len(self.tasks)),
            "predicts": ", ".join(TITLES[task] for task in self.tasks),
        }

    def on(self, entry: Recorded | Simulated) -> MultiTaskSpec:
        """Of the tasks that its own rule names; where it has none, of the views, which every log can tell."""
        return replace(super().on(entry), tasks=VIEWS if entry.rule is None else entry.rule.tasks)

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        dataset = load(self.dataset, data_home)
        return {"dataset": dataset.fingerprint, "rule": repr(self._rule(dataset))}

    def prepare(self, data_home: Path, folder: Path) -> str:
        dataset = load(self.dataset, data_home)
        if not self._simulated:
            return multitask.write(multitask.prepare(dataset, self._rule(dataset)), folder)
        week = week_of(self.dataset)
        tables = multitask.prepare(dataset, self._rule(dataset), {VIEW: week.rows})
        return multitask.write(replace(tables, facts={**tables.facts, **week.facts()}), folder)

    @property
    def _simulated(self) -> bool:
        return self.dataset in WORLDS

    def _rule(self, dataset: Dataset) -> MultiTaskRule:
        return replace(rule_of(dataset), tasks=self.tasks)

    def open(self, folder: Path) -> MultiTask:
        return multitask.read_open(folder).task()

    def views(self, folder: Path) -> Sequence[View]:
        tables = multitask.read_open(folder)
        loop = [multitask.read_fresh(folder, VIEW).view(VIEW)] if self._simulated else []
        return [tables.view("valid"), tables.view("test"), *loop]

    def keeps(self, view: str) -> bool:
        return view != VIEW

    def facts(self, folder: Path) -> Mapping[str, float]:
        return {name: value for name, value in multitask.read_open(folder).facts.items() if isinstance(value, int | float)}

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        if view.name == "valid":
            label = multitask.read_open(folder).valid.label
            each = [auc(predictions[task], label[task]) for task in label]
            return [Measure("valid", "auc", float(np.nanmean(each)), rows=view.rows)]
        if view.name == VIEW:
            return list(week_of(self.dataset).measures(predictions, self.tasks))
        return list(_test(multitask.read_hidden(folder).label, view, predictions))


def _test(label: Mapping[str, Any], view: View, predictions: Predictions) -> Iterator[Measure]:
    user = view.columns["user"]
    group = user_group(user, GROUPS)
    users = len(np.unique(user))
    for task, truth in label.items():
        positives, score = int(truth.sum()), predictions[task]
        value, leave_out = grouped_auc(score, truth, group, GROUPS)
        yield Measure("test", f"auc_{task}", value, leave_out, users=users, positives=positives, rows=view.rows)
        value, leave_out = grouped_gauc(score, truth, user, GROUPS)
        counted = int(np.isfinite(user_auc(score, truth, user).auc).sum())
        yield Measure("test", f"gauc_{task}", value, leave_out, users=counted, positives=positives, rows=view.rows)
