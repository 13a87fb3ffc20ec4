"""A week under a given score in the world of a simulated log: what is watched, and for how long people stay.

The week is that of `simulated_week.py` (same candidates, same chance, same random order and oracle), but the score is played as it
is: no weights are sought. A simulated week, not the A/B test of any paper.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..core.metrics.groups import user_group
from ..core.metrics.watch_time import grouped_mean
from ..datasets.closed_loop import Outcome
from .benchmark import Measure
from .simulated_week import GROUPS, VIEW, Week

Value = tuple[float, NDArray[np.float64]]
COUNTED = {"watch_time": "views", "session_time": "visits", "views": "views", "satisfied": "satisfied", "retained": "retained"}


def measures(week: Week, score: NDArray[np.floating]) -> Iterator[Measure]:
    """Of a score (rows,) of the seven days' candidates, higher first.

    Means per user of the seven days: `watch_time` (s), `views` (videos), `satisfied` (satisfying videos), `retained` (share of
    users who come on the day after); `session_time`, seconds of a visit; `to_oracle`, the gain in satisfying videos over random
    order as a share of the oracle's. What carries them: users, and the videos, visits, satisfying videos or returns that were
    counted.
    """
    own, blind, best = week.play(score)
    users, rows = len(week.days.users), len(week.days.rows)
    for name, (value, without) in _means(week, own).items():
        carried = int(getattr(own, COUNTED[name]).sum())
        yield Measure(VIEW, name, value, without, users=users, positives=carried, rows=rows)
    group = user_group(week.days.users, GROUPS)
    gain, gain_without = grouped_mean(own.satisfied - blind.satisfied, group, GROUPS)
    most, most_without = grouped_mean(best.satisfied - blind.satisfied, group, GROUPS)
    carried = int(own.satisfied.sum())
    yield Measure(VIEW, "to_oracle", gain / most, gain_without / most_without, users=users, positives=carried, rows=rows)


def references(week: Week) -> dict[str, float]:
    """What random order and the oracle of satisfaction bring, by name: the floor and the ceiling of `measures`."""
    _, blind, best = week.play(np.zeros(len(week.days.rows)))
    policies = {"random": blind, "oracle": best}
    return {f"{policy}_{name}": value for policy, each in policies.items() for name, (value, _) in _means(week, each).items()}


def _means(week: Week, outcome: Outcome) -> dict[str, Value]:
    group = user_group(week.days.users, GROUPS)
    visits = outcome.visits.astype(np.float64)
    a_visit = np.divide(outcome.watch_time, visits, out=np.zeros_like(visits), where=visits > 0)
    found = {name: grouped_mean(getattr(outcome, name), group, GROUPS) for name in COUNTED if name != "session_time"}
    return {**found, "session_time": grouped_mean(a_visit, group, GROUPS, visits)}
