"""A closer search of a few rows: the same studies, longer, by the sampler and in the space that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.errors import unknown
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
    found = dict(parse_space(text, known[rows[0]].runner.Params) for text in spaces)
    only = replace(base, name="sweep", timings=(), recheck=0)
    searches = replace(benchmark, profiles={"sweep": only}, tables=(), figures=(), claims=())
    return searches, Overrides(trials=trials, set=values, sampler=sampler, pruner=pruner, spaces=found, searched=tuple(rows))
