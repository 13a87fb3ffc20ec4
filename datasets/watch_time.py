"""From a short-video log to the tables of a watch-time task: those of its multi-task task, read with another question.

Rows, split, inputs and folder are those of `multitask.py`: days in order, meta joined to train, fields `user_id`, `item_id`,
`duration_bucket` (and hour, features), and as dense inputs a user's and a video's out-of-fold rates of ev, lv, cv and each explicit
feedback. The answer is the watch time, uncut; explicit feedback is learned beside it. On top come

- `share`: a part of the train rows, drawn once and nested (the first 1 % are among the first 5 %), for learning curves. Inputs,
  vocabularies and rates are learned from these rows alone; valid and test stay.
- the random log, where a dataset has one (table `random`): its rows of the test days and the scene are a second test part,
  "random", that no recommender chose. They are kept behind the test rows; `Shown.row` counts on from the log's own rows.
- for a simulated log, whether a test row truly satisfied, and how well it matched: columns of the hidden table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.seeds import derive
from ..core.task import Impressions, View, Watched, WatchTime
from . import multitask
from .dataset import Dataset
from .impressions import validate
from .multitask import Fresh, Hidden, MultiTaskTables, Shown
from .multitask_rule import VIEWS, MultiTaskRule, rule_of, sevenths

LOGGED, RANDOM = "test", "random"
TRUTH = ("satisfied", "match")


@dataclass(frozen=True)
class Answers:
    """What a test part is scored against, in the order of its view; float32 (M,) each.

    watch_time, duration: seconds; satisfied: 0 or 1, and match: how well user and video truly match; None where the log is no
    simulated one.
    """

    watch_time: NDArray[np.float32]
    duration: NDArray[np.float32]
    satisfied: NDArray[np.float32] | None
    match: NDArray[np.float32] | None


def prepare(
    dataset: Dataset, share: float = 1.0, rule: MultiTaskRule | None = None, fresh: Mapping[str, pd.DataFrame] | None = None
) -> MultiTaskTables:
    """The tables of a watch-time task, for `multitask.write` (which alone knows their fingerprint).

    share: of the train rows, in (0, 1]; rule: None for the dataset's own; fresh: as `multitask.prepare` takes it. Raises UsageError
    as that does, and for another share; few train rows may lack a positive of a rare feedback.
    """
    if not 0 < share <= 1:
        raise UsageError(f"a share of {share:g} of the train rows cannot be kept; give one above 0, and at most 1")
    validate(dataset.impressions, f"table impressions of dataset {dataset.name!r}")
    rule = _settled(dataset, rule or rule_of(dataset))
    rows, origin = _rows(dataset, rule, share)
    tables = multitask.prepare(replace(dataset, tables={**dataset.tables, "impressions": rows}), rule, fresh)
    shown = {part: replace(each, row=origin[each.row]) for part, each in tables.shown.items()}
    name = f"{dataset.name}/watch" + ("" if share == 1 else f"-{100 * share:g}%")
    facts = {**tables.facts, **_facts(dataset, rule, shown[LOGGED]), "share": share}
    return replace(
        tables, name=name, shown=shown, hidden=_with_truth(tables.hidden, dataset, shown[LOGGED]), facts=facts, fingerprint=""
    )


def task_of(tables: MultiTaskTables) -> WatchTime:
    """What a runner is given."""
    feedback = tuple(task for task in tables.tasks if task not in VIEWS)
    train, valid = (
        _watched(rows, tables.shown[part], feedback) for part, rows in (("train", tables.train), ("valid", tables.valid))
    )
    return WatchTime(tables.name, train, valid, feedback, tables.fields, tables.dense)


def _watched(rows: Impressions, shown: Shown, feedback: tuple[str, ...]) -> Watched:
    assert shown.watch_time is not None  # it is hidden for test alone
    return Watched(rows.inputs, {name: rows.label[name] for name in feedback}, shown.watch_time, shown.duration)


def held_out_parts(tables: MultiTaskTables) -> tuple[str, ...]:
    """The parts to be tested on: "test", and "random" where the dataset has a random log."""
    return tuple(part for part in (LOGGED, RANDOM) if _of(tables, part).any())


def view_of(tables: MultiTaskTables, part: str) -> View:
    """The rows of a part (train, valid, test, random): the inputs, `user` to group by, and `seconds_long`."""
    if part not in (LOGGED, RANDOM):
        return _with_duration(tables.view(part), tables.shown[part].duration)
    rows, whole = _of(tables, part), _with_duration(tables.view(LOGGED), tables.shown[LOGGED].duration)
    return View(part, {name: column[rows] for name, column in whole.columns.items()})


def fresh_view(fresh: Fresh, name: str) -> View:
    """Rows of no log, likewise."""
    return _with_duration(fresh.view(name), fresh.duration)


def _with_duration(view: View, duration: NDArray[np.float32]) -> View:
    return View(view.name, {**view.columns, "seconds_long": duration})


def answers(tables: MultiTaskTables, hidden: Hidden, part: str) -> Answers:
    """Of one of `held_out_parts`."""
    rows = _of(tables, part)
    duration = tables.shown[LOGGED].duration[rows]
    truth = {name: hidden.label[name][rows] if name in hidden.label else None for name in TRUTH}
    return Answers(hidden.watch_time[rows], duration, **truth)


def _of(tables: MultiTaskTables, part: str) -> NDArray[np.bool_]:
    """Which of the test rows belong to a test part; bool (M,)."""
    logged = tables.shown[LOGGED].row < tables.facts["impressions"]
    return logged if part == LOGGED else ~logged


def lower_quantile(values: NDArray[Any], share: float) -> float:
    """The least observed value that at least this share of the values does not exceed."""
    place = max(int(np.ceil(share * len(values))) - 1, 0)
    return float(np.partition(values, place)[place])


def _settled(dataset: Dataset, rule: MultiTaskRule) -> MultiTaskRule:
    """The rule with its days written out, so that leaving rows out cannot move them."""
    if rule.split is not None:
        return rule
    table = dataset.impressions
    return replace(rule, split=sevenths(table["date"].to_numpy()[_scene(table, rule)], dataset.name))


def _scene(table: pd.DataFrame, rule: MultiTaskRule) -> NDArray[np.bool_]:
    if rule.tab is None or "tab" not in table:
        return np.ones(len(table), dtype=np.bool_)
    return table["tab"].to_numpy() == rule.tab


def _rows(dataset: Dataset, rule: MultiTaskRule, share: float) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The log with a share of its train rows, then the random log's test days; and their places in the one put behind the other."""
    assert rule.split is not None  # it is settled
    table = dataset.impressions
    kept = np.ones(len(table), dtype=np.bool_)
    train = np.flatnonzero(_scene(table, rule) & (table["date"].to_numpy() < rule.split.valid))
    drawn = np.random.default_rng(derive("watch time", "share")).permutation(len(train))
    kept[train[drawn[int(np.ceil(share * len(train))) :]]] = False
    rows, origin = table if kept.all() else table[kept], np.flatnonzero(kept)
    if RANDOM in dataset.tables:
        free = dataset.tables[RANDOM]
        late = np.flatnonzero(free["date"].to_numpy() >= rule.split.test)
        rows, origin = pd.concat([rows, free.iloc[late]]), np.append(origin, len(table) + late)
    return rows.reset_index(drop=True), origin


