"""From a short-video log to the tables of one multi-task task, in two parts: open, and hidden.

    folder/open/{train,valid,test}_inputs.parquet   categorical fields (int64, 0: unseen in train), then dense inputs (float32)
    folder/open/{train,valid}_labels.parquet        one column a task
    folder/open/{train,valid,test}_shown.parquet    row, user, duration; watch_time (train, valid); meta (train)
    folder/open/<fresh>_{inputs,shown}.parquet      inputs; user, duration: of rows that no log holds
    folder/hidden/test_labels.parquet               one column a task, and watch_time
    folder/facts.json, manifest.json                counts for the table of data sets; hashes

Inputs are what is known when an impression is shown (`encoding.py`): who, what, when, features that do not change, and how often
this user and this video gave each kind of feedback in train (out of fold). No feedback of the impression itself, no watch time, and
no statistic that saw a later part. Whoever reads the open part touches no byte of the hidden one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.task import Impressions, MultiTask, View
from .dataset import Dataset
from .encoding import KNOWN, Encoder, Inputs, Labels
from .impressions import validate
from .manifest import Folder, fingerprint, write_folder
from .multitask_rule import PARTS, MultiTaskRule, labels_of, rule_of, sevenths

HIDDEN = "hidden/test_labels"


@dataclass(frozen=True)
class Shown:
    """What stands beside a part's rows and is no input; (N,) each.

    row: int64, the place in the dataset's table of impressions; user: int64, the log's own id, to group by; duration: float32,
    seconds; watch_time: float32, seconds (None where it is hidden).
    """

    row: NDArray[np.int64]
    user: NDArray[np.int64]
    duration: NDArray[np.float32]
    watch_time: NDArray[np.float32] | None


@dataclass(frozen=True)
class Hidden:
    """What test is scored against; float32 (M,) each."""

    label: Labels
    watch_time: NDArray[np.float32]


@dataclass(frozen=True)
class Fresh:
    """Rows that no log holds, to be scored as a test row is: inputs; user: int64 (N,); duration: float32 (N,), seconds."""

    inputs: Inputs
    user: NDArray[np.int64]
    duration: NDArray[np.float32]

    def view(self, name: str) -> View:
        """The inputs, and `user` to group by."""
        return View(name, {**self.inputs, "user": self.user})


@dataclass(frozen=True)
class MultiTaskTables:
    """One multi-task task's tables.

    train: the rows of train and of meta, in the log's order; meta: bool (N,), which of them are meta; test: inputs only;
    shown: by part (train, valid, test); fields: categorical inputs with the size of their vocabulary (0: unseen); dense: numeric
    inputs; hidden: None where only the open part was read; facts: counts for the table of data sets; fingerprint: of the content
    of all tables, hidden ones included; fresh: rows of no log by name, empty where they were not asked for or not read.
    """

    name: str
    tasks: tuple[str, ...]
    fields: Mapping[str, int]
    dense: tuple[str, ...]
    train: Impressions
    meta: NDArray[np.bool_]
    valid: Impressions
    test: Inputs
    shown: Mapping[str, Shown]
    hidden: Hidden | None
    facts: dict[str, Any]
    fingerprint: str
    fresh: Mapping[str, Fresh] = field(default_factory=dict[str, Fresh])

    def task(self) -> MultiTask:
        """What a runner is given."""
        return MultiTask(self.name, self.train, self.valid, self.tasks, self.fields, self.dense)

    def view(self, part: str) -> View:
        """The rows of a part (train, valid, test) to be scored: the inputs, and `user` to group by."""
        inputs = {"train": self.train.inputs, "valid": self.valid.inputs, "test": self.test}[part]
        return View(part, {**inputs, "user": self.shown[part].user})


def prepare(
    dataset: Dataset, rule: MultiTaskRule | None = None, fresh: Mapping[str, pd.DataFrame] | None = None
) -> MultiTaskTables:
    """The task that `rule` (None: the dataset's own) makes of a log.

    fresh: by name, rows with user_id, item_id, time and duration that are to be scored as well, as the candidates of a closed loop.

    Raises UsageError for a log that is not as `impressions.py` says, whose days do not cover the split, that cannot tell a task, or
    in whose train a task has one class only.
    """
    rule = rule or rule_of(dataset)
    validate(dataset.impressions, f"table impressions of dataset {dataset.name!r}")
    table, row = _scene(dataset, rule)
    date = table["date"].to_numpy()
    split = rule.split or sevenths(date, dataset.name)
    part = split.parts(date)
    _covered(dataset.name, str(split), date, part)
    fit = part <= 1 if rule.meta_joins else part == 0
    label = {task: labels_of(table, task) for task in rule.tasks}
    _two_classes(dataset.name, label, fit)
    learned = table[[name for name in KNOWN if name in table]][fit]
    answers = {task: values[fit] for task, values in label.items()}
    encoder = Encoder.fit(dataset, learned, answers, rule)
    inputs = encoder.encode(table)
    for name, odds in encoder.out_of_fold(learned, answers).items():
        inputs[name][fit] = odds

    masks = {"train": part <= 1, "valid": part == 2, "test": part == 3}
    parts = {name: Impressions(inputs, label)[mask] for name, mask in masks.items()}
    shown = {name: _shown(table, row, mask) for name, mask in masks.items()}
    watched = shown["test"].watch_time
    assert watched is not None  # _shown always fills it
    tables = MultiTaskTables(
        name=f"{dataset.name}/{len(rule.tasks)}-tasks" + ("" if rule.meta_joins else "/meta apart"),
        tasks=rule.tasks,
        fields=encoder.fields,
        dense=tuple(encoder.odds),
        train=parts["train"],
        meta=part[masks["train"]] == 1,
        valid=parts["valid"],
        test=parts["test"].inputs,
        shown={**shown, "test": Shown(shown["test"].row, shown["test"].user, shown["test"].duration, None)},
        hidden=Hidden(parts["test"].label, watched),
        facts=_facts(dataset, _words(rule, str(split)), table, label, part, encoder),
        fingerprint="",
        fresh={name: _fresh(encoder, rows) for name, rows in (fresh or {}).items()},
    )
    return _sealed(tables)


def _scene(dataset: Dataset, rule: MultiTaskRule) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The impressions of the rule's scene, and their places in the dataset's table."""
    table = dataset.impressions
    if rule.tab is None:
        return table, np.arange(len(table))
    if "tab" not in table:
        raise UsageError(f"dataset {dataset.name!r} has no column 'tab' to keep scene {rule.tab} by; take a rule without one")
    row = np.flatnonzero(table["tab"].to_numpy() == rule.tab)
    return table.iloc[row].reset_index(drop=True), row


def _covered(name: str, split: str, date: NDArray[np.int32], part: NDArray[np.int64]) -> None:
    empty = [PARTS[place] for place in range(len(PARTS)) if not (part == place).any()]
    if empty:
        days = f"its days run from {date.min()} to {date.max()}" if len(date) else "it has none in that scene"
        raise UsageError(f"dataset {name!r} has no impression for {' and '.join(empty)} ({split}): {days}; take a longer log")


def _two_classes(name: str, label: Labels, fit: NDArray[np.bool_]) -> None:
    for task, values in label.items():
        positives = int(values[fit].sum())
        if positives in (0, np.count_nonzero(fit)):
            kind = "no positive" if positives == 0 else "no negative"
            raise UsageError(f"task {task!r} of dataset {name!r} has {kind} in train, so nothing can be learned; leave it out")


def _shown(table: pd.DataFrame, row: NDArray[np.int64], mask: NDArray[np.bool_]) -> Shown:
    user, duration, watch = (table[name].to_numpy()[mask] for name in ("user_id", "duration", "watch_time"))
    return Shown(row[mask], user, duration, watch)


def _fresh(encoder: Encoder, rows: pd.DataFrame) -> Fresh:
    return Fresh(encoder.encode(rows), rows["user_id"].to_numpy(), rows["duration"].to_numpy())


def _facts(
    dataset: Dataset, words: str, table: pd.DataFrame, label: Labels, part: NDArray[np.int64], encoder: Encoder
) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "scope": dataset.provenance.scope,
        "rule": words,
        "tasks": list(label),
        "fields": encoder.fields,
        "dense": list(encoder.odds),
        "impressions": dataset.rows,
        "dropped_other_scenes": dataset.rows - len(table),
        "users": int(table["user_id"].nunique()),
        "items": int(table["item_id"].nunique()),
        **{name: int(np.count_nonzero(part == place)) for place, name in enumerate(PARTS)},
        "notes": list(dataset.provenance.notes),
        "parts": {name: _counts(table, label, part == place) for place, name in enumerate(PARTS)},
    }


