"""The ratios that are committed, in bench/speed.json and docs/performance.md: what changed, and how that is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from .ledger import Comparison, Ledger, Number, machine

FILE = Path(__file__).parent / "speed.json"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
WORTH_SAYING = 0.1  # a tenth more, or less

Entry = TypeVar("Entry", Comparison, Number)


def committed() -> Ledger:
    """Empty where nothing is."""
    if not FILE.is_file():
        return Ledger()
    told: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return Ledger([Comparison(**each) for each in told["comparisons"]], [Number(**each) for each in told["numbers"]])


def changes(now: Ledger) -> list[str]:
    """A line for each ratio or number that is more than a tenth off the committed one."""
    before = committed()
    ratios = {each.key: each for each in before.comparisons}
    numbers = {each.key: each for each in before.numbers}
    found: list[str] = []
    for each in now.comparisons:
        if (old := ratios.get(each.key)) and abs(each.ratio / old.ratio - 1) > WORTH_SAYING:
            apart = each.most < old.least or old.most < each.least
            rounds = "no round alike" if apart else "within what rounds differ by"
            found.append(f"{each.what}: {each.fast} over {each.slow}: {old.ratio:.3g}, now {each.ratio:.3g} ({rounds})")
    for each in now.numbers:
        if (old := numbers.get(each.key)) and old.value and abs(each.value / old.value - 1) > WORTH_SAYING:
            found.append(f"{each.what}: {old.value:.3g}, now {each.value:.3g} {each.unit}")
    return found


def record(now: Ledger) -> None:
    """Put what a session measured in the place of what was committed; what it did not measure stays."""
    before = committed()
    merged = Ledger(_merged(before.comparisons, now.comparisons), _merged(before.numbers, now.numbers))
    FILE.write_text(json.dumps({"machine": machine(), **asdict(merged)}, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(page[:start] + merged.markdown() + "\n" + page[end:], encoding="utf-8")


def _merged(before: Sequence[Entry], now: Sequence[Entry]) -> list[Entry]:
    return list({**{each.key: each for each in before}, **{each.key: each for each in now}}.values())
