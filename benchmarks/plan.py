"""Which cells a profile needs: for every row of every task a study (where there is something to search), then the seeds.

A line is one row of one task. It knows its next cells as far as finished records allow: before its study ends, its final cells are
"after the study". `Planner.advance` is called again whenever a trial has finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.errors import DataMissing, UsageError, unknown
from ..core.params import Space
from ..core.runner import Runner
from ..core.seeds import derive
from . import search
from .benchmark import Benchmark, Profile, Row, TaskSpec, Timing
from .cell import Job, Kind
from .identity import closure, digest, versions
from .prepared import Prepared, prepare
from .store import Record, Store


@dataclass(frozen=True)
class Overrides:
    """What the command line changes in a profile.

    set: row key -> {parameter: value}; searched: the rows that trials, sampler, pruner and spaces are meant for (none: all).
    """

    seeds: int | None = None
    trials: int | None = None
    set: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sampler: str | None = None
    pruner: str | None = None
    spaces: Mapping[str, Space] = field(default_factory=dict)
    searched: tuple[str, ...] = ()

    def search(self, row: str) -> bool:
        """Whether the search of this row is the one that is changed."""
        return not self.searched or row in self.searched


@dataclass(frozen=True)
class Cell:
    """A planned cell: where its record lies, how to compute it, and which cells must be there before it."""

    path: str
    facts: Mapping[str, Any]
    job: Job
    parents: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which cells a run executes (what they need comes with them); empty means all. finals: False for a search alone."""

    rows: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    finals: bool = True

    def takes(self, task_dataset: str, row: str) -> bool:
        return (not self.rows or row in self.rows) and (not self.datasets or task_dataset in self.datasets)

    @property
    def whole(self) -> bool:
        return self.finals and not self.rows and not self.datasets


