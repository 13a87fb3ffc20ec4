"""D2Co: where a watch lies between the noisy one and the biased one of its duration (Zhao et al., RecSys 2023).

    w-, w+   the lower and the higher mean of a mixture of two Gaussians, fitted to w = min(y, d) in each whole second d of train,
             then averaged over the durations d - T + 1 .. d + T - 1, weighted by their rows
    label    p = clip((e^{a w} - e^{a w-}) / (e^{a w+} - e^{a w-}), 0, 1); where w+ = w-, 1 above and 0 elsewhere
    loss     BCE(sigma(s), p)
    seconds  log((1 - p) e^{a w-} + p e^{a w+}) / a for p = sigma(s), the inverse: between w- and w+, and in [0, d]

The label is convex in w, so the seconds of a mean label lie above the mean of seconds, the more so the larger a is.

The mixtures of all durations are fitted at once, by EM on the counts of whole seconds. It starts from the best cut of each
duration's seconds in two (exact 2-means; of two as good, the lower) and has scikit-learn's floor of variances and its stop, by
duration. A duration with one value of w has both means there. One that train lacks has those of the nearest that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...core.params import integer, real
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_seconds import Cells, Floats, Ints, cut_watch_time, nearest, whole_seconds, within
from ...models.watch_target import Arrays, Target

# scikit-learn's GaussianMixture, and `max_iter` as released.
LEAST_VARIANCE = 1e-6
LEAST_GAIN = 1e-3  # of the mean log-likelihood of a duration's rows
EM_STEPS = 500
NOBODY = 10 * float(np.finfo(np.float64).eps)  # rows that an empty component counts


@dataclass(frozen=True)
class Mixtures:
    """Two Gaussians for each duration: share, mean, variance (D, 2)."""

    share: Floats
    mean: Floats
    variance: Floats

    def only(self, keep: NDArray[np.bool_]) -> Mixtures:
        return Mixtures(self.share[keep], self.mean[keep], self.variance[keep])


def two_means(cells: Cells) -> Floats:
    """The start: (C, 2), which side of its duration's best cut each cell lies on.

    >>> watched = np.array([1, 1, 8, 9], dtype=np.float32)  # four plays of videos of ten seconds
    >>> cells = Cells.of_rows(Watched({"item_id": np.arange(4)}, {}, watched, np.full(4, 10, dtype=np.float32)))
    >>> two_means(cells).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    rows, seconds = np.cumsum(cells.rows), np.cumsum(cells.rows * cells.watch)
    before, n, total = cells.first, cells.count, cells.totals(cells.rows * cells.watch)
    below = rows - (rows - cells.rows)[before][cells.of]  # rows at or below a cell, within its duration
    sum_below = seconds - (seconds - cells.rows * cells.watch)[before][cells.of]
    n_of, total_of = n[cells.of].astype(np.float64), total[cells.of]
    above = n_of - below
    apart = (sum_below * n_of - total_of * below) ** 2  # the squares between both sides, times n below above
    between = np.divide(apart, n_of * below * above, out=np.zeros_like(apart), where=above > 0)
    best = np.flatnonzero(between == np.maximum.reduceat(between, cells.first)[cells.of])
    cut = best[np.unique(cells.of[best], return_index=True)[1]]
    low = np.arange(len(cells.of)) <= cut[cells.of]
    return np.stack([low, ~low], axis=1).astype(np.float64)


def maximised(cells: Cells, belongs: Floats) -> Mixtures:
    """The M-step, from how far each cell belongs to each component (C, 2).

    >>> watched = np.array([1, 1, 8, 9], dtype=np.float32)  # four plays of videos of ten seconds
    >>> cells = Cells.of_rows(Watched({"item_id": np.arange(4)}, {}, watched, np.full(4, 10, dtype=np.float32)))
    >>> maximised(cells, two_means(cells)).mean.round(3).tolist()
    [[1.0, 8.5]]
    """
    rows = cells.rows[:, None] * belongs
    held = cells.totals(rows) + NOBODY
    centre = cells.mean[:, None]  # sums of deviations from it keep their digits, and an empty component stays there
    mean = centre + cells.totals(rows * (cells.watch[:, None] - centre[cells.of])) / held
    variance = cells.totals(rows * (cells.watch[:, None] - mean[cells.of]) ** 2) / held + LEAST_VARIANCE
    return Mixtures(held / held.sum(axis=1, keepdims=True), mean, variance)


