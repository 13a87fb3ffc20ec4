"""How good a user's list is: the best k of the user's rows by score. LabelCraft's metrics, and the objective of its searches.

    NWTG@k = sum_{i<=k} y_i / log2(i + 1), over the same sum in the best order of the user's rows      y watch time
    NEG@k  = the same with 1[any explicit feedback] for y
    DS@k   = standard deviation (unbiased, seconds) of the durations in the list

Users with fewer than 2k rows have no list. Rows of equal score share their places: a gain is its mean over all orders of such rows,
DS the root of the mean variance. So no order of rows plays a part.

`*_as_released` is what the authors' code computes instead: a gain is multiplied by log2(i + 1), so that the last place weighs most,
the order divided by is the descending one, which is then not the best, and a user without any gain counts as 1.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .groups import Floats, Ints, user_group
from .watch_time import grouped_mean


class Lists:
    """The lists that a score (N,) makes of the rows of each user (N,), higher first.

    k: at least 2. user: int64 (users,), ascending, those with at least 2k rows; rows: int64 (users,), how many rows of theirs;
    left_out: how many other users there are. What is computed is float64 (users,), in the order of `user`.
    """

    def __init__(self, score: ArrayLike, user: ArrayLike, k: int) -> None:
        if k < 2:
            raise UsageError(f"a list of {k} has no spread of durations; give k of at least 2")
        ids, index, size = np.unique(np.asarray(user), return_inverse=True, return_counts=True)
        self._given = len(index)
        enough = size >= 2 * k
        self.k, self.user, self.rows, self.left_out = k, ids[enough], size[enough], int(np.count_nonzero(~enough))
        self._kept = np.flatnonzero(enough[index])
        self._owner = (np.cumsum(enough) - 1)[index[self._kept]]
        self._start = np.cumsum(self.rows) - self.rows
        s = self._values(score, "scores")
        self._order = self._descending(s)
        own, s = self._owner[self._order], s[self._order]
        new = np.ones(len(s), dtype=np.bool_)
        new[1:] = (own[1:] != own[:-1]) | (s[1:] != s[:-1])
        self._run = np.flatnonzero(new)
        self._length = np.diff(self._run, append=len(s))
        self._rank = np.arange(len(s)) - np.repeat(self._start, self.rows) + 1

    @property
    def share(self) -> Floats:
        """(N,) the probability that a row is in its user's list: 1 or 0, but for rows of equal score where the list ends."""
        found = np.zeros(self._given)
        found[self._kept[self._order]] = self._listed
        return found

    def mean(self, value: ArrayLike) -> Floats:
        """The mean of `value` (N,) in each list."""
        return self._total(self._listed * self._values(value, "values")[self._order]) / self.k

    def nwtg(self, watch_time: ArrayLike) -> Floats:
        """From watch times (N,) of any unit; NaN for a user who watched nothing."""
        return self._gain(self._values(watch_time, "watch times", 0), self._discount)

    def neg(self, explicit: ArrayLike) -> Floats:
        """From 1 for a row with any explicit feedback and 0 for another (N,); NaN for a user without any."""
        return self._gain(self._values(explicit, "explicit feedback", 0), self._discount)

    def nwtg_as_released(self, watch_time: ArrayLike) -> Floats:
        """May exceed 1."""
        return np.nan_to_num(self._gain(self._values(watch_time, "watch times", 0), 1 / self._discount), nan=1.0)

    def neg_as_released(self, explicit: ArrayLike) -> Floats:
        """May exceed 1."""
        return np.nan_to_num(self._gain(self._values(explicit, "explicit feedback", 0), 1 / self._discount), nan=1.0)

    def none(self, explicit: ArrayLike) -> Floats:
        """1 for a user without any explicit feedback (N,), 0 for any other. Their mean is the share z of users who count as 1."""
        return (self._total(self._values(explicit, "explicit feedback", 0)[self._order]) == 0).astype(np.float64)

    def duration_spread(self, duration: ArrayLike) -> Floats:
        """DS@k, in the unit of `duration` (N,).

        Of a run of t equal scores of which m are in the list, the sum of the drawn values varies by m (1 - m/t) times the run's
        unbiased variance.
        """
        x, w = self._values(duration, "durations")[self._order], self._listed
        x = x - np.repeat(x[self._start], self.rows)
        length = np.repeat(self._length, self._length)
        around = (x - self._run_means(x)) ** 2 * w * (1 - w) * length / np.maximum(length - 1, 1)
        of_sum = self._total(w * x) ** 2 + self._total(around)
        return np.sqrt(np.maximum(self._total(w * x**2) - of_sum / self.k, 0) / (self.k - 1))

    def largest_duration_spread(self, duration: ArrayLike) -> Floats:
        """The largest DS@k of any k rows of the user.

        A variance is convex in each value, so one that is neither among the lowest nor among the highest can be moved to one side
        without loss: some of the user's shortest videos and else the longest are best, one of k + 1 choices.
        """
        x = self._values(duration, "durations")
        x = x[self._descending(x)]
        x = x - np.repeat(x[self._start], self.rows)
        first = np.arange(self.k + 1)
        head, tail = self._start[:, None] + first, (self._start + self.rows)[:, None] - (self.k - first)

        def chosen(value: Floats) -> Floats:
            before = np.concatenate([[0.0], np.cumsum(value)])
            return before[head] - before[head[:, :1]] + before[tail[:, -1:]] - before[tail]

        variance = (chosen(x**2) - chosen(x) ** 2 / self.k) / (self.k - 1)
        return np.sqrt(np.maximum(variance.max(axis=1), 0))

    def averaged(self, values: ArrayLike, groups: int = 40, by_rows: bool = False) -> tuple[float, Floats]:
        """The mean over the users with a value (not NaN), and (groups,) the same without each group of users (`user_group`).

        by_rows: weigh each user by the number of rows.
        """
        each = np.asarray(values, dtype=np.float64)
        weight = np.where(np.isnan(each), 0, self.rows if by_rows else 1)
        return grouped_mean(np.nan_to_num(each), user_group(self.user, groups), groups, weight)

    def _values(self, given: ArrayLike, name: str, least: float = -np.inf) -> Floats:
        """The kept rows' values, checked."""
        values = np.asarray(given, dtype=np.float64)
        if values.shape != (self._given,):
            raise UsageError(f"{name} have shape {values.shape} for {self._given} rows of users; give one value a row")
        if not (values >= least).all():  # NaN is not
            wanted = "numbers" if np.isinf(least) else f"numbers of at least {least:g}"
            raise UsageError(
                f"{int((~(values >= least)).sum())} of {len(values)} {name} are not {wanted}; leave them out or mend them"
            )
        return values[self._kept]

    def _descending(self, value: Floats) -> Ints:
        """The kept rows sorted by user, then from the highest value down."""
        order = np.argsort(-value)
        owner = self._owner.astype(np.uint16) if len(self.user) <= 1 << 16 else self._owner  # 16-bit keys are radix-sorted
        return order[np.argsort(owner[order], kind="stable")]

    @cached_property
    def _listed(self) -> Floats:
        """(M,) `share` of the sorted rows."""
        return self._run_means((self._rank <= self.k).astype(np.float64))

    @cached_property
    def _discount(self) -> Floats:
        """(M,) 1 / log2(i + 1) at place i of the sorted rows."""
        return 1 / np.log2(self._rank + 1)

    def _gain(self, gain: Floats, weight: Floats) -> Floats:
        """Weighted gains of the list over those of the descending order; NaN without any. weight: (M,) by place."""
        weight = np.where(self._rank <= self.k, weight, 0)
        top = self._total(self._run_means(weight) * gain[self._order])
        ideal = self._total(weight * gain[self._descending(gain)])
        return np.divide(top, ideal, out=np.full(len(ideal), np.nan), where=ideal > 0)

    def _run_means(self, value: Floats) -> Floats:
        """Each sorted row's mean over the rows of its score."""
        return np.repeat(np.add.reduceat(value, self._run) / self._length, self._length)

    def _total(self, value: Floats) -> Floats:
        """(users,) the sum over each user's sorted rows."""
        return np.add.reduceat(value, self._start)


def overall(score: ArrayLike, watch_time: ArrayLike, explicit: ArrayLike, duration: ArrayLike, user: ArrayLike, k: int) -> float:
    """The mean of NWTG@k, of NEG@k and of DS@k over the largest DS@k of the user's rows: what all searches maximise; in [0, 1].

    All (N,). Each of the three is a mean over the users for whom it is defined, and is left out where there is none. Raises
    UsageError where no user has 2k rows that differ in anything.
    """
    lists = Lists(score, user, k)
    spread, largest = lists.duration_spread(duration), lists.largest_duration_spread(duration)
    share = np.divide(spread, largest, out=np.full(len(largest), np.nan), where=largest > 0)
    parts: list[NDArray[np.float64]] = [lists.nwtg(watch_time), lists.neg(explicit), np.minimum(share, 1)]
    means = [float(np.nanmean(part)) for part in parts if not np.isnan(part).all()]
    if not means:
        raise UsageError(
            f"nobody has {2 * k} rows with any watch time, feedback or spread of durations; give a smaller k or more rows"
        )
    return sum(means) / len(means)
