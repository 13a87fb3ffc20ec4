"""The next-item benchmark task: a dataset with titles and a protocol; its views and its metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.curves import Curve
from ..core.errors import UsageError
from ..core.metrics.ranking import BINS, bin_shares, hit_rate, ndcg, popularity_bins, ranks
from ..core.task import NextItem, Predictions, View
from ..datasets import sequences
from ..datasets.catalogue import entry_of, load
from ..datasets.dataset import Dataset
from ..datasets.sequences import NextItemTables, Protocol
from ..datasets.sim_titles_worlds import WORLDS
from . import history_use
from .benchmark import Measure, Scope, TaskSpec
from .history_use import averaged

CUTS = (1, 3, 5, 10, 20, 50)
OBJECTIVE = 10
EFFECTS = {"effect": f"{history_use.VIEW}/effect", "words": f"{history_use.VIEW}/word"}  # lines, and what they are made of
EXHAUSTIVE = "exhaustive"
TOKEN_ROWS = 100  # of test whose every token is looked at
UNTITLED = "was prepared without titles, which the next item is named by"


@dataclass(frozen=True)
class NextItemSpec(TaskSpec):
    """Views: valid; test; test-emptied, test-shuffled and test-replaced, the rows of test without history, with theirs in another
    order, and with another user's; tokens and tokens-emptied, the first rows of test and of test-emptied; and test-<decoder> for
    each further decoder. Of a user with several rows a metric is the mean over these.

    On valid: `ndcg_10`. On test and its variants: `hr_K` and `ndcg_K`. On test also `popular_B_K`, the share of the best K items
    that is from bin B (1: the fifth of the items that are taken most rarely in train, 5: most often); the facts `history_bin_B` are
    the shares of the bins in test's histories. `history/...` looks at several views: see `history_use.py`. In a simulated world the
    facts `truth_hr_K` and `truth_ndcg_K` are the ceiling.

    history: the longest; test_rows: see `sequences.prepare`; decoders: beside the exhaustive one; users: a seeded part of them.
    """

    asks = "titles"
    dataset: str
    scope: Scope
    protocol: Protocol = "leave_one_out"
    history: int = 10
    test_rows: int = 200
    decoders: tuple[str, ...] = ()
    users: int | None = None

    @property
    def key(self) -> str:
        """As in "ml-100k/time" and "amazon-games/leave-one-out/5000-users"."""
        return f"{self.dataset}/{self.protocol.replace('_', '-')}" + ("" if self.users is None else f"/{self.users}-users")

    @property
    def labels(self) -> Mapping[str, str]:
        part = {} if self.users is None else {"users": str(self.users)}
        return {"dataset": self.dataset, "protocol": self.protocol.replace("_", " "), "history": str(self.history), **part}

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        settings = {name: getattr(self, name) for name in ("protocol", "history", "test_rows", "users")}
        return {"dataset": self._loaded(data_home).fingerprint, **settings, "decoders": list(self.decoders)}

    def prepare(self, data_home: Path, folder: Path) -> str:
        tables = sequences.prepare(self._loaded(data_home), self.protocol, self.history, self.test_rows, self.users)
        written = sequences.write(replace(tables, facts={**tables.facts, **self._references(tables)}), folder)
        return hashlib.sha256(" ".join([written, *self.decoders]).encode()).hexdigest()  # each decoder is a view

    def open(self, folder: Path) -> NextItem:
        return sequences.read_open(folder).task()

    def views(self, folder: Path) -> Sequence[View]:
        tables = sequences.read_open(folder)
        test, valid = tables.test, tables.valid[np.arange(min(self.test_rows, len(tables.valid)))]
        others = {name: change(test) for name, change in history_use.VARIANTS.items()}
        first = slice(0, TOKEN_ROWS)
        return [
            _view("valid", valid.user, valid.history),
            _view("test", test.user, test.history),
            *(_view(f"test-{name}", test.user, history) for name, history in others.items()),
            _view("tokens", test.user[first], test.history[first]),
            _view("tokens-emptied", test.user[first], others["emptied"][first]),
            *(_view(f"test-{decoder}", test.user, test.history, decoder) for decoder in self.decoders),
        ]

    def keeps(self, view: str) -> bool:
        return view.startswith("test")

    def kept(self, folder: Path, view: View, predictions: Predictions) -> Predictions:
        """Of each row's target, int32: `better`, how many items stand before it, and `tied`, how many beside it."""
        found = ranks(predictions["score"], sequences.read_hidden(folder))
        return {"better": found.better.astype(np.int32), "tied": found.tied.astype(np.int32)}

    def known(self, folder: Path, view: str) -> Mapping[str, NDArray[Any]]:
        """user of each row, and length, how many items its history holds."""
        columns = next(each for each in self.views(folder) if each.name == view).columns
        return {"user": columns["user"], "length": np.count_nonzero(columns["history"], axis=1)}

    def facts(self, folder: Path) -> Mapping[str, float]:
        return sequences.read_open(folder).facts

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        if view.name == "valid":
            target = sequences.read_open(folder).valid.target[: view.rows]
            value = ndcg(ranks(predictions["score"], target), OBJECTIVE)
            return [Measure("valid", f"ndcg_{OBJECTIVE}", *averaged(value, view.columns["user"]), rows=view.rows)]
        if not view.name.startswith("test"):
            return []
        found = list(_ranking(view, predictions, sequences.read_hidden(folder)))
        return [*found, *_popularity(view, predictions, sequences.read_open(folder))] if view.name == "test" else found

    def compare(self, folder: Path, predictions: Mapping[str, Predictions]) -> Sequence[Measure]:
        views = {view.name: view for view in self.views(folder)}
        target = sequences.read_hidden(folder)
        return list(history_use.measures(views, predictions, target, WORLDS.get(self.dataset)))

    def draw(self, folder: Path, predictions: Mapping[str, Predictions], measured: Mapping[str, float]) -> Sequence[Curve]:
        """Lines "effect", of the history on the T-th token of the title taken next; "words", in a simulated world on its T-th word;
        and "popular", the share of each bin of popularity among the ten best items."""
        found = [_line(name, metric, measured) for name, metric in EFFECTS.items() if f"{metric}_1" in measured]
        tables = sequences.read_open(folder)
        shown = bin_shares(predictions["test"]["score"], _bins(tables), [OBJECTIVE])[:, 0].mean(axis=0)
        return [*found, Curve.of("popular", "", np.arange(1, BINS + 1), shown)]

    def _loaded(self, data_home: Path) -> Dataset:
        dataset = load(self.dataset, data_home)
        if "titles" not in dataset.tables:
            raise UsageError(f"dataset {self.dataset!r} {UNTITLED}; run: {entry_of(self.dataset).command}")
        return dataset

    def _references(self, tables: NextItemTables) -> dict[str, float]:
        """The shares of the bins in test's histories, and in a simulated world what the truth itself reaches on test."""
        member = _bins(tables)
        items = tables.test.history[tables.test.history > 0]
        found = {f"history_bin_{place + 1}": float(share) for place, share in enumerate(member[items].mean(axis=0))}
        if self.dataset in WORLDS:
            found |= history_use.ceilings(WORLDS[self.dataset], tables, CUTS)
        return found


