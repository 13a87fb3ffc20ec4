"""Texts that strangers wrote into titles, notes, reasons and logs: in every file they stay text, and nothing of them runs."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from craftbench.report.findings import findings
from craftbench.report.write import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(hostile, tmp_path_factory) -> Path:
    found = findings(hostile.benchmark, hostile.store, "quick")
    few = replace(found, figures=(found.figures[0], found.figures[2]), studies=found.studies[:1])
    return write_report([few], tmp_path_factory.mktemp("hostile-files")).parent


def test_no_markup_of_theirs_is_in_the_page(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "<b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "\ud800" not in page


def test_every_drawing_is_well_formed_and_no_larger_than_a_page(out):
    drawings = sorted((out / "figures").glob("*.svg"))
    assert len(drawings) > 3
    for file in drawings:
        root = ElementTree.parse(file).getroot()
        width, height = (float(re.match(r"[\d.]+", size)[0]) for size in (root.get("width"), root.get("height")))
        assert width < 800, file.name
        assert height < 1600, file.name
        assert not any(each.tag.endswith("script") for each in root.iter())


def test_names_of_files_are_harmless(out):
    names = [file.name for file in out.rglob("*")]
    assert all(re.fullmatch(r"[\w.-]{1,130}", name, re.ASCII) for name in names)


def test_tables_can_be_read_by_other_programs(out):
    for file in (out / "tables").glob("*.csv"):
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
        assert len({len(row) for row in rows}) == 1, file.name
        assert not any(cell[:1] in "=+@\t\r" for row in rows for cell in row if cell)
    for file in (out / "tables").glob("*.tex"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?<!\\)[$#]x|(?<!\\)&\s*<", text)
        assert "<b>" not in text
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))[0]["paper"] == "invented"
