"""What the store holds about a plan: the plan file itself, and every column of every row, seed by seed."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load

from ..benchmarks.benchmark import Averaged, Benchmark, Column, Derived, Given, Profile
from ..benchmarks.store import Damaged, Record, Store
from ..core.errors import UsageError
from ..core.metrics.groups import user_group
from ..core.statistics import Estimate, difference, ratio, summary
from .shapes import THIN

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One column of one row on one task. values: one per planned seed, None where no sound record gives it.

    leave_out: (seeds with a value, groups) or None; users, positives: the fewest that carry a seed's value, None where unknown.
    """

    values: tuple[float | None, ...] = ()
    leave_out: Floats | None = None
    users: int | None = None
    positives: int | None = None
    paths: tuple[str, ...] = ()

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed, value in enumerate(self.values) if value is not None)

    def zero(self) -> Series:
        """The same seeds with nothing in them, to compare a row with no other."""
        without = None if self.leave_out is None else np.zeros_like(self.leave_out)
        return Series(tuple(None if each is None else 0.0 for each in self.values), without, paths=self.paths)

    def at(self, seeds: tuple[int, ...]) -> tuple[Floats, Floats | None]:
        """The values of these seeds, and their leave-outs."""
        places = [self.seeds.index(seed) for seed in seeds]
        leave_out = None if self.leave_out is None else self.leave_out[places]
        return np.array([self.values[seed] for seed in seeds], dtype=np.float64), leave_out


def estimate(series: Series) -> Estimate | None:
    """Mean and errors of one cell, or None where no seed has a value."""
    return summary(*series.at(series.seeds)) if series.seeds else None


def contrast(row: Series, other: Series, *, as_ratio: bool = False) -> Estimate | None:
    """`row` minus `other` (or over it), over the seeds that both have; None where they share none."""
    seeds = tuple(seed for seed in row.seeds if seed in other.seeds)
    if not seeds:
        return None
    (x, x_without), (y, y_without) = row.at(seeds), other.at(seeds)
    if as_ratio:
        return ratio(x, y) if (x > 0).all() and (y > 0).all() else None
    if x_without is not None and y_without is not None and x_without.shape != y_without.shape:
        x_without = y_without = None
    return difference(x, y, x_without, y_without)


@dataclass(frozen=True)
class _Measured:
    """One metric of one record."""

    value: float
    leave_out: Floats | None
    users: int
    positives: int

    @property
    def carried(self) -> bool:
        """Whether enough users and positives carry it."""
        return min(self.users, self.positives) >= THIN

    @property
    def all(self) -> Floats:
        """The value, then the leave-outs."""
        return np.append(self.value, [] if self.leave_out is None else self.leave_out)


