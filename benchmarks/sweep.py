"""A closer search of a few rows: the same studies, longer, by the sampler and in the space that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.errors import unknown
from ..core.params import Params, Space
from .benchmark import Benchmark
from .plan import Overrides
from .search import parse_space


def swept(
    benchmark: Benchmark,
    profile: str,
    rows: Sequence[str],
    spaces: Sequence[str],
    trials: int,
    sampler: str,
    pruner: str,
    values: Mapping[str, Mapping[str, Any]],
) -> tuple[Benchmark, Overrides]:
    """The benchmark with a profile "sweep" (searches alone, no claim), and what the command line changes in it."""
    base = benchmark.profile(profile)
    known = {row.key: row for listed in base.rows.values() for row in listed}
    for key in rows:
        if key not in known:
            raise unknown("runner", key, known)
    found = dict(_space(text, [known[key].runner.Params for key in rows]) for text in spaces)
    only = replace(base, name="sweep", timings=(), recheck=0)
    searches = replace(benchmark, profiles={"sweep": only}, tables=(), figures=(), claims=())
    return searches, Overrides(trials=trials, set=values, sampler=sampler, pruner=pruner, spaces=found, searched=tuple(rows))


def _space(text: str, params: Sequence[type[Params]]) -> tuple[str, Space]:
    """A range for the rows that have this hyperparameter; where none has, the first row's names are suggested."""
    name = text.partition("=")[0].strip()
    return parse_space(text, next((each for each in params if name in each.model_fields), params[0]))
