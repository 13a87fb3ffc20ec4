"""A seeded low-rank world of ratings, of any size. Three rows of `ratings`, and of `truth` beside them:

    user_id item_id rating        user_id item_id  match
          0      17    4.0              0      17  0.831
          0      52    2.0              0      52 -0.644
          1      17    5.0              1      17  1.377

Who rates what is drawn by a configuration model: every user and every item has at least `least` ratings (so a 5-core keeps all)
and the rest goes to the active and the popular, with log-normal weights. How it is rated comes from

    match(u, i) = <p_u, q_i> + b_u + b_i        rating = 1 + number of cut points below match + noise * N(0, 1)

with p, q ~ N(0, 1) scaled so that the interaction and the biases together have unit variance, and cut points that give the five
ratings the shares they have in MovieLens 100K. `match` is the truth that no public log has, kept in a table of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from .dataset import Dataset, Provenance, assemble

SHARES = (0.061, 0.114, 0.271, 0.342, 0.212)  # of the ratings 1..5 in MovieLens 100K


@dataclass(frozen=True)
class World:
    """The world's parameters.

    dim: rank of the interaction; noise: standard deviation added to the match (which has variance 1) before rating;
    personal: share of the match's variance that is interaction, the rest being user and item biases; activity, popularity: sigma
    of the log-normal weights of users and of items; least: ratings that every user and every item has.
    """

    users: int = 300
    items: int = 200
    rows: int = 12_000
    dim: int = 4
    noise: float = 0.5
    personal: float = 0.6
    activity: float = 1.0
    popularity: float = 1.0
    least: int = 5
    seed: int = 1024

    def __post_init__(self) -> None:
        low, high = self.least * max(self.users, self.items), self.users * self.items // 2
        if not low <= self.rows <= high:
            raise UsageError(f"a world of {self.users} x {self.items} holds {low} to {high} ratings, not {self.rows}; change one")


SMALL = World()
# The size that the Amazon-Electronics 5-core is quoted with; 60 % of the rows are a million to train on. With nine ratings a user,
# little more than biases can be learned.
LARGE = World(users=192_403, items=63_001, rows=1_689_188, personal=0.3, activity=1.2, popularity=1.8)


def simulate(world: World = SMALL, name: str = "sim-ratings") -> Dataset:
    """The dataset of a world: the same world gives the same digits. Tables `ratings` and `truth`, rows in random order."""
    rng = np.random.default_rng(world.seed)
    user, item = _who_rates_what(world, rng)
    match = _match(world, user, item, rng)
    heard = match + np.float32(world.noise) * rng.standard_normal(len(match), dtype=np.float32)
    cuts = np.quantile(heard, np.cumsum(SHARES)[:-1])
    rating = (1 + np.searchsorted(cuts, heard)).astype(np.float32)
    pairs = {"user_id": user, "item_id": item}
    tables = {"ratings": pd.DataFrame({**pairs, "rating": rating}), "truth": pd.DataFrame({**pairs, "match": match})}
    settings = ", ".join(f"{field} {value}" for field, value in asdict(world).items())
    provenance = Provenance(
        title="Simulated ratings",
        source=f"generated: {settings}",
        licence="CC0-1.0",
        citation="",
        terms="",
        scope="simulated",
        files={},
        rows={table: len(frame) for table, frame in tables.items()},
    )
    return assemble(name, tables, provenance, positive_above=3)


def _who_rates_what(world: World, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct pairs, as many as `rows`: degrees are drawn, stubs paired at random, repeated pairs re-paired until none is left."""
    user = np.repeat(np.arange(world.users), _degrees(world.users, -(-world.items // 2), world.activity, world, rng))
    item = np.repeat(np.arange(world.items), _degrees(world.items, -(-world.users // 2), world.popularity, world, rng))
    rng.shuffle(item)
    pair = user * world.items + item
    while len(again := _repeated(pair)) > 0:
        other, first = np.unique(rng.integers(len(item), size=len(again)), return_index=True)
        row = again[first]
        mine, theirs = user[row] * world.items + item[other], user[other] * world.items + item[row]
        free = ~np.isin(mine, pair) & ~np.isin(theirs, pair) & ~np.isin(other, again)  # a swap that makes no new repetition
        row, other = row[free], other[free]
        item[row], item[other] = item[other], item[row]
        pair[row], pair[other] = mine[free], theirs[free]
    order = rng.permutation(len(user))
    return user[order], item[order]


def _repeated(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows whose pair another row has already."""
    order = np.argsort(pair, kind="stable")
    return order[1:][pair[order][1:] == pair[order][:-1]]


def _degrees(nodes: int, most: int, sigma: float, world: World, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many ratings each node has: `least` for all, the rest by log-normal weights, never above `most`; they sum to `rows`."""
    weight = rng.lognormal(sigma=sigma, size=nodes)
    degree = np.full(nodes, world.least, dtype=np.int64)
    while (missing := world.rows - int(degree.sum())) > 0:
        open_ = weight * (degree < most)
        degree = np.minimum(degree + rng.multinomial(missing, open_ / open_.sum()), most)
    return degree


def _match(world: World, user: NDArray[np.int64], item: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """<p_u, q_i> + b_u + b_i of each pair; float32 (rows,). One factor at a time, so no (rows, dim) table is held."""
    scale = np.float32(np.sqrt(world.personal / world.dim))
    match = np.zeros(len(user), dtype=np.float32)
    for _ in range(world.dim):
        p = rng.standard_normal(world.users, dtype=np.float32)
        q = rng.standard_normal(world.items, dtype=np.float32)
        match += scale * p[user] * q[item]
    bias = np.float32(np.sqrt((1 - world.personal) / 2))
    match += bias * rng.standard_normal(world.users, dtype=np.float32)[user]
    match += bias * rng.standard_normal(world.items, dtype=np.float32)[item]
    return match
