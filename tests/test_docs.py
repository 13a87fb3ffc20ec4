"""Every example in the docs and docstrings runs; every command, link and name in them exists."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import sys
import tomllib
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _name(page):
    return page.relative_to(ROOT).as_posix()


def _blocks(page, language):
    return [body for found, body in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def _run(code, namespace, name):
    exec(compile(code, name, "exec"), namespace)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder of the test's own, from which examples can import the files that they write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("craftbench") and str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=_name)
def test_examples(page, elsewhere):
    """A page's blocks run in order in one namespace; a block that begins with `# file: NAME` is written under that name instead."""
    namespace = {"__name__": "example"}
    for number, code in enumerate(_blocks(page, "python"), start=1):
        if code.startswith("# file: "):
            file = elsewhere / code.splitlines()[0].removeprefix("# file: ")
            file.write_text(code, encoding="utf-8")
            importlib.import_module(file.stem)
        else:
            _run(code, namespace, f"{_name(page)}, example {number}")


def test_the_diff_of_a_method_runs(elsewhere):
    """The training loop, with the lines that the diff adds, after the page's first block, which prepares its names."""
    page = ROOT / "docs/methods/ifru.md"
    namespace = {"__name__": "example"}
    _run(_blocks(page, "python")[0], namespace, _name(page))
    (diff,) = _blocks(page, "diff")
    before = "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] == " ")
    _run(before, namespace, "before the diff")
    trained = namespace["model"]
    _run("".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] == "+"), namespace, "what the diff adds")
    assert namespace["result"].converged
    assert not namespace["model"].embeddings.equal(trained.embeddings)


def test_a_runner_of_the_docs_that_starts_from_original(elsewhere):
    from craftbench.baselines.unlearning.original import Original
    from craftbench.core.context import RunContext
    from craftbench.datasets.catalogue import load
    from craftbench.datasets.requests import RequestSpec
    from craftbench.datasets.unlearning import prepare

    (code,) = [each for each in _blocks(ROOT / "docs/adding-a-method.md", "python") if "class Reset" in each]
    namespace = {"__name__": "my_update"}
    _run(code, namespace, "my_update.py")
    task = prepare(load("sim-ratings"), RequestSpec("flipped", 0.1)).task("mf")
    original = Original().fit(task, Original.Params(max_epochs=3), RunContext(0))
    reset = namespace["Reset"]().fit(task, namespace["Reset"].Params(), RunContext(1, parents={"original": original}))
    moved = (reset.model.embeddings != original.model.embeddings).any(1)
    gone = task.train[task.removed]
    assert set(moved.nonzero().squeeze(1).tolist()) == {*gone.user.tolist(), *(gone.users + gone.item).tolist()}


# Docstrings

MODULES = sorted(
    found.name
    for room in ("core", "datasets", "models", "methods", "baselines", "benchmarks", "report")
    for found in pkgutil.walk_packages([str(ROOT / room)], f"craftbench.{room}.")
)


def _indented(text):
    """The indented blocks of a docstring."""
    found, block = [], []
    for line in [*inspect.cleandoc(text).splitlines(), "."]:
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line[4:])
        elif block:
            found.append("\n".join(block))
            block = []
    return found


def _examples(name):
    """The indented blocks of a module's docstrings that are Python and import something or define a class."""
    source = Path(importlib.import_module(name).__file__)
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for block in _indented(ast.get_docstring(node) or ""):
                try:
                    body = ast.parse(block).body
                except SyntaxError:
                    continue
                if any(isinstance(each, ast.Import | ast.ImportFrom | ast.ClassDef) for each in body):
                    yield block


@pytest.fixture(scope="module")
def names():
    """What the docstrings take for granted."""
    import torch
    from craftbench.core.context import RunContext
    from craftbench.core.task import Interactions
    from craftbench.models.matrix_factorization import MatrixFactorization

    generator = torch.Generator().manual_seed(0)
    user, item = torch.randint(20, (200,), generator=generator), torch.randint(10, (200,), generator=generator)
    label = torch.rand(200, generator=generator).round()
    interactions = Interactions(user.numpy(), item.numpy(), label.numpy(), 20, 10)
    model = MatrixFactorization(20, 10, 4, 0.1, generator)
    return {"interactions": interactions, "removed": [0, 1, 2], "model": model, "run": RunContext(0)}


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, names):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    for example in _examples(name):
        _run(example, {**vars(module), **names, "__name__": "example"}, f"docstring of {name}")


