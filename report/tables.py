"""The cells of a paper's tables, their marks against the reference row, the averages over tasks, and the timed steps."""

from __future__ import annotations

import statistics as middle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..benchmarks.benchmark import Column, Table
from ..benchmarks.store import Record
from ..core.statistics import Estimate, holm, ratio, summary, two_sided
from .agreement import agreements
from .evidence import Evidence, Series, contrast, estimate
from .numbers import Numbers, number_at
from .shapes import Block, Cell, Heading, Line, TableFound, TimingFound


def table_of(evidence: Evidence, table: Table, published: Numbers, reference: Numbers) -> TableFound:
    """One table: a block for each of its tasks that the profile has."""
    asked = table.tasks or tuple(evidence.tasks)
    headings = tuple(Heading(c.key, c.title, c.unit, c.decimals, c.higher_is_better) for c in table.columns)
    blocks = tuple(_block(evidence, table, task, headings, published, reference) for task in asked if task in evidence.tasks)
    absent = tuple((task, _elsewhere(evidence, task)) for task in asked if task not in evidence.tasks)
    return TableFound(
        id=table.id,
        title=table.title,
        caption=table.caption,
        reference=table.reference,
        headings=headings,
        blocks=blocks,
        absent=absent,
        averages=_averages(table, blocks),
    )


def _elsewhere(evidence: Evidence, task: str) -> str:
    """The command of a profile that has a task which this one lacks."""
    name = next((name for name, profile in evidence.benchmark.profiles.items() if task in profile.rows), "")
    return evidence.command(profile=name) if name else ""


def _block(
    evidence: Evidence, table: Table, task: str, headings: tuple[Heading, ...], published: Numbers, reference: Numbers
) -> Block:
    facts = evidence.tasks[task]
    known: dict[str, Any] = {"published": published, "reference": reference}
    cells = {(row, column.key): _cell(evidence, table, task, row, column, known) for row in table.rows for column in table.columns}
    for column in table.columns:
        cells.update(_marked(evidence, table, task, column, cells))
    lines: list[Line] = []
    for row in table.rows:
        line = evidence.lines.get((task, row)) or evidence.declared(row)
        listed = tuple(cells[row, column.key] for column in table.columns)
        lines.append(Line(row, line["title"], line["role"], line["differs"], listed))
    compared = tuple(agreements(tuple(lines), headings, table.reference))
    return Block(task, facts["dataset"], facts["scope"], facts["labels"], tuple(lines), compared)


def _cell(evidence: Evidence, table: Table, task: str, row: str, column: Column, known: dict[str, Numbers]) -> Cell:
    series, dataset = evidence.series(task, row, column.key), evidence.tasks[task]["dataset"]
    found = estimate(series)
    status, reason, command = _standing(evidence, task, row, column, series)
    cell = Cell(
        *(table.id, dataset, task, row, column.key, column.unit, status),
        reason=reason,
        command=command,
        published=number_at(known["published"], table.id, task, dataset, row, column.key),
        reference=number_at(known["reference"], table.id, task, dataset, row, column.key),
    )
    if found is None:
        return replace(cell, records=tuple(path for path in series.paths if path))
    return replace(
        cell,
        mean=found.value,
        ci=found.interval() if found.n_seeds > 1 else None,
        n=found.n_seeds,
        users=series.users,
        positives=series.positives,
        values=series.values,
        records=series.paths,
    )


def _view_of(column: Column) -> str:
    return column.key.partition("/")[0]


def _views(records: Iterable[Record]) -> set[str]:
    """The views that were measured in all of them, and what a column may name beside."""
    measured = [{name.partition("/")[0] for name in record["result"]["metrics"]} for record in records]
    return set.intersection(*measured) | {"note", "time", "timing"}


def _standing(evidence: Evidence, task: str, row: str, column: Column, series: Series) -> tuple[str, str, str]:
    """(status, why something is missing, the command that fills it)."""
    line, hole = evidence.lines.get((task, row)), evidence.tasks[task].get("hole")
    if hole:
        return "hole", hole["reason"], hole["command"]
    if line is None:
        return _absent(evidence, task, row)
    if line.get("hole"):
        return "hole", line["hole"]["reason"], line["hole"]["command"]
    missing = [path for path, value in zip(series.paths, series.values, strict=True) if value is None]
    if not missing:
        return "ok", "", ""
    again = evidence.command(row=row, task=task)
    records = [record for path in missing if (record := evidence.record(path)) is not None]
    ended = [record["result"] for record in records if record["result"]["status"] != "ok"]
    status = ended[0]["status"] if ended else "hole"
    if records and not ended and type(column) is Column and _view_of(column) not in _views(records):
        return status, "not in this profile", ""
    reason = (
        ended[0]["reason"]
        if ended
        else ("undefined on these rows, or the row it is compared with is missing" if records else "not run")
    )
    if status == "failed":
        again += " --retry failed"
    if series.seeds:
        return "partial", f"{len(missing)} of {len(series.values)} seeds missing: {reason}", again
    return status, reason, "" if status == "cannot" else again


