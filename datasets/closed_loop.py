"""A policy let loose in a simulated world: it ranks, people watch, and whether they come back depends on what they were shown.

    table = candidates(world, days=7, per_user=50, seed=1)           fixed in advance, the same for every policy
    outcome = run(world, table, score)                               score: one number per row of table.rows
    outcome.watch_time.mean(), outcome.shares.mean()                 one value per user, over the days

Each day the users who visit get their `top` candidates of the day in the order of the score. They watch them one after the other
and leave after each with a probability that is smaller if it satisfied them. Feedback, satisfaction and return follow the world's
truth as in the log. All chance is drawn per day and candidate from the seed of the candidates, so two policies that show the same
video to the same user on the same day see the same reaction, and a difference is due to what was shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.seeds import derive
from .sim_video import HOURS, date_of, time_of
from .sim_video_behaviour import Behaviour, Noise, Truth, behaviour, diversity_of
from .sim_video_people import Floats, Ints, population
from .sim_video_worlds import VideoWorld

STAYS = (0.80, 0.92)  # probability of one more video after one that did not satisfy, and after one that did
Objective = Literal["satisfaction", "watch_time"]


@dataclass(frozen=True)
class Candidates:
    """What a policy may choose from: `per_user` different videos for each user and day.

    rows: user_id, item_id, time, date, duration and day as in `impressions`, without anything that happened: sorted by day, user,
    item, so that `rows[column].to_numpy().reshape(days, len(users), per_user)` is an array of lists.
    """

    rows: pd.DataFrame
    users: Ints
    days: int
    per_user: int
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.days, len(self.users), self.per_user


@dataclass(frozen=True)
class Outcome:
    """What a policy brought, per user and summed over the days; float32 (users,) in the order of `Candidates.users`.

    watch_time: seconds; views: videos played; effective_views, likes, shares: of these clicked, liked, forwarded;
    satisfied: of these truly satisfying; visits: days with a visit; retained: 1 where the user visits on the day after the last;
    played: the rows of the candidates that were watched, in the order of days, users and ranks; int64 (sum of views,).
    """

    watch_time: Floats
    views: Floats
    effective_views: Floats
    likes: Floats
    shares: Floats
    satisfied: Floats
    visits: Floats
    retained: Floats
    played: Ints

    def means(self) -> dict[str, float]:
        """The mean over users of each number."""
        return {name: float(value.mean(dtype=np.float64)) for name, value in vars(self).items() if name != "played"}


def candidates(world: VideoWorld, days: int = 7, per_user: int = 50, seed: int = 1, users: int | None = None) -> Candidates:
    """Lists for the days after the log, drawn without replacement, by popularity for one half and uniformly for the other.

    users: how many, drawn at random (all if None); seed: another one gives other lists and other chance, as for tuning. Raises
    UsageError where there are fewer items or users than asked for.
    """
    people = population(world)
    users = world.users if users is None else users
    if not (0 < per_user <= world.items and 0 < users <= world.users and days > 0):
        asked = f"{days} days of {per_user} candidates for {users} users"
        raise UsageError(f"a world of {world.users} users and {world.items} items has no {asked}; ask for less, at least 1 of each")
    rng = np.random.default_rng(derive(world.seed, "closed loop", "candidates", seed))
    chosen = np.sort(rng.permutation(world.users)[:users])
    weight = (0.5 / world.items + 0.5 * people.popularity).astype(np.float32)
    item = np.concatenate([_without_replacement(weight, users, per_user, rng) for _ in range(days)])
    day = np.repeat(np.arange(days), users * per_user)
    hours = np.array(HOURS) / sum(HOURS)
    second = rng.choice(24, days * users, p=hours) * 3600 + rng.random(days * users) * 3600
    time = np.concatenate([time_of(world.days + d, part) for d, part in enumerate(second.reshape(days, users))])
    rows = pd.DataFrame(
        {
            "user_id": np.tile(np.repeat(chosen, per_user), days),
            "item_id": item.ravel(),
            "time": np.repeat(time, per_user),
            "date": np.array([date_of(world.days + d) for d in range(days)], dtype=np.int32)[day],
            "duration": people.duration[item.ravel()],
            "day": day,
        }
    )
    return Candidates(rows, chosen, days, per_user, seed)


def _without_replacement(weight: Floats, users: int, per_user: int, rng: np.random.Generator) -> Ints:
    """Different items per user, by weight, sorted; int64 (users, per_user). The first to ring of exponential clocks with these
    rates, a chunk of users at a time."""
    lists = np.empty((users, per_user), dtype=np.int64)
    chunk = max(1, 4_000_000 // len(weight))
    for start in range(0, users, chunk):
        stop = min(start + chunk, users)
        rings = rng.standard_exponential((stop - start, len(weight)), dtype=np.float32) / weight
        lists[start:stop] = np.argpartition(rings, per_user - 1, axis=1)[:, :per_user]
    return np.sort(lists, axis=1)


def oracle(world: VideoWorld, candidates: Candidates, objective: Objective = "satisfaction") -> Floats:
    """The score of one who knows the truth: probability of satisfaction, or expected watch time in seconds; float32 (rows,).

    It is the best that a score per video can do for its objective within a visit; it knows nothing of diversity.
    """
    conduct, truth = _truth(world, candidates)
    if objective == "satisfaction":
        return truth.satisfaction
    return conduct.expected_watch(truth.view, candidates.rows["duration"].to_numpy())


def random_score(candidates: Candidates, seed: int = 0) -> Floats:
    """The score of one who knows nothing; float32 (rows,)."""
    return np.random.default_rng(derive("closed loop", "random", seed)).random(len(candidates.rows), dtype=np.float32)


def _truth(world: VideoWorld, candidates: Candidates) -> tuple[Behaviour, Truth]:
    conduct = behaviour(world)
    return conduct, conduct.truth(candidates.rows["user_id"].to_numpy(), candidates.rows["item_id"].to_numpy())


def run(world: VideoWorld, candidates: Candidates, score: NDArray[np.floating], top: int = 10) -> Outcome:
    """What happens when each visitor's day is ranked by the score, higher first, ties in the order of the rows.

    score: (rows,) of the candidates. Raises UsageError where it has another length or a NaN, or where `top` exceeds the list.
    """
    return run_many(world, candidates, score[None], top)[0]


def run_many(world: VideoWorld, candidates: Candidates, scores: NDArray[np.floating], top: int = 10) -> list[Outcome]:
    """`run` for each row of scores (policies, rows): the same outcomes, with all that no policy changes computed once."""
    _check(candidates, scores, top)
    conduct, people = behaviour(world), population(world)
    days, users, per_user = candidates.shape
    user = np.repeat(candidates.users, per_user)
    item = candidates.rows["item_id"].to_numpy().reshape(days, -1)
    nobody, none = np.zeros(users, dtype=np.bool_), np.zeros(users, dtype=np.float32)
    first = _chance(world, candidates, "first").random(users, dtype=np.float32) < conduct.returning(
        candidates.users, nobody, none, none
    )
    tallies = [_Tally(first.copy(), np.zeros((7, users), dtype=np.float32), []) for _ in scores]
    for day in range(days):
        rng = _chance(world, candidates, day)
        truth = conduct.truth(user, item[day])
        reaction = conduct.react(user, item[day], truth, Noise.draw(len(user), rng))
        stays = rng.random(len(user), dtype=np.float32) < np.where(reaction.satisfied, np.float32(STAYS[1]), np.float32(STAYS[0]))
        back = rng.random(users, dtype=np.float32)
        feedback = [reaction.feedback[name] for name in ("click", "like", "forward")]
        gains = np.stack([reaction.watch_time, np.ones_like(stays), *feedback, reaction.satisfied]).astype(np.float32)
        category = people.category[item[day]]
        for tally, score in zip(tallies, scores, strict=True):
            played = _played(score.reshape(days, users, per_user)[day], stays, tally.present, top)
            whose = played // per_user
            total = np.stack([np.bincount(whose, gain[played], users) for gain in gains]).astype(np.float32)
            tally.totals[:6] += total
            tally.totals[6] += tally.present
            tally.played.append(played + day * users * per_user)
            satisfied = total[5] / np.maximum(total[1], 1)
            diversity = diversity_of(whose, category[played], users, world.categories)
            tally.present = back < conduct.returning(candidates.users, tally.present, satisfied, diversity)
    return [tally.outcome() for tally in tallies]


@dataclass
class _Tally:
    """A policy's way through the days: who is present, sums per user (7, users), rows watched."""

    present: NDArray[np.bool_]
    totals: Floats
    played: list[Ints]

    def outcome(self) -> Outcome:
        watch_time, views, effective_views, likes, shares, satisfied, visits = self.totals
        retained, played = self.present.astype(np.float32), np.concatenate(self.played)
        return Outcome(watch_time, views, effective_views, likes, shares, satisfied, visits, retained, played)


