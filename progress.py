"""What a person sees while cells run: a live bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from .benchmarks.driver import Tally
from .benchmarks.plan import Planner, Selection

_PLAIN_SECONDS = 10.0


class Progress:
    """Listens to a driver. Use as a context; `conclude` prints the last line."""

    def __init__(self, planner: Planner, selection: Selection, command: str) -> None:
        self.planner, self.selection, self.command = planner, selection, command
        self.console = Console(stderr=True)
        self._bar: Bar | None = None
        self._said, self._begun = 0.0, time.monotonic()
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Bar(*columns, console=self.console)
            self._task = self._bar.add_task(planner.benchmark.name, total=None, note="")

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, tally: Tally, line: str) -> None:
        if line.startswith("failed"):
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if self._bar:
            self._bar.update(self._task, completed=tally.finished, total=self._total(tally), note=self._note(tally))
        elif time.monotonic() - self._said > _PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"{tally.finished} of {self._total(tally)} cells, {self._note(tally)}", file=sys.stderr, flush=True)

    def _total(self, tally: Tally) -> int:
        return max(tally.planned, self.planner.expected()) if self.selection.whole else tally.planned

    def _note(self, tally: Tally) -> str:
        computed = tally.done + tally.failed
        parts = [f"{len(tally.running)} running", *([f"{tally.failed} failed"] if tally.failed else [])]
        if computed:
            left = (self._total(tally) - tally.finished) * (time.monotonic() - self._begun) / computed
            parts.append(f"about {_span(left)} left")
        return ", ".join(parts)

    def conclude(self, tally: Tally) -> None:
        """How it ended, what could not run here, and how to go on."""
        for task, hole in self.planner.holes.items():
            print(f"{task}: not run, {hole}", file=sys.stderr)
        told = f"{tally.done} cells computed, {tally.held} were in the store, {tally.failed + tally.failed_before} failed"
        if tally.interrupted:
            told += f"; interrupted, nothing recorded is lost. Go on with: {self.command}"
        elif tally.out_of_time:
            told += f"; out of time. Go on with: {self.command}"
        elif tally.failed or tally.failed_before:
            told += f". Run failed cells again with: {self.command} --retry failed"
        print(told, file=sys.stderr)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
