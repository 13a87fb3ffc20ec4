"""Gather everything that one run of a paper's profile found, as plain data; the tables, figures and page only show it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from ..benchmarks import papers
from ..benchmarks.benchmark import Benchmark, Curves, Diagram, Figure, Picture
from ..benchmarks.store import Record, Store
from . import numbers
from .claims import judge, number_in
from .curves import curves_of
from .evidence import Evidence, estimate
from .shapes import Cell, DiagramFound, FigureFound, Findings, Panel, Point, Shipped
from .studies import failures_of, made_of, study_of
from .tables import table_of, timing_of


def findings(benchmark: Benchmark, store: Store, profile: str) -> Findings:
    """What the store holds for this profile. What was not run is a hole with its command; nothing missing is an error."""
    evidence = Evidence(benchmark, store, profile)
    published, reference = numbers.published(benchmark), numbers.of_reference(benchmark)
    lines = list(evidence.lines.values())
    made = tuple(made_of(evidence, line) for line in lines)
    return Findings(
        paper=benchmark.name,
        title=benchmark.title,
        citation=benchmark.citation,
        profile=evidence.profile.name,
        written=evidence.plan.get("written", ""),
        exploratory=bool(evidence.plan.get("exploratory")),
        seeds=evidence.plan["seeds"],
        trials=evidence.plan["trials"],
        core_seconds=_budget(evidence),
        spent_seconds=sum(each.seconds for each in made),
        overrides={name: value for name, value in evidence.plan.get("overrides", {}).items() if value},
        differs=evidence.profile.differs,
        deviations=benchmark.deviations,
        tasks=tuple(_task(task) for task in evidence.tasks.values()),
        verdicts=tuple(verdict for claim in benchmark.claims for verdict in judge(evidence, claim)),
        tables=tuple(table_of(evidence, table, published, reference) for table in benchmark.tables),
        figures=tuple(_figure(evidence, figure) for figure in benchmark.figures),
        pictures=tuple(_picture(evidence, picture) for picture in benchmark.pictures),
        diagrams=tuple(_diagram(diagram) for diagram in benchmark.diagrams),
        timings=tuple(timing_of(evidence, timing) for timing in evidence.plan.get("timings", [])),
        studies=tuple(study for line in lines if (study := study_of(evidence, line)) and study.trials),
        made=made,
        failures=tuple(failure for line in lines for failure in failures_of(evidence, line)),
        records=_records(evidence, lines),
        command=evidence.command(),
        shipped=_shipped(benchmark),
    )


def _shipped(benchmark: Benchmark) -> Shipped | None:
    """What our own runs said of the claims that the paper still makes."""
    ran = numbers.reference(benchmark.name)
    if ran is None:
        return None
    claims = {claim.id for claim in benchmark.claims}
    return Shipped(
        profile=ran.profile,
        seeds=max(len(fit.records) for fit in ran.fits),
        cells=sum(len(fit.records) for fit in ran.fits),
        seconds=sum(seconds or 0.0 for fit in ran.fits for seconds in fit.seconds),
        verdicts=tuple(dict(verdict) for verdict in ran.verdicts if verdict["claim"] in claims),
    )


def _budget(evidence: Evidence) -> float:
    """Core-seconds declared for what is on this machine."""
    here = {task["dataset"] for task in evidence.tasks.values() if not task.get("hole")}
    return evidence.profile.core_seconds + sum(seconds for name, seconds in evidence.profile.imported.items() if name in here)


def _task(task: dict[str, Any]) -> dict[str, Any]:
    """A task of the plan, with everything that the page asks for."""
    empty: dict[str, Any] = {"labels": {}, "facts": {}, "fingerprint": None, "hole": None}
    return empty | {name: value for name, value in task.items() if value is not None}


def results(found: Findings) -> list[dict[str, Any]]:
    """One plain object per cell of every table."""
    return [_result(cell) for table in found.tables for block in table.blocks for line in block.lines for cell in line.cells]


def _result(cell: Cell) -> dict[str, Any]:
    names = ("table", "dataset", "task", "row", "column", "unit", "mean", "n", "published", "status")
    return {**{name: getattr(cell, name) for name in names}, "ci": list(cell.ci) if cell.ci else None}


def _records(evidence: Evidence, lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each final number's record says, without what every record repeats at length."""
    paths = [path for line in lines for path in line["finals"] if path]
    paths += [timing["record"] for timing in evidence.plan.get("timings", []) if timing.get("record")]
    fingerprints = {task["key"]: task.get("fingerprint") for task in evidence.tasks.values()}
    found = {path: record for path in dict.fromkeys(paths) if (record := evidence.record(path)) is not None}
    return {path: _shown(record, fingerprints) for path, record in found.items()}


