"""Single final fits once more: named rows, tasks and seeds with given settings, in a store of their own, without any search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .backends.backend import Backend
from .benchmark import Benchmark, Profile, Row
from .driver import Driver, Tally
from .plan import Overrides, Planner, Selection
from .store import Store

Final = tuple[str, str, int]  # task key, row key, seed
Settings = Mapping[tuple[str, str], Mapping[str, Any]]  # (task key, row key) -> every hyperparameter


def needs(profile: Profile, task: str, row: str) -> tuple[str, ...]:
    """The row and every row that it starts from, on a task of a profile. Raises `KeyError` for a row that is not there."""
    by_key = {each.key: each for each in profile.rows[task]}
    found: list[str] = []
    waiting = [row]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.append(key)
            waiting += by_key[key].runner.requires
    return tuple(found)


def settled(benchmark: Benchmark, profile: Profile, finals: Iterable[Final], settings: Settings) -> Benchmark:
    """The benchmark with the rows of `finals` and what they start from alone, every hyperparameter as `settings` says."""
    places = list(dict.fromkeys((task, key) for task, row, _ in finals for key in needs(profile, task, row)))
    rows: dict[str, tuple[Row, ...]] = {}
    for task in dict.fromkeys(task for task, _ in places):
        declared = [each for each in profile.rows[task] if (task, each.key) in places]
        rows[task] = tuple(replace(each, pinned=settings[task, each.key], start={}, inherits=None) for each in declared)
    tasks = tuple(each for each in profile.tasks if each.key in rows)
    only = replace(profile, tasks=tasks, rows=rows, timings=())
    return replace(benchmark, profiles={profile.name: only}, pictures=())


def run_again(
    benchmark: Benchmark,
    finals: Iterable[Final],
    store: Store,
    data_home: Path,
    backend: Backend,
    seconds: float,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run `finals` of a benchmark that `settled` made; what is not done after `seconds` is given up, and leaves no record.

    Raises `KeyboardInterrupt` when it is told to stop.
    """
    wanted = frozenset(finals)
    (profile,) = benchmark.profiles.values()
    stop_at = time.monotonic() + seconds

    def listen(tally: Tally, line: str) -> None:
        tally.interrupted |= time.monotonic() > stop_at

    with store.locked("craftbench verify"):
        overrides = Overrides(seeds=1 + max(seed for _, _, seed in wanted))
        planner = Planner(benchmark, profile, store, data_home, overrides, say)
        ended = Driver(planner, backend, Selection(only=wanted), listen).run()
    if ended.interrupted and time.monotonic() <= stop_at:
        raise KeyboardInterrupt
