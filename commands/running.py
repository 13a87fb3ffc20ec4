"""Commands that run cells: plan, run, sweep, reproduce."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import unknown
from .options import (
    DEFAULT_MEMORY,
    DEFAULT_OUT,
    DEFAULT_STORE,
    MOST_TRIALS,
    Address,
    BackendOption,
    Datasets,
    Jobs,
    JsonOption,
    Memory,
    OutOption,
    Paper,
    Papers,
    ProfileOption,
    Retry,
    Runners,
    Seeds,
    Sets,
    StoreOption,
    Trials,
    Where,
    Within,
    benchmark_of,
    overrides_of,
    papers_of,
    seconds_of,
    sets_of,
    store_of,
)
from .reading import write_report_of

if TYPE_CHECKING:
    from ..benchmarks.benchmark import Benchmark
    from ..benchmarks.plan import Overrides, Planner
    from ..benchmarks.store import Store


def plan(
    paper: Paper,
    profile: ProfileOption = "quick",
    store: StoreOption = DEFAULT_STORE,
    why: Annotated[bool, typer.Option("--why", help="name the reason for each new cell")] = False,
    json: JsonOption = False,
    seeds: Seeds = None,
    trials: Trials = None,
    sets: Sets = None,
) -> None:
    """Show the cells of a profile: which the store holds, which are new and why, and how long they may take."""
    from .. import listing
    from ..benchmarks.explain import explain

    planner = _planner(benchmark_of(paper), profile, store_of(store), overrides_of(seeds, trials, sets))
    listing.plan(explain(planner), json, why)


def run(
    paper: Paper,
    profile: ProfileOption = "quick",
    runner: Runners = None,
    dataset: Datasets = None,
    seeds: Seeds = None,
    trials: Trials = None,
    jobs: Jobs = None,
    memory: Memory = DEFAULT_MEMORY,
    backend: BackendOption = "local",
    address: Address = None,
    store: StoreOption = DEFAULT_STORE,
    sets: Sets = None,
    retry: Retry = None,
    within: Within = None,
) -> None:
    """Run what the store does not hold yet. Interrupt it at will: the same command goes on."""
    overrides = overrides_of(seeds, trials, sets)
    where = Where(backend, address, jobs, memory)
    raise typer.Exit(_run(benchmark_of(paper), profile, store_of(store), overrides, runner, dataset, where, retry, within))


def sweep(
    paper: Paper,
    runner: Annotated[list[str], typer.Option("--runner", help="the row to search (repeat for more)")],
    profile: ProfileOption = "quick",
    dataset: Datasets = None,
    sampler: Annotated[str, typer.Option(help="tpe | random | grid")] = "tpe",
    pruner: Annotated[str, typer.Option(help="none | median | hyperband")] = "none",
    space: Annotated[list[str] | None, typer.Option("--space", help='"damping=log(1e-7,1e-3)" (repeat for more)')] = None,
    trials: Annotated[int, typer.Option(min=1, max=MOST_TRIALS)] = 20,
    timeout: Annotated[str | None, typer.Option(help="start no cell after this long: 90s, 10m, 2h")] = None,
    jobs: Jobs = None,
    memory: Memory = DEFAULT_MEMORY,
    backend: BackendOption = "local",
    address: Address = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = DEFAULT_OUT,
    sets: Sets = None,
) -> None:
    """Search rows' hyperparameters on valid, more closely than a profile does, and write a report of the search."""
    from ..benchmarks.sweep import swept

    for name, value, known in (
        ("--sampler", sampler, ("tpe", "random", "grid")),
        ("--pruner", pruner, ("none", "median", "hyperband")),
    ):
        if value not in known:
            raise unknown(name, value, known)
    benchmark, overrides = swept(benchmark_of(paper), profile, runner, space or [], trials, sampler, pruner, sets_of(sets))
    opened = store_of(store)
    where = Where(backend, address, jobs, memory)
    code = _run(benchmark, "sweep", opened, overrides, runner, dataset, where, None, timeout, finals=False)
    write_report_of([benchmark], "sweep", opened, out)
    raise typer.Exit(code)


def reproduce(
    papers: Papers = None,
    profile: ProfileOption = "quick",
    runner: Runners = None,
    dataset: Datasets = None,
    seeds: Seeds = None,
    trials: Trials = None,
    jobs: Jobs = None,
    memory: Memory = DEFAULT_MEMORY,
    backend: BackendOption = "local",
    address: Address = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = DEFAULT_OUT,
    sets: Sets = None,
    retry: Retry = None,
    within: Within = None,
) -> None:
    """Fetch the data, run, and report: one command for a whole paper."""
    where = Where(backend, address, jobs, memory)
    opened, code, benchmarks = store_of(store), 0, [benchmark_of(paper) for paper in papers_of(papers)]
    for benchmark in benchmarks:
        _fetch(benchmark, profile)
        overrides = overrides_of(seeds, trials, sets)
        code = max(code, _run(benchmark, profile, opened, overrides, runner, dataset, where, retry, within))
        if code > 1:
            break
    write_report_of(benchmarks, profile, opened, out)
    raise typer.Exit(code)


def _planner(benchmark: Benchmark, profile: str, store: Store, overrides: Overrides) -> Planner:
    from ..benchmarks.plan import Planner
    from ..datasets.dataset import data_home

    chosen = benchmark.profile(profile)
    with store.writing():
        return Planner(benchmark, chosen, store, data_home(), overrides, say=lambda text: print(text, file=sys.stderr))


def _fetch(benchmark: Benchmark, profile: str) -> None:
    """Bring the datasets that need no consent by hand; the others stay holes with their command."""
    from ..datasets.catalogue import entry_of, get

    for dataset in dict.fromkeys(task.dataset for task in benchmark.profile(profile).tasks):
        if entry_of(dataset).command.startswith("craftbench data get"):
            get(dataset, say=lambda text: print(text, file=sys.stderr))


def _run(
    benchmark: Benchmark,
    profile: str,
    store: Store,
    overrides: Overrides,
    rows: list[str] | None,
    datasets: list[str] | None,
    where: Where,
    retry: str | None,
    within: str | None,
    finals: bool = True,
) -> int:
    from ..benchmarks.driver import Driver, sweep_damaged
    from ..progress import Progress

    if retry not in (None, "failed"):
        raise unknown("--retry", retry, ["failed"])
    command = " ".join(["craftbench", *sys.argv[1:]])
    seconds = seconds_of(within) if within else None
    with store.locked(command):
        sweep_damaged(store, lambda text: print(text, file=sys.stderr))
        planner = _planner(benchmark, profile, store, overrides)
        selection = planner.select(rows or [], datasets or [], finals)
        with Progress(planner, selection, command) as progress:
            driver = Driver(planner, where.open(), selection, progress, seconds, retry == "failed")
            tally = driver.run()
        progress.conclude(tally)
    return 130 if tally.interrupted else 1 if tally.failed or tally.failed_before else 0
