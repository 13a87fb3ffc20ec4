"""Published against reproduced, where only orders and lifts can be compared."""

from __future__ import annotations

from craftbench.report.agreement import agreements
from craftbench.report.shapes import Cell, Heading, Line

HEADING = (Heading("test/auc", "AUC", "", 4, True),)


def line(row, published, mean, users=1000):
    cell = Cell("T", "d", "d/t", row, "test/auc", "", "ok", mean=mean, published=published, users=users)
    return Line(row, row.capitalize(), "baseline", "", (cell,))


def test_pairs_in_the_published_order_are_counted_and_lifts_are_in_per_cent_of_the_reference():
    lines = (line("a", 0.5, 0.4), line("b", 0.6, 0.5), line("c", 0.7, 0.45))
    (found,) = agreements(lines, HEADING, "a")
    assert (found.agree, found.pairs) == (2, 3)  # b and c changed places
    assert {row: tuple(round(lift, 6) for lift in lifts) for row, lifts in found.lifts.items()} == {"B": (20, 25), "C": (40, 12.5)}


def test_a_tie_agrees_with_a_tie_alone():
    (found,) = agreements((line("a", 0.5, 0.5), line("b", 0.5, 0.6)), HEADING, "")
    assert (found.agree, found.lifts) == (0, {})


def test_rows_without_both_numbers_and_thin_cells_do_not_count():
    lines = (line("a", 0.5, 0.4), line("b", None, 0.5), line("c", 0.7, None), line("d", 0.7, 0.3, users=50))
    assert list(agreements(lines, HEADING, "a")) == []