def _line(name: str, metric: str, measured: Mapping[str, float]) -> Curve:
    places = [place for place in range(1, history_use.POSITIONS + 1) if f"{metric}_{place}" in measured]
    return Curve.of(name, "", places, [measured[f"{metric}_{place}"] for place in places])


def _view(name: str, user: NDArray[np.int64], history: NDArray[np.int64], decoder: str = EXHAUSTIVE) -> View:
    return View(name, {"user": user, "history": history}, decoder)


def _bins(tables: NextItemTables) -> NDArray[np.float64]:
    """Which bin of popularity each item is in, by how often it is a target in train."""
    return popularity_bins(np.bincount(tables.train.target, minlength=len(tables.titles)), BINS)


def _ranking(view: View, predictions: Predictions, target: NDArray[np.int64]) -> Iterator[Measure]:
    """hr_K and ndcg_K, with everybody and without each group of users."""
    found, user = ranks(predictions["score"], target), view.columns["user"]
    counted = {"users": len(np.unique(user)), "positives": view.rows, "rows": view.rows}
    for name, metric in (("hr", hit_rate), ("ndcg", ndcg)):
        for k in CUTS:
            yield Measure(view.name, f"{name}_{k}", *averaged(metric(found, k), user), **counted)


def _popularity(view: View, predictions: Predictions, tables: NextItemTables) -> Iterator[Measure]:
    cuts = [k for k in CUTS if k < len(tables.titles)]
    share, user = bin_shares(predictions["score"], _bins(tables), cuts), view.columns["user"]
    for place, k in enumerate(cuts):
        for each in range(share.shape[2]):
            value = averaged(share[:, place, each], user)
            yield Measure(
                view.name, f"popular_{each + 1}_{k}", *value, users=len(np.unique(user)), positives=view.rows, rows=view.rows
            )
