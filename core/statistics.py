"""Estimates over seeds, with the noise of the test sample counted: means, differences, trends, ratios, and tests on them.

The unit is the seed, and the test users are a sample too. The variance of an estimate has two parts,

    V = S^2 / n                                            S^2: variance over the n seeds
      + (G - 1) / G  sum_g (theta_(-g) - theta_bar)^2      delete-a-group jackknife of the seed average, over G groups of users

and (estimate - truth) / sqrt(V) is referred to Student's t with Welch-Satterthwaite degrees of freedom from n - 1 and G - 1.
Seeds alone call a fifth to two fifths of equal pairs "better" where the test sample is once or twice as noisy as a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtr, stdtrit  # pyright: ignore[reportMissingTypeStubs]

from .errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its standard error in two parts.

    n_groups is 0 where users play no part (costs) or are not counted; log: mean and errors are those of the logarithm, and
    `value`, `interval` and every margin are ratios.
    """

    mean: float
    se_seeds: float
    se_users: float
    n_seeds: int
    n_groups: int
    log: bool = False

    @property
    def se(self) -> float:
        """The standard error; NaN with one seed."""
        return math.hypot(self.se_seeds, self.se_users)

    @property
    def df(self) -> float:
        """Welch-Satterthwaite degrees of freedom; NaN with one seed."""
        if self.n_seeds < 2:
            return float("nan")
        if self.se == 0:
            return self.n_seeds - 1.0
        seeds, users = (self.se_seeds / self.se) ** 4, (self.se_users / self.se) ** 4
        return 1.0 / (seeds / (self.n_seeds - 1) + (users / (self.n_groups - 1) if users else 0.0))

    @property
    def value(self) -> float:
        """The estimate as shown: the mean, or the ratio whose logarithm it is."""
        return self._shown(self.mean)

    @property
    def null(self) -> float:
        """What "no difference" is: 0, or a ratio of 1."""
        return 1.0 if self.log else 0.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence interval, as shown. One-sided tests and `equivalent` at alpha agree with level 1 - 2 alpha."""
        reach = self.se * float(stdtrit(self.df, 0.5 + level / 2))
        return self._shown(self.mean - reach), self._shown(self.mean + reach)

    def steps(self, margin: float | None = None) -> float:
        """How many standard errors the mean lies above `margin` (default: above no difference)."""
        distance = self.mean - self.scaled(margin)
        if self.se == 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / self.se

    def scaled(self, margin: float | None) -> float:
        """A margin as shown, on the scale of `mean`."""
        shown = self.null if margin is None else margin
        if self.log and shown <= 0:
            raise UsageError(f"a margin for a ratio must be positive, not {shown}; 1 means no difference")
        return math.log(shown) if self.log else shown

    def _shown(self, x: float) -> float:
        return math.exp(x) if self.log else x


def summary(values: ArrayLike, leave_out: ArrayLike | None = None) -> Estimate:
    """The mean of one cell's per-seed `values` (n,); `leave_out` (n, G) is the metric without each group of test users.

    Groups without test rows (the metric stays as it is for every seed) are not counted among the G.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise UsageError(f"per-seed values have shape {x.shape}; give one value per seed")
    n = len(x)
    se_seeds = float(x.std(ddof=1) / math.sqrt(n)) if n > 1 else float("nan")
    if leave_out is None:
        return Estimate(float(x.mean()), se_seeds, 0.0, n, 0)
    without = np.asarray(leave_out, dtype=np.float64)
    if without.ndim != 2 or len(without) != n or without.shape[1] < 2:
        raise UsageError(f"leave-outs have shape {without.shape} for {n} seeds; give one row per seed, and at least 2 groups")
    without = without[:, (without != x[:, None]).any(axis=0)]
    return Estimate(float(x.mean()), se_seeds, _jackknife(without.mean(axis=0)), n, without.shape[1])


