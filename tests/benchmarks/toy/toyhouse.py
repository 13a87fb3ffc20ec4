"""What the driver's tests share: run the invented paper here or as a process of its own, and look at what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
from craftbench.benchmarks.backends.local import LocalBackend
from craftbench.benchmarks.benchmark import Benchmark
from craftbench.benchmarks.driver import Driver, Tally, sweep_damaged
from craftbench.benchmarks.plan import Overrides, Planner
from craftbench.benchmarks.store import Store

DRIVE = Path(__file__).parent / "toydrive.py"
MARK = "CRAFTBENCH_TEST_MARK"
PATIENCE = 60.0  # seconds that a busy machine may need for what takes a moment


def plan(benchmark: Benchmark, root: Path, overrides: Overrides | None = None) -> Planner:
    return Planner(benchmark, benchmark.profile(next(iter(benchmark.profiles))), Store(root), root.parent / "data", overrides)


def drive(
    benchmark: Benchmark,
    root: Path,
    *,
    jobs: int = 2,
    memory: int = 6000,
    overrides: Overrides | None = None,
    rows: Sequence[str] = (),
    finals: bool = True,
    retry: bool = False,
    within: float | None = None,
    backend: Any = None,
    listener: Callable[[Tally, str], None] = lambda tally, line: None,
) -> Tally:
    """One run in this process, as the command line does it."""
    with Store(root).locked("a test"):
        planner = plan(benchmark, root, overrides)
        sweep_damaged(planner.store, lambda text: None)
        selection = planner.select(rows, (), finals)
        return Driver(planner, backend or LocalBackend(jobs, memory), selection, listener, within, retry).run()


def records(root: Path) -> dict[str, dict[str, Any]]:
    """Every record of a store, verified with its content."""
    store = Store(root)
    return {path: store.verify(path, content=True) for path in store.paths()}


def results(root: Path) -> dict[str, Any]:
    """What must not depend on how a run went: result parts, metrics, predictions."""
    found: dict[str, Any] = {}
    for path, record in records(root).items():
        table = Store(root).folder(path) / "metrics.parquet"
        metrics = pyarrow.parquet.read_table(table).to_pydict() if table.exists() else None
        found[path] = record["cell"], record["result"], metrics, record["files"]
    return found


def of(root: Path, row: str, kind: str = "final") -> list[dict[str, Any]]:
    """The records of a runner, by seed and path."""
    return [
        record
        for path, record in sorted(records(root).items())
        if record["cell"].get("runner") == row and record["cell"]["kind"] == kind
    ]


def written_plan(root: Path, name: str = "toy.smoke") -> dict[str, Any]:
    return json.loads((root / "plans" / f"{name}.json").read_text())


@dataclass
class Process:
    """A driver as a process of its own, known with all its offspring by a mark in their environment."""

    arguments: Sequence[str]
    profile: dict[str, Any] = field(default_factory=dict)
    program: tuple[str, ...] = (str(DRIVE),)
    quiet: bool = False  # what it says is thrown away: a pipe that nobody empties would stop it

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        environment = {**os.environ, MARK: self.mark, "TOY_PROFILE": json.dumps(self.profile)}
        command = [sys.executable, *self.program, *map(str, self.arguments)]
        where = subprocess.DEVNULL if self.quiet else subprocess.PIPE
        pipes = {"stdout": where, "stderr": where, "text": True}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.offspring():
            process.kill()
        self.process.kill()
        self.process.communicate()

    def finish(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def offspring(self) -> list[psutil.Process]:
        """Every living process that carries the mark, the driver apart."""
        return [process for process in psutil.process_iter() if process.pid != self.process.pid and self._marked(process)]

    def _marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether `holds` within a generous time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.01)
    return holds()


def recorded(root: Path) -> int:
    return sum(1 for _ in Store(root).paths())
