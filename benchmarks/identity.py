"""What code a result depends on: a hash of each module in an import closure, blind to comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

HOUSE = __name__.split(".", maxsplit=1)[0]


def digest(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


@cache
def closure(*modules: str) -> Mapping[str, str]:
    """Module name -> short hash, for `modules` and everything they import inside the house or inside their own package.

    Importing `a.b.c` runs the packages `a` and `a.b` too, so they belong to it; the house's own face (its version) does not.
    Read once: a process computes with the code that it has loaded.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        source = None if name in found or name == HOUSE else _source(name)
        if source is None:
            continue
        found[name], imports = _read(name, source)
        roots = {HOUSE, name.split(".", maxsplit=1)[0]}
        waiting += [each for each in imports if each.split(".", maxsplit=1)[0] in roots]
        waiting += _packages(name)
    return dict(sorted(found.items()))


def _packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


@cache
def _source(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # `from package import name`, where name is no module
            return None
        origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


@cache
def _read(name: str, source: Path) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(source.read_bytes())
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(sorted(_imports(tree, package)))
    return hashlib.sha256(ast.dump(_normalised(tree)).encode()).hexdigest()[:16], imports


def _imports(tree: ast.AST, package: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def _normalised(tree: ast.Module) -> ast.Module:
    """The tree without docstrings; positions and comments are not in a dump anyway."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:]
    return tree


@cache
def versions() -> Mapping[str, str]:
    """The versions that decide a result's digits."""
    from importlib.metadata import version

    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python, "numpy": version("numpy"), "torch": version("torch")}


def reference(thing: type[Any]) -> str:
    """Where a class is defined, as "module:name"."""
    return f"{thing.__module__}:{thing.__qualname__}"


def spelled(task: Any) -> dict[str, Any]:
    """A task's declaration as plain data: two declarations that differ in more than how they are shown give two results."""
    return {name: value for name, value in asdict(task).items() if name not in ("scope", "labels")}
