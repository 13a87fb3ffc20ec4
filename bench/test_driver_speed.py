"""What the driver costs: a cell that does nothing, and the plan of a store where everything is done.

CRAFTBENCH_BENCH_CELLS: how many cells (10,000 take about four minutes on two cores).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from craftbench.benchmarks import store as store_module
from craftbench.benchmarks.backends import local
from craftbench.benchmarks.backends.backend import Event
from craftbench.benchmarks.benchmark import Benchmark, Row
from craftbench.benchmarks.cell import compute
from craftbench.benchmarks.driver import Driver, Tally
from craftbench.benchmarks.explain import explain
from craftbench.benchmarks.plan import Planner, Selection
from craftbench.benchmarks.store import Store

TOY = Path(__file__).parents[1] / "tests" / "benchmarks" / "toy"
CELLS = int(os.environ.get("CRAFTBENCH_BENCH_CELLS", "2000"))
FINISHED = 10_000


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Benchmark]:
    """A benchmark of that many cells whose runner does nothing."""
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(local, "PRELOAD", "toypreload")
    import toybench

    return lambda cells: toybench.toy([Row(toybench.Zero)], [toybench.Lines()], seeds=cells, trials=1)


class SameOutcome:
    """A backend that computes once and hands that out."""

    def __init__(self) -> None:
        self.outcome, self.tickets = None, []

    def has_room(self, job) -> bool:
        return len(self.tickets) < 2

    def warm(self, modules) -> None: ...

    def submit(self, ticket, job) -> None:
        self.outcome = self.outcome or compute(job, lambda step, value: None)
        self.tickets.append(ticket)

    def wait(self, timeout):
        return [Event(self.tickets.pop(), "outcome", outcome=self.outcome)]

    def close(self) -> None: ...


def drive(paper: Benchmark, root: Path, backend) -> Tally:
    store = Store(root)
    with store.locked("a benchmark"):
        store.sweep()
        planner = Planner(paper, paper.profile("smoke"), store, root)
        return Driver(planner, backend, Selection(), lambda tally, line: None).run()


def test_a_cell_that_does_nothing(nothing, ledger, tmp_path):
    drive(nothing(4), tmp_path / "warm", local.LocalBackend(2, 6000))
    start = time.perf_counter()
    tally = drive(nothing(CELLS), tmp_path / "store", local.LocalBackend(2, 6000))
    assert tally.done == CELLS
    ledger.note(f"driver, a cell ({CELLS:,} that do nothing, 2 jobs)", 1e3 * (time.perf_counter() - start) / CELLS, "ms", target=30)


def test_a_finished_store(nothing, ledger, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "fsync", lambda handle: None)  # filling it is not what is timed
        drive(nothing(FINISHED), tmp_path / "store", SameOutcome())
    paper, times = nothing(FINISHED), []
    for _ in range(3):
        start = time.perf_counter()
        found = explain(Planner(paper, paper.profile("smoke"), Store(tmp_path / "store"), tmp_path / "store"))
        times.append(time.perf_counter() - start)
        assert found["held"] == FINISHED
    ledger.note(f"plan of a finished store of {FINISHED:,} cells", min(times), "s", target=2)
    start = time.perf_counter()
    assert drive(paper, tmp_path / "store", SameOutcome()).held == FINISHED
    ledger.note("run on it: verify every record, plan, nothing to do", time.perf_counter() - start, "s")
