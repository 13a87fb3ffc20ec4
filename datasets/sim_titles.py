"""A seeded world of titles whose words carry taste. Three items, and three rows of what users took:

    item_id  title                              user_id  item_id  position  timestamp
          1  Mystery Winter Velora                    0      104         0  1525301874
          2  Satire Harbour Oru Tamen                 0       33         1  1526409311
          3  Western Garden Sadi                      0      211         2  1526822017

A title is a genre, a theme and the name of a series, each shared by several items, and for half of the items a subtitle without any
taste; no two items share the first three. The first item of a user is drawn from pop. Each later one is, with probability
1 - a, drawn from pop again; else one of the last items is picked, the latest most often, and one attribute of it, and an item with
that attribute is drawn, by pop among these:

    p(y | h) = (1 - a) pop(y) + a sum_j r_j sum_l b_l pop(y) 1[attr_l(y) = attr_l(h_j)] / pop(attr_l(h_j))

So everything is known exactly: p(y) = pop(y) at every position (if h_j is distributed as pop, so is an item drawn by its
attribute), and, summing over the items that begin alike, the probability of each word of a title behind those before it, with and
without the history.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.metrics.groups import Floats, Ints, group_sums
from .dataset import Dataset, Provenance, assemble
from .sim_titles_worlds import TITLES, WORLDS, TitleWorld

ATTRIBUTES = ("genre", "theme", "name")
GENRES = (
    *("Mystery", "Western", "Romance", "Horror", "Fantasy", "Comedy"),
    *("Thriller", "Satire", "Travel", "Drama", "Adventure", "Legend"),
)
THEMES = (
    *("Winter", "Harbour", "Garden", "Mirror", "River", "Clock"),
    *("Island", "Letter", "Desert", "Lantern", "Mountain", "Orchard"),
)
ONSETS, VOWELS, CODAS = "bdfgklmnprstvz", "aeiou", ("", "", "n", "r", "l", "s")
SUBTITLES, SUBTITLED = 150, 0.5  # invented words; share of the items with one
DAY, BEGIN, YEAR, GAP = 86_400, 1_514_764_800, 365, 14  # seconds; 1 January 2018; days of first items; days between items


@dataclass(frozen=True)
class Catalogue:
    """A world's items, by place 0..I-1 (their ids are 1..I).

    titles: all different; attribute: int64 (3, I), the genre, theme and name of each; pop: float64 (I,), sums to 1.
    """

    titles: tuple[str, ...]
    attribute: Ints
    pop: Floats

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The words of each title."""
        return tuple(tuple(title.split()) for title in self.titles)


def generate(name: str) -> Dataset:
    """The dataset of a declared world, by its name."""
    return simulate(WORLDS[name], name)


def simulate(world: TitleWorld, name: str = "sim-titles") -> Dataset:
    """The dataset of a world: the same world gives the same digits. Tables `sequences` and `titles`."""
    known = catalogue_of(world)
    sequences = _sequences(world, known)
    tables = {"sequences": sequences, "titles": pd.DataFrame({"item_id": np.arange(1, world.items + 1), "title": known.titles})}
    settings = ", ".join(f"{field} {value}" for field, value in asdict(world).items())
    provenance = Provenance(
        title=TITLES.get(name, "Simulated titles"),
        source=f"generated: {settings}",
        licence="CC0-1.0",
        citation="",
        terms="",
        scope="simulated",
        files={},
        rows={table: len(frame) for table, frame in tables.items()},
    )
    return assemble(name, tables, provenance)


