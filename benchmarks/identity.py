"""What code a result depends on: a hash of each module in an import closure, blind to comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

HOUSE = __name__.split(".", maxsplit=1)[0]


def digest(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def closure(*modules: str) -> dict[str, str]:
    """Module name -> short hash, for `modules` and everything they import inside the house or inside their own package."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        source = _source(name)
        if source is None:
            continue
        found[name], imports = _read(name, source, source.stat().st_mtime_ns)
        roots = {HOUSE, name.split(".", maxsplit=1)[0]}
        waiting += [each for each in imports if each.split(".", maxsplit=1)[0] in roots]
    return dict(sorted(found.items()))


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
def _read(name: str, source: Path, changed: int) -> tuple[str, tuple[str, ...]]:
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
