"""How many seeds an effect needs to be seen, from the spread that a pilot run shows.

The mean of n seeds has the variance s^2 / n + u^2 (`core/statistics.py`). More seeds shrink the first part alone: what the test
users add stays, so an effect below their noise needs more users, and no number of seeds will show it. Power is that of the t-test
with Welch-Satterthwaite degrees, by Student's noncentral t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import chdtrc, nctdtr, nctdtrinc, stdtrit  # pyright: ignore[reportMissingTypeStubs]

from .errors import UsageError
from .statistics import Estimate

MOST_SEEDS = 100_000
_FAR = 30.0  # standard errors


@dataclass(frozen=True)
class Spread:
    """What makes an estimate uncertain. seeds: standard deviation from seed to seed; users: standard error of the test users.

    groups: of users, behind the second; 0 where users play no part.
    """

    seeds: float
    users: float
    groups: int

    @classmethod
    def of(cls, estimate: Estimate) -> Spread:
        """The spread that a pilot of at least two seeds shows. Raises `UsageError` for one seed."""
        if estimate.n_seeds < 2:
            raise UsageError("one seed shows no spread from seed to seed; run two or more")
        return cls(estimate.se_seeds * math.sqrt(estimate.n_seeds), estimate.se_users, estimate.n_groups)

    def at(self, seeds: int) -> Estimate:
        """An estimate of no difference with so many seeds."""
        return Estimate(0.0, self.seeds / math.sqrt(seeds), self.users, seeds, self.groups)


def power(size: float, spread: Spread, seeds: int, *, alpha: float = 0.05, sides: int = 2) -> float:
    """The probability that a test with so many seeds at `alpha` sees a true difference of `size` > 0, and sees its direction."""
    estimate = spread.at(seeds)
    if estimate.se == 0:
        return 1.0
    edge = float(stdtrit(estimate.df, 1 - alpha / sides))
    far = size / estimate.se
    if far > _FAR:  # where the noncentral t is not computed; next to `far` a standard normal is nothing
        return 1.0 - float(chdtrc(estimate.df, estimate.df * (far / edge) ** 2))
    return 1.0 - float(nctdtr(estimate.df, far, edge))


def seeds_needed(size: float, spread: Spread, wanted: float = 0.8, *, alpha: float = 0.05, sides: int = 2) -> int | None:
    """The fewest seeds (two or more) that see `size` > 0 with probability `wanted`; None where `MOST_SEEDS` would not."""

    def enough(seeds: int) -> bool:
        return power(size, spread, seeds, alpha=alpha, sides=sides) >= wanted

    if not enough(MOST_SEEDS):
        return None
    low, high = 1, 2
    while not enough(high):
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def visible(spread: Spread, seeds: int, wanted: float = 0.8, *, alpha: float = 0.05, sides: int = 2) -> float:
    """The smallest true difference that so many seeds see with probability `wanted`."""
    estimate = spread.at(seeds)
    if estimate.se == 0:
        return 0.0
    edge = float(stdtrit(estimate.df, 1 - alpha / sides))
    return estimate.se * float(nctdtrinc(estimate.df, 1 - wanted, edge))
