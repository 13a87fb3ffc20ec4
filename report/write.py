"""The report's files: report.html, report.json, tables/ and figures/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from .figures import draw, histories, inline, landscape, save
from .latex import as_csv, as_latex
from .page import Drawn, render
from .shapes import FigureFound, Findings, StudyFound, as_json

_MOST = 3_000_000  # bytes of the page
_SEARCHES = ("search", "landscape")


def write_report(all_findings: list[Findings], out: Path) -> Path:
    """Write report.html, report.json, tables/ and figures/ into `out`; returns the path of report.html."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps([as_json(found) for found in all_findings], indent=1), encoding="utf-8")
    for found in all_findings:
        _write_tables(found, out / "tables")
    drawn = [list(_draw(found, place, out / "figures")) for place, found in enumerate(all_findings)]
    bare = render(all_findings, [list(_within(figures, 0)) for figures in drawn])
    room = (_MOST - len(bare.encode("utf-8", "replace"))) // max(1, len(drawn))
    path = out / "report.html"
    _write(path, render(all_findings, [list(_within(figures, room)) for figures in drawn]))
    return path


def _write(path: Path, text: str) -> None:
    """Half a character, which an exception may have said of a file's name, is a question mark."""
    path.write_bytes(text.encode("utf-8", "replace"))


def _within(figures: list[Drawn], room: int) -> Iterator[Drawn]:
    """The figures of a paper; those of its searches only while there is room for them in the page."""
    for each in figures:
        if each.kind in _SEARCHES:
            room -= len(each.svg.encode())
        yield replace(each, svg=Markup("")) if each.kind in _SEARCHES and room < 0 else each


def _write_tables(found: Findings, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for table in found.tables:
        stem = folder / _file_name(f"{found.paper}-{table.id}")
        _write(stem.with_suffix(".csv"), as_csv(table))
        _write(stem.with_suffix(".tex"), as_latex(table))
    for study in found.studies:
        stem = folder / _file_name(f"{found.paper}-trials-{study.task}-{study.row}")
        _write(stem.with_suffix(".csv"), trials_csv(study))


def trials_csv(study: StudyFound) -> str:
    """One line per trial of a search."""
    lines = [",".join(["number", "status", "value", "seconds", *study.space])]
    for trial in study.trials:
        given = [trial.number, trial.status, "" if trial.value is None else trial.value, trial.seconds]
        lines.append(",".join(map(str, [*given, *(trial.params.get(name, "") for name in study.space)])))
    return "\n".join([*lines, ""])


def _draw(found: Findings, place: int, folder: Path) -> Iterator[Drawn]:
    for diagram in found.diagrams:
        name = _file_name(f"{found.paper}-{diagram.id}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(diagram.svg, encoding="utf-8")
        svg = Markup(inline(diagram.svg, f"p{place}{diagram.id}", diagram.title))
        yield Drawn("diagram", diagram.id, diagram.title, diagram.caption, svg, f"figures/{name}")
    for kind, figures in (("picture", found.pictures), ("figure", found.figures)):
        for figure in figures:
            if figure.panels:
                name = _file_name(f"{found.paper}-{figure.id}")
                drawing = save(draw(figure), folder / name)
                svg = Markup(inline(drawing, f"p{place}{figure.id}", figure.title))
                yield Drawn(_kind(figure, kind), figure.id, figure.title, figure.caption, svg, f"figures/{name}")
    for task in dict.fromkeys(study.task for study in found.studies if study.trials):
        studies = tuple(study for study in found.studies if study.task == task and study.trials)
        name = _file_name(f"{found.paper}-search-{task}")
        drawing = save(histories(studies, task), folder / name)
        svg = Markup(inline(drawing, f"p{place}{name}", f"How the searches on {task} went: best value so far"))
        yield Drawn("search", task, f"Searches on {task}", "", svg, f"figures/{name}")
    for study in found.studies:
        if study.importance:
            name = _file_name(f"{found.paper}-search-{study.task}-{study.row}")
            drawing = save(landscape(study), folder / name)
            svg = Markup(inline(drawing, f"p{place}{name}", f"Search of {study.title} on {study.task}"))
            yield Drawn("landscape", study.row, study.title, "", svg, f"figures/{name}", study)


def _kind(figure: FigureFound, kind: str) -> str:
    first = figure.panels[0]
    return "surface" if first.surface else "lines" if first.lines else kind


def _file_name(text: str) -> str:
    return "".join(each if each.isascii() and (each.isalnum() or each in "-_") else "-" for each in text)[:120]
