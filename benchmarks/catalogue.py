"""The papers, and the runners of other packages that join their tables by the entry point `craftbench.runners`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ..core.errors import UsageError, unknown
from ..core.runner import Runner
from .benchmark import Benchmark
from .rows import beside

PAPERS = ("ifru", "gradcraft", "dml", "labelcraft", "cft")


def benchmark(name: str) -> Benchmark:
    """A paper by its name on the command line, with the runners of other packages beside its own."""
    paper = declared(name)
    return joined(paper, [runner for runner in outside_runners() if runner.task is paper.task_kind()])


def declared(name: str) -> Benchmark:
    """A paper as its file declares it."""
    if name not in PAPERS:
        raise unknown("paper", name, PAPERS)
    return importlib.import_module(f"{__package__}.papers.{name}").BENCHMARK


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
