"""Races: the compared steps take turns in one process, A B C A B C, so that whatever else the machine does hits all of them alike.

    race = interleave("Hessian product", {"double backward": f, "closed form": g}, rounds=7)
    ledger.add(race, "double backward", "closed form", target=2.0)

A ratio is that of the medians; its range is that of the rounds, each with itself.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch


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


@dataclass(frozen=True)
class Comparison:
    """How many times `fast` beats `slow` (the medians; the least and the most of the rounds), and what was promised."""

    what: str
    fast: str
    seconds_fast: float
    slow: str
    seconds_slow: float
    ratio: float
    least: float
    most: float
    rounds: int
    target: float | None

    def cells(self) -> tuple[str, ...]:
        target = f">= {self.target:g}" if self.target else ""
        ratio = f"{self.ratio:.3g} ({self.least:.3g} to {self.most:.3g})" if self.rounds > 1 else f"{self.ratio:.3g}"
        return self.what, self.fast, f"{self.seconds_fast:.3g}", self.slow, f"{self.seconds_slow:.3g}", ratio, target


@dataclass(frozen=True)
class Number:
    """A plain number, and the most that was promised."""

    what: str
    value: float
    unit: str
    target: float | None

    def cells(self) -> tuple[str, ...]:
        return self.what, f"{self.value:.3g} {self.unit}", f"<= {self.target:g} {self.unit}" if self.target else ""


@dataclass
class Ledger:
    """Everything that a session measured, for the tables at its end."""

    comparisons: list[Comparison] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)

    def add(self, race: Race, slow: str, fast: str, target: float | None = None) -> None:
        """Note how many times `fast` beats `slow`; an AssertionError when that is below the target."""
        ratio, least, most = race.ratio(slow, fast)
        rounds = len(race.seconds[fast])
        self.comparisons.append(
            Comparison(race.title, fast, race.median(fast), slow, race.median(slow), ratio, least, most, rounds, target)
        )
        assert target is None or ratio >= target, f"{race.title}: {fast} is {ratio:.2f} times as fast as {slow}, not {target:g}"

    def note(self, what: str, value: float, unit: str, target: float | None = None) -> None:
        """Note a plain number; an AssertionError when it is above the target."""
        self.numbers.append(Number(what, value, unit, target))
        assert target is None or value <= target, f"{what}: {value:.3g} {unit}, over {target:g}"

    def markdown(self) -> str:
        """Both tables, or the one that has rows."""
        ratios = _table(
            ("what", "faster", "s", "slower", "s", "ratio (rounds)", "target"), [row.cells() for row in self.comparisons]
        )
        numbers = _table(("what", "measured", "target"), [row.cells() for row in self.numbers])
        return "\n\n".join(table for table, rows in ((ratios, self.comparisons), (numbers, self.numbers)) if rows)

    def write(self, folder: Path) -> None:
        """speed.json and speed.md."""
        folder.mkdir(parents=True, exist_ok=True)
        report = {"machine": machine(), **asdict(self)}
        (folder / "speed.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        (folder / "speed.md").write_text(self.markdown() + "\n", encoding="utf-8")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg(),
    }
