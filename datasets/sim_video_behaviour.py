"""What a user does with a video that is shown: watches, gives feedback, is satisfied or not, comes back the next day or not.

Watching. How long somebody would watch a video without end is tau; on the normal scale it is mostly

    x = sqrt(predictable) view + sqrt(1 - predictable) N(0, 1),    view = standardised (.5 match + .6 appeal + .5 patience_u)
    log tau = curve(x) + slope ramp(x) log(d / 75 s)               with the curve through the world's quantiles of willingness

With duration bias, watching stops with the video, of d seconds: if tau >= d, then the watch time is d plus 1.5 s on average until
the next swipe, or, with probability min(1/2, 6 s / d), d (1 + Exp(1)): repeat plays. Without it the slope is 0 and the watch time
is tau, whatever d. On top come accidental skips (.3 s + Exp(1 s)) and videos left running (Exp(90 s) more).

Feedback. Each kind has a logistic model of its own on match, appeal and properties of user and item (`DRIVES`), times the attention
a / (a + 8 s) that a seconds of watching left room for: it depends on the match at a given watch time. Satisfaction is
logistic in match and appeal alone, and return in the user's activity, the day's satisfaction and its diversity of categories.
None of the two is a function of what a paper measures: watch time, duration spread and feedback enter nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..core.seeds import derive
from .sim_video_people import LONGEST, SHORTEST, Exposure, Floats, Ints, Population, population
from .sim_video_worlds import ENGAGEMENTS, VideoWorld

REFERENCE = 75.0  # seconds: the duration for which the curve of willingness holds
SWIPE, SKIP, SKIP_LEAST, IDLE = 1.5, 1.0, 0.3, 90.0  # mean seconds
ATTENTION = 8.0  # seconds of watching that leave room for half of the feedback
USUAL_DIVERSITY = 0.9
FEEDBACK = ("click", "long_view", *ENGAGEMENTS)

# What each kind of engagement depends on: match, appeal, generosity_u, fame_i, useful_i.
DRIVES = {
    "like": (1.3, -0.5, 1.0, 0.0, 0.0),
    "follow": (1.0, -0.8, 0.8, 0.8, 0.0),
    "comment": (0.4, 0.6, 1.0, 0.0, 0.0),
    "forward": (0.8, -0.4, 0.8, 0.0, 0.9),
    "profile_enter": (0.5, 0.7, 0.6, 0.6, 0.0),
}


@dataclass(frozen=True)
class Noise:
    """What chance adds to each impression; float32 (rows,), feedback (5, rows). Fixed draws make policies comparable."""

    mood: Floats
    slip: Floats
    repeat: Floats
    pause: Floats
    feedback: Floats
    satisfaction: Floats

    @classmethod
    def draw(cls, rows: int, rng: np.random.Generator) -> Noise:
        mood = rng.standard_normal(rows, dtype=np.float32)
        slip, repeat = rng.random((2, rows), dtype=np.float32)
        pause = rng.standard_exponential(rows, dtype=np.float32)
        feedback = rng.random((len(ENGAGEMENTS), rows), dtype=np.float32)
        return cls(mood, slip, repeat, pause, feedback, rng.random(rows, dtype=np.float32))

    def __getitem__(self, rows: Ints) -> Noise:
        columns = (self.mood, self.slip, self.repeat, self.pause, self.feedback, self.satisfaction)
        return Noise(*(column[..., rows] for column in columns))


@dataclass(frozen=True)
class Reaction:
    """What came of each impression: watch_time (seconds, float32), feedback int8 (rows,) by name, satisfied (bool)."""

    watch_time: Floats
    feedback: dict[str, NDArray[np.int8]]
    satisfied: NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """What is true of each pair (user, item) before chance; float32 (rows,). view is the standardised wish to watch."""

    match: Floats
    appeal: Floats
    view: Floats
    satisfaction: Floats


class Behaviour:
    """How the people of a world behave. Intercepts and the scale of `view` are set so that the logging policy meets the world's
    declared shares; they are then fixed, whatever policy shows the videos.
    """

    def __init__(self, world: VideoWorld, people: Population, exposure: Exposure) -> None:
        self.world, self.people = world, people
        share, seconds = (np.array(column) for column in zip(*world.willingness, strict=True))
        self._x, self._log_tau = special.ndtri(share), np.log(seconds)
        rng = np.random.default_rng(derive(world.seed, "sim-video", "calibration"))
        user = rng.choice(world.users, 20_000, p=_share(people))
        item = exposure.draw(user, rng)
        raw = self._raw_view(user, people.match(user, item), people.appeal(user, item))
        self._view_mean, self._view_sd = np.float32(raw.mean()), np.float32(raw.std())
        self._content = np.float32(_intercept(self._liking(people.match(user, item), people.appeal(user, item)), 0.5))
        truth, noise = self.truth(user, item), Noise.draw(len(user), rng)
        attention = _attention(self.watch(truth.view, people.duration[item], noise)[0])
        logits = self._drives(user, item, truth)
        self._intercepts = {kind: np.float32(_intercept(logits[kind], getattr(world, kind), attention)) for kind in ENGAGEMENTS}

    def truth(self, user: Ints, item: Ints) -> Truth:
        """The pairs' match, appeal, view and probability of satisfaction."""
        match, appeal = self.people.match(user, item), self.people.appeal(user, item)
        view = (self._raw_view(user, match, appeal) - self._view_mean) / self._view_sd
        return Truth(match, appeal, view, _sigmoid(self._liking(match, appeal) + self._content))

    def watch(self, view: Floats, duration: Floats, noise: Noise) -> tuple[Floats, Floats]:
        """Seconds attended, and watch time in seconds, of each impression; float32 (rows,)."""
        world = self.world
        mood = (1 - world.predictable) ** 0.5 * noise.mood
        tau = self._willing(world.predictable**0.5 * view + mood, duration)
        if world.duration_bias:
            again = noise.repeat < _repeats(duration)
            whole = duration + noise.pause * np.where(again, duration, np.float32(SWIPE))
            tau = np.where(tau >= duration, whole, tau)
        hasty = SKIP_LEAST + SKIP * noise.pause
        attended = np.where(noise.slip < world.skips, hasty, tau)
        left_running = noise.slip >= 1 - world.idle
        return attended, np.where(left_running, attended + IDLE * noise.pause, attended)

    def react(self, user: Ints, item: Ints, truth: Truth, noise: Noise) -> Reaction:
        """One draw of what each user does with each item."""
        duration = self.people.duration[item]
        attended, watch_time = self.watch(truth.view, duration, noise)
        feedback = {
            "click": (watch_time >= np.minimum(7, duration)).astype(np.int8),
            "long_view": (watch_time >= np.minimum(18, duration)).astype(np.int8),
        }
        attention = _attention(attended)
        for kind, logit, chance in zip(ENGAGEMENTS, self._drives(user, item, truth).values(), noise.feedback, strict=True):
            feedback[kind] = (chance < attention * _sigmoid(logit + self._intercepts[kind])).astype(np.int8)
        return Reaction(watch_time, feedback, noise.satisfaction < truth.satisfaction)

    def returning(self, user: Ints, visited: NDArray[np.bool_], satisfied: Floats, diversity: Floats) -> Floats:
        """Probability of a visit the next day. satisfied: share of the day's videos; diversity: probability that two of them are of
        different categories, NaN for a single one. Both count only for those who visited; float32 (rows,)."""
        world = self.world
        day = world.satisfied * (satisfied - 0.5)
        day = day + world.diversity * np.where(np.isnan(diversity), np.float32(0), diversity - USUAL_DIVERSITY)
        return _sigmoid(self.people.activity[user] + np.where(visited, day, np.float32(0)))

    def expected_watch(self, view: Floats, duration: Floats) -> Floats:
        """E[watch_time] of each pair over mood, repeats, skips and idle plays; seconds, float32 (rows,)."""
        views, logs, table = self._table
        row = np.clip((view - views[0]) / (views[1] - views[0]), 0, len(views) - 1.001).astype(np.float32)
        column = np.clip((np.log(duration) - logs[0]) / (logs[1] - logs[0]), 0, len(logs) - 1.001).astype(np.float32)
        i, j = row.astype(np.int64), column.astype(np.int64)
        a, b = row - i, column - j
        inner = (1 - a) * ((1 - b) * table[i, j] + b * table[i, j + 1]) + a * ((1 - b) * table[i + 1, j] + b * table[i + 1, j + 1])
        world = self.world
        return ((1 - world.skips) * inner + world.skips * (SKIP_LEAST + SKIP) + world.idle * IDLE).astype(np.float32)

    @cached_property
    def _table(self) -> tuple[Floats, Floats, Floats]:
        """E[seconds] without skips and idle plays on a grid of views and log durations."""
        views = np.linspace(-6, 6, 181, dtype=np.float32)
        logs = np.linspace(np.log(SHORTEST), np.log(LONGEST), 111, dtype=np.float32)
        mood = np.linspace(-5, 5, 201, dtype=np.float32)
        density = np.exp(-(mood.astype(np.float64) ** 2) / 2)
        weight = density / density.sum()
        spread = (1 - self.world.predictable) ** 0.5
        duration = np.exp(logs)[:, None]
        repeats = _repeats(duration)
        whole = duration + repeats * duration + (1 - repeats) * SWIPE
        table = np.empty((len(views), len(logs)), dtype=np.float32)
        for i, view in enumerate(views):
            x = self.world.predictable**0.5 * view + spread * mood[None, :]
            tau = self._willing(x.astype(np.float32, copy=False), duration)
            table[i] = (np.where(tau >= duration, whole, tau) if self.world.duration_bias else tau) @ weight
        return views, logs, table

    def _willing(self, x: Floats, duration: Floats) -> Floats:
        """tau, seconds, of x and duration broadcast against each other."""
        curve = np.interp(x, self._x, self._log_tau).astype(np.float32)
        if not self.world.duration_bias:
            return np.exp(np.broadcast_to(curve, np.broadcast_shapes(x.shape, duration.shape)))
        ramp = np.clip(x + 0.5, 0, 1)  # a swipe after two seconds knows nothing of the duration
        return np.exp(curve + self.world.slope * ramp * np.log(duration / REFERENCE))

    def _raw_view(self, user: Ints, match: Floats, appeal: Floats) -> Floats:
        return (0.5 * match + 0.6 * appeal + 0.5 * self.people.patience[user]).astype(np.float32, copy=False)

    def _liking(self, match: Floats, appeal: Floats) -> Floats:
        return (1.4 * match - 0.5 * appeal).astype(np.float32, copy=False)

    def _drives(self, user: Ints, item: Ints, truth: Truth) -> dict[str, Floats]:
        people = self.people
        parts = (truth.match, truth.appeal, people.generosity[user], people.fame[item], people.useful[item])
        return {
            kind: sum((np.float32(w) * part for w, part in zip(DRIVES[kind], parts, strict=True) if w), np.zeros(1, np.float32))
            for kind in ENGAGEMENTS
        }


