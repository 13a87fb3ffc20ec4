"""Which recorded fits an audit may run again here, and a random draw of them.

What can be drawn is settled by what was recorded and by this machine, before anything runs: never by how a fit came out.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..benchmarks.benchmark import Averaged, Benchmark, Derived, Profile, TaskSpec
from ..benchmarks.cell import machine
from ..benchmarks.identity import spelled, versions
from ..benchmarks.rerun import needs
from ..core.errors import DataMissing, UsageError
from .recorded import Fit, Origin, Recorded

_START_SECONDS = 1.0  # of a process, on top of its fit
_MARGIN = 0.7  # of the time that a draw is expected to take: machines differ, and beside the fits data are prepared


@dataclass(frozen=True)
class Candidate:
    """One final fit that can be run again, and what this costs by the record in core-seconds, with what it starts from."""

    recorded: Recorded
    fit: Fit
    seed: int
    seconds: float


@dataclass(frozen=True)
class Draw:
    """A random draw from the `population` of fits that could be drawn; left_out: reason -> how many fits are not among them."""

    drawn: tuple[Candidate, ...]
    population: int
    left_out: dict[str, int]


def draw(
    references: Sequence[Recorded],
    benchmark_of: Callable[[str], Benchmark],
    data_home: Path,
    cells: int,
    core_seconds: float,
    seed: int,
) -> Draw:
    """Draw `cells` fits that together are expected to take `core_seconds` at most.

    Where all that can run here would take longer, the dearest are left out beforehand: up to which cost follows from the recorded
    costs alone, so that the draw is uniform over the rest.
    """
    left_out: Counter[str] = Counter()
    able: list[Candidate] = []
    for recorded in references:
        benchmark = benchmark_of(recorded.paper)
        tasks = _tasks(recorded, benchmark.profile(recorded.profile), data_home)
        for fit in recorded.fits:
            reason = tasks[fit.task] or _unable(recorded, fit, benchmark)
            if reason:
                left_out[reason] += len(fit.records)
            else:
                able += _candidates(recorded, fit, benchmark.profile(recorded.profile))
    limit = _limit(sorted(each.seconds for each in able), cells, _MARGIN * core_seconds)
    cheap = [each for each in able if each.seconds <= limit]
    if len(cheap) < len(able):
        left_out[f"takes more than {limit:.1f} core-seconds; give more --minutes"] += len(able) - len(cheap)
    drawn = random.Random(seed).sample(cheap, min(cells, len(cheap)))
    return Draw(tuple(drawn), len(cheap), dict(left_out))


def digits_promised(origin: Origin) -> bool:
    """Whether this machine and its versions must repeat the digits of what was recorded there."""
    return origin.cpu == machine()["cpu"] and origin.versions == versions()


def standing_alone(benchmark: Benchmark) -> set[str]:
    """The columns that follow from one fit, whatever other rows do."""
    columns = [column for table in benchmark.tables for column in table.columns]
    return {each.key for each in columns if not isinstance(each, Derived) and not (isinstance(each, Averaged) and each.over)}


def _tasks(recorded: Recorded, profile: Profile, data_home: Path) -> dict[str, str]:
    """Why a task of the reference cannot be run here, as it was recorded; "" where it can."""
    declared = {task.key: task for task in profile.tasks}
    return {key: _no_task(declared.get(key), then["settings"], data_home) for key, then in recorded.tasks.items()}


def _no_task(task: TaskSpec | None, settings: object, data_home: Path) -> str:
    if task is None:
        return "its task is no longer declared"
    if json.loads(json.dumps(spelled(task))) != settings:
        return f"{task.key} is declared otherwise since"
    try:
        task.cache_key(data_home)
    except DataMissing as hole:
        return str(hole)
    return ""


def _unable(recorded: Recorded, fit: Fit, benchmark: Benchmark) -> str:
    profile = benchmark.profile(recorded.profile)
    rows = {row.key: row for row in profile.rows[fit.task]}
    if fit.row not in rows:
        return "its row is no longer declared"
    if not standing_alone(benchmark) & set(fit.values):
        return "no table has a number of it that follows from it alone"
    for key in needs(profile, fit.task, fit.row):
        parent = recorded.at((fit.task, key))
        if parent is None or not set(_seeds(fit)) <= set(_seeds(parent)):
            return f"starts from {key}, which is not recorded"
        try:
            rows[key].runner.Params.resolve(dict(parent.params))
        except UsageError as error:
            return f"its settings are no longer valid: {error}"
    if len(fit.records) < 2 and not digits_promised(recorded.origins[fit.origin]):
        return "one seed has no interval, and this machine need not repeat its digits"
    return ""


def _candidates(recorded: Recorded, fit: Fit, profile: Profile) -> Iterator[Candidate]:
    run = [recorded.at((fit.task, key)) for key in needs(profile, fit.task, fit.row)]
    for seed in _seeds(fit):
        costs = [each.seconds[seed] or 0.0 for each in run if each is not None]
        yield Candidate(recorded, fit, seed, sum(costs) + _START_SECONDS * len(costs))


def _seeds(fit: Fit) -> Iterator[int]:
    return (seed for seed, record in enumerate(fit.records) if record is not None)


def _limit(costs: Sequence[float], cells: int, core_seconds: float) -> float:
    """The largest cost up to which `cells` fits, drawn at random, are expected to take `core_seconds` at most."""
    limit = spent = 0.0
    for count, cost in enumerate(costs, start=1):
        spent += cost
        if min(cells, count) * spent / count > core_seconds:
            break
        limit = cost
    return limit
