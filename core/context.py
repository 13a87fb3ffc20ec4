"""What a runner may ask of its surroundings: seeds, clocks, progress, parents, a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .seeds import derive

if TYPE_CHECKING:
    import torch


class DeadlineExceeded(Exception):
    """The cell's deadline has passed. The cell counts as failed; a deadline never shortens a fit that then counts."""


class Pruned(Exception):
    """The search stopped this trial early, by thresholds fixed before it began."""


def _ignore(step: int, value: float | None) -> None:
    """Progress that nobody listens to."""


@dataclass
class RunContext:
    """One fit's surroundings.

    root: the seed; folder: where a runner may write artifacts; parents: the fitted cells it `requires`, by runner name;
    deadline: seconds on `time.monotonic()`; listener: called with (step, value) at each `progress`.
    """

    root: int
    folder: Path | None = None
    parents: Mapping[str, Any] = field(default_factory=dict[str, Any])
    deadline: float | None = None
    device: str = "cpu"
    listener: Callable[[int, float | None], None] = _ignore
    clocks: dict[str, float] = field(default_factory=dict[str, float])
    notes: dict[str, float] = field(default_factory=dict[str, float])

    def seed(self, stream: str) -> int:
        """The seed of a named stream: `run.seed("init")`, `run.seed("batches")`."""
        return derive(self.root, stream)

    def rng(self, stream: str) -> np.random.Generator:
        """A NumPy generator on a named stream."""
        return np.random.default_rng(self.seed(stream))

    def generator(self, stream: str) -> torch.Generator:
        """A torch generator (CPU) on a named stream."""
        import torch

        return torch.Generator().manual_seed(self.seed(stream))

    def parent(self, name: str) -> Any:
        """The fitted parent cell of that runner name; read-only by agreement."""
        return self.parents[name]

    def progress(self, step: int, value: float | None = None) -> None:
        """Report a step (and the validation value that a pruner may look at); stops a fit that is past its deadline."""
        self.listener(step, value)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlineExceeded(f"the deadline passed at step {step}")

    @contextmanager
    def clock(self, name: str) -> Generator[None]:
        """Add the seconds spent inside to the clock `name`. Clocks are shown, never compared."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.clocks[name] = self.clocks.get(name, 0.0) + time.perf_counter() - start

    def note(self, name: str, value: float) -> None:
        """Keep a deterministic diagnostic (iterations, residual, best epoch) in the record's result."""
        self.notes[name] = float(value)