def _played(score: NDArray[np.floating], stays: NDArray[np.bool_], present: NDArray[np.bool_], top: int) -> Ints:
    """Which of the day's candidates are watched, user by user in their order; int64, indices into the day's rows."""
    visitors = np.flatnonzero(present)
    per_user = score.shape[1]
    ranked = np.argsort(-score[visitors], axis=1, kind="stable")[:, :top] + visitors[:, None] * per_user
    still = np.ones(ranked.shape, dtype=np.bool_)
    still[:, 1:] = np.logical_and.accumulate(stays[ranked[:, :-1]], axis=1)
    return ranked[still]


def _chance(world: VideoWorld, candidates: Candidates, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(world.seed, "closed loop", "chance", candidates.seed, *names))


def _check(candidates: Candidates, scores: NDArray[np.floating], top: int) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(candidates.rows):
        raise UsageError(f"{len(candidates.rows)} candidates need as many scores, not {scores.shape[1:]}; score every row once")
    if np.isnan(scores).any():
        raise UsageError(f"{int(np.isnan(scores).sum())} of the candidates' scores are NaN and have no rank; give numbers")
    if not 0 < top <= candidates.per_user:
        raise UsageError(
            f"a visit cannot show the best {top} of {candidates.per_user} candidates; choose 1 to {candidates.per_user}"
        )


