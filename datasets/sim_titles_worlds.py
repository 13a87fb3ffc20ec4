"""The declared worlds of titles: what each one fixes, before any method runs in it.

A result is read over these worlds, never from one alone. The factors:

| factor                                   | levels                    | field      |
| ---------------------------------------- | ------------------------- | ---------- |
| how strongly a history tells what is next | not at all, weakly, strongly | `strength` |
| which words of a title it tells           | the first most, the last most | `weights`  |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..core.errors import UsageError


@dataclass(frozen=True)
class TitleWorld:
    """The world's parameters; the defaults are the world `sim-titles`.

    users, items: sizes; genres, themes, names: how many values each attribute of an item has; seed: what all randomness is
    derived from. popularity: s of pop(y) ~ (place + 5)^-s, the places in random order.
    strength: a, the share of choices that follow the history; weights: b, which attribute of an earlier item is then looked for
    (genre, theme, name); recent: how many of the last items count; decay: r_j is this much smaller for each item further back.
    length: mean number of items that a user takes; least: their least number.
    """

    users: int = 3_500
    items: int = 360
    genres: int = 12
    themes: int = 8
    names: int = 24
    seed: int = 1024
    popularity: float = 0.8
    strength: float = 0.7
    weights: tuple[float, float, float] = (0.75, 0.2, 0.05)
    recent: int = 5
    decay: float = 0.5
    length: float = 8.0
    least: int = 3

    def __post_init__(self) -> None:
        if not (0 <= self.strength <= 1 and min(self.weights) >= 0 and abs(sum(self.weights) - 1) < 1e-9 and 0 < self.decay <= 1):
            raise UsageError("a world's strength and decay lie in 0..1 and its weights sum to 1; change the one that does not")
        if self.items > self.genres * self.themes * self.names or min(self.users, self.items, self.recent, self.least) < 1:
            combinations = f"{self.genres} genres x {self.themes} themes x {self.names} names"
            raise UsageError(f"{combinations} do not make {self.items} different titles for {self.users} users; change one")
        if self.length < self.least:
            raise UsageError(f"users cannot take {self.length:g} items on average and {self.least} at least; change one")


_MAIN = TitleWorld()

WORLDS: Mapping[str, TitleWorld] = MappingProxyType(
    {
        "sim-titles": _MAIN,
        "sim-titles-weak": replace(_MAIN, strength=0.25),
        "sim-titles-none": replace(_MAIN, strength=0.0),
        "sim-titles-late": replace(_MAIN, weights=(0.05, 0.05, 0.9)),
        "sim-titles-small": replace(_MAIN, users=300, items=48, genres=6, themes=4, names=8, length=6.0),
    }
)

# The grid over which a simulated claim is judged, beside the default: fixed before any method ran.
OTHER_WORLDS = ("sim-titles-weak", "sim-titles-none", "sim-titles-late")

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "sim-titles": "Simulated titles",
        "sim-titles-weak": "Simulated titles, histories tell little",
        "sim-titles-none": "Simulated titles, histories tell nothing",
        "sim-titles-late": "Simulated titles, histories tell the last word most",
        "sim-titles-small": "Simulated titles, few of them, for trying things out",
    }
)
