"""One self-contained HTML page from findings: rendered by Jinja with every text escaped, requests nothing, opens from disk."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .face import GLYPHS, claims_of, scopes_of
from .latex import decimals_of, number
from .panels import Panels
from .rows import record_names, rows_made
from .shapes import Block, Cell, Findings, Line, StudyFound

_HERE = Path(__file__).parent
_SCOPES = {
    "paper's data": "the dataset of the paper, prepared as its release does",
    "real stand-in": "another real dataset: how the method does there, not whether the paper's numbers are right",
    "simulated": "a generated world",
    "tiny model": "a smaller model than the paper's",
}


@dataclass(frozen=True)
class Drawn:
    """A figure of the page: its SVG, and the stem of its files."""

    kind: str  # diagram | picture | figure | lines | surface | search | landscape
    id: str
    title: str
    caption: str
    svg: Markup  # empty: only linked to
    file: str
    study: StudyFound | None = None


def render(all_findings: list[Findings], drawn: list[list[Drawn]]) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = {"number": number, "decimals": decimals_of, "seconds": in_seconds, "value": _value}
    shown |= {"day": _day, "telling": _telling, "record_names": record_names, "coded": _coded}
    environment.filters.update(shown)
    environment.globals.update(glyphs=GLYPHS, meanings=_SCOPES)
    papers = [_Paper(found, place, figures) for place, (found, figures) in enumerate(zip(all_findings, drawn, strict=True))]
    return environment.get_template("page.html.jinja").render(
        papers=papers,
        claimed=sum(bool(paper.claims) for paper in papers),
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        data=Markup(_embedded([paper.panels.as_json() for paper in papers])),
    )


class _Paper:
    """One paper's findings, with the anchors and the panels that the page links by."""

    def __init__(self, found: Findings, place: int, figures: list[Drawn]) -> None:
        self.found, self.place, self.figures = found, place, figures
        self.panels = Panels(found)
        self.rows = [row for row in rows_made(found) if row.fits or found.tables]
        self.id = f"p{place}"
        self.name = found.title.partition(":")[0][:40]
        self.claims, self.scopes = claims_of(found), scopes_of(found)
        self.cells, self.seeds, self.seconds = sum(made.fits for made in found.made), found.seeds, found.spent_seconds
        self._made = {(made.task, made.row) for made in found.made}
        self._anchors = {row.key: f"{self.id}-row-{number}" for number, row in enumerate(self.rows)}

    def claim(self, claim: str, scope: str) -> str:
        """The anchor of a claim's verdict on a scope."""
        return f"{self.id}-{claim}-{''.join(each if each.isalnum() else '-' for each in scope)}"

    def anchor(self, row: str) -> str:
        return self._anchors.get(row, f"{self.id}-rows")

    def cell(self, cell: Cell) -> str:
        """The key under which the page's script finds a number's panel."""
        return self._key(self.panels.of_cell(cell))

    def step(self, timing: str, step: str) -> str:
        return self._key(self.panels.of_step(timing, step))

    def _key(self, panel: int | None) -> str:
        return "" if panel is None else f"{self.place}.{panel}"

    def shown(self, block: Block) -> list[Line]:
        """The lines of a block that this profile runs, or that have something published or shipped."""
        return [line for line in block.lines if self.runs(line) or not line.hole]

    def first_said(self, block: Block) -> dict[str, str]:
        """Of each note, the title of the first line that it stands at; at later ones the title is enough."""
        return {line.differs: line.title for line in reversed(self.shown(block))}

    def left_out(self, block: Block) -> list[tuple[str, str, str]]:
        """The lines that this profile does not run, by the reason: (reason, their titles, the command that runs them all)."""
        groups: dict[tuple[str, str], list[Line]] = {}
        for line in block.lines if block.missing is None else ():
            if line.missing is not None and not self.runs(line):
                groups.setdefault((line.missing.reason, line.missing.command.partition(" --runner")[0]), []).append(line)
        return [
            (
                reason,
                ", ".join(line.title for line in lines),
                " --runner ".join([run, *(line.row for line in lines)]) if run else "",
            )
            for (reason, run), lines in groups.items()
        ]

    def runs(self, line: Line) -> bool:
        """Whether this profile runs a line, or would if its data were here."""
        return (line.cells[0].task, line.row) in self._made

    def drawn(self, *kinds: str) -> list[Drawn]:
        """Drawings of these kinds: "diagram", "picture" (of data), "figure", "lines" and "surface" (of results), "search" (of a
        task), "landscape" (of one)."""
        return [each for each in self.figures if each.kind in kinds]


def _embedded(data: Any) -> str:
    """JSON as gzip in base64: a page of 5,000 records stays small, and no text inside can end its element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), mtime=0)).decode()


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


def _telling(labels: dict[str, str], dataset: str) -> list[str]:
    """The labels of a task that say something by themselves: not its dataset, not a bare number."""
    return [text for text in labels.values() if text != dataset and not text.replace(".", "", 1).isdigit()]


def _coded(text: str) -> Markup:
    """Text with `code` between backticks."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
