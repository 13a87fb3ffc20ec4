"""Curves of final cells as figures: means over the seeds of a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..benchmarks import kept_curves
from ..benchmarks.benchmark import Curves
from ..core.curves import Curve
from ..core.statistics import summary
from .evidence import Evidence
from .shapes import FigureFound, Panel, Point, Surface


def curves_of(evidence: Evidence, figure: Curves) -> FigureFound:
    """The panels of a figure of curves; a hole with its command where no cell has left any."""
    tasks = [task for task in figure.tasks or tuple(evidence.tasks) if task in evidence.tasks]
    panels = tuple(panel for task in tasks for name in figure.names for panel in _panels(evidence, figure, task, name))
    wanted = next((task for task in figure.tasks if task not in evidence.tasks), "")
    command = "" if panels else evidence.command(profile=evidence.profile_with(figure.rows[0], wanted))
    return FigureFound(figure.id, figure.title, figure.caption, figure.x_title, False, panels, command)


def _panels(evidence: Evidence, figure: Curves, task: str, name: str) -> list[Panel]:
    """Of one name on one task: one of lines, or one for each surface."""
    found = {row: _by_series(evidence, task, row, name) for row in figure.rows}
    of_row = {row: series for row, series in found.items() if series}
    if not of_row:
        return []
    declared, title = evidence.tasks[task], figure.names[name]
    several = len(of_row) > 1, max(map(len, of_row.values())) > 1
    drawn = {
        _legend(evidence.lines[task, row]["title"] if several[0] or not several[1] else "", series if several[1] else ""): curves
        for row, listed in of_row.items()
        for series, curves in listed.items()
    }
    if all(each.z is not None for curves in drawn.values() for each in curves):
        grids = {each: _grid(curves) for each, curves in drawn.items()}
        ends = min(float(np.min(each)) for each in grids.values()), max(float(np.max(each)) for each in grids.values())
        return [
            Panel(_legend(declared["dataset"], each), figure.y_title, declared["scope"], {}, surface=_surface(grid, title, *ends))
            for each, grid in grids.items()
        ]
    beside = declared.get("pictures", {}).get(figure.beside, {})
    lines = {each: tuple(Point(x, y, None, None) for x, y in points) for each, points in beside.items()}
    lines |= {each: _line(curves) for each, curves in drawn.items()}
    return [Panel(declared["dataset"], title, declared["scope"], lines, lines=True)]


def _legend(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _by_series(evidence: Evidence, task: str, row: str, name: str) -> dict[str, list[Curve]]:
    """The curves of a name, one of each seed that has it."""
    found: dict[str, list[Curve]] = defaultdict(list)
    for path in evidence.lines.get((task, row), {}).get("finals", []):
        record = evidence.record(path)
        if record is not None and record["result"]["status"] == "ok":
            for curve in kept_curves.read(evidence.store.sibling(path, kept_curves.FILE)):
                if curve.name == name:
                    found[curve.series].append(curve)
    return dict(found)


def _line(curves: Sequence[Curve]) -> tuple[Point, ...]:
    """The mean at each x that at least half of the seeds have, for some train longer than others, and its interval.

    Of two seeds it would say nothing, and hide everything.
    """
    values: dict[float, list[float]] = defaultdict(list)
    for curve in curves:
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            values[x].append(y)
    points: list[Point] = []
    for x, each in sorted(values.items()):
        if 2 * len(each) >= len(curves):
            found = summary(each)
            points.append(Point(x, found.value, *(found.interval() if len(each) > 2 else (None, None))))
    return tuple(points)


def _grid(curves: Sequence[Curve]) -> pd.DataFrame:
    """Heights with a row for each y and a column for each x: means over the seeds that have the place."""
    table = pd.concat([pd.DataFrame({"x": each.x, "y": each.y, "z": each.z}) for each in curves])
    return table.pivot_table(index="y", columns="x", values="z", aggfunc="mean")


def _surface(grid: pd.DataFrame, title: str, low: float, high: float) -> Surface:
    heights = np.asarray(grid, dtype=np.float64).tolist()
    return Surface(title, tuple(map(float, grid.columns)), tuple(map(float, grid.index)), tuple(map(tuple, heights)), low, high)
