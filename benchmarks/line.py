"""One row of one task, from its first trial to its last seed.

A line knows its next cells as far as finished records allow: before its study ends, its final cells are "after the study".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..core.params import Space
from . import search
from .benchmark import Row, TaskSpec
from .cell import Job, Kind
from .identity import spelled
from .prepared import Prepared
from .store import Record

if TYPE_CHECKING:
    from .plan import Planner


@dataclass(frozen=True)
class Cell:
    """A planned cell: where its record lies, the row it is for, how to compute it, and which cells must be there before it."""

    path: str
    row: str
    facts: Mapping[str, Any]
    job: Job
    parents: tuple[Cell, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """The task and row of its line."""
        return self.facts["task"], self.row


class Line:
    """A row on a task: its study where there is something to search, then its seeds."""

    def __init__(self, planner: Planner, row: Row, task: TaskSpec, prepared: Prepared) -> None:
        self.planner, self.row, self.task, self.prepared = planner, row, task, prepared
        self.trials: list[Cell] = []
        self.rechecks: list[list[Cell]] = []
        self.finals: list[Cell] = []
        self.tried: list[search.Tried] = []
        self.best: int | None = None
        self.chosen: dict[str, Any] | None = None
        self.hole: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.task.key, self.row.key

    @property
    def settled(self) -> bool:
        """Whether it has chosen its setting, or never will."""
        return self.chosen is not None or self.hole is not None

    @cached_property
    def task_settings(self) -> dict[str, Any]:
        return spelled(self.task)

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
    def needs(self) -> tuple[Line, ...]:
        """The lines that must have chosen before this one can begin."""
        return (*self.requires, *([self.source] if self.source else []))

    @cached_property
    def _asked_spaces(self) -> dict[str, Space]:
        """Spaces that the command line gives for this row."""
        asked, known = self.planner.overrides, self.row.runner.Params.model_fields
        return {name: space for name, space in asked.spaces.items() if name in known} if asked.search(self.row.key) else {}

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """What is searched: the declared spaces without the pinned and the inherited ones."""
        inherited = self.source.row.runner.Params.model_fields if self.source else {}
        declared = self.row.runner.Params.spaces()
        free = {name: space for name, space in declared.items() if name not in self.pinned and name not in inherited}
        return {**free, **self._asked_spaces}

    @cached_property
    def base(self) -> dict[str, Any]:
        """Every value that is not searched, and the default of those that are. Needs the inherited line to be settled."""
        fields = self.row.runner.Params.model_fields
        inherited = {name: value for name, value in (self.source.chosen or {}).items() if name in fields} if self.source else {}
        return self.row.runner.Params.resolve({**inherited, **self.pinned}).model_dump()

    @cached_property
    def budget(self) -> int:
        """How many trials its study takes; a grid may have fewer points."""
        trials, sampler, _ = self.search_settings
        return min(trials, len(search.grid(self.spaces, self._grids, self._default))) if sampler == "grid" else trials

    @cached_property
    def _default(self) -> dict[str, Any]:
        """The first trial."""
        return {name: self.row.start.get(name, self.base[name]) for name in self.spaces}

    @cached_property
    def _grids(self) -> dict[str, Sequence[Any]]:
        """The published grids, where the command line does not ask for another range."""
        declared = self.row.runner.Params.declared()
        return {each.name: each.grid for each in declared if each.grid and each.name not in self._asked_spaces}

    def cells(self) -> list[Cell]:
        """Every cell known so far."""
        return [*self.trials, *(cell for cells in self.rechecks for cell in cells), *self.finals]

    def advance(self) -> list[Cell]:
        """The cells that have become known since the last call."""
        if self.hole or self.finals or not all(map(self._ready, self.needs)):
            return []
        if self.chosen is None:
            fresh = self._search() if self.spaces else self._choose(self.base)
            if self.chosen is None:
                return fresh
        self.finals = [self._cell("final", self.chosen, index) for index in range(self.planner.seeds)]
        return self.finals

    def _ready(self, other: Line) -> bool:
        """Whether `other` has chosen; its hole becomes ours."""
        if other.hole:
            self.hole = f"needs {other.row.key}: {other.hole}"
        return other.chosen is not None

    def _search(self) -> list[Cell]:
        records = [self.planner.record(cell) for cell in self.trials[len(self.tried) :]]
        if not all(records):
            return []
        self.tried += [self._tried(record) for record in records if record]
        if len(self.tried) < self.budget:
            return self._batch()
        self.best = search.best_of(self.tried)
        if self.best is None:
            first = self.planner.record(self.trials[0])
            self.hole = f"every trial of its study failed: {first['result']['reason'] if first else ''}"
            return []
        if self.planner.profile.recheck and len(self.tried) > 1:
            return self._recheck()
        return self._choose(self.trials[self.best].job.params)

    def _batch(self) -> list[Cell]:
        """The next trials, asked for together."""
        _, sampler, pruner = self.search_settings
        study = f"{self.planner.benchmark.name}/{self.task.key}/{self.row.key}"
        thresholds = search.thresholds(pruner, self.tried)
        fresh: list[Cell] = []
        for number in range(len(self.tried), min(len(self.tried) + search.BATCH, self.budget)):
            found = search.propose(self.spaces, self._default, sampler, study, number, self.tried, self._grids)
            fresh.append(self._cell("trial", {**self.base, **found}, 0, thresholds))
        self.trials += fresh
        return fresh

    def _tried(self, record: Record) -> search.Tried:
        result = record["result"]
        values = {name: record["cell"]["params"][name] for name in self.spaces}
        objective = result["metrics"].get(self.planner.benchmark.objective) if result["status"] == "ok" else None
        finite = objective if objective is not None and math.isfinite(objective) else None
        return search.Tried(values, finite, [tuple(point) for point in result["curve"]], result["status"] == "pruned")

    def _recheck(self) -> list[Cell]:
        """Fit the best settings again on the other tuning seeds, then choose by the mean."""
        profile = self.planner.profile
        ranked = sorted((-each.objective, number) for number, each in enumerate(self.tried) if each.objective is not None)
        best = [number for _, number in ranked[: profile.recheck]]
        if not self.rechecks:
            seeds = range(1, profile.tuning_seeds)
            self.rechecks = [[self._cell("trial", self.trials[n].job.params, seed) for seed in seeds] for n in best]
            return [cell for cells in self.rechecks for cell in cells]
        means: list[tuple[float, int]] = []
        for number, cells in zip(best, self.rechecks, strict=True):
            records = [record for cell in cells if (record := self.planner.record(cell))]
            if len(records) < len(cells):
                return []
            values = [self.tried[number].objective, *(self._tried(record).objective for record in records)]
            finite = [value for value in values if value is not None]
            if len(finite) == len(values):
                means.append((sum(finite) / len(finite), -number))
        self.best = -max(means)[1] if means else best[0]
        return self._choose(self.trials[self.best].job.params)

    def _choose(self, params: Mapping[str, Any]) -> list[Cell]:
        self.chosen = dict(params)
        return []

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