def expected(cells: Cells, mixtures: Mixtures) -> tuple[Floats, Floats]:
    """The E-step: how far each cell belongs to each component (C, 2), and the mean log-likelihood of each duration's rows (D,).

    >>> watched = np.array([1, 1, 8, 9], dtype=np.float32)  # four plays of videos of ten seconds
    >>> cells = Cells.of_rows(Watched({"item_id": np.arange(4)}, {}, watched, np.full(4, 10, dtype=np.float32)))
    >>> belongs, _ = expected(cells, maximised(cells, two_means(cells)))
    >>> belongs.round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    share, mean, variance = (each[cells.of] for each in (mixtures.share, mixtures.mean, mixtures.variance))
    log = np.log(share) - (np.log(2 * np.pi * variance) + (cells.watch[:, None] - mean) ** 2 / variance) / 2
    both = np.logaddexp(log[:, 0], log[:, 1])
    return np.exp(log - both[:, None]), cells.totals(cells.rows * both) / cells.count


def component_means(cells: Cells) -> Floats:
    """w-, w+ (D, 2): the means of each duration's mixture, ascending.

    >>> watched = np.array([1, 1, 8, 9], dtype=np.float32)  # four plays of videos of ten seconds
    >>> cells = Cells.of_rows(Watched({"item_id": np.arange(4)}, {}, watched, np.full(4, 10, dtype=np.float32)))
    >>> component_means(cells).round(3).tolist()
    [[1.0, 8.5]]
    """
    means = np.empty((len(cells.duration), 2))
    left, likelihood = np.arange(len(means)), np.full(len(means), -np.inf)
    mixtures = maximised(cells, two_means(cells))
    for _ in range(EM_STEPS):
        belongs, new = expected(cells, mixtures)
        mixtures = maximised(cells, belongs)
        means[left] = mixtures.mean
        moves = np.abs(new - likelihood) >= LEAST_GAIN
        if not moves.any():
            break
        cells, mixtures, left, likelihood = cells.only(moves), mixtures.only(moves), left[moves], new[moves]
    return np.sort(means, axis=1)


def smoothed(duration: Ints, rows: Ints, values: Floats, window: int) -> Floats:
    """values (D, 2), averaged over the durations less than `window` seconds away, weighted by rows (D,).

    >>> duration, rows = np.array([5, 6, 20]), np.array([3, 1, 1])
    >>> smoothed(duration, rows, np.array([[1.0, 4.0], [5.0, 4.0], [9.0, 9.0]]), window=3).tolist()
    [[2.0, 4.0], [2.0, 4.0], [9.0, 9.0]]
    """
    low = np.searchsorted(duration, duration - window, side="right")
    high = np.searchsorted(duration, duration + window, side="left")
    count = np.concatenate([[0], np.cumsum(rows)])
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(rows[:, None] * values, axis=0)])
    return (total[high] - total[low]) / (count[high] - count[low])[:, None]


@dataclass(frozen=True, eq=False)
class CorrectedWatch(Target):
    """p, in [0, 1]. duration: (D,) whole seconds that train has, ascending; ends: (D, 2) w-, w+ there; alpha: a, 1 / seconds."""

    name = "corrected_watch"
    duration: Ints
    ends: Floats
    alpha: float

    @classmethod
    def fit(cls, train: Watched, alpha: float, window: int) -> Self:
        cells = Cells.of_rows(train)
        return cls(cells.duration, smoothed(cells.duration, cells.count, component_means(cells), window), alpha)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        w, d = cut_watch_time(rows)
        low, high = self.ends[nearest(self.duration, d)].T
        gap = high - low
        above = np.clip(w - low, 0, gap)
        risen = np.exp(self.alpha * (above - gap)) * -np.expm1(-self.alpha * above)  # both sides / e^{a w+}: no power overflows
        step = (w > low).astype(np.float64)
        return np.divide(risen, -np.expm1(-self.alpha * gap), out=step, where=gap > 0).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(head, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        d, s = whole_seconds(duration), head[:, 0].astype(np.float64)
        low, high = self.ends[nearest(self.duration, d)].T
        return within(high + np.logaddexp(log_expit(s), log_expit(-s) - self.alpha * (high - low)) / self.alpha, d)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {"duration": self.duration, "ends": self.ends}
        return arrays, {"alpha": self.alpha}


class D2CoParams(WatchTimeParams):
    """D2Co's own settings; the release's defaults."""

    alpha: float = real(0.3, low=0.01, high=1.0, log=True, minimum=1e-6, help="a, how late between both means the label rises")
    window: int = integer(10, low=1, high=20, minimum=1, help="T: both means are averaged over 2 T - 1 whole seconds of duration")


class D2Co(WatchTimeRunner):
    """Debiased and denoised watch-time correction."""

    name = "d2co"
    title = "D2Co"
    Params = D2CoParams
    reference = "Zhao et al., Uncovering User Interest from Biased and Noised Watch Time in Video Recommendation, RecSys 2023"

    def target(self, train: Watched, params: D2CoParams) -> Target:
        return CorrectedWatch.fit(train, params.alpha, params.window)
