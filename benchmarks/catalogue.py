"""The papers, and what other packages add to their tables: runners (`craftbench.runners`) and datasets (`craftbench.datasets`)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..core.errors import UsageError, unknown
from ..core.runner import Runner
from ..datasets.entries import Recorded, Simulated, outside_datasets
from .benchmark import Benchmark, Profile, Table
from .rows import beside

PAPERS = ("ifru", "gradcraft", "dml", "labelcraft", "cft")


def benchmark(name: str) -> Benchmark:
    """A paper by its name on the command line, with the datasets and runners of other packages beside its own."""
    paper = declared(name)
    wider = widened(paper, [entry for entry in outside_datasets().values() if paper.asks in entry.tables])
    return joined(wider, [runner for runner in outside_runners() if runner.task is paper.task_kind()])


def declared(name: str) -> Benchmark:
    """A paper as its file declares it."""
    if name not in PAPERS:
        raise unknown("paper", name, PAPERS)
    return importlib.import_module(f"{__package__}.papers.{name}").BENCHMARK


# Datasets


def widened(paper: Benchmark, entries: Sequence[Recorded | Simulated]) -> Benchmark:
    """`paper` with a task on each of these datasets in every profile: the profile's first task, with its rows, asked of other data.

    It stands in every table that shows this first task beside others, and not simulated worlds alone.
    """
    added = {profile.tasks[0].key: [profile.tasks[0].on(entry) for entry in entries] for profile in paper.profiles.values()}
    profiles = {name: _with_tasks(profile, added[profile.tasks[0].key]) for name, profile in paper.profiles.items()}
    simulated = {task.key for profile in paper.profiles.values() for task in profile.tasks if task.scope == "simulated"}
    keys = {key: [task.key for task in tasks] for key, tasks in added.items()}
    tables = tuple(
        table if set(table.tasks) <= simulated or len(table.tasks) == 1 else _with_blocks(table, keys) for table in paper.tables
    )
    return replace(paper, profiles=profiles, tables=tables)


def _with_tasks(profile: Profile, tasks: Iterable[Any]) -> Profile:
    own = profile.rows[profile.tasks[0].key]
    return replace(profile, tasks=(*profile.tasks, *tasks), rows={**profile.rows, **{task.key: own for task in tasks}})


def _with_blocks(table: Table, added: Mapping[str, Sequence[str]]) -> Table:
    more = dict.fromkeys(key for first, keys in added.items() if first in table.tasks for key in keys)
    return replace(table, tasks=(*table.tasks, *more))


# Runners


def joined(paper: Benchmark, runners: Sequence[type[Runner]]) -> Benchmark:
    """`paper` with a row for each of `runners` on every task of every profile, at the end of every table."""
    taken = {row.key for profile in paper.profiles.values() for rows in profile.rows.values() for row in rows}
    for runner in runners:
        if runner.name in taken:
            raise UsageError(f"the name {runner.name!r} of {runner.__module__}:{runner.__qualname__} is taken; choose another one")
        taken.add(runner.name)
    profiles = {
        name: replace(
            profile, rows={task: (*own, *(beside(own, runner) for runner in runners)) for task, own in profile.rows.items()}
        )
        for name, profile in paper.profiles.items()
    }
    keys = tuple(runner.name for runner in runners)
    return replace(paper, profiles=profiles, tables=tuple(replace(table, rows=(*table.rows, *keys)) for table in paper.tables))


@cache
def outside_runners() -> tuple[type[Runner], ...]:
    """Runners that installed packages declare, by name."""
    return tuple(_loaded(entry) for entry in sorted(entry_points(group="craftbench.runners")))


def _loaded(entry: EntryPoint) -> type[Runner]:
    where = f"the entry point {entry.name} = {entry.value} of craftbench.runners"
    try:
        found = entry.load()
    except Exception as error:
        raise UsageError(f"{where} cannot be imported ({type(error).__name__}: {error}); mend or uninstall its package") from error
    if not (isinstance(found, type) and issubclass(found, Runner)):
        raise UsageError(f"{where} is not a subclass of craftbench.Runner; correct it in its package")
    return found
