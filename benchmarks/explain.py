"""Why a cell is new: the nearest record of the same place in the table, and what differs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .line import Cell, Line
from .plan import Planner
from .store import Record, without_collector


def explain(planner: Planner) -> dict[str, Any]:
    """Every known cell with its state (held, new) and reason, and the sums."""
    with without_collector():
        planner.advance()
        known_cells = [(line, cell) for line in planner.lines.values() for cell in line.cells()]
        whole = all(planner.store.read(cell.path) for _, cell in known_cells)
        by_place = {} if whole else _records(planner)
    cells = [_cell(planner, line, cell, by_place) for line, cell in known_cells]
    known = len(cells) + len(planner.timings)
    after = planner.expected() - known
    new = [cell for cell in cells if cell["state"] == "new"]
    expected = planner.profile.expected
    missing = after * expected("", "*") + sum(
        expected(line.task.dataset, line.row.key)
        for (line, _), cell in zip(known_cells, cells, strict=True)
        if cell["state"] == "new"
    )
    return {
        "paper": planner.benchmark.name,
        "profile": planner.profile.name,
        "held": len(cells) - len(new),
        "new": len(new),
        "after": after,
        "minutes": missing / 60,
        "lines": _lines(planner, cells),
        "cells": cells,
        "holes": [{"task": task, "command": hole.command} for task, hole in planner.holes.items()],
    }


def _lines(planner: Planner, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    held = Counter((cell["task"], cell["row"]) for cell in cells if cell["state"] == "held")
    new = Counter((cell["task"], cell["row"]) for cell in cells if cell["state"] == "new")
    return [
        {
            "task": line.task.key,
            "row": line.row.key,
            "held": held[line.key],
            "new": new[line.key],
            "note": "" if line.finals else line.hole or "seeds after its study",
        }
        for line in planner.lines.values()
    ]


def _cell(planner: Planner, line: Line, cell: Cell, by_place: Mapping[tuple[str, ...], list[Record]]) -> dict[str, Any]:
    held = planner.store.read(cell.path) is not None
    why = "" if held else _why(cell.facts, by_place.get(_place(cell.facts), []))
    return {"task": line.task.key, "row": line.row.key, "path": cell.path, "state": "held" if held else "new", "why": why}


def _place(facts: Mapping[str, Any]) -> tuple[str, ...]:
    return (facts["paper"], facts["task"], facts.get("runner", ""), facts["kind"], str(facts.get("seed", {}).get("index")))


def _records(planner: Planner) -> dict[tuple[str, ...], list[Record]]:
    found: dict[tuple[str, ...], list[Record]] = {}
    for path in planner.store.paths():
        record = planner.store.read(path)
        if record is not None:
            found.setdefault(_place(record["cell"]), []).append(record)
    return found


def _why(facts: Mapping[str, Any], records: list[Record]) -> str:
    """The shortest list of differences to a record of the same place."""
    if not records:
        return "never run"
    reasons = [_differences(facts, record["cell"]) for record in records]
    return "; ".join(min(reasons, key=len))


def _differences(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    found = [f"{name.replace('.', '/')}.py changed" for name in _changed(now["code"], then["code"])]
    found += [
        f"{name} = {now['params'][name]!r} (was {then['params'].get(name)!r})" for name in _changed(now["params"], then["params"])
    ]
    found += [
        f"{name} {now['versions'][name]} (was {then['versions'].get(name)})" for name in _changed(now["versions"], then["versions"])
    ]
    found += [f"its {name} changed" for name in _changed(now.get("parents", {}), then.get("parents", {}))]
    found += [f"the task's {name} changed" for name in _changed(now["task_settings"], then.get("task_settings", {}))]
    if now["task_fingerprint"] != then["task_fingerprint"]:
        found.append("the data changed")
    return found or ["planned otherwise"]


def _changed(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    return [name for name in now if now[name] != then.get(name)]
