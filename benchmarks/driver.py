"""The loop: plan, skip what the store holds, run what is ready, record, plan again where a study went on.

Interrupt it anywhere: the same command goes on, no finished cell runs twice, and the digits are those of an uninterrupted run.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from ..core.errors import UsageError
from .backends.backend import Backend, Event
from .cell import Outcome
from .plan import Cell, Planner, Selection
from .store import Record, Store


@dataclass
class Tally:
    """Where a run stands."""

    planned: int = 0
    held: int = 0  # found in the store
    done: int = 0
    failed: int = 0
    failed_before: int = 0  # of those in the store
    running: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False
    out_of_time: bool = False

    @property
    def finished(self) -> int:
        return self.held + self.done + self.failed


Listener = Callable[[Tally, str], None]


class Driver:
    """Runs a planner's cells on a backend and records them. Needs the store's lock."""

    def __init__(
        self,
        planner: Planner,
        backend: Backend,
        selection: Selection,
        listener: Listener,
        within: float | None = None,
        retry_failed: bool = False,
    ) -> None:
        self.planner, self.store, self.backend, self.selection = planner, planner.store, backend, selection
        self.listener, self.retry_failed = listener, retry_failed
        self.stop_at = None if within is None else time.monotonic() + within
        self.tally = Tally()
        self._waiting: dict[str, Cell] = {}
        self._running: dict[int, Cell] = {}
        self._known: set[str] = set()
        self._died: set[str] = set()
        self._second_try: dict[str, Cell] = {}  # cells whose worker was killed by a signal: once more, alone
        self._ticket = 0
        self._started: dict[int, float] = {}

    def run(self) -> Tally:
        """Until nothing is left that can run. Raises `UsageError` when the disk is full; nothing recorded is lost."""
        with _interrupts(self.tally):
            try:
                self._admit(self.planner.advance())
                while self._start_ready() or self._running:
                    self._step()
                    if self.tally.interrupted:
                        break
                if not self._stopping() and self.selection.finals and not self.selection.rows:
                    self._run_timings()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise UsageError(
                    f"no space left for the store {self.store.root}: free some and run the same command again"
                ) from None
            finally:
                self.backend.close()
                with contextlib.suppress(OSError):
                    self.planner.write()
        return self.tally

    def _stopping(self) -> bool:
        if self.stop_at is not None and time.monotonic() > self.stop_at:
            self.tally.out_of_time = True
        return self.tally.interrupted or self.tally.out_of_time

    def _admit(self, cells: list[Cell]) -> None:
        """Take newly known cells in: those that the store holds count as done, and may let a study go on."""
        while cells:
            trials_held = False
            for cell in self._wanted(cells):
                if cell.path in self._known:
                    continue
                self._known.add(cell.path)
                self.tally.planned += 1
                record = self.store.read(cell.path)
                if record is not None and self.retry_failed and record["result"]["status"] == "failed":
                    self.store.move(cell.path, "retired")
                    record = None
                if record is None:
                    self._waiting[cell.path] = cell
                else:
                    self.tally.held += 1
                    self.tally.failed_before += record["result"]["status"] == "failed"
                    trials_held = trials_held or cell.facts["kind"] == "trial"
            cells = self.planner.advance() if trials_held else []

    def _wanted(self, cells: list[Cell]) -> Iterator[Cell]:
        """The selected rows' cells and what they need; what is needed only for a row that nobody selected waits."""
        needed = self._needed_rows()
        owner = {cell.path: line for line in self.planner.lines.values() for cell in line.cells()}
        for cell in cells:
            line = owner[cell.path]
            if cell.facts["kind"] == "final" and not self.selection.finals:
                continue
            if (line.task.key, line.row.key) in needed:
                yield from cell.parents
                yield cell

    def _needed_rows(self) -> set[tuple[str, str]]:
        lines = self.planner.lines.values()
        waiting = [line for line in lines if self.selection.takes(line.task.dataset, line.row.key)]
        needed: set[tuple[str, str]] = set()
        while waiting:
            line = waiting.pop()
            if (line.task.key, line.row.key) not in needed:
                needed.add((line.task.key, line.row.key))
                waiting += [*line.requires, *([line.source] if line.source else [])]
        return needed

    def _start_ready(self) -> bool:
        """Submit cells whose parents are recorded while there is room; True if any was started."""
        if self._stopping():
            return False
        if self._second_try and not self._running:
            path = next(iter(self._second_try))
            self._submit(self._second_try.pop(path))
            return True
        started = False
        while not self._second_try and len(self._running) < self.backend.capacity:
            cell = self._next_ready()
            if cell is None:
                break
            self._submit(cell)
            started = True
        return started

    def _next_ready(self) -> Cell | None:
        for path, cell in list(self._waiting.items()):
            parents = [self.store.read(parent.path) for parent in cell.parents]
            broken = [
                parent
                for parent, record in zip(cell.parents, parents, strict=True)
                if record and record["result"]["status"] != "ok"
            ]
            if broken:
                del self._waiting[path]
                self._record(cell, _inherited_failure(broken[0]), attempts=0)
            elif all(parents):
                del self._waiting[path]
                return cell
        return None

    def _submit(self, cell: Cell) -> None:
        self._ticket += 1
        self._running[self._ticket] = cell
        self._started[self._ticket] = time.monotonic()
        self.tally.running[cell.path] = ""
        self.backend.submit(self._ticket, cell.job)
        self.listener(self.tally, "")

    def _step(self) -> None:
        for event in self.backend.wait(0.25):
            self._handle(event)
        self.listener(self.tally, "")

    def _handle(self, event: Event) -> None:
        cell = self._running[event.ticket]
        if event.kind == "progress":
            self.tally.running[cell.path] = f"step {event.step}" + ("" if event.value is None else f", {event.value:.4f}")
            return
        del self._running[event.ticket]
        self.tally.running.pop(cell.path, None)
        self.tally.seconds += time.monotonic() - self._started.pop(event.ticket)
        attempts = 2 if cell.path in self._died else 1
        if event.kind == "outcome" and event.outcome is not None:
            self._record(cell, event.outcome, attempts)
        elif event.by_signal and attempts == 1:
            self._died.add(cell.path)
            self._second_try[cell.path] = cell
        else:
            self._record(cell, _failure(event.reason), attempts)

    def _record(self, cell: Cell, outcome: Outcome, attempts: int) -> None:
        record: Record = {
            "cell": dict(cell.facts),
            "result": outcome.result,
            "provenance": {**outcome.provenance, "attempts": attempts, "commit": _commit()},
        }
        self.store.write(cell.path, record, outcome.files)
        status = outcome.result["status"]
        if status == "failed":
            self.tally.failed += 1
        else:
            self.tally.done += 1
        self.listener(self.tally, f"{status:>6}  {cell.path}  {outcome.result['reason']}".rstrip())
        if cell.facts["kind"] == "trial":
            self._admit(self.planner.advance())

    def _run_timings(self) -> None:
        """Timing cells, one after the other, with nothing beside them."""
        for cell in self.planner.timings.values():
            if not self.selection.datasets or cell.facts["dataset"] in self.selection.datasets:
                self.tally.planned += 1
                if self.store.read(cell.path) is not None:
                    self.tally.held += 1
                    continue
                self._submit(cell)
                while self._running and not self.tally.interrupted:
                    self._step()
                if self._second_try:
                    self._submit(self._second_try.pop(cell.path))
                    while self._running and not self.tally.interrupted:
                        self._step()


def _failure(reason: str) -> Outcome:
    result: Mapping[str, Any] = {"status": "failed", "reason": reason, "traceback": "", "notes": {}, "metrics": {}, "curve": []}
    return Outcome(dict(result), {"seconds": 0.0, "clocks": {}, "timings": {}})


def _inherited_failure(parent: Cell) -> Outcome:
    return _failure(f"starts from {parent.facts['runner']}, which failed (see {parent.path})")


@cache
def _commit() -> str:
    """The commit of the source tree that runs, where it is one."""
    here = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


@contextlib.contextmanager
def _interrupts(tally: Tally) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the loop to stop cleanly; a second Ctrl-C stops at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if tally.interrupted:
            raise KeyboardInterrupt
        tally.interrupted = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sweep_damaged(store: Store, listener: Callable[[str], None]) -> None:
    """Put damaged records aside before a run, saying which."""
    for path, reason in store.sweep():
        listener(f"damaged record {path} ({reason}) moved to {store.root}/damaged; it will be computed again")
