"""Commands that show what there is: list, report, results, export, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError, unknown
from .options import (
    DEFAULT_OUT,
    DEFAULT_STORE,
    JsonOption,
    OutOption,
    Paper,
    Papers,
    ProfileOption,
    StoreOption,
    benchmark_of,
    papers_of,
    store_of,
)

if TYPE_CHECKING:
    from ..benchmarks.benchmark import Benchmark
    from ..benchmarks.store import Store


def list_(what: Annotated[str, typer.Argument(help="papers | runners | datasets")] = "papers", json: JsonOption = False) -> None:
    """List papers, runners or datasets."""
    from .. import listing

    kinds = {"papers": listing.papers, "runners": listing.runners, "datasets": listing.datasets}
    if what not in kinds:
        raise unknown("list", what, kinds)
    kinds[what](json)


def report(
    papers: Papers = None, profile: ProfileOption = "quick", store: StoreOption = DEFAULT_STORE, out: OutOption = DEFAULT_OUT
) -> None:
    """Write report.html, report.json, tables and figures from what the store holds."""
    write_report_of([benchmark_of(paper) for paper in papers_of(papers)], profile, store_of(store), out)


def results(
    paper: Paper,
    profile: ProfileOption = "quick",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="write the rows that have every seed into this file instead, for `verify`")
    ] = None,
) -> None:
    """Print every cell of every table."""
    from .. import listing
    from ..report.findings import findings
    from ..report.findings import results as as_results

    if reference is not None:
        print(_write_reference(paper, profile, store, reference))
        return
    listing.results(as_results(findings(benchmark_of(paper), store_of(store), profile)), json)


def _write_reference(paper: str, profile: str, store: Path, file: Path) -> str:
    """Rows that the file has and this store has not stay."""
    from ..report import recorded
    from ..report.evidence import Evidence
    from ..report.gathering import gathered

    found = gathered(Evidence(benchmark_of(paper), store_of(store), profile)).whole()
    whole = recorded.read(file).updated(found) if file.exists() else found
    recorded.write(whole, file)
    return f"{len(found.fits)} rows written into {file}, which has {len(whole.fits)}"


def check(
    runner: Annotated[str | None, typer.Argument(metavar="MODULE:CLASS", help="a runner to hold against the contract")] = None,
    store: Annotated[Path | None, typer.Option("--store", help="verify every record of this store")] = None,
) -> None:
    """Run the conformance suite on a runner, or verify every record of a store."""
    if (runner is None) == (store is None):
        raise UsageError("give either MODULE:CLASS or --store DIR")
    if store is not None:
        raise typer.Exit(_check_store(store))
    from ..testing import check_named

    raise typer.Exit(check_named(str(runner)))


def export(
    optuna: Annotated[str, typer.Option("--optuna", help="an Optuna storage: sqlite:///searches.db, ...")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy every search into an Optuna storage, for optuna-dashboard."""
    from ..benchmarks.export import export_searches

    count = export_searches(store_of(store), optuna)
    print(f"{count} studies copied to {optuna}; look at them with: optuna-dashboard {optuna}")


def write_report_of(benchmarks: list[Benchmark], profile: str, store: Store, out: Path) -> None:
    from ..datasets.manifest import explain_write_errors
    from ..report.findings import findings
    from ..report.write import write_report

    found = [findings(benchmark, store, profile) for benchmark in benchmarks]
    with explain_write_errors(out):
        page = write_report(found, out)
    for each in found:
        print(f"\n{each.paper} ({each.profile})")
        for verdict in each.verdicts:
            print(f"  {verdict.claim}  {verdict.word:<22} {verdict.sentence}  [{verdict.scope}]")
    print(f"\nreport: {page}")


def _check_store(root: Path) -> int:
    store = store_of(root)
    if not os.path.isdir(root):
        raise UsageError(f"{root} is no store; give the folder that --store named")
    from ..benchmarks.prepared import sweep_tables

    with store.locked("craftbench check"):
        moved = store.sweep(content=True) + sweep_tables(store)
    for path, reason in moved:
        print(f"damaged: {path}: {reason}; moved to {root}/damaged, the next run computes it again")
    print(f"{sum(1 for _ in store.paths())} records are sound, {len(moved)} were damaged")
    return 1 if moved else 0
