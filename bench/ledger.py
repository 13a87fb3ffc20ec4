"""What a session measured, as the tables that docs/performance.md shows.

ledger.add(race, "double backward", "closed form", target=2.0, work=Work(bytes=1.6e9))
ledger.note("peak memory", 1.75, "GB", target=4)
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .interleave import Race
from .limits import Work


@dataclass(frozen=True)
class Comparison:
    """How many times `fast` beats `slow` (the medians; the least and the most of the rounds), and what was promised.

    limit: seconds that this machine needs at least for what `fast` does, where that is known; load: of the machine, when measured.
    """

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
    limit: float | None
    load: float

    @property
    def key(self) -> tuple[str, ...]:
        return self.what, self.fast, self.slow

    def cells(self) -> tuple[str, ...]:
        target = f">= {self.target:g}" if self.target else ""
        if self.target and self.ratio < self.target:
            target += ", **missed**"
        ratio = f"{self.ratio:.3g} ({self.least:.3g} to {self.most:.3g})" if self.rounds > 1 else f"{self.ratio:.3g}"
        limit = f"{self.limit:.2g} ({self.seconds_fast / self.limit:.2g} x)" if self.limit else ""
        return self.what, self.fast, f"{self.seconds_fast:.3g}", self.slow, f"{self.seconds_slow:.3g}", ratio, target, limit


@dataclass(frozen=True)
class Number:
    """A plain number, and the most that was promised."""

    what: str
    value: float
    unit: str
    target: float | None
    load: float

    @property
    def key(self) -> tuple[str, ...]:
        return (self.what,)

    def cells(self) -> tuple[str, ...]:
        target = f"<= {self.target:g} {self.unit}" if self.target else ""
        if self.target and self.value > self.target:
            target += ", **missed**"
        return self.what, f"{self.value:.3g} {self.unit}", target


@dataclass
class Ledger:
    """Everything that a session measured, or that was committed."""

    comparisons: list[Comparison] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)

    def add(self, race: Race, slow: str, fast: str, target: float | None = None, work: Work | None = None) -> None:
        """Note how many times `fast` beats `slow`; an AssertionError when that is below the target."""
        ratio, least, most = race.ratio(slow, fast)
        found = Comparison(
            what=race.title,
            fast=fast,
            seconds_fast=race.median(fast),
            slow=slow,
            seconds_slow=race.median(slow),
            ratio=ratio,
            least=least,
            most=most,
            rounds=len(race.seconds[fast]),
            target=target,
            limit=None if work is None else work.seconds(),
            load=_load(),
        )
        self.comparisons.append(found)
        assert target is None or ratio >= target, f"{race.title}: {fast} is {ratio:.2f} times as fast as {slow}, not {target:g}"

    def note(self, what: str, value: float, unit: str, target: float | None = None) -> None:
        """Note a plain number; an AssertionError when it is above the target."""
        self.numbers.append(Number(what, value, unit, target, _load()))
        assert target is None or value <= target, f"{what}: {value:.3g} {unit}, over {target:g}"

    def markdown(self) -> str:
        """Both tables, or the one that has rows."""
        head = ("what", "faster", "s", "slower", "s", "ratio (rounds)", "target", "limit, s (from it)")
        ratios = _table(head, [row.cells() for row in self.comparisons])
        numbers = _table(("what", "measured", "target"), [row.cells() for row in self.numbers])
        return "\n\n".join(table for table, rows in ((ratios, self.comparisons), (numbers, self.numbers)) if rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows))


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
