"""Lists of rows, as the papers declare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from ..core.runner import Runner
from .benchmark import Row


def keys(rows: tuple[Row, ...]) -> tuple[str, ...]:
    return tuple(row.key for row in rows)


def pinned(rows: tuple[Row, ...], values: Mapping[str, Any], start: Mapping[str, Any] | None = None) -> tuple[Row, ...]:
    """The rows with further values pinned, and a first trial, where they have such parameters."""
    return tuple(_pinned(row, values, start or {}) for row in rows)


def _pinned(row: Row, values: Mapping[str, Any], start: Mapping[str, Any]) -> Row:
    has = row.runner.Params.model_fields
    known, begun = ({name: value for name, value in each.items() if name in has} for each in (values, start))
    return replace(row, pinned={**known, **row.pinned}, start={**begun, **row.start})


def beside(rows: Iterable[Row], runner: type[Runner]) -> Row:
    """A row for a runner of another package, under the conditions of a task's own rows.

    A hyperparameter that all of these (which have it) pin to one value, as the size of a profile's network, is pinned to it too; a
    search that all begin at one value begins there.
    """
    listed = tuple(rows)
    return Row(runner, pinned=_agreed(listed, runner, "pinned"), start=_agreed(listed, runner, "start"))


def _agreed(rows: tuple[Row, ...], runner: type[Runner], kind: Literal["pinned", "start"]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in runner.Params.model_fields:
        settings = [getattr(row, kind) for row in rows if name in row.runner.Params.model_fields]
        if settings and all(name in each and each[name] == settings[0][name] for each in settings):
            found[name] = settings[0][name]
    return found
