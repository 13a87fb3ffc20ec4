"""What the listing commands print: for a person 80 columns wide, or with --json everything, for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from .report.audit import Audit, Checked
    from .report.comparison import Comparison
    from .report.draw import Draw
    from .report.power import Need

Line = Mapping[str, Any]


def papers(as_json: bool) -> None:
    """Every paper and its profiles."""
    from .benchmarks.catalogue import PAPERS, benchmark

    found = [benchmark(name) for name in PAPERS]
    lines = [
        {"paper": each.name, "title": each.title, "profiles": list(each.profiles), "claims": len(each.claims)} for each in found
    ]
    _show(lines, as_json, ("paper", "title", "profiles", "claims"))


def runners(as_json: bool) -> None:
    """Every row of every paper, those of other packages included."""
    from .benchmarks.catalogue import PAPERS, benchmark, outside_runners

    found: dict[tuple[str, str], Line] = {}
    for name in PAPERS:
        for profile in benchmark(name).profiles.values():
            for row in (row for rows in profile.rows.values() for row in rows):
                line = {"paper": name, "runner": row.key, "title": row.title, "role": row.role}
                origin = {"source": row.runner.reference, "class": f"{row.runner.__module__}:{row.runner.__qualname__}"}
                found.setdefault((name, row.key), {**line, **origin, "outside": row.runner in outside_runners()})
    _show(list(found.values()), as_json, ("paper", "runner", "title", "role"))


def datasets(as_json: bool) -> None:
    """Every dataset: whether it is on this machine, its licence, and what brings it."""
    from dataclasses import asdict

    from .datasets.catalogue import status

    found = status()
    if as_json:
        return _show([asdict(each) for each in found], True)
    for each in found:
        here = f"here: {each.rows:,} rows" if each.present else f"not here; run: {each.command}"
        print(f"{each.name}\n    {each.title}\n    licence: {each.licence}\n    {here}")
    return None


def plan(found: Mapping[str, Any], as_json: bool, why: bool) -> None:
    """What `benchmarks.explain` found: a block for each task; with `why`, each new cell and its reason."""
    if as_json:
        return print(json.dumps(found, indent=1))
    for task, lines in _blocks(found["lines"], "task"):
        new = [cell for cell in found["cells"] if cell["task"] == task and cell["state"] == "new"]
        print(f"\n{task}")
        if why:
            _show([{**cell, "cell": cell["path"].rpartition("/")[2]} for cell in new], False, ("row", "cell", "why"))
        else:
            _show(lines, False, ("row", "held", "new", "note"))
    for hole in found["holes"]:
        print(f"\n{hole['task']} is not on this machine; run: {hole['command']}")
    counted = f"{found['held']} cells are in the store, {found['new']} are new, {found['after']} come after a study"
    print(f"\n{counted}; about {found['minutes']:.1f} core-minutes")
    return None


def results(cells: Sequence[Line], as_json: bool) -> None:
    """Every cell of every table: a block for each table and task."""
    if as_json:
        return _show(cells, True)
    for (table, task), lines in _blocks(cells, "table", "task"):
        print(f"\n{table}  {task}")
        _show([{**line, "mean": _value(line), "95 % CI": _interval(line)} for line in lines], False, _RESULT)
    return None


_RESULT = ("row", "column", "mean", "95 % CI", "n", "published")


def _value(line: Line) -> str:
    unit = f" {line['unit']}" if line["unit"] else ""
    return line["status"] if line["mean"] is None else f"{line['mean']:.4f}{unit}"


def _interval(line: Line) -> str:
    return "" if line["ci"] is None else f"{line['ci'][0]:.4f} to {line['ci'][1]:.4f}"


def drawn(found: Draw, seed: int) -> None:
    """What an audit will run again, and what it cannot draw."""
    seconds = sum(each.seconds for each in found.drawn)
    print(
        f"{len(found.drawn)} of {found.population:,} fits drawn (--seed {seed}), about {seconds:.0f} core-seconds by their records"
    )
    for reason, fits in found.left_out.items():
        print(f"not among them: {fits:,} fits; {reason}")
    print(flush=True)


def checked(each: Checked) -> None:
    """One fit that was run again."""
    said = f"{each.compared} numbers, {each.seconds:.1f} s" if each.compared else ""
    print(f"{each.word:<17} {each.paper}  {each.task}  {each.row}  seed {each.seed}  {said}")
    for column, (then, now) in (each.differing or {}).items():
        print(f"    {column}: recorded {then:.10g}, here {now:.10g}")
    if each.why and each.word != "match":
        print(f"    {each.why}")
    print(end="", flush=True)


def audit(found: Audit, seed: int, as_json: bool) -> None:
    """What the audit proves."""
    if as_json:
        from dataclasses import asdict

        return print(json.dumps({"seed": seed, **asdict(found), "share": found.share}, indent=1))
    for said in found.contradictions:
        print(f"contradiction     {said}")
    words = [
        f"{found.count(word)} {word}" for word in ("match", "within tolerance", "mismatch", "not reached") if found.count(word)
    ]
    print(f"\n{', '.join(words) or 'nothing was run'}")
    changed = sum(each.word == "match" and bool(each.why) for each in found.checked)
    if changed:
        print(f"of the matches, {changed} with code that has changed since they were recorded")
    if found.reached:
        share = f"{100 * found.share:.1f} % of the {found.population:,} fits that could be drawn"
        print(f"at 95 % confidence, under {share} do not repeat")
    return None


def power(needs: Sequence[Need], unmeasured: Sequence[str], as_json: bool) -> None:
    """What each contrast needs: a block for each claim."""
    if as_json:
        from dataclasses import asdict

        return print(json.dumps({"contrasts": [asdict(each) for each in needs], "unmeasured": unmeasured}, indent=1))
    for (claim, tasks, column), block in groupby(needs, key=lambda each: (each.claim, each.tasks, each.column)):
        print(f"\n{claim}  {tasks[0] if len(tasks) == 1 else f'slope over {len(tasks)} tasks'}  {column}")
        _show([_need(each) for each in block], False, _NEED)
    if unmeasured:
        print(f"\nnot measured by this pilot: {', '.join(unmeasured)}")
    return None


_NEED = ("contrast", "effect", "from", "seeds", "see", "needs", "core-hours")


def _need(each: Need) -> Line:
    users = f"users x{each.users_times:.1f}" if each.users_times else None
    return {
        "contrast": f"{each.row} - {each.other}" if each.other else each.row,
        "effect": each.size,
        "from": each.source,
        "seeds": each.now,
        "see": each.visible,
        "needs": users if each.seeds is None else f"{each.seeds} seeds",
        "core-hours": each.core_hours,
    }


def comparison(found: Comparison, as_json: bool) -> None:
    """Which cells differ beyond noise, and what only one side has."""
    if as_json:
        from dataclasses import asdict

        return print(json.dumps(asdict(found), indent=1))
    print(f"{found.equal:,} fits of equal identity have equal digits")
    if found.broken:
        print(f"{len(found.broken):,} numbers of equal identity differ:")
        _show([vars(each) for each in found.broken], False, ("paper", "task", "row", "column", "seed", "a", "b"))
    print(f"{len(found.moved):,} cells were made otherwise; {len(found.beyond_noise):,} of them differ beyond noise")
    by_row = groupby(found.beyond_noise, key=lambda each: (each.paper, each.task, each.row, each.otherwise))
    for (paper, task, row, otherwise), block in by_row:
        print(f"\n{paper}  {task}  {row}  (other {otherwise})")
        lines = [{**vars(each), "b - a": f"{each.interval[0]:+.3g} to {each.interval[1]:+.3g}"} for each in block]
        _show(lines, False, ("column", "a", "b", "b - a", "seeds"))
    for said, keys in (("without two seeds in common", found.unjudged), ("only in A", found.only_a), ("only in B", found.only_b)):
        if keys:
            print(f"\n{len(keys)} rows {said}:")
            for (paper, task), rows in groupby(sorted(keys), key=lambda key: key[:2]):
                print(f"    {paper}  {task}: {', '.join(key[2] for key in rows)}")
    return None


def _blocks(lines: Iterable[Line], *names: str) -> list[tuple[Any, list[Line]]]:
    """Neighbours with equal values of `names`, under these values (one value alone if there is one name)."""
    grouped = groupby(lines, key=lambda line: tuple(line[name] for name in names))
    return [(key if len(names) > 1 else key[0], list(block)) for key, block in grouped]


def _show(lines: Sequence[Line], as_json: bool, columns: Sequence[str] = ()) -> None:
    """All of `lines` as a JSON list, or their `columns` as a table."""
    if as_json:
        print(json.dumps(lines, indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(_text(line[name]) for name in columns))
    Console(markup=False, highlight=False).print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
