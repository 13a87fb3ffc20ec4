"""Two sets of recorded fits, cell by cell: which differ beyond noise, which should be equal and are not, which one side lacks.

A fit of equal identity (the record's id) must give equal digits. Where settings, code, data or versions differ, the means of a row
on a task may differ, and do so beyond noise when the interval of their difference excludes zero, at a level that holds for all
comparisons together (Bonferroni). Seeds are paired, and so are the test users where both sides know what each group of them adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace

from ..core.statistics import Estimate
from .evidence import Series, contrast
from .recorded import Fit, Recorded, rounded

Key = tuple[str, str, str]  # paper, task, row


@dataclass(frozen=True)
class Moved:
    """A column of a row that was made otherwise, as `otherwise` says. a, b: its means; interval: of b - a, at the common level."""

    paper: str
    task: str
    row: str
    column: str
    a: float
    b: float
    interval: tuple[float, float]
    seeds: int
    otherwise: str

    @property
    def beyond_noise(self) -> bool:
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class Broken:
    """A number of equal identity and different digits."""

    paper: str
    task: str
    row: str
    column: str
    seed: int
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """equal: fits of equal identity and digits; moved: every comparison of means; unjudged: rows without two seeds in common."""

    equal: int
    broken: tuple[Broken, ...]
    moved: tuple[Moved, ...]
    unjudged: tuple[Key, ...]
    only_a: tuple[Key, ...]
    only_b: tuple[Key, ...]

    @property
    def beyond_noise(self) -> tuple[Moved, ...]:
        return tuple(each for each in self.moved if each.beyond_noise)


@dataclass(frozen=True)
class _Difference:
    key: Key
    column: str
    a: float
    b: float
    estimate: Estimate
    otherwise: str


def compared(a: list[Recorded], b: list[Recorded], alone: Mapping[str, Set[str]], alpha: float = 0.05) -> Comparison:
    """Compare what two sides hold, by paper, task and row. alone: paper -> the columns that follow from one fit."""
    left, right = _by_key(a), _by_key(b)
    both = [key for key in left if key in right]
    equal, broken, unjudged = 0, list[Broken](), list[Key]()
    differences: list[_Difference] = []
    for key in both:
        one, two = left[key][0], right[key][0]
        shared = [seed for seed, pair in enumerate(zip(one.records, two.records, strict=False)) if None not in pair]
        same = [seed for seed in shared if one.records[seed] == two.records[seed]]
        wrong = [each for each in _broken(key, one, two, same) if each.column in alone[key[0]]]
        broken += wrong
        equal += len(same) - len({each.seed for each in wrong})
        if same and len(same) == len(shared):
            continue
        found = list(_differences(key, one, two, _otherwise(left[key], right[key])))
        differences += found
        if not found:
            unjudged.append(key)
    level = 1 - alpha / max(1, len(differences))
    return Comparison(
        equal=equal,
        broken=tuple(broken),
        moved=tuple(_moved(each, level) for each in differences),
        unjudged=tuple(unjudged),
        only_a=tuple(key for key in left if key not in right),
        only_b=tuple(key for key in right if key not in left),
    )


def _by_key(side: list[Recorded]) -> Mapping[Key, tuple[Fit, Recorded]]:
    return {(recorded.paper, fit.task, fit.row): (fit, recorded) for recorded in side for fit in recorded.fits}


def _broken(key: Key, one: Fit, two: Fit, seeds: list[int]) -> Iterator[Broken]:
    """Numbers of the same record that differ."""
    for column in one.values.keys() & two.values.keys():
        for seed in seeds:
            a, b = rounded(one.values[column][seed]), rounded(two.values[column][seed])
            if a is not None and b is not None and a != b:
                yield Broken(*key, column, seed, a, b)


def _otherwise(a: tuple[Fit, Recorded], b: tuple[Fit, Recorded]) -> list[str]:
    """What two sides made differently: data, versions, hyperparameters by name, code."""
    (one, of_one), (two, of_two) = a, b
    then, now = of_one.origins[one.origin], of_two.origins[two.origin]
    found = ["data"] if of_one.tasks[one.task]["fingerprint"] != of_two.tasks[two.task]["fingerprint"] else []
    found += [name for name in {**then.versions, **now.versions} if then.versions.get(name) != now.versions.get(name)]
    found += [name for name in {**one.params, **two.params} if one.params.get(name) != two.params.get(name)]
    both = then.code.keys() & now.code.keys()
    return [*found, "code"] if any(then.code[name] != now.code[name] for name in both) else found


def _differences(key: Key, one: Fit, two: Fit, otherwise: list[str]) -> Iterator[_Difference]:
    """b - a in every column that both have on two seeds or more."""
    for column in one.values:
        if column in two.values:
            a, b = _series(one, column), _series(two, column)
            found = contrast(b, a)
            if found is None or found.n_seeds < 2 or math.isnan(found.se):
                continue
            paired = "data" not in otherwise and column in one.without and column in two.without
            made = found if paired else _unpaired(found, one, two, column)
            yield _Difference(key, column, _mean(a), _mean(b), made, ", ".join(otherwise) or "parents")


def _series(fit: Fit, column: str) -> Series:
    """Rounded as a file has it, so that a store and a file of it do not differ."""
    return Series(tuple(map(rounded, fit.values[column])), fit.without.get(column))


def _mean(series: Series) -> float:
    return float(series.at(series.seeds)[0].mean())


def _unpaired(found: Estimate, one: Fit, two: Fit, column: str) -> Estimate:
    """The difference with the test users' noise of both sides, as if they were other users: more than it is where they are not."""
    sides = [fit.users[column] for fit in (one, two) if column in fit.users]
    if not sides:
        return replace(found, se_users=0.0, n_groups=0)
    return replace(found, se_users=math.hypot(*(se for se, _ in sides)), n_groups=min(groups for _, groups in sides))


def _moved(each: _Difference, level: float) -> Moved:
    return Moved(*each.key, each.column, each.a, each.b, each.estimate.interval(level), each.estimate.n_seeds, each.otherwise)
