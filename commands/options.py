"""The options that several commands share, and what their texts mean."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError, shown, unknown

if TYPE_CHECKING:
    from ..benchmarks.backends.backend import Backend
    from ..benchmarks.benchmark import Benchmark
    from ..benchmarks.plan import Overrides
    from ..benchmarks.store import Store

MOST_TRIALS = 10_000  # more would be planned for hours
Papers = Annotated[list[str] | None, typer.Argument(help="papers, or `all`; see `craftbench list papers`", show_default=False)]
Paper = Annotated[str, typer.Argument(help="a paper; see `craftbench list papers`")]
ProfileOption = Annotated[str, typer.Option("--profile", help="smoke | quick | standard")]
StoreOption = Annotated[Path, typer.Option("--store", envvar="CRAFTBENCH_STORE", help="where records are kept")]
OutOption = Annotated[Path, typer.Option("--out", help="folder of the report")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
Runners = Annotated[list[str] | None, typer.Option("--runner", help="only this row (repeat for more); what it needs comes with it")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="only this dataset (repeat for more)")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, max=10_000, help="seeds per row")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, max=MOST_TRIALS, help="trials per study, the same for every row")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, max=4096, help="cells at a time, one thread each; default: 2 here, as many as a Ray cluster has CPUs"
    ),
]
BackendOption = Annotated[str, typer.Option("--backend", help="local | ray: where cells run")]
Address = Annotated[
    str | None,
    typer.Option("--address", help="of the Ray cluster: HOST:PORT, or ray://HOST:10001; default: the one on this machine"),
]
Memory = Annotated[int, typer.Option("--memory", min=200, help="MB that one cell may take")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="ROW.param=value, instead of a search (repeat for more)")]
Retry = Annotated[str | None, typer.Option("--retry", help="`failed`: run failed cells again")]
Within = Annotated[str | None, typer.Option("--within", help="start no cell after this long: 90s, 10m, 2h")]

DEFAULT_STORE, DEFAULT_OUT = Path("results/runs"), Path("results/report")
DEFAULT_JOBS = max(1, min(2, os.cpu_count() or 1))
DEFAULT_MEMORY = 6000
BACKENDS = ("local", "ray")


@dataclass(frozen=True)
class Where:
    """Where cells run, as the command line says it. Raises `UsageError`, when it is made, for what does not go together."""

    backend: str
    address: str | None
    jobs: int | None
    memory: int

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise unknown("--backend", self.backend, BACKENDS)
        if self.address is not None and self.backend != "ray":
            raise UsageError("--address is of a Ray cluster; add --backend ray")

    def open(self) -> Backend:
        """Connected, and ready for a driver, which closes it."""
        if self.backend == "ray":
            from ..benchmarks.backends.ray import RayBackend

            return RayBackend(self.address, self.jobs, self.memory)
        from ..benchmarks.backends.local import LocalBackend

        return LocalBackend(self.jobs or DEFAULT_JOBS, self.memory)


def benchmark_of(paper: str) -> Benchmark:
    from ..benchmarks.catalogue import benchmark

    return benchmark(paper)


def papers_of(papers: list[str] | None) -> list[str]:
    from ..benchmarks.catalogue import PAPERS

    return list(PAPERS) if not papers or papers == ["all"] else papers


def store_of(root: Path) -> Store:
    from ..benchmarks.store import Store

    try:
        os.stat(root)
    except (FileNotFoundError, NotADirectoryError):  # a run makes it or says why not; a report of it is one of holes
        pass
    except OSError as error:
        raise UsageError(f"the store {shown(str(root))} cannot be used: {error.strerror}; give another --store") from None
    return Store(Path(os.path.abspath(root)) if ":" in str(root) else root)  # or pyarrow would take "a:b" for an address


def overrides_of(seeds: int | None, trials: int | None, sets: list[str] | None) -> Overrides:
    from ..benchmarks.plan import Overrides

    return Overrides(seeds=seeds, trials=trials, set=sets_of(sets))


def sets_of(texts: list[str] | None) -> dict[str, dict[str, str]]:
    """`ROW.param=value` -> {row: {param: text}}; the planner, which knows the rows, turns texts into values."""
    found: dict[str, dict[str, str]] = {}
    for text in texts or []:
        match = re.fullmatch(r"([^.=]+)\.([^.=]+)=(.*)", text)
        if match is None:
            raise UsageError(f"--set {text!r} is not of the form ROW.param=value")
        found.setdefault(match[1], {})[match[2]] = match[3]
    return found


def seconds_of(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None:
        raise UsageError(f"{text!r} is no length of time; write 90s, 10m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
