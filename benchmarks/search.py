"""The search of a study: which setting each trial tries, rebuilt at any time from the finished trials alone.

Our records are the truth: the Optuna study is made in memory for one ask, from the finished trials of earlier batches, with a fresh
sampler seeded from (study, trial number). So a killed search goes on as if it had not been killed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import UsageError, unknown
from ..core.params import Params, Space
from ..core.seeds import derive

BATCH = 2  # trials are asked two at a time and told in order, whatever the number of workers, so that digits repeat

_FEWEST = 4  # finished trials before any is pruned
_WARM_UP = 5  # reports before a trial is pruned


@dataclass(frozen=True)
class Tried:
    """A finished trial: its searched values and its objective (None: failed, pruned, or unable)."""

    values: Mapping[str, Any]
    objective: float | None
    curve: Sequence[tuple[int, float]] = ()
    pruned: bool = False


def propose(
    spaces: Mapping[str, Space],
    default: Mapping[str, Any],
    sampler: str,
    study: str,
    number: int,
    earlier: Sequence[Tried],
    grids: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """The setting of trial `number`; trial 0 is the default: the published setting, or the row's own start."""
    if number == 0:
        return dict(default)
    if sampler == "grid":
        return grid(spaces, grids, default)[number]
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = derive("search", study, number) % 2**32
    made = optuna.samplers.TPESampler(seed=seed) if sampler == "tpe" else optuna.samplers.RandomSampler(seed=seed)
    memory = optuna.create_study(direction="maximize", sampler=made)
    distributions = {name: distribution(space) for name, space in spaces.items()}
    for trial in earlier:
        memory.add_trial(frozen(trial, spaces))
    return dict(memory.ask(distributions).params)


def distribution(space: Space) -> Any:
    """The Optuna distribution of a declared space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space.choices is not None:
        return CategoricalDistribution(space.choices)
    assert space.low is not None
    assert space.high is not None
    if space.integer:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def frozen(trial: Tried, spaces: Mapping[str, Space]) -> Any:
    """A finished trial as Optuna knows it. Values outside a space (a published setting may be) stay out of the sampler's model."""
    from optuna.trial import TrialState, create_trial

    inside = {name: space for name, space in spaces.items() if _holds(space, trial.values[name])}
    state = TrialState.COMPLETE if trial.objective is not None else TrialState.PRUNED if trial.pruned else TrialState.FAIL
    return create_trial(
        params={name: trial.values[name] for name in inside},
        distributions={name: distribution(space) for name, space in inside.items()},
        value=trial.objective,
        state=state,
        intermediate_values=dict(trial.curve) if trial.pruned else {},
    )


def _holds(space: Space, value: Any) -> bool:
    if space.choices is not None:
        return value in space.choices
    return space.low is not None and space.high is not None and space.low <= value <= space.high


def grid(
    spaces: Mapping[str, Space], grids: Mapping[str, Sequence[Any]], default: Mapping[str, Any], points: int = 3
) -> list[dict[str, Any]]:
    """Every combination of the published grids (where a paper gives none: `points` values across the range), the default first."""
    axes = [list(grids.get(name) or _points(space, points)) for name, space in spaces.items()]
    combinations = [dict(zip(spaces, values, strict=True)) for values in itertools.product(*axes)]
    return [dict(default), *(each for each in combinations if each != dict(default))]


def _points(space: Space, points: int) -> list[Any]:
    if space.choices is not None:
        return list(space.choices)
    assert space.low is not None
    assert space.high is not None
    if space.integer and space.high - space.low < points:
        return list(range(int(space.low), int(space.high) + 1))
    to, back = (math.log, math.exp) if space.log else (float, float)
    low, high = to(space.low), to(space.high)
    values = [back(low + (high - low) * step / (points - 1)) for step in range(points)]
    return [round(value) for value in values] if space.integer else values


def thresholds(pruner: str, earlier: Sequence[Tried]) -> dict[int, float]:
    """Step -> the best-so-far value below which a new trial stops; from finished trials only, fixed when the trial is asked for."""
    whole = [dict(trial.curve) for trial in earlier if trial.objective is not None and trial.curve]
    if pruner == "none" or len(whole) < _FEWEST:
        return {}
    steps = sorted(set().union(*whole))
    if pruner == "median":
        watched, keep = steps[_WARM_UP - 1 :], 0.5
    else:  # the rungs of successive halving: the best third goes on
        rungs = itertools.takewhile(lambda rung: rung <= len(steps), (_WARM_UP * 3**power for power in itertools.count()))
        watched, keep = [steps[rung - 1] for rung in rungs], 1 / 3
    found: dict[int, float] = {}
    for step in watched:
        best = [max((value for at, value in curve.items() if at <= step), default=-math.inf) for curve in whole]
        found[step] = sorted(best, reverse=True)[math.ceil(keep * len(best)) - 1]
    return found


def best_of(tried: Sequence[Tried]) -> int | None:
    """The number of the best finished trial; the first among equals; None where none finished."""
    finished = [(trial.objective, -number) for number, trial in enumerate(tried) if trial.objective is not None]
    return -max(finished)[1] if finished else None


def parse_space(text: str, params: type[Params]) -> tuple[str, Space]:
    """`damping=log(1e-7,1e-3)`, `hops=int(0,2)`, `keep=uniform(0.2,1)` or `solver=choice(cg,adam)` -> name and space."""
    name, _, body = text.partition("=")
    match = re.fullmatch(r"\s*(log|uniform|int|choice)\((.+)\)\s*", body)
    if match is None:
        raise UsageError(f"--space {text!r} is not of the form name=log(a,b), name=uniform(a,b), name=int(a,b) or name=choice(a,b)")
    if name not in params.model_fields:
        raise unknown("parameter", name, params.model_fields)
    kind, values = match[1], [params.parse(name, each.strip()) for each in match[2].split(",")]
    if kind == "choice":
        return name, Space(choices=tuple(values))
    numbers = all(isinstance(value, int | float) for value in values)
    if not numbers or len(values) != 2 or not values[0] < values[1] or (kind == "log" and values[0] <= 0):
        raise UsageError(f"--space {text!r} needs two increasing numbers (above zero for log)")
    return name, Space(low=values[0], high=values[1], log=kind == "log", integer=kind == "int")
