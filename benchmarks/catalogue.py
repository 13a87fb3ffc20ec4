"""The papers, and the runners of other packages that joined by the entry point `craftbench.runners`."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from ..core.errors import UsageError, unknown
from ..core.runner import Runner
from .benchmark import Benchmark

PAPERS = ("ifru",)


def benchmark(name: str) -> Benchmark:
    """The benchmark of a paper, by its name on the command line."""
    if name not in PAPERS:
        raise unknown("paper", name, PAPERS)
    return importlib.import_module(f"{__package__}.papers.{name}").BENCHMARK


def outside_runners() -> list[type[Runner]]:
    """Runners that installed packages declare, by name."""
    return [_checked(entry.load(), entry.value) for entry in sorted(entry_points(group="craftbench.runners"))]


def _checked(found: object, where: str) -> type[Runner]:
    if not (isinstance(found, type) and issubclass(found, Runner)):
        raise UsageError(
            f"the entry point {where} of craftbench.runners is not a subclass of craftbench.Runner; correct it in its package"
        )
    return found
