"""`craftbench new`: what it writes works as it stands, says what comes next, and overwrites nothing."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint

import pytest
from craftbench import cli
from craftbench.benchmarks import catalogue
from craftbench.benchmarks.catalogue import PAPERS, declared, widened
from craftbench.commands.making import class_name, dataset_texts, method_texts
from craftbench.datasets import entries
from craftbench.testing import check_runner

TABLES = sorted({declared(paper).asks for paper in PAPERS})
PACKAGES = {
    **{f"a method for {paper}": method_texts("some_new_thing", paper) for paper in PAPERS},
    **{f"a dataset with {table}": dataset_texts("some_new_thing", table) for table in TABLES},
}


@pytest.fixture
def craftbench(monkeypatch, capsys, tmp_path):
    """craftbench("new", ...) -> (exit code, stdout, stderr), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["craftbench", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


@pytest.fixture
def written(tmp_path, monkeypatch):
    """written(texts) -> the new module, imported from a folder of its own."""

    def write(texts):
        for file, text in texts.items():
            (tmp_path / file).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module("some_new_thing")

    yield write
    sys.modules.pop("some_new_thing", None)


# What is written


@pytest.mark.parametrize("texts", PACKAGES.values(), ids=PACKAGES)
def test_the_files_name_each_other(texts):
    assert set(texts) == {"some_new_thing.py", "test_some_new_thing.py", "pyproject.toml"}
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["name"] == "craftbench-some-new-thing"
    assert project["tool"]["setuptools"]["py-modules"] == ["some_new_thing"]
    (group,) = project["project"]["entry-points"].values()
    module, name = group["some_new_thing"].split(":")
    assert module == "some_new_thing"
    assert f"class {name}(" in texts["some_new_thing.py"] or f"{name} = " in texts["some_new_thing.py"]
    assert texts["some_new_thing.py"].startswith('"""Some new thing: ')
    assert [file for file, text in texts.items() if "my_" in text or "My" in text] == []


@pytest.mark.skipif(shutil.which("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("texts", PACKAGES.values(), ids=PACKAGES)
def test_the_files_are_clean(tmp_path, texts):
    for file, text in texts.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    rules = "E,F,W,I,UP,B,C4,SIM,RET,PIE,N"
    for command in (("check", "--no-cache", "--select", rules), ("format", "--no-cache", "--check")):
        done = subprocess.run(["ruff", *command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_a_method_keeps_the_contract_and_joins_its_paper(written, monkeypatch, paper):
    runner = written(method_texts("some_new_thing", paper)).SomeNewThing
    assert {result.status for result in check_runner(runner)} == {"ok"}
    monkeypatch.setattr(catalogue, "outside_runners", lambda: (runner,))
    joined = catalogue.benchmark(paper)
    assert all("some_new_thing" in table.rows for table in joined.tables)
    assert all(rows[-1].runner is runner for profile in joined.profiles.values() for rows in profile.rows.values())
    others = [other for other in PAPERS if other != paper]
    assert not any("some_new_thing" in table.rows for other in others for table in catalogue.benchmark(other).tables)


@pytest.fixture
def installed(monkeypatch):
    """Has the new module declare a dataset, as if its package were installed."""

    def declare(*, group):
        found = [EntryPoint("some_new_thing", "some_new_thing:DATASET", group)]
        return found if group == "craftbench.datasets" else []

    monkeypatch.setattr(entries, "entry_points", declare)
    entries.outside_datasets.cache_clear()
    yield
    entries.outside_datasets.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_dataset_passes_its_own_test_and_joins_the_papers_that_ask_for_its_table(written, installed, tmp_path, table):
    texts = dataset_texts("some_new_thing", table)
    module = written(texts)
    spec = importlib.util.spec_from_file_location("its_test", tmp_path / "test_some_new_thing.py")
    its_test = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(its_test)
    checks = [each for name, each in vars(its_test).items() if name.startswith("test_")]
    assert len(checks) == 3
    for place, check in enumerate(checks):
        (folder := tmp_path / str(place)).mkdir()
        check(folder)
    joined = [paper for paper in PAPERS if any(task.dataset == "some_new_thing" for task in _tasks(catalogue.benchmark(paper)))]
    assert joined == [paper for paper in PAPERS if declared(paper).asks in module.DATASET.tables]


def _tasks(paper):
    return [task for profile in paper.profiles.values() for task in profile.tasks]


def test_a_dataset_is_asked_the_first_question_and_stands_in_its_tables(written):
    dataset = written(dataset_texts("some_new_thing", "impressions")).DATASET
    paper = widened(declared("gradcraft"), [dataset])
    quick, before = paper.profiles["quick"], declared("gradcraft").profiles["quick"]
    assert [(task.key, task.scope) for task in quick.tasks][-1] == ("some_new_thing/4-tasks", "own data")
    assert quick.rows["some_new_thing/4-tasks"] == before.rows["sim-video/6-tasks"]
    shown = {table.id for table in paper.tables if "some_new_thing/4-tasks" in table.tasks}
    assert {"T1", "T4"} <= shown
    assert shown.isdisjoint({"T2", "T3"})  # another dataset's table, and one of simulated worlds


# What is said


def test_it_writes_and_says_what_comes_next(craftbench, tmp_path):
    code, out, _ = craftbench("new", "my_method", "--paper", "gradcraft")
    assert code == 0
    folder = tmp_path / "craftbench-my-method"
    assert sorted(each.name for each in folder.iterdir()) == ["my_method.py", "pyproject.toml", "test_my_method.py"]
    assert "  craftbench check my_method:MyMethod\n" in out
    assert "  craftbench run gradcraft --profile smoke\n" in out


def test_a_dataset_is_imported_before_it_is_run(craftbench, tmp_path):
    code, out, _ = craftbench("new", "my_log", "--dataset", "--paper", "dml", "--into", tmp_path / "deep" / "here")
    assert code == 0
    assert (tmp_path / "deep" / "here" / "my_log.py").exists()
    assert out.index("data import my_log") < out.index("run dml --profile smoke --dataset my_log")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("2fast", "--paper", "dml"), "'2fast' is no name for a Python module"),
        (("my-method", "--paper", "dml"), "'my-method' is no name for a Python module"),
        (("class", "--paper", "dml"), "'class' is no name for a Python module"),
        (("__", "--paper", "dml"), "'__' is no name for a Python module"),
        (("my_method", "--paper", "gradcraf"), "unknown paper 'gradcraf'; did you mean 'gradcraft'?"),
        (("pcgrad", "--paper", "gradcraft"), "a row of gradcraft has the name 'pcgrad' already"),
        (("json", "--paper", "gradcraft"), "there is a Python module 'json' already"),
        (("torch", "--paper", "gradcraft"), "there is a Python module 'torch' already"),
    ],
)
def test_a_name_that_cannot_be(craftbench, tmp_path, words, sentence):
    code, _, err = craftbench("new", *words)
    assert code == 2
    assert sentence in err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_written(craftbench, tmp_path):
    mine = tmp_path / "craftbench-my-method" / "test_my_method.py"
    mine.parent.mkdir()
    mine.write_text("mine")
    code, _, err = craftbench("new", "my_method", "--paper", "cft")
    assert code == 2
    assert "craftbench-my-method/test_my_method.py exists, and nothing is overwritten" in err.replace(os.sep, "/")
    assert (mine.read_text(), list(mine.parent.iterdir())) == ("mine", [mine])


def test_a_place_that_cannot_be_written(craftbench, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = craftbench("new", "my_method", "--paper", "cft", "--into", tmp_path / "file" / "deeper")
    assert code == 2
    assert "cannot be written to" in err


def test_class_names():
    assert [class_name(name) for name in ("my_method", "mgda2", "_dmlX")] == ["MyMethod", "Mgda2", "DmlX"]
