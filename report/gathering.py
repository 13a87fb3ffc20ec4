"""From the records of a store to what they say of a profile's final fits (`recorded.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..benchmarks.benchmark import Benchmark, Figure
from ..benchmarks.store import Record
from ..core.statistics import Estimate
from .claims import judge, placed_contrasts
from .evidence import Evidence, estimate
from .recorded import Contrasted, Fit, Origin, Recorded, computed_on


def gathered(evidence: Evidence) -> Recorded:
    """Every row of a table or figure with at least one sound final record."""
    origins: list[Origin] = []
    fits = [fit for line in evidence.lines.values() if (fit := _fit(evidence, line, origins)) is not None]
    return Recorded(
        paper=evidence.benchmark.name,
        profile=evidence.profile.name,
        origins=tuple(origins),
        tasks={fit.task: _task(evidence, fit) for fit in fits},
        fits=tuple(fits),
        contrasts=tuple(_contrasts(evidence)),
        verdicts=tuple(_verdicts(evidence)),
    )


def _verdicts(evidence: Evidence) -> Iterator[Mapping[str, str]]:
    for claim in evidence.benchmark.claims:
        for found in judge(evidence, claim):
            if found.word != "not run":
                yield {"claim": found.claim, "scope": found.scope, "word": found.word, "reason": found.reason}


def _records(evidence: Evidence, task: str, row: str) -> list[Record | None]:
    """The sound record of each seed."""
    read = [evidence.record(path) for path in evidence.lines[task, row]["finals"]]
    return [record if record is not None and record["result"]["status"] == "ok" else None for record in read]


def _fit(evidence: Evidence, line: Mapping[str, Any], origins: list[Origin]) -> Fit | None:
    task, row = line["task"], line["row"]
    records = _records(evidence, task, row)
    first = next((record for record in records if record), None)
    keys = dict.fromkeys(_columns(evidence.benchmark, task, row))
    series = {key: found for key in keys if (found := evidence.series(task, row, key)).seeds}
    if first is None or not series:
        return None
    found = {key: made for key, each in series.items() if (made := estimate(each)) is not None}
    repeats = {key: each for key, each in series.items() if not key.startswith("time/")}
    return Fit(
        task=task,
        row=row,
        params=first["cell"]["params"],
        origin=_origin(first, origins),
        records=tuple(record["cell"]["id"][:12] if record else None for record in records),
        seconds=tuple(record["provenance"]["cpu_seconds"] if record else None for record in records),
        values={key: each.values for key, each in repeats.items()},
        means={key: (each.value, *_ends(each)) for key, each in found.items()},
        users={key: (each.se_users, each.n_groups) for key, each in found.items() if each.n_groups},
        without={key: each.leave_out for key, each in repeats.items() if each.leave_out is not None},
    )


def _columns(benchmark: Benchmark, task: str, row: str) -> Iterator[str]:
    """What tables and figures show of a row."""
    for table in benchmark.tables:
        if row in table.rows and (not table.tasks or task in table.tasks):
            yield from (column.key for column in table.columns)
    for figure in benchmark.figures:
        here = isinstance(figure, Figure) and (not figure.tasks or task in figure.tasks)
        if here and any(row in rows for rows in figure.series.values()):
            yield from figure.y


def _ends(made: Estimate) -> tuple[float | None, float | None]:
    return made.interval() if made.n_seeds > 1 else (None, None)


def _origin(record: Record, origins: list[Origin]) -> int:
    """The place of the record's origin among `origins`, added or widened by its modules where that is needed."""
    cell, provenance = record["cell"], record["provenance"]
    found = Origin(provenance.get("commit", ""), computed_on(provenance), cell["versions"], cell["code"])
    for place, known in enumerate(origins):
        same = (known.commit, known.cpu, known.versions) == (found.commit, found.cpu, found.versions)
        if same and all(known.code.get(name, value) == value for name, value in found.code.items()):
            origins[place] = Origin(known.commit, known.cpu, known.versions, {**known.code, **found.code})
            return place
    origins.append(found)
    return len(origins) - 1


def _task(evidence: Evidence, fit: Fit) -> dict[str, Any]:
    first = next(record for record in _records(evidence, *fit.place) if record)["cell"]
    return {"dataset": first["dataset"], "fingerprint": first["task_fingerprint"], "settings": first.get("task_settings", {})}


def _contrasts(evidence: Evidence) -> Iterator[Contrasted]:
    """What the claims rest on, but for ratios of timings, and where two seeds or more show the spread."""
    for claim in evidence.benchmark.claims:
        for each in placed_contrasts(evidence, claim) if claim.form != "ratio_above" else ():
            if each.estimate is not None and each.estimate.n_seeds > 1:
                declared, tasks = each.declared, each.over or (each.task,)
                yield Contrasted(claim.id, declared.row, declared.other, declared.column, tasks, each.estimate)