def _counts(table: pd.DataFrame, label: Labels, rows: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "rows": int(rows.sum()),
        "users": int(table["user_id"][rows].nunique()),
        "items": int(table["item_id"][rows].nunique()),
        "positives": {task: int(values[rows].sum()) for task, values in label.items()},
    }


def _words(rule: MultiTaskRule, split: str) -> str:
    scene = "" if rule.tab is None else f"tab {rule.tab}; "
    joined = "train and meta together" if rule.meta_joins else "train alone, without meta"
    return f"{scene}by day: {split}; ids and rates from {joined}; rates in {rule.folds} folds, pseudo-count {rule.pseudo:g}"


def _frames(tables: MultiTaskTables) -> dict[str, pd.DataFrame]:
    if tables.hidden is None:
        raise UsageError(f"{tables.name} was read without its hidden part and cannot be written again; prepare it anew")
    inputs = {"train": tables.train.inputs, "valid": tables.valid.inputs, "test": tables.test}
    frames = {f"open/{part}_inputs": pd.DataFrame(columns) for part, columns in inputs.items()}
    frames["open/train_labels"] = pd.DataFrame(tables.train.label)
    frames["open/valid_labels"] = pd.DataFrame(tables.valid.label)
    for part, shown in tables.shown.items():
        frame = pd.DataFrame({"row": shown.row, "user": shown.user, "duration": shown.duration})
        frames[f"open/{part}_shown"] = frame if shown.watch_time is None else frame.assign(watch_time=shown.watch_time)
    frames["open/train_shown"] = frames["open/train_shown"].assign(meta=tables.meta)
    for name, fresh in tables.fresh.items():
        frames[f"open/{name}_inputs"] = pd.DataFrame(fresh.inputs)
        frames[f"open/{name}_shown"] = pd.DataFrame({"user": fresh.user, "duration": fresh.duration})
    frames[HIDDEN] = pd.DataFrame({**tables.hidden.label, "watch_time": tables.hidden.watch_time})
    return frames


