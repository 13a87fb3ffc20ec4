"""Who lives in a short-video world: users and items with their latent tastes, and the policy that showed items to users in the log.

Of a pair (u, i), with l_i the standardised log duration and every part of unit variance:

    match  = sqrt(.45) <p_u, q_i>  + sqrt(.35) quality_i + sqrt(.20) kappa_u l_i       what u truly likes
    appeal = sqrt(.50) <p'_u, q'_i> + sqrt(.50) bait_i                                 what makes u look, for a moment

They pull apart on purpose: bait has correlation -.5 with quality's part beside duration, and q' leans against q. So an item that
is looked at is, more often than not, not one that is liked; a model of both has gradients that conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.seeds import derive
from .sim_video_worlds import VideoWorld

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

TASTE, APPETITE = 6, 3  # ranks of <p, q> and <p', q'>
SHORTEST, LONGEST = 5.0, 1200.0  # seconds


@dataclass(frozen=True)
class Population:
    """Latent and visible properties; the first dimension is users or items. All read-only, and kept from every model's inputs
    but for duration, category, author and upload_age of items, and the features of users that `users_table` lists.

    Users: taste (U, 6), appetite (U, 3), patience, generosity, kappa (liking of long videos), activity (log odds of a visit),
    depth (mean impressions of a visit). Items: style (I, 6), hook (I, 3), quality, bait, fame (of the author), useful, duration
    (seconds), length (standardised log duration), popularity (shares that sum to 1).
    """

    taste: Floats
    appetite: Floats
    patience: Floats
    generosity: Floats
    kappa: Floats
    activity: Floats
    depth: Floats
    style: Floats
    hook: Floats
    quality: Floats
    bait: Floats
    fame: Floats
    useful: Floats
    duration: Floats
    length: Floats
    popularity: NDArray[np.float64]
    category: Ints
    author: Ints
    upload_age: Ints
    centres: Floats

    def match(self, user: Ints, item: Ints) -> Floats:
        """How much each user truly likes each item; float32 (rows,), about N(0, 1) over random pairs."""
        liking = _inner(self.taste, user, self.style, item)
        return 0.45**0.5 * liking + 0.35**0.5 * self.quality[item] + 0.20**0.5 * self.kappa[user] * self.length[item]

    def appeal(self, user: Ints, item: Ints) -> Floats:
        """How much each item catches each user at first sight; float32 (rows,), about N(0, 1) over random pairs."""
        return 0.5**0.5 * (_inner(self.appetite, user, self.hook, item) + self.bait[item])


def _inner(left: Floats, user: Ints, right: Floats, item: Ints) -> Floats:
    """<left_u, right_i> / sqrt(rank) of each row."""
    inner = np.einsum("nd,nd->n", left[user], right[item])
    return (inner / left.shape[1] ** 0.5).astype(np.float32, copy=False)


@lru_cache(maxsize=4)
def population(world: VideoWorld) -> Population:
    """The users and items of a world: the same world gives the same digits."""
    rng = np.random.default_rng(derive(world.seed, "sim-video", "population"))
    users, items = world.users, world.items

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    taste = normal(users, TASTE)
    centres = normal(world.categories, TASTE)
    category = rng.permutation(np.arange(items) % world.categories).astype(np.int64)
    style = _mixed(0.6, centres[category], normal(items, TASTE))
    duration = _durations(world, rng)
    length = np.log(duration)
    length = (length - length.mean()) / length.std()
    author = rng.integers(0, max(1, items // 3), items)
    fame = normal(max(1, items // 3))[author]
    own = _mixed(0.36, fame, normal(items))
    bait = _mixed(0.25, -own, normal(items))
    weight = np.exp(world.popularity * _mixed(0.2, _mixed(0.5, bait, own), normal(items)).astype(np.float64))
    beside = _beside(own, length, weight)
    people = Population(
        taste=taste,
        appetite=_mixed(0.5, taste[:, :APPETITE], normal(users, APPETITE)),
        patience=normal(users),
        generosity=normal(users),
        kappa=normal(users),
        activity=world.activity + world.activity_spread * normal(users),
        depth=_depths(world, normal(users)),
        style=style,
        hook=_mixed(0.5, -style[:, :APPETITE], normal(items, APPETITE)),
        quality=world.duration_taste * length + (1 - world.duration_taste**2) ** 0.5 * beside,
        bait=bait,
        fame=fame,
        useful=normal(items),
        duration=duration,
        length=length,
        popularity=weight / weight.sum(),
        category=category,
        author=author,
        upload_age=rng.geometric(0.1, items),
        centres=centres,
    )
    for field in fields(people):
        getattr(people, field.name).setflags(write=False)
    return people


def _mixed(share: float, one: Floats, other: Floats) -> Floats:
    """A unit-variance mixture of two, `share` of the variance from the first."""
    return share**0.5 * one + (1 - share) ** 0.5 * other


def _beside(value: Floats, length: Floats, weight: NDArray[np.float64]) -> Floats:
    """The part of value that is uncorrelated with length over the items as they are shown, at unit variance: a world of few items
    has no duration-taste correlation by chance."""
    one, other = (part - np.average(part, weights=weight) for part in (value, length))
    rest = one - other * (weight * one * other).sum() / (weight * other**2).sum()
    return (rest / np.average(rest**2, weights=weight) ** 0.5).astype(np.float32)


def _durations(world: VideoWorld, rng: np.random.Generator) -> Floats:
    share, median, spread = (np.array(column) for column in zip(*world.durations, strict=True))
    part = rng.choice(len(share), world.items, p=share / share.sum())
    seconds = median[part] * np.exp(spread[part] * rng.standard_normal(world.items))
    return np.clip(seconds, SHORTEST, LONGEST).astype(np.float32)


def _depths(world: VideoWorld, z: Floats) -> Floats:
    """Mean impressions of a visit per user: 1 + a log-normal (sigma .6) with mean depth - 1."""
    return (1 + (world.depth - 1) * np.exp(0.6 * z - 0.18)).astype(np.float32, copy=False)


class Exposure:
    """The logging policy: a known mixture, so each impression's propensity is a closed form.

        P(i | u) = uniform / I + (1 - uniform - by_taste) pop_i + by_taste P(c_i | u) pop_i / pop(c_i)

    with pop the items' popularity and P(c | u) proportional to pop(c) exp(<p_u, centre_c> / sqrt(rank)).
    """

    def __init__(self, world: VideoWorld, people: Population) -> None:
        self._world, self._people = world, people
        self._of_category = np.argsort(people.category, kind="stable")
        self._in_order: NDArray[np.float64] = np.cumsum(people.popularity[self._of_category])
        share = np.bincount(people.category, people.popularity, world.categories)
        self._category_share = share
        self._category_end = np.cumsum(share)
        logit = people.taste @ people.centres.T / TASTE**0.5 + np.log(share).astype(np.float32)
        odds: Floats = np.exp(logit - logit.max(axis=1, keepdims=True))
        self._choice: Floats = odds / odds.sum(axis=1, keepdims=True)
        self._cumulative: Floats = np.cumsum(self._choice, axis=1)

    def draw(self, user: Ints, rng: np.random.Generator) -> Ints:
        """One item for each row's user; int64 (rows,)."""
        world = self._world
        kind, spot = rng.random(len(user), dtype=np.float32), rng.random(len(user))
        aimed = kind < world.by_taste
        fan = user[aimed]
        category = (self._cumulative[fan] < rng.random(len(fan), dtype=np.float32)[:, None]).sum(axis=1)
        category = np.minimum(category, world.categories - 1)
        start = self._category_end[category] - self._category_share[category]
        spot[aimed] = start + spot[aimed] * self._category_share[category]
        place = np.searchsorted(self._in_order, spot * float(self._in_order[-1])).clip(max=world.items - 1)
        item = self._of_category[place]
        anything = kind >= 1 - world.uniform
        item[anything] = rng.integers(0, world.items, int(anything.sum()))
        return item

    def propensity(self, user: Ints, item: Ints) -> Floats:
        """The probability with which the policy showed the row's item to the row's user; float32 (rows,)."""
        world, people = self._world, self._people
        popular, category = people.popularity[item], people.category[item]
        aimed = self._choice[user, category] * popular / self._category_share[category]
        return (world.uniform / world.items + (1 - world.uniform - world.by_taste) * popular + world.by_taste * aimed).astype(
            np.float32
        )