@lru_cache(maxsize=8)
def catalogue_of(world: TitleWorld) -> Catalogue:
    """The items of a world."""
    rng = np.random.default_rng([world.seed, 0])
    invented = _invented(world.names + SUBTITLES, rng)
    values = (GENRES[: world.genres], THEMES[: world.themes], invented[: world.names])
    sizes = tuple(map(len, values))
    if sizes != (world.genres, world.themes, world.names):
        raise UsageError(f"a world has up to {len(GENRES)} genres and {len(THEMES)} themes; lower genres or themes")
    share = np.einsum("i,j,k->ijk", *(rng.permutation(np.arange(size) + 4.0) ** -0.5 for size in sizes)).ravel()
    chosen = rng.choice(len(share), size=world.items, replace=False, p=share / share.sum())
    attribute = np.stack(np.unravel_index(chosen, sizes)).astype(np.int64)
    subtitle = np.where(rng.random(world.items) < SUBTITLED, rng.choice(invented[world.names :], size=world.items), "")
    named = [np.array(words)[value] for words, value in zip(values, attribute, strict=True)]
    titles = tuple(" ".join(map(str, words)).rstrip() for words in zip(*named, subtitle, strict=True))
    pop = rng.permutation((np.arange(world.items) + 6.0) ** -world.popularity)
    return Catalogue(titles, attribute, pop / pop.sum())


