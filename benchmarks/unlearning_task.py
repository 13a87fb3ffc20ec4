"""The unlearning task as a benchmark declares it: a dataset, a request, a backbone; and its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.metrics.classification import auc, grouped_auc
from ..core.metrics.groups import user_group
from ..core.task import Interactions, Predictions, UnlearningTask, View
from ..datasets import unlearning
from ..datasets.catalogue import load
from ..datasets.requests import RequestSpec
from .benchmark import Measure, Scope, TaskSpec

GROUPS = 40
_BACKBONES = {"mf": "MF", "lightgcn": "LightGCN", "neumf": "NeuMF", "fm": "FM"}
_KINDS = {"flipped": "labels flipped", "rows": "clean rows", "users": "whole users", "item": "one item", "sequence": "in sequence"}


@dataclass(frozen=True)
class UnlearningSpec(TaskSpec):
    """Views: valid, test, removed (the pairs of D_r) and never_seen (as many pairs of no split).

    Metrics on test: `auc` over all rows, `auc_or` over rows whose user or item is an endpoint of D_r, `auc_and` where both are.
    """

    asks = "ratings"
    dataset: str
    request: RequestSpec
    backbone: str
    scope: Scope
    split: int = 0
    variant: str = ""  # tells apart tasks on the same rows whose rows are pinned otherwise, as "l2-0"

    @property
    def key(self) -> str:
        """As in "ml-100k/mf/flipped-0.02"; a further split and a variant are named."""
        further = [f"split-{self.split}"] if self.split else []
        return "/".join([self.dataset, self.backbone, self.request.name, *further, *([self.variant] if self.variant else [])])

    @property
    def labels(self) -> Mapping[str, str]:
        share = "" if self.request.kind == "item" else f"{100 * self.request.share:g} % "
        return {
            "dataset": self.dataset,
            "model": _BACKBONES[self.backbone],
            "request": share + _KINDS[self.request.kind],
            "share": f"{100 * self.request.share:g}",
            **({"split": str(self.split)} if self.split else {}),
            **({"variant": self.variant} if self.variant else {}),
        }

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        dataset = load(self.dataset, data_home)
        return {"dataset": dataset.fingerprint, "rule": dataset.positive_above, "request": self.request.name, "split": self.split}

    def prepare(self, data_home: Path, folder: Path) -> str:
        tables = unlearning.prepare(load(self.dataset, data_home), self.request, self.split)
        return unlearning.write(tables, folder)

    def open(self, folder: Path) -> UnlearningTask:
        return unlearning.read_open(folder).task(self.backbone)

    def views(self, folder: Path) -> Sequence[View]:
        tables = unlearning.read_open(folder)
        removed = tables.train[tables.removed]
        return [
            unlearning.Pairs(tables.valid.user, tables.valid.item).view("valid"),
            tables.test.view("test"),
            unlearning.Pairs(removed.user, removed.item).view("removed"),
            tables.never_seen.view("never_seen"),
        ]

    def facts(self, folder: Path) -> Mapping[str, float]:
        return {name: value for name, value in unlearning.read_open(folder).facts.items() if isinstance(value, int | float)}

    def known(self, folder: Path, view: str) -> Mapping[str, NDArray[Any]]:
        """The labels that the removed rows were trained with."""
        tables = unlearning.read_open(folder)
        return {"label": tables.train.label[tables.removed]} if view == "removed" else {}

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        score = predictions["score"]
        if view.name == "valid":
            label = unlearning.read_open(folder).valid.label
            return [Measure("valid", "auc", auc(score, label), rows=len(label), positives=int(label.sum()))]
        if view.name == "test":
            return list(self._test(folder, view, score))
        return []

    def _test(self, folder: Path, view: View, score: NDArray[Any]) -> Iterator[Measure]:
        tables = unlearning.read_open(folder)
        label, user = unlearning.read_hidden(folder), view.columns["user"]
        group = user_group(user, GROUPS)
        either, both = _touched(tables.train[tables.removed], view)
        for metric, rows in (("auc", np.ones(len(label), dtype=bool)), ("auc_or", either), ("auc_and", both)):
            value, leave_out = grouped_auc(score[rows], label[rows], group[rows], GROUPS)
            users, positives = len(np.unique(user[rows])), int(label[rows].sum())
            yield Measure("test", metric, value, leave_out, users=users, positives=positives, rows=int(rows.sum()))


def _touched(removed: Interactions, view: View) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each row of `view`: is its user or its item an endpoint of a removed row; are both."""
    users, items = np.zeros(removed.users, dtype=bool), np.zeros(removed.items, dtype=bool)
    users[removed.user], items[removed.item] = True, True
    by_user, by_item = users[view.columns["user"]], items[view.columns["item"]]
    return by_user | by_item, by_user & by_item