class Evidence:
    """The records behind one plan, read once."""

    def __init__(self, benchmark: Benchmark, store: Store, profile: str) -> None:
        self.benchmark, self.store = benchmark, store
        self.profile: Profile = benchmark.profile(profile)
        self.plan = self._plan()
        self.tasks: dict[str, dict[str, Any]] = {task["key"]: task for task in self.plan["tasks"]}
        self.lines = {(line["task"], line["row"]): line for line in self.plan["lines"]}
        tabled = {column.key: column for table in benchmark.tables for column in table.columns}
        self.columns: dict[str, Column] = tabled
        self._tables: dict[str, dict[tuple[str, str], _Measured]] = {}
        self._predictions: dict[str, dict[str, dict[str, NDArray[np.generic]]]] = {}
        self._groups: dict[tuple[Path, str], NDArray[np.int64] | None] = {}
        self._series: dict[tuple[str, str, str], Series] = {}

    def record(self, path: str | None) -> Record | None:
        return self.store.read(path) if path else None

    def command(self, *, row: str = "", task: str = "", profile: str = "") -> str:
        """The command that makes (again) a row on a task's dataset, or the whole profile."""
        words = ["craftbench run", self.benchmark.name, "--profile", profile or self.profile.name]
        if row:
            words += ["--runner", row]
        if task in self.tasks:
            words += ["--dataset", self.tasks[task]["dataset"]]
        return " ".join(words)

    def profile_with(self, row: str, task: str = "") -> str:
        """The first profile that has this row (on this task), or this one."""
        for name, profile in self.benchmark.profiles.items():
            rows = [each.key for key, listed in profile.rows.items() if task in ("", key) for each in listed]
            if row in rows:
                return name
        return self.profile.name

    def declared(self, row: str) -> dict[str, Any]:
        """Title, role and deviation of a row that this profile does not have, from one that does."""
        for profile in self.benchmark.profiles.values():
            for each in (each for rows in profile.rows.values() for each in rows if each.key == row):
                return {"title": each.title, "role": each.role, "differs": each.differs}
        return {"title": row, "role": "baseline", "differs": ""}

    def title(self, task: str, row: str) -> str:
        """What a table calls a row of a task."""
        line = self.lines.get((task, row)) or self.declared(row)
        return line["title"]

    def series(self, task: str, row: str, key: str) -> Series:
        """A column of a row on a task. Keys as in `Column`; "timing/KEY" takes `row` for a step of a timing cell."""
        place = (task, row, key)
        if place not in self._series:
            self._series[place] = self._timed(row, key) if key.startswith("timing/") else self._read(task, row, key)
        return self._series[place]

    def _read(self, task: str, row: str, key: str) -> Series:
        line = self.lines.get((task, row))
        if line is None:
            return Series()
        column = self.columns.get(key)
        found: list[_Measured | None] = []
        for seed, path in enumerate(line["finals"]):
            record = self.record(path)
            if record is None or record["result"]["status"] != "ok":
                found.append(None)
            elif isinstance(column, Derived):
                found.append(self._derived(column, task, path, seed))
            elif isinstance(column, Averaged):
                found.append(self._averaged(column, path, self._final(task, column.over, seed)))
            else:
                found.append(self._measured(path, record, key))
        found = [None if each is None or not math.isfinite(each.value) else each for each in found]
        present = [each for each in found if each is not None]
        without = [each.leave_out for each in present]
        same = all(each is not None and len(each) == len(without[0]) for each in without if without[0] is not None)
        stacked = np.stack([each for each in without if each is not None]) if present and same and without[0] is not None else None
        users = [each.users for each in present if each.users]
        positives = [each.positives for each in present if each.users]
        return Series(
            tuple(None if each is None else each.value for each in found),
            stacked,
            min(users, default=None),
            min(positives, default=None),
            tuple(path or "" for path in line["finals"]),
        )

    def _timed(self, step: str, key: str) -> Series:
        timing = next((each for each in self.plan.get("timings", []) if f"timing/{each['key']}" == key), None)
        record = self.record(timing["record"]) if timing else None
        seconds = record["provenance"].get("timings", {}).get(step, []) if record else []
        return Series(tuple(seconds), paths=(timing["record"],) * len(seconds) if timing else ())

    def _measured(self, path: str, record: Record, key: str) -> _Measured | None:
        if key.startswith("time/"):
            name, provenance = key.removeprefix("time/"), record["provenance"]
            seconds = provenance["seconds"] if name == "fit" else provenance.get("clocks", {}).get(name)
            return None if seconds is None else _Measured(float(seconds), None, 0, 0)
        view, _, metric = key.partition("/")
        if view == "note":
            noted = record["result"]["notes"].get(metric)
            return None if noted is None else _Measured(float(noted), None, 0, 0)
        measured = self._metrics(path).get((view, metric))
        if measured is not None:
            return measured
        value = record["result"].get("metrics", {}).get(key)
        return None if value is None else _Measured(float(value), None, 0, 0)

    def _metrics(self, path: str) -> dict[tuple[str, str], _Measured]:
        if path not in self._tables:
            data = self.store.sibling(path, "metrics.parquet")
            self._tables[path] = {} if data is None else _by_metric(pd.read_parquet(io.BytesIO(data)))
        return self._tables[path]

    def _averaged(self, column: Averaged, path: str, base: str | None) -> _Measured | None:
        """The mean over metrics, or over gains on those of the record `base`; None where `base` is missing."""
        if column.over and base is None:
            return None
        own = self._metrics(path)
        carried = {key: each.all for key, each in own.items() if each.carried and "/".join(key).startswith(column.prefix)}
        if base is not None:
            carried = {key: 100 * (mine / self._metrics(base)[key].all - 1) for key, mine in carried.items()}
        if not carried:
            return None
        mean = np.mean(list(carried.values()), axis=0)
        return _Measured(float(mean[0]), mean[1:] if len(mean) > 1 else None, 0, 0)

    def _derived(self, column: Derived, task: str, path: str, seed: int) -> _Measured | None:
        """The column from the stored predictions of this row and of those that it needs; None where one of them is missing."""
        own = self._predicted(path)
        against, start = (self._predicted(self._final(task, row, seed)) for row in (column.against, column.start))
        others = range(len(self.lines.get((task, column.shadows), {}).get("finals", [])))
        shadows = [self._predicted(self._final(task, column.shadows, other)) for other in others if other != seed]
        if not own or (column.against and not against) or (column.start and not start):
            return None
        if column.shadows and (len(shadows) < 2 or not all(shadows)):
            return None
        group = {view: found for view in own if (found := self._grouped(task, view)) is not None}
        given = Given(own, against, start, shadows, group, lambda view: self._known(task, view))
        assert column.compute is not None
        value, leave_out = column.compute(given)
        return _Measured(float(value), None if leave_out is None else np.asarray(leave_out, dtype=np.float64), 0, 0)

    def _final(self, task: str, row: str, seed: int) -> str | None:
        finals = self.lines.get((task, row), {}).get("finals", [])
        path = finals[seed] if seed < len(finals) else None
        record = self.record(path)
        return path if record is not None and record["result"]["status"] == "ok" else None

    def _predicted(self, path: str | None) -> dict[str, dict[str, NDArray[np.generic]]]:
        if path is None:
            return {}
        if path not in self._predictions:
            data = self.store.sibling(path, "predictions.safetensors")
            by_view: dict[str, dict[str, NDArray[np.generic]]] = {}
            for name, values in ({} if data is None else load(data)).items():
                view, _, array = name.rpartition("/")
                by_view.setdefault(view, {})[array] = values
            self._predictions[path] = by_view
        return self._predictions[path]

    def _grouped(self, task: str, view: str) -> NDArray[np.int64] | None:
        """The group of users of each row of a view, or None where the view has no users."""
        tables = self._folder(task)
        if tables is None:
            return None
        if (tables, view) not in self._groups:
            file = tables / f"{view}.parquet"
            users = pd.read_parquet(file, columns=["user"])["user"].to_numpy() if file.exists() else None
            self._groups[tables, view] = None if users is None else user_group(users)
        return self._groups[tables, view]

    def _folder(self, task: str) -> Path | None:
        """The folder of a task's prepared tables; an older plan names none but by the fingerprint."""
        planned = self.tasks.get(task, {})
        name = planned.get("tables") or planned.get("fingerprint")
        return self.store.folder(f"tasks/{name}") if name else None

    def _known(self, task: str, view: str) -> Mapping[str, NDArray[Any]]:
        declared = next(each for each in self.profile.tasks if each.key == task)
        tables = self._folder(task)
        assert tables is not None  # it has predictions
        return declared.known(tables, view)

    def _plan(self) -> dict[str, Any]:
        name, profile = self.benchmark.name, self.profile.name
        try:
            return self.store.plain(f"plans/{name}.{profile}.json") or unplanned(self.profile)
        except Damaged as error:
            raise UsageError(f"{error} in {self.store.root}; run: craftbench run {name} --profile {profile}") from None


