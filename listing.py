"""Lists for a terminal or, with --json, for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Lines = Sequence[Mapping[str, Any]]


def papers() -> Lines:
    """Every paper and what its profiles cost."""
    from .benchmarks.catalogue import PAPERS, benchmark

    found = [benchmark(name) for name in PAPERS]
    return [
        {"paper": each.name, "title": each.title, "profiles": ", ".join(each.profiles), "claims": len(each.claims)}
        for each in found
    ]


def runners() -> Lines:
    """Every row of every paper, and the runners of other packages."""
    from .benchmarks.catalogue import PAPERS, benchmark, outside_runners

    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for name in PAPERS:
        for profile in benchmark(name).profiles.values():
            for row in (row for rows in profile.rows.values() for row in rows):
                line = {"paper": name, "runner": row.key, "title": row.title, "role": row.role, "source": row.runner.reference}
                found.setdefault((name, row.key), line)
    outside = [
        {"paper": "", "runner": r.name, "title": r.title, "role": "outside", "source": r.__module__} for r in outside_runners()
    ]
    return [*found.values(), *outside]


def datasets() -> Lines:
    """Every dataset and whether it is on this machine."""
    from dataclasses import asdict

    from .datasets.catalogue import status

    return [asdict(each) for each in status()]


def show(lines: Lines, *, as_json: bool) -> None:
    """Print lines as a table, or as a JSON list."""
    if as_json:
        print(json.dumps(lines, indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in lines[0] if lines else ():
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(_text(value) for value in line.values()))
    Console().print(table)


def show_plan(plan: Mapping[str, Any], *, why: bool, as_json: bool) -> None:
    """Print what `benchmarks.explain` found."""
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    show(plan["lines"] if not why else [cell for cell in plan["cells"] if cell["state"] != "held"], as_json=False)
    for hole in plan["holes"]:
        print(f"not on this machine: {hole['task']}; fill the hole with: {hole['command']}")
    counted = f"{plan['held']} cells are in the store, {plan['new']} are new, {plan['after']} come after a study"
    print(f"{counted}; about {plan['minutes']:.1f} core-minutes")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