class Line:
    """One row of one task, from its first trial to its last seed."""

    def __init__(self, planner: Planner, row: Row, task: TaskSpec, prepared: Prepared) -> None:
        self.planner, self.row, self.task, self.prepared = planner, row, task, prepared
        self.trials: list[Cell] = []
        self.rechecks: list[list[Cell]] = []
        self.finals: list[Cell] = []
        self.tried: list[search.Tried] = []
        self.best: int | None = None
        self.chosen: dict[str, Any] | None = None
        self.hole: str | None = None

    @cached_property
    def pinned(self) -> dict[str, Any]:
        return {**self.row.pinned, **self.planner.set.get(self.row.key, {})}

    @cached_property
    def search_settings(self) -> tuple[int, str, str]:
        """Trials, sampler and pruner of its study."""
        profile, asked = self.planner.profile, self.planner.overrides
        if not asked.search(self.row.key):
            return profile.trials, profile.sampler, profile.pruner
        return asked.trials or profile.trials, asked.sampler or profile.sampler, asked.pruner or profile.pruner

    @cached_property
    def source(self) -> Line | None:
        """The line whose chosen values this one inherits."""
        return self.planner.line(self.task.key, self.row.inherits) if self.row.inherits else None

    @cached_property
    def requires(self) -> tuple[Line, ...]:
        return tuple(self.planner.line(self.task.key, name) for name in self.row.runner.requires)

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """What is searched: the declared spaces without the pinned and the inherited ones."""
        inherited = self.source.row.runner.Params.model_fields if self.source else {}
        declared = self.row.runner.Params.spaces()
        free = {name: space for name, space in declared.items() if name not in self.pinned and name not in inherited}
        asked = self.planner.overrides
        own = {name: space for name, space in asked.spaces.items() if name in self.row.runner.Params.model_fields}
        return {**free, **own} if asked.search(self.row.key) else free

    def cells(self) -> list[Cell]:
        """Every cell known so far."""
        return [*self.trials, *(cell for cells in self.rechecks for cell in cells), *self.finals]

    @cached_property
    def base(self) -> dict[str, Any]:
        """Every value that is not searched, and the default of those that are. Needs the inherited line to be settled."""
        fields = self.row.runner.Params.model_fields
        inherited = {name: value for name, value in (self.source.chosen or {}).items() if name in fields} if self.source else {}
        return self.row.runner.Params.resolve({**inherited, **self.pinned}).model_dump()

    def advance(self) -> list[Cell]:
        """The cells that have become known since the last call."""
        if self.hole or self.finals or not self._settled(self.source) or not all(map(self._settled, self.requires)):
            return []
        if not self.spaces:
            self.chosen = self.base
        elif self.chosen is None:
            fresh = self._search()
            if self.chosen is None:
                return fresh
        return self._final_cells()

    def _settled(self, other: Line | None) -> bool:
        """Whether `other` has chosen; its hole becomes ours."""
        if other is not None and other.hole:
            self.hole = f"needs {other.row.key}: {other.hole}"
        return other is None or other.chosen is not None

    def _search(self) -> list[Cell]:
        profile, store = self.planner.profile, self.planner.store
        records = [store.read(cell.path) for cell in self.trials]
        if not all(records):
            return []
        self.tried = [self._tried(record) for record in records if record]
        if len(self.tried) < self._budget:
            batch = range(len(self.tried), min(len(self.tried) + search.BATCH, self._budget))
            fresh = [self._cell("trial", self._proposal(number), 0, self._thresholds) for number in batch]
            self.trials += fresh
            return fresh
        self.best = search.best_of(self.tried)
        if self.best is None:
            self.hole = "every trial of its study failed"
            return []
        return self._recheck() if profile.recheck and len(self.tried) > 1 else self._choose(self.best)

    @cached_property
    def _budget(self) -> int:
        trials, sampler, _ = self.search_settings
        return min(trials, len(search.grid(self.spaces, self._grids, self.base))) if sampler == "grid" else trials

    @property
    def _thresholds(self) -> dict[int, float]:
        return search.thresholds(self.search_settings[2], self.tried)

    @cached_property
    def _grids(self) -> dict[str, Sequence[Any]]:
        return {each.name: each.grid for each in self.row.runner.Params.declared() if each.grid}

    def _proposal(self, number: int) -> dict[str, Any]:
        study = f"{self.planner.benchmark.name}/{self.task.key}/{self.row.key}"
        default = {name: self.base[name] for name in self.spaces}
        found = search.propose(self.spaces, default, self.search_settings[1], study, number, self.tried, self._grids)
        return {**self.base, **found}

    def _tried(self, record: Record) -> search.Tried:
        result = record["result"]
        values = {name: record["cell"]["params"][name] for name in self.spaces}
        objective = result["metrics"].get(self.planner.benchmark.objective) if result["status"] == "ok" else None
        return search.Tried(values, objective, [tuple(point) for point in result["curve"]], result["status"] == "pruned")

    def _recheck(self) -> list[Cell]:
        """Fit the best settings again on the other tuning seeds, then choose by the mean."""
        profile, store = self.planner.profile, self.planner.store
        ranked = sorted((-t.objective, number) for number, t in enumerate(self.tried) if t.objective is not None)
        best = [number for _, number in ranked[: profile.recheck]]
        if not self.rechecks:
            seeds = range(1, profile.tuning_seeds)
            self.rechecks = [[self._cell("trial", dict(self.trials[n].job.params), seed) for seed in seeds] for n in best]
            return [cell for cells in self.rechecks for cell in cells]
        means: list[tuple[float, int]] = []
        for number, cells in zip(best, self.rechecks, strict=True):
            again = [record for cell in cells if (record := store.read(cell.path))]
            if len(again) < len(cells):
                return []
            values = [self.tried[number].objective, *(self._tried(record).objective for record in again)]
            if all(value is not None for value in values):
                means.append((sum(value for value in values if value is not None) / len(values), -number))
        return self._choose(-max(means)[1]) if means else self._choose(best[0])

    def _choose(self, number: int) -> list[Cell]:
        self.best, self.chosen = number, dict(self.trials[number].job.params)
        return []

    def _final_cells(self) -> list[Cell]:
        assert self.chosen is not None
        self.finals = [self._cell("final", self.chosen, index) for index in range(self.planner.seeds)]
        return self.finals

    def at(self, kind: Kind, index: int) -> Cell:
        """This line's cell of a kind and seed, for a dependent; needs a settled line."""
        if kind == "final" and index < len(self.finals):
            return self.finals[index]
        if kind == "trial" and index == 0 and self.best is not None:
            return self.trials[self.best]
        assert self.chosen is not None
        return self._cell(kind, self.chosen, index)

    def _cell(self, kind: Kind, params: Mapping[str, Any], index: int, thresholds: Mapping[int, float] | None = None) -> Cell:
        parents = tuple(line.at(kind, index) for line in self.requires)
        return self.planner.cell(self, kind, params, index, parents, thresholds or {})


