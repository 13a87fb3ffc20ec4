"""A week under each frozen model, in the world that a simulated log came from: the closed loop as a benchmark plays it.

Each user gets 20 candidates a day and is shown the best ten. A model's T probabilities become one score, sum_k w_k log p_k. Its
weights w are the mean of the best 8 of a fixed grid of 64, the same for every row and equal weights first, on two days with
candidates and chance of their own. Best is what brings the most of

    log(watch time) + log(videos) + log(shares + .01)          of means over users: a tenth more of any of the three counts the same

(The best one alone follows the chance of a few shares: from one set of tuning days to another, the satisfying videos of the same
model then vary by a third more.)

Then the seven days are played with these weights, as they are by a policy that ranks at random and by an oracle that ranks by the
true probability of satisfaction. All meet the same chance. The truth stays in here: what a model is shown are the rows' inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.metrics.groups import group_sums, user_group
from ..core.task import Predictions
from ..datasets.closed_loop import Candidates, Outcome, candidates, fuse, oracle, random_score, run_many, tune_fusion
from ..datasets.sim_video_worlds import WORLDS, VideoWorld
from .benchmark import Measure

VIEW = "loop"
USERS, PER_DAY, DAYS, TUNING_DAYS = 450, 20, 7, 2
WEEK_SEED, TUNING_SEED = 1, 2
TRIALS, BEST = 64, 8
GROUPS = 40
METRICS = {"watch_time": "views", "views": "views", "shares": "shares", "retained": "retained", "satisfied": "satisfied"}


class Week:
    """The candidates of one world, and what comes of ranking them.

    rows: those of the tuning days, then those of the seven days; user_id, item_id, time, date, duration, day.
    """

    def __init__(self, world: VideoWorld) -> None:
        users = min(USERS, world.users // 2)
        self.world = world
        self.tuning: Candidates = candidates(world, TUNING_DAYS, PER_DAY, TUNING_SEED, users)
        self.days: Candidates = candidates(world, DAYS, PER_DAY, WEEK_SEED, users)
        self.rows = pd.concat([self.tuning.rows, self.days.rows], ignore_index=True)

    def tuned(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """The weights (T,), from the probabilities (rows, T): the mean of those that bring the most on the tuning days."""
        found = tune_fusion(self.world, self.tuning, probabilities[: len(self.tuning.rows)], trials=TRIALS)
        return found.grid[np.argsort(-found.values, kind="stable")[:BEST]].mean(axis=0)

    def play(self, score: NDArray[np.floating]) -> tuple[Outcome, Outcome, Outcome]:
        """What the seven days bring under a score of their rows, under random order and under the oracle."""
        scores = np.stack([score, random_score(self.days), oracle(self.world, self.days)])
        own, blind, best = run_many(self.world, self.days, scores)
        return own, blind, best

    def measures(self, predictions: Predictions, tasks: Sequence[str]) -> Iterator[Measure]:
        """Means per user of the seven days: `watch_time` (s), `views` (videos), `shares`, `retained` (share of users who come on
        the day after), `satisfied` (satisfying videos); `to_oracle`, the gain in satisfying videos over random order as a share of
        the oracle's; and the tuned `weight_<task>`. What carries them: users, and the videos, shares, returns or satisfying videos
        that were counted.
        """
        probabilities = np.stack([np.asarray(predictions[task], dtype=np.float32) for task in tasks], axis=1)
        weights = self.tuned(probabilities)
        own, blind, best = self.play(fuse(probabilities[len(self.tuning.rows) :], weights))
        rows, users = len(self.days.rows), len(self.days.users)
        for name, counted in METRICS.items():
            value, without = self._mean(getattr(own, name))
            carried = int(getattr(own, counted).sum())
            yield Measure(VIEW, name, value, without, users=users, positives=carried, rows=rows)
        gain, gain_without = self._mean(own.satisfied - blind.satisfied)
        most, most_without = self._mean(best.satisfied - blind.satisfied)
        carried = int(own.satisfied.sum())
        yield Measure(VIEW, "to_oracle", gain / most, gain_without / most_without, users=users, positives=carried, rows=rows)
        for task, weight in zip(tasks, weights, strict=True):
            yield Measure(VIEW, f"weight_{task}", float(weight), rows=len(self.tuning.rows))

    def facts(self) -> dict[str, float]:
        """What random order and the oracle bring, by name: the floor and the ceiling of `measures`."""
        _, blind, best = self.play(random_score(self.days))
        policies = {"random": blind, "oracle": best}
        return {
            f"{policy}_{name}": self._mean(getattr(outcome, name))[0] for policy, outcome in policies.items() for name in METRICS
        }

    def _mean(self, per_user: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]]:
        """The mean over users, and (GROUPS,) the means without each group of them."""
        group = user_group(self.days.users, GROUPS)
        total, count = group_sums(per_user, group, GROUPS), np.bincount(group, minlength=GROUPS)
        return float(total.sum() / count.sum()), (total.sum() - total) / (count.sum() - count)


@lru_cache(maxsize=2)
def week_of(dataset: str) -> Week:
    """The week of a simulated dataset's world, by its name."""
    return Week(WORLDS[dataset])