def _shown(record: Record, fingerprints: dict[str, Any]) -> dict[str, Any]:
    cell, result, provenance = record["cell"], record["result"], record["provenance"]
    shown = {
        name: cell.get(name)
        for name in ("id", "kind", "task", "runner", "params", "seed", "parents", "code", "versions", "threads")
    }
    shown["data"] = cell.get("task_fingerprint") or fingerprints.get(cell.get("task"))
    shown |= {name: result.get(name) for name in ("status", "reason", "notes")}
    kept = ("started", "seconds", "cpu_seconds", "clocks", "peak_memory_mb", "machine", "device", "commit", "warnings", "attempts")
    return shown | {name: provenance.get(name) for name in kept}


def _figure(evidence: Evidence, figure: Figure | Curves) -> FigureFound:
    """The points of one figure: a panel for each column and, unless x runs over tasks, for each task."""
    if isinstance(figure, Curves):
        return curves_of(evidence, figure)
    tasks = [task for task in figure.tasks or tuple(evidence.tasks) if task in evidence.tasks]
    over_tasks = figure.x.startswith("label:")
    scopes = list(dict.fromkeys(evidence.tasks[task]["scope"] for task in tasks))
    spread = [[t for t in tasks if evidence.tasks[t]["scope"] == scope] for scope in scopes] if over_tasks else [[t] for t in tasks]
    panels = tuple(
        Panel(
            title=evidence.tasks[group[0]]["dataset"] if over_tasks else group[0],
            y_title=_axis(evidence, key),
            scope=evidence.tasks[group[0]]["scope"],
            series={
                title: points for title, rows in figure.series.items() if (points := _points(evidence, figure, rows, group, key))
            },
        )
        for group in spread
        for key in figure.y
    )
    drawn = tuple(panel for panel in panels if panel.series)
    wanted = next((task for task in figure.tasks if task not in evidence.tasks), "")
    first = next(iter(figure.series.values()), ("",))[0]
    command = "" if drawn else evidence.command(profile=evidence.profile_with(first, wanted))
    kind, _, name = figure.x.partition(":")
    x_title = figure.x_title or (_axis(evidence, name) if kind == "column" else name)
    return FigureFound(figure.id, figure.title, figure.caption, x_title, figure.log_x, drawn, command)


def _picture(evidence: Evidence, picture: Picture) -> FigureFound:
    """The points that the plan keeps of each of its tasks."""
    kept = {key: evidence.tasks[key] for key in picture.tasks if key in evidence.tasks}
    panels = tuple(
        Panel(
            title=task["dataset"],
            y_title=picture.y_title,
            scope=task["scope"],
            series={
                title: tuple(Point(x, y, None, None) for x, y in points) for title, points in task["pictures"][picture.id].items()
            },
        )
        for task in kept.values()
        if task.get("pictures", {}).get(picture.id)
    )
    command = "" if panels else evidence.command()
    return FigureFound(picture.id, picture.title, picture.caption, picture.x_title, picture.log_x, panels, command)


def _diagram(diagram: Diagram) -> DiagramFound:
    svg = files(papers).joinpath(diagram.svg).read_text(encoding="utf-8")
    return DiagramFound(diagram.id, diagram.title, diagram.caption, svg)


def _axis(evidence: Evidence, key: str) -> str:
    """A column's title and unit, for an axis."""
    column = evidence.columns.get(key)
    return key if column is None else f"{column.title} [{column.unit}]" if column.unit else column.title


def _points(evidence: Evidence, figure: Figure, rows: tuple[str, ...], tasks: list[str], key: str) -> tuple[Point, ...]:
    points: list[Point] = []
    for task in tasks:
        for row in rows:
            found, x = estimate(evidence.series(task, row, key)), _x(evidence, figure.x, task, row)
            if found is None or x is None:
                continue
            low, high = found.interval() if found.n_seeds > 1 else (None, None)
            points.append(Point(x, found.value, low, high))
    return tuple(sorted(points, key=lambda point: point.x) if all(isinstance(point.x, float) for point in points) else points)


def _x(evidence: Evidence, source: str, task: str, row: str) -> float | str | None:
    """Where a point stands: a setting of its row, a number in its task's labels, another column, or the row itself."""
    kind, _, name = source.partition(":")
    line = evidence.lines.get((task, row), {})
    if kind == "row":
        return line.get("title", row)
    if kind == "label":
        return number_in(evidence.tasks[task]["labels"].get(name, ""))
    if kind == "column":
        found = estimate(evidence.series(task, row, name))
        return None if found is None else found.value
    value = {**(line.get("chosen") or {}), **line.get("pinned", {})}.get(name)
    return float(value) if isinstance(value, int | float) else value
