"""Races: the compared steps take turns in one process, A B C A B C, so that whatever else the machine does hits all of them alike.

    race = interleave("Hessian product", {"double backward": f, "closed form": g}, rounds=7)
    race.ratio("double backward", "closed form")

A ratio is that of the medians; its range is that of the rounds, each with itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Race:
    """A number of seconds per round, for each step by name."""

    title: str
    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> tuple[float, float, float]:
        """How many times `fast` is faster than `slow`: of the medians, and the least and the largest of the rounds."""
        rounds = [a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)]
        return self.median(slow) / self.median(fast), min(rounds), max(rounds)


def interleave(
    title: str,
    steps: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    calls: Mapping[str, int] | None = None,
    warm_up: bool = True,
) -> Race:
    """Time one call of each step per round, in turn. calls: of short steps, how many in a row; their mean is the round's number."""
    calls = calls or {}
    if warm_up:
        for step in steps.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(calls.get(name, 1)):
                step()
            seconds[name].append((time.perf_counter() - start) / calls.get(name, 1))
    return Race(title, seconds)