def difference(a: ArrayLike, b: ArrayLike, a_leave_out: ArrayLike | None = None, b_leave_out: ArrayLike | None = None) -> Estimate:
    """a - b, paired: entry i of both rows shares seed, split and batch order; column g of both leave-outs the same users.

    Without the leave-outs of both rows only seeds are counted (n_groups = 0).
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise UsageError(f"rows with {x.shape} and {y.shape} seeds cannot be paired; compare the seeds that both have")
    if a_leave_out is None or b_leave_out is None:
        return summary(x - y)
    return summary(x - y, np.asarray(a_leave_out, dtype=np.float64) - np.asarray(b_leave_out, dtype=np.float64))


def trend(levels: ArrayLike, values: ArrayLike, leave_out: ArrayLike | None = None) -> Estimate:
    """The least-squares slope of `values` (n, T) over `levels` (T,), fitted per seed; `leave_out` (n, T, G)."""
    x, y = np.asarray(levels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if y.ndim != 2 or x.shape != y.shape[1:] or len(np.unique(x)) < 2:
        raise UsageError(f"a trend over levels {x.shape} needs values (seeds, levels), not {y.shape}, at 2 levels or more")
    weight = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    without = None if leave_out is None else np.einsum("t,ntg->ng", weight, np.asarray(leave_out, dtype=np.float64))
    return summary(y @ weight, without)


def ratio(slow: ArrayLike, fast: ArrayLike) -> Estimate:
    """The speed-up slow / fast (geometric mean) from interleaved timings: entry i of both was measured side by side."""
    x, y = np.asarray(slow, dtype=np.float64), np.asarray(fast, dtype=np.float64)
    if x.shape != y.shape or not ((x > 0).all() and (y > 0).all()):
        raise UsageError(f"timings of shapes {x.shape} and {y.shape} give no ratio; both need one positive time per repeat")
    log = summary(np.log(x / y))
    return Estimate(log.mean, log.se_seeds, 0.0, log.n_seeds, 0, log=True)


def greater(estimate: Estimate, margin: float | None = None) -> float:
    """p value of "at most `margin`", against "above `margin`" (default: no difference)."""
    return _tail(estimate.steps(margin), estimate.df)


def less(estimate: Estimate, margin: float | None = None) -> float:
    """p value of "at least `margin`", against "below `margin`" (default: no difference)."""
    return _tail(-estimate.steps(margin), estimate.df)


def equivalent(estimate: Estimate, margin: float) -> float:
    """p value of "no difference" being off by `margin` or more, against less: two one-sided tests (Schuirmann 1987)."""
    _width(estimate, margin)
    return max(greater(estimate, 1.0 / margin if estimate.log else -margin), less(estimate, margin))


def different(estimate: Estimate, margin: float | None = None) -> float:
    """p value of "at most `margin` from no difference", against more (Hodges and Lehmann 1954); the reverse of `equivalent`."""
    far, width = abs(estimate.steps()), _width(estimate, margin)
    if estimate.se == 0:
        return 0.0 if abs(estimate.mean) > width else 1.0
    steps = width / estimate.se
    return min(_tail(far - steps, estimate.df) + _tail(far + steps, estimate.df), 1.0)


def two_sided(estimate: Estimate) -> float:
    """p value of "no difference", against any."""
    return different(estimate)


def smallest_visible(estimate: Estimate, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference (or ratio) that a one-sided test at `alpha` sees with probability `power`, with these errors."""
    reach = estimate.se * float(stdtrit(estimate.df, 1 - alpha) + stdtrit(estimate.df, power))
    return math.exp(reach) if estimate.log else reach


def intersection_union(ps: Sequence[float]) -> float:
    """p value of a conjunction, "all of these": the largest (Berger 1982)."""
    return float(np.max(ps))


def holm(ps: Sequence[float]) -> list[float]:
    """p values of alternatives, "which of these", adjusted by Holm's step-down."""
    p = np.asarray(ps, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def upper_share(count: int, of: int, level: float = 0.95) -> float:
    """The largest share that `count` hits among `of` random draws leave credible: exact, one-sided (Clopper and Pearson 1934)."""
    return 1.0 if count >= of else float(betaincinv(count + 1, of - count, level))


def _jackknife(without: Floats) -> float:
    """Standard error of a statistic from its values without each of G groups, `without` (G,); NaN with one group."""
    groups = len(without)
    if groups < 2:
        return float("nan") if groups else 0.0
    return float(np.sqrt((groups - 1) / groups * np.sum((without - without.mean()) ** 2)))


def _tail(steps: float, df: float) -> float:
    """P(T > steps) for Student's t."""
    return float(stdtr(df, -steps))


def _width(estimate: Estimate, margin: float | None) -> float:
    """A margin around no difference, on the scale of the mean."""
    width = estimate.scaled(margin)
    if width < 0:
        raise UsageError(f"a margin around no difference is at least {estimate.null:g}, not {margin}")
    return width
