"""How each row came about: its search, its settings, its cost, and the cells that gave no number."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

from ..benchmarks.store import Record
from ..core.params import Space
from .evidence import Evidence
from .shapes import Failure, Made, StudyFound, Trial

ENOUGH = 15  # finished trials below which an importance would be noise


def study_of(evidence: Evidence, line: dict[str, Any]) -> StudyFound | None:
    """The search behind a line, or None where nothing was searched."""
    study = line.get("study")
    if not study or not study.get("space"):
        return None
    trials = tuple(
        _trial(number, record, study["space"], evidence.benchmark.objective)
        for number, path in enumerate(study["trials"])
        if (record := evidence.record(path)) is not None
    )
    spaces = {name: space_of(each) for name, each in study["space"].items()}
    chosen = line.get("chosen") or {}
    edges = tuple(name for name, space in spaces.items() if name in chosen and space.on_edge(chosen[name]))
    return StudyFound(
        task=line["task"],
        row=line["row"],
        title=line["title"],
        sampler=study["sampler"],
        pruner=study["pruner"],
        objective=evidence.benchmark.objective,
        space=study["space"],
        trials=trials,
        best=study.get("best"),
        edges=edges,
        importance=importance(trials, spaces),
    )


def space_of(plain: dict[str, Any]) -> Space:
    """A range as the plan file writes it."""
    choices = plain.get("choices")
    return Space(
        plain.get("low"),
        plain.get("high"),
        bool(plain.get("log")),
        tuple(choices) if choices is not None else None,
        bool(plain.get("integer")),
    )


def _trial(number: int, record: Record, space: dict[str, Any], objective: str) -> Trial:
    result, params = record["result"], record["cell"]["params"]
    value = result.get("metrics", {}).get(objective) if result["status"] == "ok" else None
    value = value if value is not None and math.isfinite(value) else None
    searched = {name: params[name] for name in space if name in params}
    return Trial(number, result["status"], value, float(record["provenance"]["seconds"]), searched, result.get("reason", ""))


def importance(trials: tuple[Trial, ...], spaces: dict[str, Space]) -> dict[str, float]:
    """PED-ANOVA importance of each hyperparameter (Watanabe et al., IJCAI 2023); empty with too few finished trials."""
    done = [trial for trial in trials if trial.value is not None and trial.params.keys() == spaces.keys()]
    if len(done) < ENOUGH or len({trial.value for trial in done}) < 2:
        return {}
    import optuna  # imported here: it takes half a second, and most reports have too few trials

    spoken = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA is marked experimental
        distributions = {name: _distribution(space) for name, space in spaces.items()}
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        study.add_trials(
            [optuna.trial.create_trial(params=trial.params, distributions=distributions, value=trial.value) for trial in done]
        )
        found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    optuna.logging.set_verbosity(spoken)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _distribution(space: Space) -> Any:
    from optuna import distributions

    if space.choices is not None:
        return distributions.CategoricalDistribution(space.choices)
    assert space.low is not None
    assert space.high is not None
    if space.integer:
        return distributions.IntDistribution(int(space.low), int(space.high), log=space.log)
    return distributions.FloatDistribution(space.low, space.high, log=space.log)


def cells_of(line: dict[str, Any]) -> Iterator[str]:
    """The paths of every cell behind a line: trials, second looks, finals."""
    study = line.get("study") or {}
    yield from dict.fromkeys(path for path in [*study.get("trials", []), *study.get("rechecks", []), *line["finals"]] if path)


def made_of(evidence: Evidence, line: dict[str, Any]) -> Made:
    """How one row's numbers were made, and what they cost."""
    paths = list(cells_of(line))
    records = {path: record for path in paths if (record := evidence.record(path)) is not None}
    spent = {path: float(record["provenance"]["seconds"]) for path, record in records.items()}
    memory = [record["provenance"].get("peak_memory_mb") for record in records.values()]
    hole = line.get("hole") or evidence.tasks[line["task"]].get("hole")
    return Made(
        task=line["task"],
        row=line["row"],
        title=line["title"],
        runner=line["runner"],
        differs=line["differs"],
        inherits=line.get("inherits") or "",
        command=evidence.command(row=line["row"], task=line["task"]),
        settings=tuple(_setting(each, line) for each in line.get("settings", [])),
        records=tuple(path for path in line["finals"] if path),
        hole=hole["reason"] if hole else "",
        fits=len(records),
        seconds=sum(spent.values()),
        search_seconds=sum(seconds for path, seconds in spent.items() if path not in line["finals"]),
        cpu_seconds=sum(float(record["provenance"].get("cpu_seconds") or 0.0) for record in records.values()),
        peak_memory_mb=max((each for each in memory if each), default=None),
    )


def _setting(plain: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    """A line of the settings table: the plan's, with the searched range in words."""
    space = ((line.get("study") or {}).get("space") or {}).get(plain["name"])
    known = {"value": None, "default": None, "source": "", "grid": [], "help": "", **plain}
    return {**known, "range": in_words(space_of(space)) if space else ""}


def in_words(space: Space) -> str:
    """A range as text: "1e-07 to 0.001, log" or "cg, adam"."""
    if space.choices is not None:
        return ", ".join(map(str, space.choices))
    return f"{space.low:g} to {space.high:g}" + (", log" if space.log else "")


def failures_of(evidence: Evidence, line: dict[str, Any]) -> Iterator[Failure]:
    """The cells of a line that failed, or that their runner cannot do."""
    for path in cells_of(line):
        record = evidence.record(path)
        if record is None or record["result"]["status"] not in ("failed", "cannot"):
            continue
        cell, result = record["cell"], record["result"]
        said = (result.get("reason", ""), result.get("traceback", "")[-4000:], path)
        yield Failure(line["task"], line["row"], cell["kind"], cell["seed"]["index"], result["status"], *said)
