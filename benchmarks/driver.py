"""The loop: plan, skip what the store holds, run what is ready, record, plan again where a study went on.

Interrupt it anywhere: the same command goes on, no finished cell runs twice, and the digits are those of an uninterrupted run.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType

from .backends.backend import Backend, Event
from .cell import Outcome
from .document import added_after_looking, write_plan
from .line import Cell
from .plan import Place, Planner, Selection
from .store import Record, Store

LOSSES = 3  # a cell that was lost with its place this often, and then again, is held to be why


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
        self.listener = listener
        self.stop_at = None if within is None else time.monotonic() + within
        self.tally = Tally()
        self._needed = planner.needed(selection)
        if retry_failed:
            planner.retried = self._needed
        self._known: set[str] = set()
        self._askers: dict[str, set[Place]] = {}  # trial -> the lines whose studies wait for it
        self._missing: dict[str, set[str]] = {}  # cell -> its parents that are not recorded yet
        self._dependents: dict[str, list[Cell]] = {}  # parent -> the cells that wait for it
        self._ready: deque[Cell] = deque()
        self._alone: deque[Cell] = deque()  # to be run with nothing beside them: second tries at once, timing cells at the end
        self._died: Counter[str] = Counter()  # how often a cell's worker was killed by a signal
        self._lost: Counter[str] = Counter()  # how often it was lost with its place
        self._running: dict[int, tuple[Cell, float]] = {}  # ticket -> cell, when it began
        self._ticket = 0
        self._lonely = False  # whether what runs must run alone

    def run(self) -> Tally:
        """Until nothing is left that can run. Raises `UsageError` when the disk is full; nothing recorded is lost."""
        with _interrupts(self.tally), self.store.writing():
            try:
                cells = self.planner.advance()
                exploratory = added_after_looking(self.planner)
                self._admit(cells)
                self.backend.warm(self.planner.modules())
                write_plan(self.planner, exploratory)
                self._loop()
                if self.selection.finals and not self.selection.rows and not self.tally.interrupted:
                    self._admit_timings()
                    self._loop()
            finally:
                self.backend.close()
            write_plan(self.planner, exploratory)
        return self.tally

    def _loop(self) -> None:
        while not self.tally.interrupted and (self._start_ready() or self._running or self._waiting()):
            ended = [each for event in self.backend.wait(0.25) if (each := self._heard(event))]
            self._start_ready()  # the next ones compute while these are written
            for cell, outcome, attempts in ended:
                self._record(cell, outcome, attempts)
            self.listener(self.tally, "")

    def _admit(self, cells: list[Cell]) -> None:
        """Take in newly known cells of the needed lines. Final cells of a line that nobody selected come as parents alone."""
        for cell in cells:
            if cell.facts["kind"] == "final" and not self.selection.takes_final(cell):
                continue
            if cell.place in self._needed:
                self._take(cell)

    def _take(self, cell: Cell) -> None:
        """Queue a cell behind its parents, unless the store holds it."""
        if cell.facts["kind"] == "trial":
            self._askers.setdefault(cell.path, set()).add(cell.place)
        if cell.path in self._known:
            return
        self._known.add(cell.path)
        for parent in cell.parents:
            self._take(parent)
        self.tally.planned += 1
        record = self.planner.record(cell)
        if record is not None:
            self.tally.held += 1
            self.tally.failed_before += record["result"]["status"] == "failed"
            return
        missing = {parent.path for parent in cell.parents if self.store.read(parent.path) is None}
        for path in missing:
            self._dependents.setdefault(path, []).append(cell)
        if missing:
            self._missing[cell.path] = missing
        else:
            self._ready.append(cell)

    def _admit_timings(self) -> None:
        for cell in self.planner.timings.values():
            if not self.selection.datasets or cell.facts["dataset"] in self.selection.datasets:
                self.tally.planned += 1
                if self.planner.record(cell) is None:
                    self._alone.append(cell)
                else:
                    self.tally.held += 1

    def _waiting(self) -> bool:
        """Whether something could begin, were there a place for it: a backend may lose its places and find others."""
        return bool(self._ready or self._alone) and not self.tally.out_of_time

    def _start_ready(self) -> bool:
        """Submit cells while there is room; True if any was started."""
        if self._lonely or not (self._ready or self._alone) or self._out_of_time():
            return False
        if self._alone:  # first lets those that run come to their end
            if not self._running and self.backend.has_room(self._alone[0].job):
                self._lonely = True
                self._submit(self._alone.popleft())
            return self._lonely
        started = False
        while (number := next((n for n, cell in enumerate(self._ready) if self.backend.has_room(cell.job)), None)) is not None:
            cell = self._ready[number]
            del self._ready[number]
            broken = self._broken_parent(cell)
            if broken is not None:
                self._record(cell, broken, attempts=0)
            else:
                self._submit(cell)
                started = True
        return started

    def _out_of_time(self) -> bool:
        self.tally.out_of_time = self.stop_at is not None and time.monotonic() > self.stop_at
        return self.tally.out_of_time

    def _broken_parent(self, cell: Cell) -> Outcome | None:
        """What becomes of a cell whose parent gave no model."""
        for parent in cell.parents:
            record = self.store.read(parent.path)
            if record is not None and record["result"]["status"] != "ok":
                status = "cannot" if record["result"]["status"] == "cannot" else "failed"
                return without_fit(f"starts from {parent.facts['runner']}, which gave no model (see {parent.path})", status)
        return None

    def _submit(self, cell: Cell) -> None:
        self._ticket += 1
        self._running[self._ticket] = cell, time.monotonic()
        self.tally.running[cell.path] = ""
        self.backend.submit(self._ticket, cell.job)
        self.listener(self.tally, "")

    def _heard(self, event: Event) -> tuple[Cell, Outcome, int] | None:
        """What is to be recorded after an event, and at which attempt it was made; None where a cell goes on."""
        cell, began = self._running[event.ticket]
        if event.kind == "progress":
            self.tally.running[cell.path] = f"step {event.step}" + ("" if event.value is None else f", {event.value:.4f}")
            return None
        del self._running[event.ticket]
        self._lonely = False
        self.tally.running.pop(cell.path, None)
        self.tally.seconds += time.monotonic() - began
        attempts = 1 + self._died[cell.path] + self._lost[cell.path]
        if event.by_signal and not self._died[cell.path]:
            self._died[cell.path] += 1
            self._alone.appendleft(cell)
            return None
        if event.lost and self._lost[cell.path] < LOSSES:
            self._lost[cell.path] += 1
            (self._ready if cell.job.timing is None else self._alone).appendleft(cell)
            return None
        return cell, event.outcome or without_fit(event.reason), attempts

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
        for dependent in self._dependents.pop(cell.path, ()):
            missing = self._missing[dependent.path]
            missing.discard(cell.path)
            if not missing:
                del self._missing[dependent.path]
                self._ready.append(dependent)
        if cell.path in self._askers:
            self._admit(self.planner.advance(sorted(self._askers.pop(cell.path))))


def without_fit(reason: str, status: str = "failed") -> Outcome:
    """The outcome of a cell that no worker brought to its end."""
    result = {"status": status, "reason": reason, "traceback": "", "notes": {}, "metrics": {}, "curve": []}
    return Outcome(result, {"seconds": 0.0, "clocks": {}, "timings": {}})


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
