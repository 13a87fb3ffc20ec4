"""The command that begins a package of one's own: a method or a dataset that joins a paper's tables."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from .options import benchmark_of

if TYPE_CHECKING:
    from ..benchmarks.benchmark import Benchmark


def new(
    name: Annotated[str, typer.Argument(help="of the new package, as in Python: my_method")],
    paper: Annotated[str, typer.Option("--paper", help="whose tables it is for; see `craftbench list papers`")],
    dataset: Annotated[bool, typer.Option("--dataset", help="a dataset instead of a method")] = False,
    into: Annotated[
        Path | None, typer.Option("--into", help="the folder to write to, else craftbench-NAME here", show_default=False)
    ] = None,
) -> None:
    """Write a small package with a method (or dataset) that works, its test, and what makes CraftBench find it."""
    folder = into or Path(f"craftbench-{dashed(name)}")
    benchmark = benchmark_of(paper)
    _refuse_spelling(name)
    texts = dataset_texts(name, benchmark.asks) if dataset else method_texts(name, paper)
    for file in texts:
        if (folder / file).exists():
            raise UsageError(f"{folder / file} exists, and nothing is overwritten; name another folder by --into")
    _refuse_taken(name, benchmark, dataset)
    _write(folder, texts)
    steps = _dataset_steps(name, paper, folder) if dataset else _method_steps(name, paper, folder)
    print("\n".join(f"wrote {folder / file}" for file in texts))
    print("\n  ".join(["\nNext, where CraftBench is installed:\n", *steps]))


def method_texts(name: str, paper: str) -> dict[str, str]:
    """File name -> text of a package with a runner for a paper's kind of task."""
    return _named(name, "my_method", "method", {f"{name}.py": f"{paper}.py", f"test_{name}.py": "test.py"})


def dataset_texts(name: str, table: str) -> dict[str, str]:
    """File name -> text of a package with a dataset that has this table."""
    return _named(name, "my_dataset", "dataset", {f"{name}.py": f"{table}.py", f"test_{name}.py": f"test_{table}.py"})


def _named(name: str, standing: str, kind: str, templates: Mapping[str, str]) -> dict[str, str]:
    """The templates, with the name in each of its spellings in place of what stands for it."""
    folder = Path(__file__).parent / "templates" / kind
    found: dict[str, str] = {}
    for file, template in {**templates, "pyproject.toml": "pyproject.toml"}.items():
        text = (folder / f"{template}.txt").read_text(encoding="utf-8")
        for spell in (str, class_name, _title, dashed):
            text = text.replace(spell(standing), spell(name))
        found[file] = text
    return found


def class_name(name: str) -> str:
    """As in MyMethod."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def dashed(name: str) -> str:
    """As in my-method, for the package index."""
    return "-".join(word for word in name.split("_") if word)


def _title(name: str) -> str:
    words = " ".join(name.split("_")).strip()
    return words[:1].upper() + words[1:]


def _refuse_spelling(name: str) -> None:
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or not name.strip("_"):
        raise UsageError(f"{name!r} is no name for a Python module; take letters, digits and underscores, as in my_method")


def _refuse_taken(name: str, benchmark: Benchmark, dataset: bool) -> None:
    from ..datasets.catalogue import known

    rows = {row.key for profile in benchmark.profiles.values() for rows in profile.rows.values() for row in rows}
    if name in (known() if dataset else rows):
        raise UsageError(
            f"{'a dataset' if dataset else f'a row of {benchmark.name}'} has the name {name!r} already; choose another"
        )
    found = find_spec(name)
    if name in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise UsageError(f"there is a Python module {name!r} already, which the new one would hide; choose another name")


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            with (folder / file).open("x", encoding="utf-8") as written:
                written.write(text)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}); name another folder by --into") from error


def _method_steps(name: str, paper: str, folder: Path) -> tuple[str, ...]:
    return (
        f"python -m pip install --editable {folder}",
        f"craftbench check {name}:{class_name(name)}",
        f"craftbench run {paper} --profile smoke",
        f"craftbench report {paper} --profile smoke",
    )


def _dataset_steps(name: str, paper: str, folder: Path) -> tuple[str, ...]:
    return (
        f"python -m pip install --editable {folder}",
        f"python -m pytest {folder}",
        f"craftbench data import {name} PATH-OF-YOUR-FILE",
        f"craftbench run {paper} --profile smoke --dataset {name}",
        f"craftbench report {paper} --profile smoke",
    )
