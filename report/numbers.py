"""Numbers that stand beside a reproduced one: the paper's, and those of our reference runs, by their place in a table."""

from __future__ import annotations

import json
from pathlib import Path

from ..benchmarks.benchmark import Benchmark
from . import recorded

RESULTS = Path(__file__).parent.parent / "results"
REFERENCE = RESULTS / "reference"

Numbers = dict[tuple[str, str, str, str], float]  # (table, dataset or task, row, column) -> value


def published(benchmark: Benchmark) -> Numbers:
    """The numbers of the paper's tables; nothing where none could be read."""
    if not benchmark.published:
        return {}
    content = json.loads((RESULTS / "published" / benchmark.published).read_text(encoding="utf-8"))
    return {(cell["table"], cell["dataset"], cell["row"], cell["column"]): cell["value"] for cell in content["cells"]}


def of_reference(benchmark: Benchmark) -> Numbers:
    """The means of our runs of the standard profile; nothing where there is none."""
    found = reference(benchmark.name)
    return {
        (table.id, fit.task, fit.row, column): mean
        for table in benchmark.tables
        for fit in (found.fits if found else ())
        for column, (mean, _, _) in fit.means.items()
    }


def reference(paper: str) -> recorded.Recorded | None:
    """Our runs that ship with the package."""
    file = REFERENCE / f"{paper}.json"
    return recorded.read(file) if file.is_file() else None


def number_at(values: Numbers, table: str, task: str, dataset: str, row: str, column: str) -> float | None:
    """The number of a cell: its task's, else its dataset's, else one that stands beside every dataset."""
    places = ((table, place, row, column) for place in (task, dataset, ""))
    return next((values[place] for place in places if place in values), None)