def fuse(probabilities: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """sum_k w_k log p_k: float64 (rows,) from (rows, T) and (T,); with weights (trials, T), (trials, rows)."""
    return weights.astype(np.float64) @ np.log(np.clip(probabilities.astype(np.float64), 1e-7, 1)).T


def fusion_grid(tasks: int, trials: int = 64, seed: int = 0) -> NDArray[np.float64]:
    """Weights (trials, tasks), each row non-negative with sum 1: first equal ones, then uniform over the simplex."""
    drawn = np.random.default_rng(derive("closed loop", "fusion", seed)).dirichlet(np.ones(tasks), max(trials - 1, 0))
    return np.concatenate([np.full((1, tasks), 1 / tasks), drawn])


def log_product(outcome: Outcome) -> float:
    """log(watch time) + log(views) + log(shares), means over users: a tenth more of any of the three counts the same. One share per
    hundred users is added, against a zero."""
    means = outcome.means()
    return float(np.log(means["watch_time"] + 1e-9) + np.log(means["views"] + 1e-9) + np.log(means["shares"] + 0.01))


@dataclass(frozen=True)
class Tuned:
    """The weights (T,) that did best, what each row of the grid brought, and the grid."""

    weights: NDArray[np.float64]
    values: NDArray[np.float64]
    grid: NDArray[np.float64]


def tune_fusion(
    world: VideoWorld,
    candidates: Candidates,
    probabilities: NDArray[np.floating],
    top: int = 10,
    trials: int = 64,
    seed: int = 0,
    objective: Callable[[Outcome], float] = log_product,
) -> Tuned:
    """The best weights of a fixed grid for `fuse`, by what the fused ranking brings on these candidates.

    probabilities: (rows, T). Give candidates of another seed than those of the comparison, and the same trials and seed to every
    policy. Ties go to the first row of the grid.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(candidates.rows):
        raise UsageError(
            f"{len(candidates.rows)} candidates need a (rows, tasks) table, not {probabilities.shape}; predict every row"
        )
    grid = fusion_grid(probabilities.shape[1], trials, seed)
    outcomes = run_many(world, candidates, fuse(probabilities, grid), top)
    values = np.array([objective(outcome) for outcome in outcomes])
    return Tuned(grid[int(values.argmax())], values, grid)
