"""Training with early stopping: the loop that every trained runner shares, whatever it trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .context import RunContext

State = TypeVar("State")


@dataclass(frozen=True)
class Training:
    """How a training went. Epochs count from 1; seconds run from the start, validation included (shown, never compared)."""

    best_epoch: int
    epochs: int
    best_score: float
    seconds_to_best: float
    seconds_to_stop: float


def early_stopping(
    epoch: Callable[[], None],
    score: Callable[[], float],
    snapshot: Callable[[], State],
    restore: Callable[[State], object],
    run: RunContext,
    *,
    patience: int = 10,
    max_epochs: int = 5000,
    least_gain: float = 0.0,
) -> Training:
    """Call `epoch` until `score` (validation, higher is better) gained at most `least_gain` for over `patience` epochs in a row.

    So patience 10 stops at the 11th miss, as released IFRU does (`not_change > 10`). A tie is a miss. Ends in the best state, by
    `restore(snapshot())`; reports every epoch to `run.progress`. Raises FloatingPointError when the score is not finite.
    """
    start = time.perf_counter()
    best, best_epoch, best_state, to_best = -math.inf, 0, snapshot(), 0.0
    number = 0
    while number < max_epochs and number - best_epoch <= patience:
        number += 1
        epoch()
        value = score()
        if not math.isfinite(value):
            raise FloatingPointError(f"the validation score of epoch {number} is {value}: training diverged, or cannot be scored")
        if value > best + least_gain:
            best, best_epoch, best_state, to_best = value, number, snapshot(), time.perf_counter() - start
        run.progress(number, value)
    seconds = time.perf_counter() - start
    restore(best_state)
    return Training(best_epoch, number, best, to_best, seconds)
