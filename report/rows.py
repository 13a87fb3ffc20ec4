"""How each row was made, over all tasks: its settings side by side where they differ, its cost, its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .shapes import Findings, Made


@dataclass(frozen=True)
class Setting:
    """One hyperparameter of a row. values: one for all tasks, or one for each."""

    about: dict[str, Any]
    source: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class RowMade:
    """One row on every task that has it."""

    key: str
    title: str
    differs: tuple[str, ...]
    inherits: str
    command: str
    tasks: tuple[Made, ...]
    settings: tuple[Setting, ...]

    @property
    def fits(self) -> int:
        return sum(made.fits for made in self.tasks)

    @property
    def seconds(self) -> float:
        return sum(made.seconds for made in self.tasks)

    @property
    def settled(self) -> tuple[Made, ...]:
        """The tasks whose settings are known, in the order of `Setting.values`."""
        return tuple(made for made in self.tasks if made.settings)


def rows_made(found: Findings) -> Iterator[RowMade]:
    """One entry for each row, in the order of the plan."""
    for key in dict.fromkeys(made.row for made in found.made):
        tasks = tuple(made for made in found.made if made.row == key)
        first = tasks[0]
        datasets = {made.command.partition(" --dataset")[2] for made in tasks}
        command = first.command if len(datasets) == 1 else first.command.partition(" --dataset")[0]
        differs = tuple(dict.fromkeys(made.differs for made in tasks if made.differs))
        yield RowMade(key, first.title, differs, first.inherits, command, tasks, tuple(_settings(tasks)))


def _settings(tasks: tuple[Made, ...]) -> Iterator[Setting]:
    tables = [{each["name"]: each for each in made.settings} for made in tasks if made.settings]
    for name in dict.fromkeys(name for table in tables for name in table):
        listed = [table.get(name, {}) for table in tables]
        values = tuple(each.get("value") for each in listed)
        sources = dict.fromkeys(each["source"] for each in listed if each)
        same = len({repr(value) for value in values}) == 1
        yield Setting(next(each for each in listed if each), ", ".join(sources), values[:1] if same else values)


def record_names(made: Made) -> list[tuple[str, str]]:
    """The folders of a row's records, each with the names of those inside it."""
    folders: dict[str, list[str]] = {}
    for path in made.records:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    return [(folder, ", ".join(names)) for folder, names in folders.items()]