def test_docstring_examples_are_found():
    assert "unlearn(" in "".join(_examples("craftbench.methods.ifru"))
    assert "class MyParams" in "".join(_examples("craftbench.core.params"))


# Every published function

MORE = (  # what the pages under docs/methods/ offer from a lower floor
    "models.gradients.balanced_backward",
    "models.language.scoring.score_titles",
)


def _published():
    """The public functions of methods and baselines, and what a method's file publishes that is no row, setting or plain record."""
    from craftbench.core.params import Params
    from craftbench.core.runner import Runner

    for name in MODULES:
        room, _, rest = name.removeprefix("craftbench.").partition(".")
        if room not in ("methods", "baselines") or rest.rpartition(".")[2].startswith("_"):
            continue
        module = importlib.import_module(name)
        own = [each for each, thing in vars(module).items() if inspect.isfunction(thing) and thing.__module__ == name]
        for each in dict.fromkeys([*getattr(module, "__all__", ()), *own]):
            thing = getattr(module, each)
            declares = isinstance(thing, type) and (issubclass(thing, (Runner, Params)) or is_dataclass(thing))
            if not (declares or each.startswith("_")):
                yield f"{name}.{each}"
    yield from (f"craftbench.{name}" for name in MORE)


@cache
def _called():
    """What the examples of the pages, which `test_examples` runs, call or look into, by the name behind the last dot."""
    found = set()
    for code in (code for page in PAGES for code in _blocks(page, "python")):
        found |= {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return found


@pytest.mark.parametrize("name", [*_published()])
def test_every_published_function_has_an_example_that_runs(name):
    module, _, each = name.rpartition(".")
    thing = getattr(importlib.import_module(module), each)
    in_its_docstring = any(each in example.source for example in doctest.DocTestParser().get_examples(thing.__doc__ or ""))
    in_the_module = any(re.search(rf"\b{each}\(", example) for example in _examples(thing.__module__))
    assert in_its_docstring or in_the_module or each in _called()


# Commands


def _lines(page):
    for block in _blocks(page, "sh"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words and "=" in words[0]:
                words = words[1:]
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist(page):
    import typer
    from craftbench.cli import app

    command = typer.main.get_command(app)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in _lines(page):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= set(targets), words
        elif words[0] == "craftbench":
            here, rest = command, words[1:]
            while hasattr(here, "commands"):
                here, rest = here.commands[rest[0]], rest[1:]
            here.make_context(words[1], rest)  # parses; runs nothing


def test_the_two_commands_come_first():
    first = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [words[:2] for words in map(shlex.split, first[2].splitlines()) if words] == [["make", "reproduce"], ["make", "test"]]
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


# Links and names

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached:
            reached.add(page)
            found = LINK.findall(page.read_text(encoding="utf-8"))
            waiting += [page.parent / target for target, _ in found if target.endswith(".md") and "://" not in target]
    assert {_name(page) for page in PAGES} - {_name(page) for page in reached} == set()


def test_the_papers_page_names_every_row_and_claim():
    from craftbench.benchmarks.catalogue import PAPERS, benchmark

    for paper in PAPERS:
        text = (ROOT / f"docs/papers/{paper}.md").read_text(encoding="utf-8")
        told = set(re.findall(r"`([\w.…]+)`", text))
        families = tuple(name.removesuffix("…") for name in told if name.endswith("…"))
        declared = benchmark(paper)
        rows = {row.key for profile in declared.profiles.values() for rows in profile.rows.values() for row in rows}
        assert {row for row in rows if row not in told and not row.startswith(families)} == set()
        assert [name for name in families if not any(row.startswith(name) for row in rows)] == []
        wanted = [*declared.claims, *declared.tables, *declared.figures]
        assert [each.id for each in wanted if not re.search(rf"\b{each.id}\b", text)] == []


def test_every_dependency_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [name for extra in project["project"]["optional-dependencies"].values() for name in extra]
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"[\w-]+", " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))))
    assert {re.match(r"[\w-]+", name)[0] for name in wanted} - explained == set()


def test_pins_are_exact():
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
