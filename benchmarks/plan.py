"""Which cells a profile needs: for every row of every task a study (where there is something to search), then the seeds.

What a study asks next depends on its finished trials, so a plan grows: `Planner.advance` is called again whenever a trial is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.errors import DataMissing, UsageError, unknown
from ..core.params import Space
from ..core.runner import Runner
from ..core.seeds import derive
from .benchmark import Benchmark, Profile, TaskSpec, Timing
from .cell import Job, Kind
from .identity import closure, digest, reference, spelled, versions
from .line import Cell, Line
from .prepared import Prepared, prepare
from .store import Record, Store

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[str, str]  # task key, row key


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
class Selection:
    """Which cells a run executes (what they need comes with them); empty means all. finals: False for a search alone.

    only: of the final cells those of these (task, row, seed), where it is given.
    """

    rows: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    finals: bool = True
    only: frozenset[tuple[str, str, int]] | None = None

    def takes(self, task_dataset: str, row: str) -> bool:
        return (not self.rows or row in self.rows) and (not self.datasets or task_dataset in self.datasets)

    def takes_final(self, cell: Cell) -> bool:
        """Whether a final cell is run for its own sake."""
        wanted = self.only is None or (*cell.place, cell.facts["seed"]["index"]) in self.only
        return self.finals and wanted and self.takes(cell.facts["dataset"], cell.row)

    @property
    def whole(self) -> bool:
        return self.finals and self.only is None and not self.rows and not self.datasets


class Planner:
    """A profile's lines over a store. `prepare` progress is said through `say`."""

    def __init__(
        self,
        benchmark: Benchmark,
        profile: Profile,
        store: Store,
        data_home: Path,
        overrides: Overrides | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.benchmark, self.profile, self.store, self.overrides = benchmark, profile, store, overrides or Overrides()
        self.data_home = data_home
        self.seeds = self.overrides.seeds or profile.seeds
        self.trials = profile.trials if self.overrides.searched else self.overrides.trials or profile.trials
        self.lines: dict[Place, Line] = {}
        self.prepared: dict[str, Prepared] = {}
        self.holes: dict[str, DataMissing] = {}
        self.timings: dict[str, Cell] = {}
        self.retried: frozenset[Place] = frozenset()  # lines whose failed cells count as not run
        self.rows = {task.key: profile.rows[task.key] for task in profile.tasks}
        self.set = self._set_values()
        self._code: dict[tuple[str, ...], tuple[Mapping[str, str], str]] = {}
        self._kept = {key: {name for row in rows for name in row.runner.requires} for key, rows in self.rows.items()}
        for task in profile.tasks:
            try:
                self.prepared[task.key] = prepare(task, data_home, store, say)
            except DataMissing as hole:
                self.holes[task.key] = hole
                continue
            for row in self.rows[task.key]:
                self.lines[task.key, row.key] = Line(self, row, task, self.prepared[task.key])
        self._dependents: dict[Place, list[Line]] = {}
        for line in self.lines.values():
            for needed in line.needs:
                self._dependents.setdefault(needed.key, []).append(line)
        for timing in profile.timings:
            if timing.task.key not in self.holes:
                self.timings[timing.key] = self._timing_cell(timing, prepare(timing.task, data_home, store, say))

    def expected(self) -> int:
        """How many cells the whole plan will have, studies that have not begun included."""
        again, seeds = self.profile.recheck, self.profile.tuning_seeds - 1
        budgets = [line.search_settings[0] for line in self.lines.values() if line.spaces]
        studies = sum(trials + (min(again, trials) * seeds if trials > 1 else 0) for trials in budgets)
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
            (
                "dataset",
                datasets,
                {task.dataset for task in (*self.profile.tasks, *(timing.task for timing in self.profile.timings))},
            ),
        ):
            for name in names:
                if name not in known:
                    raise unknown(kind, name, known)
        return Selection(tuple(rows), tuple(datasets), finals)

    def needed(self, selection: Selection) -> frozenset[Place]:
        """The selected lines and every line that they start from or inherit from."""
        waiting = [line for line in self.lines.values() if selection.takes(line.task.dataset, line.row.key)]
        found: set[Place] = set()
        while waiting:
            line = waiting.pop()
            if line.key not in found:
                found.add(line.key)
                waiting += line.needs
        return frozenset(found)

    def line(self, task: str, row: str) -> Line:
        """The line of a row that another row needs."""
        if (task, row) not in self.lines:
            raise UsageError(f"task {task} of {self.benchmark.name} has no row {row!r}, which another row of it needs")
        return self.lines[task, row]

    def record(self, cell: Cell) -> Record | None:
        """The record of a cell, if there is one. Where failures are to be run again, one of an earlier run is put aside."""
        record = self.store.read(cell.path)
        if record is None or record["result"]["status"] != "failed" or cell.path in self.store.written:
            return record
        if cell.place not in self.retried:
            return record
        self.store.move(cell.path, "retired")
        return None

    def modules(self) -> tuple[str, ...]:
        """The house's modules of runners and tasks, and what these import, for a backend that loads them once.

        What the modules of other runners do at import is not known to survive a fork.
        """
        house = __name__.partition(".")[0]
        runners = {line.row.runner for line in self.lines.values() if line.row.runner.__module__.partition(".")[0] == house}
        own = {each.__module__ for each in (*runners, *map(type, self.profile.tasks))}
        return tuple(sorted(own.union(*(runner.imports for runner in runners))))

    def advance(self, places: Iterable[Place] | None = None) -> list[Cell]:
        """Every cell that has become known, parents before dependents; `places`: the lines that may have moved (none: all)."""
        waiting = deque(self.lines.values() if places is None else [self.lines[place] for place in places])
        fresh: list[Cell] = []
        while waiting:
            line = waiting.popleft()
            if line.hole or line.finals:
                continue
            cells = line.advance()
            fresh += cells
            if line.settled:
                waiting += self._dependents.get(line.key, ())
            elif cells:  # its next trials may be recorded already
                waiting.append(line)
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
        """A cell of a line, with the identity that follows from everything that determines its result."""
        runner, task, purpose = line.row.runner, line.task, "tuning" if kind == "trial" else "final"
        root = derive(purpose, index)
        code, code_digest = self._code_of(runner, task)
        facts: dict[str, Any] = {
            "kind": kind,
            "paper": self.benchmark.name,
            "task": task.key,
            "task_fingerprint": line.prepared.fingerprint,
            "task_settings": line.task_settings,
            "dataset": task.dataset,
            "runner": runner.name,
            "runner_class": reference(runner),
            "params": dict(params),
            "seed": {"purpose": purpose, "index": index, "root": root},
            "parents": {parent.facts["runner"]: parent.facts["id"] for parent in parents},
            "versions": dict(versions()),
            "threads": 1,
            "keeps_fitted": runner.name in self._kept[task.key],
            **({"thresholds": {str(step): value for step, value in thresholds.items()}} if thresholds else {}),
        }
        facts = {"id": digest({**facts, "code": code_digest}), **facts, "code": code}
        path = f"cells/{self.benchmark.name}/{task.key}/{runner.name}/{kind}-{index}-{facts['id'][:12]}"
        job = Job(
            kind=kind,
            runner=runner,
            params=dict(params),
            root=root,
            task=task,
            folder=line.prepared.folder,
            parents={p.facts["runner"]: (p.job.runner, self.store.folder(p.path) / "fitted") for p in parents if p.job.runner},
            keep_fitted=facts["keeps_fitted"],
            thresholds=dict(thresholds),
            deadline=self.profile.deadline,
        )
        return Cell(path, line.row.key, facts, job, parents)

    def _timing_cell(self, timing: Timing, prepared: Prepared) -> Cell:
        task, code = timing.task, closure(timing.measure.partition(":")[0])
        facts: dict[str, Any] = {
            "kind": "timing",
            "paper": self.benchmark.name,
            "task": task.key,
            "task_fingerprint": prepared.fingerprint,
            "task_settings": spelled(task),
            "dataset": task.dataset,
            "timing": timing.key,
            "params": {"repeats": timing.repeats, **timing.arguments},
            "versions": dict(versions()),
            "threads": 2,
        }
        facts = {"id": digest({**facts, "code": digest(code)}), **facts, "code": code}
        path = f"cells/{self.benchmark.name}/{task.key}/timings/timing-{timing.key}-{facts['id'][:12]}"
        deadline = 10 * self.profile.deadline
        job = Job("timing", None, {}, 0, task, prepared.folder, threads=2, timing=timing, deadline=deadline)
        return Cell(path, f"timing/{timing.key}", facts, job)

    def _code_of(self, runner: type[Runner], task: TaskSpec) -> tuple[Mapping[str, str], str]:
        """What the digits of this runner on this task depend on, and its digest."""
        modules = (runner.__module__, type(task).__module__, f"{__package__}.cell")
        if modules not in self._code:
            code = closure(*modules)
            self._code[modules] = code, digest(code)
        return self._code[modules]