def unplanned(profile: Profile) -> dict[str, Any]:
    """The plan of a profile that was never run: every line a hole."""
    tasks = [
        {"key": task.key, "dataset": task.dataset, "scope": task.scope, "labels": dict(task.labels), "facts": {}, "hole": None}
        for task in profile.tasks
    ]
    lines = [
        {
            "task": task,
            "row": row.key,
            "title": row.title,
            "role": row.role,
            "differs": row.differs,
            "runner": row.runner.name,
            "pinned": dict(row.pinned),
            "inherits": row.inherits,
            "finals": [None] * profile.seeds,
            "settings": [],
        }
        for task, rows in profile.rows.items()
        for row in rows
    ]
    timings = [{"key": timing.key, "title": timing.title, "note": timing.note, "record": None} for timing in profile.timings]
    return {"seeds": profile.seeds, "trials": profile.trials, "tasks": tasks, "lines": lines, "timings": timings}


def _by_metric(table: pd.DataFrame) -> dict[tuple[str, str], _Measured]:
    """What a record's table says of each (view, metric): the whole, in group -1, and without each group of users."""
    columns = ("view", "metric", "group", "value", "users", "positives")
    whole: dict[tuple[str, str], tuple[float, int, int]] = {}
    without: dict[tuple[str, str], list[float]] = {}
    rows = table.sort_values("group", kind="stable")
    for view, metric, group, value, users, positives in zip(*(rows[name].tolist() for name in columns), strict=True):
        if group < 0:
            whole.setdefault((view, metric), (value, users, positives))
        else:
            without.setdefault((view, metric), []).append(value)
    return {
        key: _Measured(float(value), np.array(left) if len(left := without.get(key, [])) > 1 else None, int(users), int(positives))
        for key, (value, users, positives) in whole.items()
    }