@lru_cache(maxsize=4)
def behaviour(world: VideoWorld) -> Behaviour:
    """The calibrated behaviour of a world's people."""
    people = population(world)
    return Behaviour(world, people, Exposure(world, people))


def diversity_of(user: Ints, category: Ints, users: int, categories: int) -> Floats:
    """Per user, the probability that two of the rows' videos have different categories; NaN with fewer than two rows."""
    count = np.bincount(user * categories + category, minlength=users * categories).reshape(users, categories)
    n = count.sum(axis=1)
    same, pairs = (count * (count - 1)).sum(axis=1), n * (n - 1)
    return (1 - np.divide(same, pairs, out=np.full(users, np.nan), where=pairs > 0)).astype(np.float32)


def _sigmoid(logit: Floats) -> Floats:
    return special.expit(logit).astype(np.float32, copy=False)


def _share(people: Population) -> NDArray[np.float64]:
    """Each user's expected share of the log's impressions, roughly."""
    weight = special.expit(people.activity.astype(np.float64)) * people.depth
    return weight / weight.sum()


def _repeats(duration: Floats) -> Floats:
    """Probability that a video watched to its end runs again."""
    return np.minimum(0.5, 6 / duration)


def _attention(attended: Floats) -> Floats:
    return (attended / (attended + ATTENTION)).astype(np.float32, copy=False)


def _intercept(logit: Floats, share: float, factor: Floats | float = 1.0) -> float:
    """The c with mean(factor sigmoid(logit + c)) = share, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if float((factor * _sigmoid(logit + np.float32(middle))).mean()) < share else (low, middle)
    return (low + high) / 2