def _with_truth(hidden: Hidden | None, dataset: Dataset, test: Shown) -> Hidden | None:
    if hidden is None or "truth" not in dataset.tables:
        return hidden
    truth = {name: dataset.tables["truth"][name].to_numpy()[test.row].astype(np.float32) for name in TRUTH}
    return Hidden({**hidden.label, **truth}, hidden.watch_time)


def _facts(dataset: Dataset, rule: MultiTaskRule, test: Shown) -> dict[str, Any]:
    """Counts of the scene's whole log, without the random one; history: a user's rows in train."""
    assert rule.split is not None  # it is settled
    scene = _scene(dataset.impressions, rule)
    log = dataset.impressions[scene]
    train = log[log["date"] < rule.split.valid]
    history = train["user_id"].value_counts()
    found = [re.match(r"dropped (\d+) ", note) for note in dataset.provenance.notes]
    logged = int((test.row < dataset.rows).sum())
    return {
        "impressions": dataset.rows,
        "samples": len(log),
        "users": int(log["user_id"].nunique()),
        "items": int(log["item_id"].nunique()),
        "actions_per_user_day": len(log) / len(log[["user_id", "date"]].drop_duplicates()),
        "history_mean": float(history.mean()),
        "history_max": int(history.max()),
        "dropped_in_reading": sum(int(each[1]) for each in found if each),
        "dropped_other_scenes": dataset.rows - len(log),
        "test": logged,
        "random_log": len(test.row) - logged,
        "median_watch_time": lower_quantile(train["watch_time"].to_numpy(), 0.5),
    }