def _sealed(tables: MultiTaskTables) -> MultiTaskTables:
    return replace(tables, fingerprint=fingerprint(_frames(tables)))


def write(tables: MultiTaskTables, folder: Path) -> str:
    """Write both parts to `folder`, the manifest last, and return the fingerprint."""
    return write_folder(folder, _frames(tables), {**tables.facts, "name": tables.name})


def read_open(folder: Path) -> MultiTaskTables:
    """Everything but test's labels and watch times, without touching the hidden part; fresh rows are left to `read_fresh`."""
    opened = _opened(folder)
    facts = opened.facts()
    inputs = {part: _columns(opened.table(f"open/{part}_inputs")) for part in ("train", "valid", "test")}
    label = {part: _columns(opened.table(f"open/{part}_labels")) for part in ("train", "valid")}
    frames = {part: _columns(opened.table(f"open/{part}_shown")) for part in ("train", "valid", "test")}
    shown = {part: Shown(frame["row"], frame["user"], frame["duration"], frame.get("watch_time")) for part, frame in frames.items()}
    return MultiTaskTables(
        name=facts.pop("name"),
        tasks=tuple(facts["tasks"]),
        fields=dict(facts["fields"]),
        dense=tuple(facts["dense"]),
        train=Impressions(inputs["train"], label["train"]),
        meta=frames["train"]["meta"],
        valid=Impressions(inputs["valid"], label["valid"]),
        test=inputs["test"],
        shown=shown,
        hidden=None,
        facts=facts,
        fingerprint=opened.fingerprint,
    )


def read_fresh(folder: Path, name: str) -> Fresh:
    """The fresh rows of this name, in their order."""
    opened = _opened(folder)
    shown = _columns(opened.table(f"open/{name}_shown"))
    return Fresh(_columns(opened.table(f"open/{name}_inputs")), shown["user"], shown["duration"])


def read_hidden(folder: Path) -> Hidden:
    """The labels and watch times of the test rows, in their order."""
    columns = _columns(_opened(folder).table(HIDDEN))
    watch_time = columns.pop("watch_time")
    return Hidden(columns, watch_time)


def _columns(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _opened(folder: Path) -> Folder:
    if not Folder.exists(folder):
        raise UsageError(f"{folder} holds no prepared task (no manifest); prepare it again")
    return Folder(folder, "delete the folder and prepare the task again")
