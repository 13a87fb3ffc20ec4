"""The command line. Every command imports what it needs inside, so that `craftbench --help` is quick.

Exit codes: 0 everything that could run here ran; 1 some cells failed (the report shows the holes); 2 bad usage or input.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .core.errors import UsageError, unknown

if TYPE_CHECKING:
    from .benchmarks.benchmark import Benchmark
    from .benchmarks.plan import Overrides, Planner
    from .benchmarks.store import Store

app = typer.Typer(
    help="Reproduce recommender-system papers: tables, figures and a verdict on each claim.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Bring datasets onto this machine and verify them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Papers = Annotated[list[str] | None, typer.Argument(help="papers, or `all`; see `craftbench list papers`", show_default=False)]
Paper = Annotated[str, typer.Argument(help="a paper; see `craftbench list papers`")]
ProfileOption = Annotated[str, typer.Option("--profile", help="smoke | quick | standard")]
StoreOption = Annotated[Path, typer.Option("--store", envvar="CRAFTBENCH_STORE", help="where records are kept")]
OutOption = Annotated[Path, typer.Option("--out", help="folder of the report")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
Runners = Annotated[list[str] | None, typer.Option("--runner", help="only this row (repeat for more); what it needs comes with it")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="only this dataset (repeat for more)")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="seeds per row")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="trials per study, the same for every row")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="cells at a time, one thread each")]
Memory = Annotated[int, typer.Option("--memory", min=200, help="MB that one cell may take")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="ROW.param=value, instead of a search (repeat for more)")]
Retry = Annotated[str | None, typer.Option("--retry", help="`failed`: run failed cells again")]
Within = Annotated[str | None, typer.Option("--within", help="start no cell after this long: 90s, 10m, 2h")]

DEFAULT_STORE, DEFAULT_OUT = Path("results/runs"), Path("results/report")
DEFAULT_JOBS = max(1, min(2, os.cpu_count() or 1))
DEFAULT_MEMORY = 6000


def main() -> None:
    """Entry point: a `UsageError` becomes one sentence on stderr and exit code 2."""
    try:
        sys.exit(app(prog_name="craftbench", standalone_mode=False) or 0)
    except UsageError as error:
        _fail(str(error))
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except typer.Abort:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        message = getattr(error, "format_message", None)  # click's usage errors
        if message is None:
            raise
        _fail(message())


def _fail(sentence: str) -> None:
    if sentence:  # none when the help is all that there is to say
        print(f"craftbench: {sentence}", file=sys.stderr)
    sys.exit(2)


@app.command("list")
def list_(what: Annotated[str, typer.Argument(help="papers | runners | datasets")] = "papers", json: JsonOption = False) -> None:
    """List papers, runners or datasets."""
    from . import listing

    kinds = {"papers": listing.papers, "runners": listing.runners, "datasets": listing.datasets}
    if what not in kinds:
        raise unknown("list", what, kinds)
    kinds[what](json)


@app.command()
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
    from . import listing
    from .benchmarks.explain import explain

    planner = _planner(_benchmark(paper), profile, _store(store), _overrides(seeds, trials, sets))
    listing.plan(explain(planner), json, why)


@app.command()
def run(
    paper: Paper,
    profile: ProfileOption = "quick",
    runner: Runners = None,
    dataset: Datasets = None,
    seeds: Seeds = None,
    trials: Trials = None,
    jobs: Jobs = DEFAULT_JOBS,
    memory: Memory = DEFAULT_MEMORY,
    store: StoreOption = DEFAULT_STORE,
    sets: Sets = None,
    retry: Retry = None,
    within: Within = None,
) -> None:
    """Run what the store does not hold yet. Interrupt it at will: the same command goes on."""
    overrides = _overrides(seeds, trials, sets)
    raise typer.Exit(_run(_benchmark(paper), profile, _store(store), overrides, runner, dataset, jobs, memory, retry, within))


@app.command()
def sweep(
    paper: Paper,
    runner: Annotated[list[str], typer.Option("--runner", help="the row to search (repeat for more)")],
    profile: ProfileOption = "quick",
    dataset: Datasets = None,
    sampler: Annotated[str, typer.Option(help="tpe | random | grid")] = "tpe",
    pruner: Annotated[str, typer.Option(help="none | median | hyperband")] = "none",
    space: Annotated[list[str] | None, typer.Option("--space", help='"damping=log(1e-7,1e-3)" (repeat for more)')] = None,
    trials: Annotated[int, typer.Option(min=1)] = 20,
    timeout: Annotated[str | None, typer.Option(help="start no cell after this long: 90s, 10m, 2h")] = None,
    jobs: Jobs = DEFAULT_JOBS,
    memory: Memory = DEFAULT_MEMORY,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = DEFAULT_OUT,
    sets: Sets = None,
) -> None:
    """Search rows' hyperparameters on valid, more closely than a profile does, and write a report of the search."""
    from .benchmarks.sweep import swept

    for name, value, known in (
        ("--sampler", sampler, ("tpe", "random", "grid")),
        ("--pruner", pruner, ("none", "median", "hyperband")),
    ):
        if value not in known:
            raise unknown(name, value, known)
    benchmark, overrides = swept(_benchmark(paper), profile, runner, space or [], trials, sampler, pruner, _sets(sets))
    opened = _store(store)
    code = _run(benchmark, "sweep", opened, overrides, runner, dataset, jobs, memory, None, timeout, finals=False)
    _write_report([benchmark], "sweep", opened, out)
    raise typer.Exit(code)


