"""The files beside the page, and what the page keeps out when there is no room."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from craftbench.report import write
from craftbench.report.findings import findings
from craftbench.report.rows import rows_made


@pytest.fixture(scope="module")
def found(run_once):
    return findings(run_once.benchmark, run_once.store, "quick")


@pytest.fixture(scope="module")
def out(report):
    return report.parent


@pytest.fixture(scope="module")
def few(found):
    """The same with one figure and one search, to be drawn in no time."""
    return replace(found, figures=found.figures[:1], studies=found.studies[:1])


@pytest.mark.slow
def test_every_table_and_figure_is_a_file_too(out):
    assert {file.name for file in (out / "tables").iterdir()} >= {"invented-T2.csv", "invented-T2.tex"}
    figures = {file.name for file in (out / "figures").iterdir()}
    assert {f"invented-F1.{kind}" for kind in ("svg", "pdf", "png")} <= figures
    assert {"invented-F5.svg", "invented-F6.svg"} <= figures
    page = (out / "report.html").read_text()
    assert page.count("bands: 95 % intervals") == 1
    assert "Loss. " in page
    assert {"invented-search-ml-mf-flip-10.svg", "invented-P1.svg", "invented-D1.svg"} <= figures
    assert json.loads((out / "report.json").read_text())[0]["verdicts"][0]["claim"] == "C1"


@pytest.mark.slow
def test_the_trials_of_a_search_are_a_table(out):
    text = (out / "tables" / "invented-trials-ml-mf-flip-10-unlearn.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 16
    assert {"number", "status", "value", "seconds", "damping", "lr"} <= rows[0].keys()


@pytest.mark.slow
def test_the_same_findings_give_the_same_bytes(few, tmp_path):
    for name in ("a", "b"):
        write.write_report([few], tmp_path / name)
    files = [file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file()]
    assert len(files) > 8
    assert [name for name in files if (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()] == []


@pytest.mark.slow
def test_figures_of_searches_become_links_when_the_page_would_be_too_large(few, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_MOST", 100_000)
    page = write.write_report([few], tmp_path).read_text()
    assert 'href="figures/invented-search-ml-mf-flip-10.svg"' in page
    assert page.count("<svg") == 3  # the diagram, the picture and the figure of the paper stay


def test_a_note_of_several_rows_stands_at_the_first(found, tmp_path):
    table = found.tables[0]
    block = table.blocks[0]
    lines = tuple(replace(line, differs="a note") for line in block.lines)
    noted = replace(table, blocks=(replace(block, lines=lines),))
    page = write.write_report([replace(found, tables=(noted,), figures=(), studies=())], tmp_path).read_text()
    assert page.count('<span class="differs">a note</span>') == 1
    assert page.count(f'<span class="differs">as for <bdi>{lines[0].title}</bdi></span>') > 1


def test_settings_of_a_row_stand_side_by_side_only_where_tasks_differ(found):
    rows = {row.key: row for row in rows_made(found)}
    assert {len(setting.values) for setting in rows["unlearn"].settings} == {1}
    assert rows["unlearn"].fits == sum(made.fits for made in found.made if made.row == "unlearn")
    assert rows["shards"].differs == ("vote instead of attention",)
    assert rows["unlearn"].command == "craftbench run invented --profile quick --runner unlearn"


@pytest.mark.slow
def test_a_sweep_is_a_report_of_its_searches_alone(run_once, tmp_path):
    quick = run_once.benchmark.profile("quick")
    only = replace(run_once.benchmark, profiles={"sweep": replace(quick, name="sweep")}, tables=(), figures=(), claims=())
    found = findings(only, run_once.store, "sweep")
    assert len(found.studies) > 10
    page = write.write_report([replace(found, studies=found.studies[:3])], tmp_path).read_text()
    assert "How the searches went" in page
    assert "parallel coordinates" in page
    assert "the edge of its range" in page
    assert "Verdicts on" not in page
    assert 'id="p0-tables"' not in page