def _invented(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Different words that no language has."""
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = [rng.choice(list(ONSETS)) + rng.choice(list(VOWELS)) for _ in range(int(rng.integers(2, 4)))]
        words["".join([*syllables, rng.choice(list(CODAS))]).capitalize()] = None
    return tuple(words)


def truth(world: TitleWorld, history: NDArray[np.integer]) -> Floats:
    """log p(y | h), float64 (N, I + 1) by item id, -inf for id 0.

    history: (N, H), item ids 1..I, the latest last, behind as many zeros as it is short; H is at least the world's `recent`, unless
    all histories are empty.
    """
    known, lift = catalogue_of(world), lifts(world, history)
    with np.errstate(divide="ignore"):  # where a is 1, an item that has nothing of the history is impossible
        found = np.log(lift) + np.log(known.pop)
    return np.concatenate([np.full((len(found), 1), -np.inf), found], axis=1)


def lifts(world: TitleWorld, history: NDArray[np.integer]) -> Floats:
    """p(y | h) / pop(y), float64 (N, I), by place; `history` as in `truth`."""
    known, h = catalogue_of(world), np.asarray(history, dtype=np.int64)
    if h.ndim != 2 or (h.any() and not (h.shape[1] >= world.recent and 0 <= h.min() <= h.max() <= world.items)):
        raise UsageError(f"histories of shape {h.shape} are not the last {world.recent} items or more, each in 0..{world.items}")
    h = h[:, -world.recent :]
    weight = np.where(h > 0, _recency(world, h.shape[1])[::-1], 0)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros(weight.shape), where=total > 0)
    rows = np.arange(len(h))[:, None]
    lift = np.where(total > 0, 1 - world.strength, 1) * np.ones(world.items)
    for value, share in zip(known.attribute, world.weights, strict=True):
        mass = group_sums(known.pop, value, int(value.max()) + 1)
        told = np.zeros((len(h), len(mass)))
        np.add.at(told, (rows, value[h - 1]), weight)  # a place without item has weight 0
        told = np.divide(told, mass, out=np.zeros(told.shape), where=mass > 0)
        lift += world.strength * share * told[:, value]
    return lift


def by_word(world: TitleWorld, log_p: NDArray[np.floating], item: NDArray[np.integer]) -> Floats:
    """log p(word_t | words before it) of each row's item, float64 (N, longest title in words), NaN behind a title's end.

    log_p: (N, I + 1) or (1, I + 1), log-probabilities by item id, as `truth` gives them; item: ids (N,).
    """
    places = np.asarray(item) - 1
    p = np.exp(np.asarray(log_p, dtype=np.float64)[:, 1:])
    order, group = _prefixes(world)
    before = np.broadcast_to(p.sum(axis=1), len(places))
    found = np.full((len(places), len(group)), np.nan)
    lengths = np.array([len(words) for words in catalogue_of(world).words])[places]
    for t, of_item in enumerate(group):
        first = np.flatnonzero(np.diff(of_item[order], prepend=-1))
        mass = np.add.reduceat(p[:, order], first, axis=1)
        own = np.broadcast_to(mass, (len(places), len(first)))[np.arange(len(places)), of_item[places]]
        with np.errstate(divide="ignore"):
            found[:, t] = np.where(t < lengths, np.log(own) - np.log(before), np.nan)
        before = own
    return found


def word_effects(world: TitleWorld, history: NDArray[np.integer], item: NDArray[np.integer]) -> Floats:
    """log p(word_t | h, words before it) - log p(word_t | words before it) of each row's item, as `by_word` gives them."""
    empty = np.zeros((1, world.recent), dtype=np.int64)
    return by_word(world, truth(world, history), item) - by_word(world, truth(world, empty), item)


@lru_cache(maxsize=8)
def _prefixes(world: TitleWorld) -> tuple[Ints, tuple[Ints, ...]]:
    """The items in the order of their titles, and for each t the number of each item's first t + 1 words, rising in that order."""
    words = catalogue_of(world).words
    places = sorted(range(len(words)), key=words.__getitem__)
    order, group = np.array(places), list[Ints]()
    for t in range(max(map(len, words))):
        begins = [words[place][: t + 1] for place in places]
        new = np.array([True, *(a != b for a, b in pairwise(begins))])
        number = np.empty(len(words), dtype=np.int64)
        number[order] = np.cumsum(new) - 1
        group.append(number)
    return order, tuple(group)


def _sequences(world: TitleWorld, known: Catalogue) -> pd.DataFrame:
    """What each user took, position after position for all users at once."""
    rng = np.random.default_rng([world.seed, 1])
    length = world.least + rng.poisson(world.length - world.least, size=world.users)
    draw = _Draw(known)
    taken = np.zeros((world.users, int(length.max())), dtype=np.int64)
    taken[:, 0] = draw.any_item(rng.random(world.users))
    for position in range(1, taken.shape[1]):
        rows = np.flatnonzero(length > position)
        follows, which = rng.random(len(rows)) < world.strength, rng.choice(3, size=len(rows), p=world.weights)
        ages = min(position, world.recent)
        recency = _recency(world, ages)
        age = 1 + rng.choice(ages, size=len(rows), p=recency / recency.sum())
        u = rng.random(len(rows))
        taken[rows, position] = np.where(follows, draw.alike(which, taken[rows, position - age], u), draw.any_item(u))
    user, position = np.nonzero(np.arange(taken.shape[1]) < length[:, None])
    gap = 1 + (rng.exponential(GAP * DAY, size=taken.shape)).astype(np.int64)
    gap[:, 0] = rng.integers(0, YEAR * DAY, size=world.users)
    time = BEGIN + np.cumsum(gap, axis=1)
    columns = {"user_id": user, "item_id": taken[user, position] + 1, "position": position, "timestamp": time[user, position]}
    return pd.DataFrame(columns)


def _recency(world: TitleWorld, items: int) -> Floats:
    """r of the last items, the latest first, up to a factor."""
    return np.power(world.decay, np.arange(items, dtype=np.float64))


class _Draw:
    """Items by pop, all of them or those with one attribute in common."""

    def __init__(self, known: Catalogue) -> None:
        self._attribute, self._pop = known.attribute, known.pop
        self._orders: list[Ints] = [np.argsort(value, kind="stable") for value in known.attribute]

    def any_item(self, u: Floats) -> Ints:
        """Places (N,) from uniform numbers (N,)."""
        summed = np.cumsum(self._pop)
        return summed.searchsorted(u * float(summed[-1]), side="right").clip(0, len(summed) - 1)

    def alike(self, which: Ints, place: Ints, u: Floats) -> Ints:
        """Places (N,) of items that have attribute `which` (N,) in common with the items at `place` (N,)."""
        found = np.empty(len(which), dtype=np.int64)
        for each, order in enumerate(self._orders):
            rows = np.flatnonzero(which == each)
            value, ordered = self._attribute[each, place[rows]], self._attribute[each, order]
            first, end = ordered.searchsorted(value), ordered.searchsorted(value, side="right")
            summed = np.concatenate([[0.0], np.cumsum(self._pop[order])])
            drawn = summed.searchsorted(summed[first] + u[rows] * (summed[end] - summed[first]), side="right") - 1
            found[rows] = order[drawn.clip(first, end - 1)]
        return found