class Planner:
    """A profile's lines over a store. `prepare` progress is said through `say`."""

    def __init__(
        self,
        benchmark: Benchmark,
        profile: Profile,
        store: Store,
        data_home: Path,
        overrides: Overrides | None = None,
        extra: Sequence[type[Runner]] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.benchmark, self.profile, self.store, self.overrides = benchmark, profile, store, overrides or Overrides()
        self.seeds = self.overrides.seeds or profile.seeds
        self.trials = profile.trials if self.overrides.searched else self.overrides.trials or profile.trials
        self.lines: dict[tuple[str, str], Line] = {}
        self.prepared: dict[str, Prepared] = {}
        self.holes: dict[str, DataMissing] = {}
        self.timings: dict[str, Cell] = {}
        self._code: dict[str, tuple[dict[str, str], str]] = {}
        self.rows = {task.key: (*profile.rows[task.key], *(Row(each) for each in extra)) for task in profile.tasks}
        self.set = self._set_values()
        for task in profile.tasks:
            try:
                self.prepared[task.key] = prepare(task, data_home, store, say)
            except DataMissing as hole:
                self.holes[task.key] = hole
                continue
            for row in self.rows[task.key]:
                self.lines[task.key, row.key] = Line(self, row, task, self.prepared[task.key])
        for timing in profile.timings:
            if timing.task.key not in self.holes:
                self.timings[timing.key] = self._timing_cell(timing, prepare(timing.task, data_home, store, say))

    def expected(self) -> int:
        """How many cells the whole plan will have, studies that have not begun included."""
        rechecks = self.profile.recheck * (self.profile.tuning_seeds - 1)
        studies = sum(
            line.search_settings[0] + (rechecks if line.search_settings[0] > 1 else 0)
            for line in self.lines.values()
            if line.spaces
        )
        return studies + self.seeds * len(self.lines) + len(self.timings)

    def _set_values(self) -> dict[str, dict[str, Any]]:
        """`--set`, with texts turned into values of their parameters."""
        known = {row.key: row for rows in self.rows.values() for row in rows}
        found: dict[str, dict[str, Any]] = {}
        for key, values in self.overrides.set.items():
            if key not in known:
                raise unknown("row", key, known)
            params = known[key].runner.Params
            found[key] = {name: params.parse(name, each) if isinstance(each, str) else each for name, each in values.items()}
            params.resolve({**known[key].pinned, **found[key]})
        return found

    def select(self, rows: Sequence[str], datasets: Sequence[str], finals: bool = True) -> Selection:
        """The named rows and datasets; unknown ones are a `UsageError`."""
        for kind, names, known in (
            ("runner", rows, {row.key for listed in self.rows.values() for row in listed}),
            ("dataset", datasets, {task.dataset for task in self.profile.tasks}),
        ):
            for name in names:
                if name not in known:
                    raise unknown(kind, name, known)
        return Selection(tuple(rows), tuple(datasets), finals)

    def line(self, task: str, row: str) -> Line:
        """The line of a row that another row needs."""
        if (task, row) not in self.lines:
            raise UsageError(f"task {task} of {self.benchmark.name} has no row {row!r}, which another row of it needs")
        return self.lines[task, row]

    def advance(self) -> list[Cell]:
        """Every cell that has become known, parents before dependents."""
        fresh: list[Cell] = []
        moved = True
        while moved:
            found = [cell for line in self.lines.values() for cell in line.advance()]
            fresh += found
            moved = bool(found)
        return fresh

    def cell(
        self,
        line: Line,
        kind: Kind,
        params: Mapping[str, Any],
        index: int,
        parents: tuple[Cell, ...],
        thresholds: Mapping[int, float],
    ) -> Cell:
        runner, purpose = line.row.runner, "tuning" if kind == "trial" else "final"
        root = derive(purpose, index)
        code, code_digest = self._code_of(runner, line.task)
        kept = {"parents": {p.facts["runner"]: p.facts["id"] for p in parents}}
        facts: dict[str, Any] = {
            "kind": kind,
            "paper": self.benchmark.name,
            "task": line.task.key,
            "task_fingerprint": line.prepared.fingerprint,
            "dataset": line.task.dataset,
            "runner": runner.name,
            "runner_class": _reference(runner),
            "params": dict(params),
            "seed": {"purpose": purpose, "index": index, "root": root},
            **kept,
            "versions": dict(versions()),
            "threads": 1,
            "keeps_fitted": runner.name in self._parents_of(line.task.key),
        }
        identity = {**facts, "code": code_digest, **({"thresholds": dict(thresholds)} if thresholds else {})}
        facts = {"id": digest(identity), **facts, "code": code}
        path = f"cells/{self.benchmark.name}/{line.task.key}/{runner.name}/{kind}-{index}-{facts['id'][:12]}"
        job = Job(
            kind=kind,
            runner=runner,
            params=dict(params),
            root=root,
            task=line.task,
            folder=line.prepared.folder,
            parents={p.facts["runner"]: (p.job.runner, self.store.folder(p.path) / "fitted") for p in parents if p.job.runner},
            keep_fitted=facts["keeps_fitted"],
            thresholds=dict(thresholds),
            deadline=self.profile.deadline,
        )
        return Cell(path, facts, job, parents)

    def _timing_cell(self, timing: Timing, prepared: Prepared) -> Cell:
        code = closure(timing.measure.partition(":")[0])
        facts: dict[str, Any] = {
            "kind": "timing",
            "paper": self.benchmark.name,
            "task": timing.task.key,
            "task_fingerprint": prepared.fingerprint,
            "dataset": timing.task.dataset,
            "timing": timing.key,
            "params": {"repeats": timing.repeats, **timing.arguments},
            "versions": dict(versions()),
            "threads": 2,
        }
        facts = {"id": digest({**facts, "code": code}), **facts, "code": code}
        path = f"cells/{self.benchmark.name}/{timing.task.key}/timing-{timing.key}-{facts['id'][:12]}"
        job = Job(
            "timing", None, {}, 0, timing.task, prepared.folder, threads=2, timing=timing, deadline=10 * self.profile.deadline
        )
        return Cell(path, facts, job)

    def _parents_of(self, task: str) -> set[str]:
        """The runners whose fitted models somebody on this task starts from; their cells keep them."""
        return {name for row in self.rows[task] for name in row.runner.requires}

    def _code_of(self, runner: type[Runner], task: TaskSpec) -> tuple[dict[str, str], str]:
        key = _reference(runner)
        if key not in self._code:
            code = closure(runner.__module__, type(task).__module__, f"{__package__}.cell")
            self._code[key] = code, digest(code)
        return self._code[key]

    def document(self, exploratory: bool) -> dict[str, Any]:
        """The plan as the report reads it: which record fills which place, and what leaves a hole."""
        return {
            "format": 1,
            "paper": self.benchmark.name,
            "profile": self.profile.name,
            "seeds": self.seeds,
            "trials": self.trials,
            "overrides": {"set": self.set},
            "exploratory": exploratory,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "tasks": [self._task_document(task) for task in self.profile.tasks],
            "lines": [self._line_document(line) for line in self.lines.values()],
            "timings": [
                {
                    "key": each.key,
                    "title": each.title,
                    "note": each.note,
                    "record": self.timings[each.key].path if each.key in self.timings else None,
                }
                for each in self.profile.timings
            ],
        }

    def _task_document(self, task: TaskSpec) -> dict[str, Any]:
        hole = self.holes.get(task.key)
        ready = self.prepared.get(task.key)
        return {
            "key": task.key,
            "dataset": task.dataset,
            "scope": task.scope,
            "labels": dict(task.labels),
            "facts": dict(task.facts(ready.folder)) if ready else {},
            "fingerprint": ready.fingerprint if ready else None,
            "hole": {"reason": str(hole), "command": hole.command} if hole else None,
        }

    def _line_document(self, line: Line) -> dict[str, Any]:
        row, run = line.row, f"craftbench run {self.benchmark.name} --profile {self.profile.name} --runner {line.row.key}"
        study = None
        if line.spaces:
            space = {
                name: {**vars(each), "choices": list(each.choices) if each.choices else None} for name, each in line.spaces.items()
            }
            rechecks = [cell.path for cells in line.rechecks for cell in cells]
            trials, (_, sampler, pruner) = [cell.path for cell in line.trials], line.search_settings
            study = {
                "space": space,
                "sampler": sampler,
                "pruner": pruner,
                "trials": trials,
                "rechecks": rechecks,
                "best": line.best,
            }
        return {
            "task": line.task.key,
            "row": row.key,
            "title": row.title,
            "role": row.role,
            "differs": row.differs,
            "runner": row.runner.name,
            "runner_class": _reference(row.runner),
            "reference": row.runner.reference,
            "pinned": line.pinned,
            "inherits": row.inherits,
            "hole": {"reason": line.hole, "command": f"{run} --retry failed"} if line.hole else None,
            "study": study,
            "chosen": line.chosen,
            "settings": self._settings(line),
            "finals": [cell.path for cell in line.finals] or [None] * self.seeds,
            "command": run,
        }

    def _settings(self, line: Line) -> list[dict[str, Any]]:
        inherited = line.source.row.runner.Params.model_fields if line.source else {}
        forced = self.set.get(line.row.key, {})

        def source(name: str) -> str:
            for label, names in (
                ("--set", forced),
                ("pinned", line.row.pinned),
                ("searched", line.spaces),
                ("inherited", inherited),
            ):
                if name in names:
                    return label
            return "default"

        return [
            {
                "name": each.name,
                "value": (line.chosen or {}).get(each.name),
                "default": each.default,
                "searched": each.name in line.spaces,
                "source": source(each.name),
                "grid": list(each.grid),
                "help": each.help,
            }
            for each in line.row.runner.Params.declared()
        ]

    def write(self) -> None:
        """Leave the plan in the store, for the report."""
        path = f"plans/{self.benchmark.name}.{self.profile.name}.json"
        file = self.store.folder(path)
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        self.store.write_plain(path, json.dumps(self.document(before is not None and self._exploratory(before)), indent=1))

    def _exploratory(self, before: Mapping[str, Any]) -> bool:
        """Seeds were added after a result with fewer could be looked at."""
        seen = any(path and self.store.read(path) for line in before["lines"] for path in line["finals"])
        return bool(seen and (self.seeds > before["seeds"] or (before["exploratory"] and self.seeds == before["seeds"])))


def _reference(runner: type[Runner]) -> str:
    return f"{runner.__module__}:{runner.__qualname__}"
