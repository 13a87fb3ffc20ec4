"""What is installed with each part of CraftBench, under which licence, and that every version of it is pinned."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = {"run": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
ROOMS = ("commands", "core", "datasets", "models", "methods", "baselines", "benchmarks", "report")
HOUSE = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
# What a licence is called in package metadata, and in the table of docs/dependencies.md. Any other is refused.
ALLOWED = {
    "MIT": r"\bMIT\b(?!-CMU)",
    "BSD": r"\bBSD\b",
    "Apache-2.0": r"\bApache\b",
    "PSF-2.0": r"\bPSF\b|Python Software Foundation|matplotlib",
    "MPL-2.0": r"\bMPL\b|Mozilla",
    "ISC": r"\bISC\b",
    "HPND": r"\bHPND\b|\bMIT-CMU\b",
}
# Allowed in tests alone: never shipped with CraftBench, and no module of it imports them.
ONLY_IN_TESTS = {"quadprog": "GPL-2.0-or-later", "qpsolvers": "LGPL-3.0"}
OF_A_CARD = ("nvidia-", "cuda-", "triton")  # come with a build of torch for CUDA alone, which pins them


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonical(line.partition("==")[0]): line.partition("==")[2] for line in lines if "==" in line}


def wanted(distribution, extras, environment):
    """The names, with extras, that a distribution needs."""
    for text in distribution.requires or []:
        need = Requirement(text)
        chosen = [{**environment, "extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(map(need.marker.evaluate, chosen)):
            yield need


@functools.cache
def closure(part, system=None, python=None):
    """Every distribution that comes with a part and is installed, by name; and the names that are needed and are not.

    system, python: of another machine ("darwin", "3.12") whose needs are asked for.
    """
    environment = dict(default_environment())
    if system:
        environment |= {"sys_platform": system, "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system]}
        environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    found, absent, seen = {}, set(), set()
    waiting = [Requirement(text) for text in NEEDED[part]]
    while waiting:
        need = waiting.pop()
        key = canonical(need.name), frozenset(need.extras)
        if key in seen or key[0].startswith(OF_A_CARD):
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(need.name)
        except importlib.metadata.PackageNotFoundError:
            absent.add(key[0])
            continue
        found[key[0]] = distribution
        waiting += wanted(distribution, need.extras, environment)
    return found, absent


def licence(distribution):
    """As the table says it: "MIT", "MPL-2.0 and MIT"."""
    meta = distribution.metadata
    classified = [line.rpartition("::")[2] for line in meta.get_all("Classifier") or [] if line.startswith("License ::")]
    text = " ".join([meta.get("License-Expression") or "", *classified, *(meta.get("License") or "").splitlines()[:1]])
    known = [name for name, pattern in ALLOWED.items() if re.search(pattern, text)]
    if re.search(r"\bA?GPL|\bLGPL", text) or not known:
        return ONLY_IN_TESTS.get(canonical(meta["Name"]), f"not allowed: {text.strip()[:80]!r}")
    return " and ".join(known)


def listed():
    """The table of docs/dependencies.md: {package: (licence, the parts that it comes with)}."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").partition("## All of them")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: (row[1], row[2]) for row in rows[1:]}


def test_every_dependency_has_a_licence_that_is_allowed():
    found = {name: licence(each) for part in NEEDED for name, each in closure(part)[0].items()}
    assert {"torch", "numpy", "pandas", "optuna"} <= set(found)
    assert {name: said for name, said in found.items() if said.startswith("not allowed")} == {}
    assert not set(ONLY_IN_TESTS) & set(closure("run")[0])
    imported = {name for file in HOUSE for name in imports(file)}
    assert not set(ONLY_IN_TESTS) & imported


def test_the_documentation_lists_every_dependency_with_its_licence():
    expected = {}
    for part in NEEDED:
        for name, distribution in closure(part)[0].items():
            expected.setdefault(name, (licence(distribution), part))
    table = listed()
    rows = [f"| {name} | {said} | {part} |" for name, (said, part) in sorted(expected.items()) if table.get(name) != (said, part)]
    assert rows == [], "\n".join(["docs/dependencies.md, 'All of them' lacks:", *rows])


def test_every_version_that_is_installed_is_pinned_and_every_pin_is_listed():
    found = {name: each.version.partition("+")[0] for part in NEEDED for name, each in closure(part)[0].items()}
    pinned = pins()
    assert {name: version for name, version in found.items() if name not in pinned} == {}
    assert {name for name in pinned if name not in listed() and name != "setuptools"} == set()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_nothing_comes_unpinned_with_the_default_install_elsewhere(system, python):
    found, absent = closure("run", system, python)
    assert (set(found) | absent) - set(pins()) == set()


def imports(file):
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_what_is_imported_is_named_as_a_dependency():
    named = {canonical(Requirement(text).name) for text in NEEDED["run"]}
    imported = {name for file in HOUSE for name in imports(file)}
    comes_with = {"markupsafe": "jinja2"}  # its escaping
    others = imported - {"__future__", *sys.stdlib_module_names} - named
    assert {name for name in others if comes_with.get(name) not in named} == set()