@app.command()
def report(
    papers: Papers = None, profile: ProfileOption = "quick", store: StoreOption = DEFAULT_STORE, out: OutOption = DEFAULT_OUT
) -> None:
    """Write report.html, report.json, tables and figures from what the store holds."""
    _write_report([_benchmark(paper) for paper in _papers(papers)], profile, _store(store), out)


@app.command()
def reproduce(
    papers: Papers = None,
    profile: ProfileOption = "quick",
    runner: Runners = None,
    dataset: Datasets = None,
    seeds: Seeds = None,
    trials: Trials = None,
    jobs: Jobs = DEFAULT_JOBS,
    memory: Memory = DEFAULT_MEMORY,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = DEFAULT_OUT,
    sets: Sets = None,
    retry: Retry = None,
    within: Within = None,
) -> None:
    """Fetch the data, run, and report: one command for a whole paper."""
    opened, code, benchmarks = _store(store), 0, [_benchmark(paper) for paper in _papers(papers)]
    for benchmark in benchmarks:
        _fetch(benchmark, profile)
        code = max(
            code, _run(benchmark, profile, opened, _overrides(seeds, trials, sets), runner, dataset, jobs, memory, retry, within)
        )
        if code > 1:
            break
    _write_report(benchmarks, profile, opened, out)
    raise typer.Exit(code)


