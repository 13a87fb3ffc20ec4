"""What holds for the repository as a whole: floors, sizes, words, what goes into the wheel, and under which licences."""

import ast
import importlib.metadata
import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("commands", "core", "datasets", "models", "methods", "baselines", "benchmarks", "report")
DOCUMENTED = ("core", "datasets", "models", "methods", "testing.py")
HOUSE = sorted([*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXTS = {".py", ".toml", ".md", ".txt", ".sh", ".jinja", ".css", ".js", ".json", ""}


def _tree(file):
    return ast.parse(file.read_bytes())


def _where(file, node=None):
    return file.relative_to(ROOT).as_posix() + (f":{node.lineno}" if node is not None else "")


def test_floors(monkeypatch):
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, is_debug_mode=False) == EXIT_STATUS_SUCCESS


def test_every_room_has_its_floor():
    floors = " ".join(PROJECT["tool"]["importlinter"]["contracts"][0]["layers"])
    modules = {file.stem for file in ROOT.glob("*.py")} - {"__init__"} | set(ROOMS)
    assert {name for name in modules if f"craftbench.{name}" not in floors.replace(":", " ").split()} == set()


def test_the_wheel_has_every_package():
    folders = {file.parent.relative_to(ROOT) for file in HOUSE if file.name == "__init__.py"}
    packages = {".".join(("craftbench", *folder.parts)) for folder in folders}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages
    assert {_where(file) for file in HOUSE if file.parent.relative_to(ROOT) not in folders} == set()


def test_the_wheel_has_every_file_that_is_no_module():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["craftbench"]
    listed = {file for pattern in patterns for file in ROOT.glob(pattern)}
    others = {
        file
        for room in (*ROOMS, "results/published")
        for file in (ROOT / room).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert others - listed == set()


def test_the_installed_package_is_this_one():
    import craftbench

    installed = importlib.metadata.distribution("craftbench")
    assert installed.version == craftbench.__version__
    assert installed.metadata["License-Expression"] == "MIT"
    assert {"craftbench"} == {entry.name for entry in installed.entry_points if entry.group == "console_scripts"}


def test_what_the_wheel_says_of_itself():
    from craftbench.benchmarks.catalogue import PAPERS, declared

    project = PROJECT["project"]
    assert {"description", "readme", "authors", "keywords", "license", "license-files", "requires-python"} <= set(project)
    oldest = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in project["classifiers"]
    assert set(project["urls"]) == {f"Paper: {declared(paper).title.partition(':')[0]}" for paper in PAPERS}


def test_the_citation_names_this_version_and_every_paper():
    import craftbench
    from craftbench.benchmarks.catalogue import PAPERS, declared

    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {craftbench.__version__}\n" in text
    assert f"## {craftbench.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    wanted = {re.search(r"10\.\d{4,}/[\d.]+\d|arXiv[: ][\d.]+\d", declared(paper).citation)[0] for paper in PAPERS}
    assert {each for each in wanted if each.removeprefix("arXiv").lstrip(": ") not in text} == set()
    assert all(url.rpartition("/")[2] in text for url in PROJECT["project"]["urls"].values())


# Size and form


@pytest.mark.parametrize("file", [*HOUSE, *TESTS], ids=_where)
def test_sizes(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= (450 if file in TESTS else 400)
    functions = [node for node in ast.walk(_tree(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [_where(file, node) for node in functions if node.end_lineno - node.lineno >= 60] == []


def _public(file):
    """The module, and its public classes and functions; of an overloaded one the one that is written out."""
    tree = _tree(file)
    yield tree
    for node in tree.body:
        named = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        if named and not any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list):
            yield node


@pytest.mark.parametrize("file", [file for file in HOUSE if file.relative_to(ROOT).parts[0] in DOCUMENTED], ids=_where)
def test_public_things_say_what_they_are(file):
    bare = [getattr(node, "name", "module") for node in _public(file) if not ast.get_docstring(node)]
    assert bare == []


def test_imports_inside_the_house_are_relative():
    absolute = []
    for file in HOUSE:
        for node in ast.walk(_tree(file)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            absolute += [_where(file, node) for name in names if name.split(".")[0] == "craftbench"]
    assert absolute == []


def test_no_file_has_a_name_that_says_nothing():
    assert [_where(file) for file in HOUSE if file.stem in {"utils", "util", "helpers", "misc", "common"}] == []


# Safety


def _calls(file):
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_nothing_is_loaded_that_can_run_code():
    found = []
    for file in HOUSE:
        for node in ast.walk(_tree(file)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [
                _where(file, node) for name in names if name.split(".")[0] in {"pickle", "dill", "joblib", "shelve", "marshal"}
            ]
        for node, name in _calls(file):
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            unsafe = name in {"eval", "exec", "os.system"} or name.endswith("read_pickle")
            unsafe |= name == "torch.load" and words.get("weights_only") != "True"
            unsafe |= name in {"np.load", "numpy.load"} and words.get("allow_pickle") == "True"
            unsafe |= words.get("shell") == "True"
            found += [_where(file, node)] if unsafe else []
    assert found == []


def test_no_global_seed():
    seeds = {"torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed"}
    assert [_where(file, node) for file in HOUSE for node, name in _calls(file) if name in seeds] == []


# Words


def _texts():
    kept_out = {"build", "dist", "__pycache__", "runs", "craftbench.egg-info"}
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in kept_out and (name == ".ci" or not name.startswith("."))]
        for name in files:
            file = Path(folder) / name
            if file.suffix in TEXTS and file != Path(__file__):
                yield file, file.read_text(encoding="utf-8", errors="replace")


MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|mnt)/\w|\b[A-Z]:\\\\?Users")
MADE_BY = re.compile(r"\b(?:ai|llm|machine)[- ](?:generated|written|assisted)\b|\bas an ai\b|\bco-authored-by\b", re.IGNORECASE)
UNDONE = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


@pytest.mark.parametrize("pattern", [MACHINE, MADE_BY, UNDONE], ids=["machine paths", "makers", "undone"])
def test_words_that_do_not_belong(pattern):
    found = [f"{_where(file)}: {match[0]}" for file, text in _texts() for match in pattern.finditer(text)]
    assert found == []
