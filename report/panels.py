"""What opens behind each number of the page: its seeds, and the records that made them, with nothing said twice."""

from __future__ import annotations

import json
from typing import Any

from .shapes import Block, Cell, Findings, Line, as_json

_SHARED = ("params", "parents", "code", "versions", "machine")


class Panels:
    """The panels of one paper as compact JSON: `cells` point into `records`, and both into `pool` for what many share."""

    def __init__(self, found: Findings) -> None:
        self._pool: dict[str, int] = {}
        self._record = {path: place for place, path in enumerate(found.records)}
        self._records = [self._shown(path, record) for path, record in found.records.items()]
        self._cells: list[dict[str, Any]] = []
        self._places: dict[Any, int] = {}
        headings = {(table.id, heading.key): heading for table in found.tables for heading in table.headings}
        commands = {(made.task, made.row): made.command for made in found.made}
        for table in found.tables:
            for block in table.blocks:
                for line in block.lines:
                    for cell in line.cells:
                        heading = headings[cell.table, cell.column]
                        about = {"column": heading.title, "decimals": heading.decimals}
                        self._add_cell(block, line, cell, about | {"command": self._kept(commands.get((cell.task, cell.row), ""))})
        for timing in found.timings:
            for step in timing.steps:
                values = step["seconds"]
                about = {"row": step["step"], "column": timing.title, "unit": "s", "task": "", "scope": timing.scope, "decimals": 4}
                sums = {"mean": sum(values) / len(values), "ci": step["ci"], "values": values, "each": "repeat"}
                records = [self._record.get(timing.record, -1)] * len(values)
                self._add((timing.key, step["step"]), {**about, **sums, "records": records, "command": self._kept(found.command)})

    def of_cell(self, cell: Cell) -> int | None:
        return self._places.get((cell.table, cell.task, cell.row, cell.column))

    def of_step(self, timing: str, step: str) -> int | None:
        return self._places.get((timing, step))

    def as_json(self) -> dict[str, Any]:
        return {"cells": _short(as_json(self._cells)), "records": self._records, "pool": [json.loads(text) for text in self._pool]}

    def _add(self, key: Any, panel: dict[str, Any]) -> None:
        self._places[key] = len(self._cells)
        self._cells.append(panel)

    def _add_cell(self, block: Block, line: Line, cell: Cell, about: dict[str, Any]) -> None:
        if cell.mean is None:
            return
        names = ("unit", "task", "mean", "ci", "users", "positives", "values", "mark", "p")
        own = {name: getattr(cell, name) for name in names}
        records = [self._record.get(path, -1) for path in cell.records]
        panel = {
            "row": line.title,
            "scope": block.scope,
            "differs": line.differs,
            **own,
            **about,
            "each": "seed",
            "records": records,
        }
        self._add((cell.table, cell.task, cell.row, cell.column), panel)

    def _shown(self, path: str, record: dict[str, Any]) -> dict[str, Any]:
        apart = (*_SHARED, "id")  # the folder's name carries the beginning of the identity
        own = {name: value for name, value in record.items() if name not in apart and value not in (None, "", [], {})}
        return {**_short(as_json(own)), "path": path, **{name: self._kept(record.get(name) or {}) for name in _SHARED}}

    def _kept(self, value: Any) -> int:
        return self._pool.setdefault(json.dumps(as_json(value), sort_keys=True), len(self._pool))


def _short(value: Any) -> Any:
    """The same with seven digits to a number, one more than the page shows."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list) else value