def _absent(evidence: Evidence, task: str, row: str) -> tuple[str, str, str]:
    """A row that this profile does not run on a task: which one does."""
    here = evidence.profile.name
    same, other = evidence.profile_with(row, task), evidence.profile_with(row)
    if same != here:
        return "hole", f"not in the {here} profile", evidence.command(row=row, profile=same)
    if other != here:
        return "hole", f"not in the {here} profile; on other tasks in {other}", evidence.command(row=row, profile=other)
    return "hole", "no profile runs it on this task", ""


def _marked(
    evidence: Evidence, table: Table, task: str, column: Column, cells: dict[tuple[str, str], Cell]
) -> dict[tuple[str, str], Cell]:
    """The cells of one column with their marks: two-sided tests against the reference row, adjusted by Holm."""
    base = evidence.series(task, table.reference, column.key) if table.reference else Series()
    if not base.seeds:
        return {}
    tested: dict[str, Estimate] = {}
    for row in table.rows:
        found = contrast(evidence.series(task, row, column.key), base) if row != table.reference else None
        if found is not None and found.n_seeds > 1 and found.se == found.se and not cells[row, column.key].thin:
            tested[row] = found
    adjusted = dict(zip(tested, holm([two_sided(each) for each in tested.values()]), strict=True)) if tested else {}
    marked: dict[tuple[str, str], Cell] = {}
    for row, p in adjusted.items():
        up = (tested[row].mean > 0) == (column.higher_is_better is not False)
        word = "tie" if p > 0.05 else "differs" if column.higher_is_better is None else "better" if up else "worse"
        marked[row, column.key] = replace(cells[row, column.key], mark=word, p=p)
    if (table.reference, column.key) in cells:
        marked[table.reference, column.key] = replace(cells[table.reference, column.key], mark="reference")
    return marked


def _averages(table: Table, blocks: tuple[Block, ...]) -> tuple[Line, ...]:
    """Where cells are thin: each row's mean over the tasks of one scope with all cells, and without the thin ones."""
    lines: list[Line] = []
    for scope in dict.fromkeys(block.scope for block in blocks):
        same = [block for block in blocks if block.scope == scope]
        if len(same) < 2 or not any(cell.thin for block in same for line in block.lines for cell in line.cells):
            continue
        for place, row in enumerate(table.rows):
            line = same[0].lines[place]
            for name, keep_thin in (("all cells", True), ("without thin cells", False)):
                cells = tuple(
                    _average(table, row, column, [block.lines[place].cells[i] for block in same], keep_thin)
                    for i, column in enumerate(table.columns)
                )
                if any(cell.mean is not None for cell in cells):
                    lines.append(replace(line, title=f"{line.title}, {name} ({scope})", differs="", cells=cells))
    return tuple(lines)


def _average(table: Table, row: str, column: Column, cells: list[Cell], keep_thin: bool) -> Cell:
    values = [cell.mean for cell in cells if cell.mean is not None and (keep_thin or not cell.thin)]
    mean = sum(values) / len(values) if values else None
    return Cell(table.id, "average", "average", row, column.key, column.unit, "ok" if values else "hole", mean=mean, n=len(values))


def timing_of(evidence: Evidence, timing: dict[str, Any]) -> TimingFound:
    """Median and geometric-mean ratio of every timed step to the fastest, from one interleaved cell."""
    declared = next((each for each in evidence.profile.timings if each.key == timing["key"]), None)
    record = evidence.record(timing.get("record"))
    scope = declared.task.scope if declared else ""
    about = {"key": timing["key"], "title": timing["title"], "note": timing.get("note", ""), "scope": scope}
    steps = {name: seconds for name, seconds in (record["provenance"].get("timings") or {}).items() if seconds} if record else {}
    if record is None or not steps:
        reason = record["result"]["reason"] if record else "not run"
        return TimingFound(**about, base="", steps=(), record=timing.get("record") or "", reason=reason, command=evidence.command())
    base = min(steps, key=lambda name: middle.median(steps[name]))
    rows = tuple(
        {"step": name, "seconds": seconds, "median": middle.median(seconds), **_timed(seconds, steps[base])}
        for name, seconds in steps.items()
    )
    return TimingFound(**about, base=base, steps=rows, record=timing["record"])


def _timed(seconds: list[float], base: list[float]) -> dict[str, Any]:
    several = len(seconds) > 1
    shown: dict[str, Any] = {"ci": summary(seconds).interval() if several else None, "ratio": None, "ratio_ci": None}
    if len(seconds) == len(base) and min(*seconds, *base) > 0:
        times = ratio(seconds, base)
        shown |= {"ratio": times.value, "ratio_ci": times.interval() if several else None}
    return shown
