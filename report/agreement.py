"""Published against reproduced where the numbers cannot be compared: orders of pairs of rows, lifts over the reference row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from .shapes import Agreement, Heading, Line


def agreements(lines: tuple[Line, ...], headings: tuple[Heading, ...], reference: str) -> Iterator[Agreement]:
    """For each column with two rows or more that have both numbers: how many pairs of rows stand in the published order."""
    for place, heading in enumerate(headings):
        both: dict[str, tuple[float, float]] = {}
        titles = {line.row: line.title for line in lines}
        for line in lines:
            cell = line.cells[place]
            if cell.published is not None and cell.mean is not None and not cell.thin:
                both[line.row] = cell.published, cell.mean
        pairs = list(combinations(both.values(), 2))
        if pairs:
            agree = sum(_sign(a[0] - b[0]) == _sign(a[1] - b[1]) for a, b in pairs)
            base = both.pop(reference, None)
            lifts = (
                {titles[row]: (_lift(p, base[0]), _lift(r, base[1])) for row, (p, r) in both.items()} if base and all(base) else {}
            )
            yield Agreement(heading.title, agree, len(pairs), lifts)


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _lift(value: float, base: float) -> float:
    """In per cent of the reference row."""
    return 100 * (value / base - 1)
