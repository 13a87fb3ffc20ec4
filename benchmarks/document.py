"""The plan as the report reads it: which record fills which place, and what leaves a hole.

It lies in the store as `plans/<paper>.<profile>.json`, written when a run begins and when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from .benchmark import TaskSpec
from .identity import reference
from .line import Line
from .plan import Planner
from .store import Damaged


def write_plan(planner: Planner, exploratory: bool) -> None:
    """Leave the plan in the store, for the report."""
    planner.store.write_plain(_path(planner), json.dumps(document(planner, exploratory), indent=1))


def added_after_looking(planner: Planner) -> bool:
    """Whether this run adds seeds after results with fewer could be looked at. To be asked before anything is computed."""
    try:
        before = planner.store.plain(_path(planner))
    except Damaged:  # it is about to be written again
        before = None
    if before is None:
        return False
    seen = any(planner.store.read(cell.path) for line in planner.lines.values() for cell in line.finals)
    return seen and (planner.seeds > before["seeds"] or (before["exploratory"] and planner.seeds == before["seeds"]))


def _path(planner: Planner) -> str:
    return f"plans/{planner.benchmark.name}.{planner.profile.name}.json"


def document(planner: Planner, exploratory: bool) -> dict[str, Any]:
    """The whole plan as plain data."""
    return {
        "format": 1,
        "paper": planner.benchmark.name,
        "profile": planner.profile.name,
        "objective": planner.benchmark.objective,
        "seeds": planner.seeds,
        "trials": planner.trials,
        "overrides": {"set": planner.set},
        "exploratory": exploratory,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [_task(planner, task) for task in planner.profile.tasks],
        "lines": [_line(planner, line) for line in planner.lines.values()],
        "timings": [
            {
                "key": each.key,
                "title": each.title,
                "note": each.note,
                "record": planner.timings[each.key].path if each.key in planner.timings else None,
            }
            for each in planner.profile.timings
        ],
    }


def _task(planner: Planner, task: TaskSpec) -> dict[str, Any]:
    hole, ready = planner.holes.get(task.key), planner.prepared.get(task.key)
    return {
        "key": task.key,
        "dataset": task.dataset,
        "scope": task.scope,
        "labels": dict(task.labels),
        "facts": dict(task.facts(ready.folder)) if ready else {},
        "fingerprint": ready.fingerprint if ready else None,
        "tables": ready.folder.name if ready else None,
        "pictures": _pictures(planner, task, ready.folder) if ready else {},
        "hole": {"reason": str(hole), "command": hole.command} if hole else None,
    }


def _pictures(planner: Planner, task: TaskSpec, folder: Path) -> dict[str, dict[str, list[Any]]]:
    """By picture, by series: its points [x, y]."""
    wanted = [each for each in planner.benchmark.pictures if task.key in each.tasks]
    return {each.id: _points(each.compute(folder, task, planner.data_home)) for each in wanted}


def _points(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(title): rows[["x", "y"]].values.tolist() for title, rows in table.groupby("series", sort=False)}


def _line(planner: Planner, line: Line) -> dict[str, Any]:
    row, run = line.row, f"craftbench run {planner.benchmark.name} --profile {planner.profile.name} --runner {line.row.key}"
    return {
        "task": line.task.key,
        "row": row.key,
        "title": row.title,
        "role": row.role,
        "differs": row.differs,
        "runner": row.runner.name,
        "runner_class": reference(row.runner),
        "reference": row.runner.reference,
        "pinned": line.pinned,
        "inherits": row.inherits,
        "hole": {"reason": line.hole, "command": f"{run} --retry failed"} if line.hole else None,
        "study": _study(line) if line.spaces else None,
        "chosen": line.chosen,
        "settings": _settings(planner, line),
        "finals": [cell.path for cell in line.finals] or [None] * planner.seeds,
        "command": run,
    }


def _study(line: Line) -> dict[str, Any]:
    _, sampler, pruner = line.search_settings
    spaces = {name: {**vars(each), "choices": list(each.choices) if each.choices else None} for name, each in line.spaces.items()}
    return {
        "space": spaces,
        "sampler": sampler,
        "pruner": pruner,
        "trials": [cell.path for cell in line.trials],
        "rechecks": [cell.path for cells in line.rechecks for cell in cells],
        "best": line.best,
    }


def _settings(planner: Planner, line: Line) -> list[dict[str, Any]]:
    """Every hyperparameter of the row: its value, and where that comes from."""
    params = line.row.runner.Params
    sources: Mapping[str, Any] = {  # the first that names it decides
        "searched": line.spaces,
        "--set": planner.set.get(line.row.key, {}),
        "pinned": line.row.pinned,
        "inherited": line.source.row.runner.Params.model_fields if line.source else {},
    }
    return [
        {
            "name": each.name,
            "value": (line.chosen or {}).get(each.name),
            "default": each.default,
            "searched": each.name in line.spaces,
            "source": next((source for source, names in sources.items() if each.name in names), "default"),
            "grid": list(each.grid),
            "help": each.help,
        }
        for each in params.declared()
    ]
