"""A seeded world of short videos: a log of two weeks, and beside it the truth that no public log has.

Three rows of `impressions` (feedback columns shortened), of `truth` and of `visits`:

    user_id item_id time          date     watch_time duration click long_view like follow comment forward profile_enter
        412      87 1650812744512 20220425       2.31     48.3     0         0    0      0       0       0             0
       1733     310 1650812761977 20220425      19.84     18.2     1         1    1      0       0       0             0
        412     655 1650812747830 20220425     140.20    212.7     1         1    0      0       0       0             1

    user_id item_id  match appeal expected_watch satisfaction satisfied propensity
        412      87 -0.412  0.951          18.42        0.305         0    0.00241

    user_id date     videos satisfaction diversity return_probability returned
        412 20220425      6        0.500     0.867              0.312        1

`truth` has a row for each impression, in the same order; `visits` a row for each user and day of a visit. Neither is an input of
any model. `users` and `items` hold the features that a platform would know. How people watch, give feedback, are satisfied and
come back is told in `sim_video_behaviour`, who they are and what they were shown in `sim_video_people`.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import unknown
from ..core.seeds import derive
from .dataset import Dataset, Provenance, assemble
from .sim_video_behaviour import Behaviour, Noise, Reaction, Truth, behaviour, diversity_of
from .sim_video_people import Exposure, Floats, Ints, Population, population
from .sim_video_worlds import WORLDS, VideoWorld

FIRST_DAY = datetime.date(2022, 4, 25)
BEIJING = 8 * 3600  # seconds: dates are those of UTC+8, as in KuaiRand
# Shares of the impressions in each hour of the day, Beijing time: KuaiRand-Pure, tab 1, 25 April to 8 May 2022.
# fmt: off
HOURS = (.036, .022, .015, .009, .008, .009, .017, .026, .034, .041, .046, .053,
         .061, .057, .052, .054, .058, .062, .056, .053, .054, .059, .063, .055)
# fmt: on
_INT8 = np.dtype(np.int8)


def simulate(world: VideoWorld = WORLDS["sim-video"], name: str = "sim-video") -> Dataset:
    """The dataset of a world: tables `impressions` in time order, `users`, `items`, `truth` and `visits`. The same world gives the
    same digits; a day is one pass of array operations, so memory beyond the tables is that of a day's rows.
    """
    people, conduct = population(world), behaviour(world)
    exposure = Exposure(world, people)
    everybody = np.arange(world.users)
    chance = _rng(world, "first visit").random(world.users, dtype=np.float32)
    nothing = np.zeros(world.users, dtype=np.float32)
    present = chance < conduct.returning(everybody, np.zeros(world.users, dtype=np.bool_), nothing, nothing)
    impressions: list[dict[str, NDArray[np.generic]]] = []
    truths: list[dict[str, NDArray[np.generic]]] = []
    visits: list[dict[str, NDArray[np.generic]]] = []
    for day in range(world.days):
        shown, true, visit, present = _one_day(world, people, conduct, exposure, day, np.flatnonzero(present))
        impressions.append(shown)
        truths.append(true)
        visits.append(visit)
    tables = {
        "impressions": _stacked(impressions),
        "users": users_table(world),
        "items": items_table(world),
        "truth": _stacked(truths),
        "visits": _stacked(visits),
    }
    return assemble(name, tables, _provenance(world, tables))


def generate(name: str) -> Dataset:
    """The dataset of a declared world, by name."""
    if name not in WORLDS:
        raise unknown("video world", name, WORLDS)
    return simulate(WORLDS[name], name)


def _one_day(
    world: VideoWorld, people: Population, conduct: Behaviour, exposure: Exposure, day: int, visitors: Ints
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]], NDArray[np.bool_]]:
    """The columns of a day's impressions, truth and visits, and who visits the next day; bool (users,)."""
    rng = _rng(world, "day", day)
    videos = 1 + rng.poisson(people.depth[visitors] - 1)
    user = np.repeat(visitors, videos)
    item = exposure.draw(user, rng)
    truth = conduct.truth(user, item)
    reaction = conduct.react(user, item, truth, Noise.draw(len(user), rng))
    everybody = np.arange(world.users)
    count = np.maximum(np.bincount(user, minlength=world.users), 1)
    satisfied = (np.bincount(user, reaction.satisfied, world.users) / count).astype(np.float32)
    diversity = diversity_of(user, people.category[item], world.users, world.categories)
    visited = np.zeros(world.users, dtype=np.bool_)
    visited[visitors] = True
    chance = conduct.returning(everybody, visited, satisfied, diversity)
    present = rng.random(world.users, dtype=np.float32) < chance
    date = date_of(day)
    visit: dict[str, NDArray[np.generic]] = {
        "user_id": visitors,
        "date": np.full(len(visitors), date, dtype=np.int32),
        "videos": videos,
        "satisfaction": satisfied[visitors],
        "diversity": diversity[visitors],
        "return_probability": chance[visitors],
        "returned": present[visitors].astype(_INT8),
    }
    time = _times(day, videos, reaction.watch_time, rng)
    order = np.argsort(time, kind="stable")
    shown = _impressions(people, user, item, time, date, reaction)
    true = _truths(people, conduct, exposure, user, item, truth, reaction)
    return _sorted(shown, order), _sorted(true, order), visit, present


