"""The report's files: one self-contained HTML page, and the same as JSON, tables and figures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .figures import draw, histories, inline, landscape, save
from .latex import as_csv, as_latex, number
from .shapes import Block, Cell, Findings, Line, StudyFound, as_json

_HERE = Path(__file__).parent
_MOST = 3_000_000  # bytes of the page


@dataclass(frozen=True)
class _Drawn:
    """A figure of the page: its SVG, and the stem of its files."""

    id: str
    title: str
    caption: str
    svg: Markup
    file: str
    study: StudyFound | None = None


def write_report(all_findings: list[Findings], out: Path) -> Path:
    """Write report.html, report.json, tables/ and figures/ into `out`; returns the path of report.html."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps([as_json(found) for found in all_findings], indent=1), encoding="utf-8")
    for found in all_findings:
        _write_tables(found, out / "tables")
    drawn = [list(_draw(found, place, out / "figures")) for place, found in enumerate(all_findings)]
    page = render(all_findings, drawn)
    if len(page.encode()) > _MOST:
        page = render(all_findings, [[each for each in figures if each.study is None] for figures in drawn])
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _write_tables(found: Findings, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for table in found.tables:
        stem = folder / _file_name(f"{found.paper}-{table.id}")
        stem.with_suffix(".csv").write_text(as_csv(table), encoding="utf-8")
        stem.with_suffix(".tex").write_text(as_latex(table), encoding="utf-8")
    for study in found.studies:
        stem = folder / _file_name(f"{found.paper}-trials-{study.task}-{study.row}")
        stem.with_suffix(".csv").write_text(trials_csv(study), encoding="utf-8")


def trials_csv(study: StudyFound) -> str:
    """One line per trial of a search."""
    lines = [",".join(["number", "status", "value", "seconds", *study.space])]
    for trial in study.trials:
        given = [trial.number, trial.status, "" if trial.value is None else trial.value, trial.seconds]
        lines.append(",".join(map(str, [*given, *(trial.params.get(name, "") for name in study.space)])))
    return "\n".join([*lines, ""])


def _draw(found: Findings, place: int, folder: Path) -> Iterator[_Drawn]:
    for figure in found.figures:
        if figure.panels:
            name = _file_name(f"{found.paper}-{figure.id}")
            drawing = save(draw(figure), folder / name)
            svg = Markup(inline(drawing, f"p{place}{figure.id}", figure.title))
            yield _Drawn(figure.id, figure.title, figure.caption, svg, f"figures/{name}")
    for task in dict.fromkeys(study.task for study in found.studies if study.trials):
        studies = tuple(study for study in found.studies if study.task == task and study.trials)
        name = _file_name(f"{found.paper}-search-{task}")
        drawing = save(histories(studies, task), folder / name)
        svg = Markup(inline(drawing, f"p{place}{name}", f"How the searches on {task} went: best value so far"))
        yield _Drawn(f"search-{task}", f"Searches on {task}", "", svg, f"figures/{name}")
    for study in found.studies:
        if study.importance:
            name = _file_name(f"{found.paper}-search-{study.task}-{study.row}")
            drawing = save(landscape(study), folder / name)
            svg = Markup(inline(drawing, f"p{place}{name}", f"Search of {study.title} on {study.task}"))
            yield _Drawn(f"landscape-{study.task}-{study.row}", study.title, "", svg, f"figures/{name}", study)


def _file_name(text: str) -> str:
    return "".join(each if each.isascii() and (each.isalnum() or each in "-_") else "-" for each in text)[:120]


def render(all_findings: list[Findings], drawn: list[list[_Drawn]]) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, seconds=in_seconds, value=_value, day=_day)
    papers = [_Paper(found, place, figures) for place, (found, figures) in enumerate(zip(all_findings, drawn, strict=True))]
    return environment.get_template("page.html.jinja").render(
        papers=papers,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        data=Markup(_embedded([paper.panels() for paper in papers])),
    )


class _Paper:
    """One paper's findings, with the anchors that the page links by."""

    def __init__(self, found: Findings, place: int, figures: list[_Drawn]) -> None:
        self.found, self.place, self.figures = found, place, figures
        self._anchors = {(made.task, made.row): f"p{place}-row-{number}" for number, made in enumerate(found.made)}
        self._cells: list[tuple[Block, Line, Cell]] = []
        self._numbers: dict[int, int] = {}
        for block, line, cell in self._listed():
            if cell.mean is not None:
                self._numbers[id(cell)] = len(self._cells)
                self._cells.append((block, line, cell))

    def _listed(self) -> Iterator[tuple[Block, Line, Cell]]:
        for table in self.found.tables:
            for block in table.blocks:
                for line in block.lines:
                    for cell in line.cells:
                        yield block, line, cell

    def anchor(self, task: str, row: str) -> str:
        return self._anchors.get((task, row), "")

    def cell(self, cell: Cell) -> str:
        """The key under which the page's script finds a number's panel."""
        found = self._numbers.get(id(cell))
        return "" if found is None else f"{self.place}.{found}"

    def drawn(self, kind: str) -> list[_Drawn]:
        """Figures of the paper ("figure"), of its searches by task ("search"), and of single searches ("landscape")."""
        kinds = {"search": "search-", "landscape": "landscape-"}
        if kind in kinds:
            return [each for each in self.figures if each.id.startswith(kinds[kind])]
        return [each for each in self.figures if not each.id.startswith(tuple(kinds.values()))]

    def panels(self) -> dict[str, Any]:
        """What the record panel shows; what many records share is kept once, in `pool`."""
        pool: dict[str, int] = {}

        def kept(value: Any) -> int:
            return pool.setdefault(json.dumps(as_json(value), sort_keys=True), len(pool))

        paths = list(self.found.records)
        index = {path: place for place, path in enumerate(paths)}
        shared = ("params", "parents", "code", "versions", "machine")
        records = [
            {
                **as_json({name: each for name, each in record.items() if name not in shared and each not in (None, "", [], {})}),
                "path": path,
            }
            | {name: kept(record.get(name) or {}) for name in shared}
            for path, record in self.found.records.items()
        ]
        headings = {(table.id, heading.key): heading for table in self.found.tables for heading in table.headings}
        commands = {(made.task, made.row): made.command for made in self.found.made}
        cells = [
            {
                "row": line.title,
                "column": headings[cell.table, cell.column].title,
                "unit": cell.unit,
                "task": cell.task,
                "scope": block.scope,
                "differs": line.differs,
                "mean": cell.mean,
                "ci": cell.ci,
                "users": cell.users,
                "positives": cell.positives,
                "decimals": headings[cell.table, cell.column].decimals,
                "values": cell.values,
                "mark": cell.mark,
                "p": cell.p,
                "command": kept(commands.get((cell.task, cell.row), "")),
                "records": [index.get(path, -1) for path in cell.records],
            }
            for block, line, cell in self._cells
        ]
        return {"cells": as_json(cells), "records": records, "pool": [json.loads(text) for text in pool]}


def _embedded(data: Any) -> str:
    """JSON that no text inside can end or break, whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text


def in_seconds(value: float) -> str:
    """A duration as a reader says it."""
    if value < 1:
        return f"{value:.2g} s"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _day(text: str) -> str:
    """The date and the minute of an ISO time."""
    return text[:16].replace("T", " ") if text else "never run"