@app.command()
def results(paper: Paper, profile: ProfileOption = "quick", store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Print every cell of every table."""
    from . import listing
    from .report.findings import findings
    from .report.findings import results as as_results

    listing.results(as_results(findings(_benchmark(paper), _store(store), profile)), json)


@app.command()
def check(
    runner: Annotated[str | None, typer.Argument(metavar="MODULE:CLASS", help="a runner to hold against the contract")] = None,
    store: Annotated[Path | None, typer.Option("--store", help="verify every record of this store")] = None,
) -> None:
    """Run the conformance suite on a runner, or verify every record of a store."""
    if (runner is None) == (store is None):
        raise UsageError("give either MODULE:CLASS or --store DIR")
    if store is not None:
        raise typer.Exit(_check_store(store))
    from .testing import check_named

    raise typer.Exit(check_named(str(runner)))


@app.command()
def export(
    optuna: Annotated[str, typer.Option("--optuna", help="an Optuna storage: sqlite:///searches.db, ...")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy every search into an Optuna storage, for optuna-dashboard."""
    from .benchmarks.export import export_searches

    count = export_searches(_store(store), optuna)
    print(f"{count} studies copied to {optuna}; look at them with: optuna-dashboard {optuna}")


@data_app.command("list")
def data_list(json: JsonOption = False) -> None:
    """Datasets, whether they are here, their licence, and the command that brings them."""
    from . import listing

    listing.datasets(json)


@data_app.command("get")
def data_get(name: str) -> None:
    """Download or generate a dataset and verify it."""
    from .datasets.catalogue import get

    dataset = get(name)
    print(f"{name}: {dataset.rows:,} {dataset.main} are here")


@data_app.command("check")
def data_check(name: str) -> None:
    """Verify a dataset's manifest and hashes."""
    from .datasets.catalogue import check as verify

    found = verify(name)
    print(
        f"{name} is whole: {found['rows'][found['main']]:,} {found['main']}, {found['bytes']:,} bytes, "
        f"fingerprint {found['fingerprint'][:16]}"
    )


@data_app.command("import")
def data_import(name: str, path: Path) -> None:
    """Prepare a dataset from a file, archive or folder of yours."""
    from .datasets.catalogue import import_path

    dataset = import_path(name, path)
    print(f"{dataset.name}: {dataset.rows:,} {dataset.main} are here")


def _benchmark(paper: str) -> Benchmark:
    from .benchmarks.catalogue import benchmark

    return benchmark(paper)


def _papers(papers: list[str] | None) -> list[str]:
    from .benchmarks.catalogue import PAPERS

    return list(PAPERS) if not papers or papers == ["all"] else papers


def _store(root: Path) -> Store:
    from .benchmarks.store import Store

    return Store(root)


def _overrides(seeds: int | None, trials: int | None, sets: list[str] | None) -> Overrides:
    from .benchmarks.plan import Overrides

    return Overrides(seeds=seeds, trials=trials, set=_sets(sets))


def _sets(texts: list[str] | None) -> dict[str, dict[str, str]]:
    """`ROW.param=value` -> {row: {param: text}}; the planner, which knows the rows, turns texts into values."""
    found: dict[str, dict[str, str]] = {}
    for text in texts or []:
        match = re.fullmatch(r"([^.=]+)\.([^.=]+)=(.*)", text)
        if match is None:
            raise UsageError(f"--set {text!r} is not of the form ROW.param=value")
        found.setdefault(match[1], {})[match[2]] = match[3]
    return found


def _planner(benchmark: Benchmark, profile: str, store: Store, overrides: Overrides) -> Planner:
    from .benchmarks.plan import Planner
    from .datasets.dataset import data_home

    chosen = benchmark.profile(profile)
    with store.writing():
        return Planner(benchmark, chosen, store, data_home(), overrides, say=lambda text: print(text, file=sys.stderr))


def _fetch(benchmark: Benchmark, profile: str) -> None:
    """Bring the datasets that need no consent by hand; the others stay holes with their command."""
    from .datasets.catalogue import entry_of, get

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
    jobs: int,
    memory: int,
    retry: str | None,
    within: str | None,
    finals: bool = True,
) -> int:
    from .benchmarks.backends.local import LocalBackend
    from .benchmarks.driver import Driver, sweep_damaged
    from .progress import Progress

    if retry not in (None, "failed"):
        raise unknown("--retry", retry, ["failed"])
    command = " ".join(["craftbench", *sys.argv[1:]])
    seconds = _seconds(within) if within else None
    with store.locked(command):
        sweep_damaged(store, lambda text: print(text, file=sys.stderr))
        planner = _planner(benchmark, profile, store, overrides)
        selection = planner.select(rows or [], datasets or [], finals)
        with Progress(planner, selection, command) as progress:
            driver = Driver(planner, LocalBackend(jobs, memory), selection, progress, seconds, retry == "failed")
            tally = driver.run()
        progress.conclude(tally)
    return 130 if tally.interrupted else 1 if tally.failed or tally.failed_before else 0


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None:
        raise UsageError(f"{text!r} is no length of time; write 90s, 10m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _write_report(benchmarks: list[Benchmark], profile: str, store: Store, out: Path) -> None:
    from .report.findings import findings
    from .report.write import write_report

    found = [findings(benchmark, store, profile) for benchmark in benchmarks]
    page = write_report(found, out)
    for each in found:
        print(f"\n{each.paper} ({each.profile})")
        for verdict in each.verdicts:
            print(f"  {verdict.claim}  {verdict.word:<22} {verdict.sentence}  [{verdict.scope}]")
    print(f"\nreport: {page}")


def _check_store(root: Path) -> int:
    store = _store(root)
    if not root.is_dir():
        raise UsageError(f"{root} is no store; give the folder that --store named")
    with store.locked("craftbench check"):
        moved = store.sweep(content=True)
    for path, reason in moved:
        print(f"damaged: {path}: {reason}; moved to {root}/damaged, the next run computes it again")
    print(f"{sum(1 for _ in store.paths())} records are sound, {len(moved)} were damaged")
    return 1 if moved else 0


if __name__ == "__main__":
    main()
