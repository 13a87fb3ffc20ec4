"""A table as CSV and as LaTeX (booktabs), one file for all of its blocks."""

from __future__ import annotations

import csv
import io
import math

from .shapes import Cell, Heading, TableFound

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
MARKS = {"better": r"$\uparrow$", "worse": r"$\downarrow$", "tie": r"$=$", "differs": r"$\neq$"}


def as_csv(table: TableFound) -> str:
    """One line per cell, with what carries it and why it is missing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("table", "dataset", "task", "row", "column", "unit", "published", "mean", "low", "high", "n", "users", "positives")
    writer.writerow([*names, "scope", "mark", "p", "thin", "status", "reason", "command", "differs"])
    for block in table.blocks:
        for line in block.lines:
            for cell in line.cells:
                low, high = cell.ci or (None, None)
                carried = [cell.published, cell.mean, low, high, cell.n, cell.users, cell.positives]
                about = [block.scope, cell.mark, cell.p, cell.thin, cell.status, cell.reason, cell.command, line.differs]
                writer.writerow(
                    map(_harmless, [table.id, cell.dataset, cell.task, line.title, cell.column, cell.unit, *carried, *about])
                )
    return out.getvalue()


def _harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "-", "\t", "\r") else value


def as_latex(table: TableFound) -> str:
    """published | mean ± half-width per column; bold only where better than the reference after Holm's correction."""
    columns = len(table.headings)
    against = f" Arrows: against {table.reference}, Holm-corrected." if table.reference else ""
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{escaped(table.title)}. {escaped(table.caption)}{escaped(against)}}}",
        rf"\begin{{tabular}}{{l{'rr' * columns}}}",
        r"\toprule",
        " & ".join(["", *(rf"\multicolumn{{2}}{{c}}{{{escaped(_title(each))}}}" for each in table.headings)]) + r" \\",
        " & ".join(["", *("published & reproduced" for _ in table.headings)]) + r" \\",
    ]
    for block in table.blocks:
        lines += [r"\midrule", rf"\multicolumn{{{1 + 2 * columns}}}{{l}}{{{escaped(f'{block.task} ({block.scope})')}}} \\"]
        for line in block.lines:
            pairs = zip(line.cells, table.headings, strict=True)
            shown = [part for cell, heading in pairs for part in (_published(cell, heading), _reproduced(cell, heading))]
            lines.append(" & ".join([escaped(line.title), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(_SPECIAL.get(each, each) for each in text)


def number(value: float, decimals: int) -> str:
    """A number as tables show it, with powers of ten where its decimals would say nothing."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 0.5 * 10**-decimals:
        return f"{value:.3g}"
    return f"{value:.{decimals}f}"


def decimals_of(cell: Cell, heading: Heading) -> int:
    """The column's decimals, or as many more (up to six in all) as its interval needs to show a digit."""
    half = (cell.ci[1] - cell.ci[0]) / 2 if cell.ci else 0.0
    return max(heading.decimals, min(6, -math.floor(math.log10(half)))) if half > 0 else heading.decimals


def _title(heading: Heading) -> str:
    return f"{heading.title} [{heading.unit}]" if heading.unit else heading.title


def _published(cell: Cell, heading: Heading) -> str:
    return "not found" if cell.published is None else number(cell.published, heading.decimals)


def _reproduced(cell: Cell, heading: Heading) -> str:
    if cell.mean is None:
        return "--"
    decimals = decimals_of(cell, heading)
    shown = number(cell.mean, decimals)
    shown = rf"\textbf{{{shown}}}" if cell.mark == "better" else shown
    half = rf" $\pm$ {number((cell.ci[1] - cell.ci[0]) / 2, decimals)}" if cell.ci else ""
    mark = f" {MARKS[cell.mark]}" if cell.mark in MARKS else ""
    return f"{shown}{half}{mark}" + (r" (thin)" if cell.thin else "")
