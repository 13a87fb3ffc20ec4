"""A cell is what determines its result: an edit makes exactly its dependents new, a cosmetic one nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import craftbench
import pytest
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.explain import explain
from craftbench.benchmarks.identity import closure, digest
from craftbench.benchmarks.plan import Overrides, Planner
from toybench import Descent, Lines, Shrink, Zero, toy
from toyhouse import drive, plan

HOUSE = Path(craftbench.__file__).parent
FOLDERS = ("core", "datasets", "models", "methods", "baselines", "benchmarks")
ASK = """
import json, pathlib, sys
from craftbench.benchmarks import identity
runners, edits = json.load(sys.stdin)
for file, text in [(None, None), *edits]:
    identity.closure.cache_clear()
    identity._read.cache_clear()
    if file:
        whole = pathlib.Path(file).read_text()
        pathlib.Path(file).write_text(text)
    print(json.dumps({name: dict(identity.closure(module)) for name, module in runners.items()}))
    if file:
        pathlib.Path(file).write_text(whole)
"""
RUNNERS = {
    name: f"craftbench.{module}"
    for name, module in {
        "original": "baselines.unlearning.original",
        "sisa": "baselines.unlearning.sisa",
        "receraser": "baselines.unlearning.receraser",
        "scif": "baselines.unlearning.scif",
        "popularity": "baselines.unlearning.popularity",
        "ifru": "methods.ifru",
    }.items()
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that a test may edit."""
    house = tmp_path_factory.mktemp("copy") / "craftbench"
    house.mkdir()
    shutil.copy(HOUSE / "__init__.py", house)
    for folder in FOLDERS:
        shutil.copytree(HOUSE / folder, house / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return house


def closures(house: Path, *edits: tuple[str, str]) -> list[dict[str, dict[str, str]]]:
    """The import closure of each runner, as a process that imports this copy sees it: as it is, then after each edit alone."""
    environment = {**os.environ, "PYTHONPATH": str(house.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    asked = json.dumps([RUNNERS, [(str(house / file), text) for file, text in edits]])
    command = [sys.executable, "-c", ASK]
    said = subprocess.run(command, env=environment, cwd=house.parent, input=asked, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def news(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Runner -> the modules that make its cells new."""
    found = {
        name: sorted(module for module in before[name] | after[name] if before[name].get(module) != after[name].get(module))
        for name in RUNNERS
    }
    return {name: modules for name, modules in found.items() if modules}


def test_an_edit_makes_exactly_its_dependents_new(copied: Path) -> None:
    files = ("models/shards.py", "models/influence.py", "core/seeds.py", "methods/ifru.py", "models/__init__.py")
    before, *after = closures(copied, *((file, (copied / file).read_text() + "\nADDED = 1\n") for file in files))
    shards, influence, seeds, ifru, package = (news(before, each) for each in after)
    assert shards.keys() == {"sisa", "receraser"}
    assert all(modules == ["craftbench.models.shards"] for modules in shards.values())
    assert {"ifru", "scif"} <= influence.keys()
    assert not {"original", "popularity", "sisa"} & influence.keys()
    assert seeds.keys() == RUNNERS.keys()
    assert ifru.keys() == {"ifru"}
    assert package.keys() >= {"ifru", "original", "sisa"}


def test_a_cosmetic_edit_makes_nothing_new(copied: Path) -> None:
    file = "core/seeds.py"
    whole = (copied / file).read_text()
    edits = [
        "# a remark\n" + whole + "\n\n# and another one\n",
        whole.replace('"""', '"""Said otherwise. ', 1),
        whole.replace("    ", "        ").replace("\n\n", "\n\n\n"),
    ]
    assert whole not in edits
    before, *after = closures(copied, *((file, edit) for edit in edits))
    assert all(news(before, each) == {} for each in after)


def test_the_driver_itself_is_in_no_closure(copied: Path) -> None:
    whole = {module for modules in closures(copied)[0].values() for module in modules}
    assert not {f"craftbench.benchmarks.{name}" for name in ("driver", "plan", "line", "store")} & whole
    assert not [module for module in whole if module.startswith(("craftbench.report", "craftbench.cli"))]
    assert "craftbench" not in whole, "a version number is no code"


def test_an_outside_package_belongs_to_its_runners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outsider_package"
    package.mkdir()
    (package / "__init__.py").write_text("SHARED = 1\n")
    (package / "helper.py").write_text("HELP = 1\n")
    (package / "runner.py").write_text("from .helper import HELP\nimport json\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert closure("outsider_package.runner").keys() == {f"outsider_package{name}" for name in ("", ".helper", ".runner")}


def ids(planner: Planner) -> dict[str, str]:
    """Row and seed -> identity of the final cells (or of the first trial)."""
    cells = planner.advance()
    return {f"{cell.place[0]} {cell.row} {cell.facts['kind']}-{cell.facts['seed']['index']}": cell.facts["id"] for cell in cells}


ROWS = (Row(Descent, pinned={"rate": 0.1, "momentum": 0.0, "rounds": 6}), Row(Zero))
ROWS_AND_CHILD = (*ROWS, Row(Shrink, pinned={"factor": 0.9, "shape": "plain"}))


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name.split(" ")[1] for name in before if before[name] != after.get(name)}


def test_parameters_seeds_parents_and_tasks_are_in_the_identity(tmp_path: Path) -> None:
    before = ids(plan(toy(ROWS_AND_CHILD, [Lines()]), tmp_path / "store"))
    assert len(set(before.values())) == len(before) == 6
    other = Overrides(set={"descent": {"rate": 0.2}})
    assert changed(before, ids(plan(toy(ROWS_AND_CHILD, [Lines()]), tmp_path / "store", other))) == {"descent", "shrink"}
    assert ids(plan(toy(ROWS_AND_CHILD, [Lines()], seeds=3), tmp_path / "store")).items() >= before.items()
    noisy = [Lines("lines/low", noise=0.3)]
    assert changed(before, ids(plan(toy(ROWS_AND_CHILD, noisy), tmp_path / "store"))) == {"descent", "zero", "shrink"}
    shown = [replace(Lines(), scope="real stand-in")]
    assert ids(plan(toy(ROWS_AND_CHILD, shown), tmp_path / "store")) == before, "how a task is labelled determines no result"


def test_new_data_makes_everything_new_and_the_same_data_nothing(tmp_path: Path) -> None:
    before = ids(plan(toy(ROWS, [Lines()]), tmp_path / "store"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "revision").write_text("2")
    assert changed(before, ids(plan(toy(ROWS, [Lines()]), tmp_path / "store"))) == {"descent", "zero"}
    (tmp_path / "data" / "revision").write_text("3")  # another key, the same tables as "2"
    after = ids(plan(toy(ROWS, [Lines()]), tmp_path / "store"))
    (tmp_path / "data" / "revision").write_text("2")
    assert ids(plan(toy(ROWS, [Lines()]), tmp_path / "store")) == after


def test_versions_are_in_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids(plan(toy(ROWS, [Lines()]), tmp_path / "store"))
    monkeypatch.setattr("craftbench.benchmarks.plan.versions", lambda: {"python": "3.99", "numpy": "2", "torch": "2"})
    assert changed(before, ids(plan(toy(ROWS, [Lines()]), tmp_path / "store"))) == {"descent", "zero"}


def test_rows_with_the_same_setting_share_their_cells(tmp_path: Path) -> None:
    twin = replace(ROWS[0], key="twin")
    tally = drive(toy([ROWS[0], twin], [Lines()]), tmp_path / "store")
    assert (tally.planned, tally.done) == (2, 2)


def reasons(planner: Planner) -> dict[str, str]:
    return {cell["row"]: cell["why"] for cell in explain(planner)["cells"] if cell["state"] == "new"}


def test_why_names_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, paper = tmp_path / "store", toy(ROWS_AND_CHILD, [Lines()])
    assert set(reasons(plan(paper, store)).values()) == {"never run"}
    drive(paper, store)
    assert reasons(plan(paper, store)) == {}
    found = reasons(plan(paper, store, Overrides(set={"descent": {"rate": 0.2}})))
    assert found == {"descent": "rate = 0.2 (was 0.1)", "shrink": "its descent changed"}
    code = plan(paper, store)._code_of(Zero, Lines())[0]
    other = {**code, "toybench": "0" * 16}
    monkeypatch.setattr(Planner, "_code_of", lambda self, runner, task: (other, digest(other)))
    assert reasons(plan(paper, store))["zero"] == "toybench.py changed"


def test_two_kinds_of_task_have_code_of_their_own(tmp_path: Path) -> None:
    planner = plan(toy(ROWS, [Lines()]), tmp_path / "store")

    class Elsewhere(Lines):
        __module__ = "json"

    task: Any = Elsewhere()
    assert planner._code_of(Zero, Lines())[0] != planner._code_of(Zero, task)[0]
