"""Lists of rows, as the papers declare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