def _impressions(
    people: Population, user: Ints, item: Ints, time: Ints, date: int, reaction: Reaction
) -> dict[str, NDArray[np.generic]]:
    return {
        "user_id": user,
        "item_id": item,
        "time": time,
        "date": np.full(len(user), date, dtype=np.int32),
        "watch_time": reaction.watch_time,
        "duration": people.duration[item],
        **reaction.feedback,
    }


def _truths(
    people: Population, conduct: Behaviour, exposure: Exposure, user: Ints, item: Ints, truth: Truth, reaction: Reaction
) -> dict[str, NDArray[np.generic]]:
    return {
        "user_id": user,
        "item_id": item,
        "match": truth.match,
        "appeal": truth.appeal,
        "expected_watch": conduct.expected_watch(truth.view, people.duration[item]),
        "satisfaction": truth.satisfaction,
        "satisfied": reaction.satisfied.astype(_INT8),
        "propensity": exposure.propensity(user, item),
    }


def _times(day: int, videos: Ints, watch_time: Floats, rng: np.random.Generator) -> Ints:
    """Unix milliseconds: a visit starts in an hour drawn by `HOURS`, and each video when the one before has ended. Rows come visit
    by visit; a visit that would pass midnight is moved back to end with the day."""
    hours = np.array(HOURS) / sum(HOURS)
    start = rng.choice(24, len(videos), p=hours) * 3600 + rng.random(len(videos)) * 3600
    ended = np.cumsum(watch_time, dtype=np.float64)
    last = np.cumsum(videos) - 1
    before = np.concatenate(([0.0], ended[last][:-1]))
    start = np.maximum(np.minimum(start, 86_399 - (ended[last] - before)), 0)
    seconds = np.repeat(start - before, videos) + ended - watch_time
    return _midnight(day) * 1000 + np.minimum(seconds * 1000, 86_399_999).astype(np.int64)


def _midnight(day: int) -> int:
    """Unix seconds at which the day begins in Beijing."""
    date = FIRST_DAY + datetime.timedelta(days=day)
    return int(datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.UTC).timestamp()) - BEIJING


def date_of(day: int) -> int:
    """YYYYMMDD of the world's day, counted from 0."""
    return int((FIRST_DAY + datetime.timedelta(days=day)).strftime("%Y%m%d"))


def time_of(day: int, second: NDArray[np.float64]) -> Ints:
    """Unix milliseconds of a second of the world's day."""
    return _midnight(day) * 1000 + (second * 1000).astype(np.int64)


def users_table(world: VideoWorld) -> pd.DataFrame:
    """user_id and four categorical features, each a coarse and partly wrong view of a latent property."""
    people, rng = population(world), _rng(world, "user features")
    taste = people.taste @ people.centres[: min(8, world.categories)].T
    return pd.DataFrame(
        {
            "user_id": np.arange(world.users),
            "active_degree": _bucket(people.activity, 4, rng),
            "age_group": np.where(
                rng.random(world.users) < 0.7, taste.argmax(axis=1), rng.integers(0, taste.shape[1], world.users)
            ),
            "follow_range": _bucket(people.generosity, 6, rng),
            "device": _bucket(people.patience, 5, rng),
        }
    )


def items_table(world: VideoWorld) -> pd.DataFrame:
    """item_id, category, author_id, duration (seconds), upload_age (0: up to two days on the first day, .. 4: more than 20)."""
    people = population(world)
    return pd.DataFrame(
        {
            "item_id": np.arange(world.items),
            "category": people.category,
            "author_id": people.author,
            "duration": people.duration,
            "upload_age": np.searchsorted((2, 5, 10, 20), people.upload_age),
        }
    )


def _bucket(value: Floats, buckets: int, rng: np.random.Generator) -> Ints:
    """Equal-frequency buckets of value + N(0, 1) of the value's own spread."""
    heard = value + value.std() * rng.standard_normal(len(value), dtype=np.float32)
    return np.argsort(np.argsort(heard, kind="stable"), kind="stable") * buckets // len(value)


def _rng(world: VideoWorld, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(world.seed, "sim-video", *names))


def _sorted(columns: dict[str, NDArray[np.generic]], order: Ints) -> dict[str, NDArray[np.generic]]:
    return {name: column[order] for name, column in columns.items()}


def _stacked(days: list[dict[str, NDArray[np.generic]]]) -> pd.DataFrame:
    """One frame from the days' columns, which are taken out on the way: no moment holds two copies of more than one column."""
    return pd.DataFrame({name: np.concatenate([day.pop(name) for day in days]) for name in list(days[0])}, copy=False)


def _provenance(world: VideoWorld, tables: dict[str, pd.DataFrame]) -> Provenance:
    settings = ", ".join(f"{field} {value}" for field, value in asdict(world).items())
    return Provenance(
        title="Simulated short videos",
        source=f"generated: {settings}",
        licence="CC0-1.0",
        citation="",
        terms="",
        scope="simulated",
        files={},
        rows={table: len(frame) for table, frame in tables.items()},
    )
