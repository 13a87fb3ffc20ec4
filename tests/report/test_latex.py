"""Tables as files that other programs read."""

from __future__ import annotations

import csv
import io

import pytest
from craftbench.report.findings import findings
from craftbench.report.latex import as_csv, as_latex, escaped, number


@pytest.fixture(scope="module")
def table(run_once):
    return findings(run_once.benchmark, run_once.store, "quick").tables[0]


def test_csv_has_one_line_per_cell(table):
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert len(rows) == 4 * 7 * 4
    first = rows[0]
    assert (first["scope"], first["row"], first["column"], first["mark"]) == ("paper's data", "Original", "test/auc", "worse")
    assert float(first["low"]) < float(first["mean"]) < float(first["high"])


def test_latex_is_booktabs_with_as_many_columns_as_cells(table):
    text = as_latex(table)
    assert r"\toprule" in text
    assert r"\begin{tabular}{lrrrrrrrr}" in text
    body = [line for line in text.splitlines() if line.startswith(("Original", "Retrain", "Extra"))]
    assert {line.count("&") for line in body} == {8}


def test_only_what_a_corrected_test_shows_is_bold(table):
    text = as_latex(table)
    assert text.count(r"\textbf") == sum(
        cell.mark == "better" for block in table.blocks for line in block.lines for cell in line.cells
    )


def test_a_formula_in_a_name_stays_text(table):
    from dataclasses import replace

    block = table.blocks[0]
    lines = (replace(block.lines[0], title="=HYPERLINK(1)"),)
    assert "'=HYPERLINK(1)" in as_csv(replace(table, blocks=(replace(block, lines=lines),)))


def test_latex_specials_are_escaped():
    assert escaped("10 % of a_b & {c} \\d") == r"10 \% of a\_b \& \{c\} \textbackslash{}d"


@pytest.mark.parametrize(("value", "shown"), [(0.77123, "0.7712"), (1.2e-7, "1.2e-07"), (0.0, "0.0000"), (3.5e7, "3.5e+07")])
def test_numbers_keep_their_meaning(value, shown):
    assert number(value, 4) == shown
