"""Hyperparameters, declared once: default, validation, search range and the grid the paper searched.

    class MyParams(Params):
        damping: float = real(1e-4, low=1e-7, high=1e-3, log=True, minimum=0.0, help="added to the Hessian's diagonal")
        hops: int = integer(1, low=0, high=2)
        solver: str = choice("cg", "adam")          # the first is the default
        patience: int = fixed(10, minimum=1)        # validated and settable, never searched

The Optuna space, `--set`, the validation and the report's settings table all come from these declarations.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import UsageError, unknown

T = TypeVar("T", bool, int, float, str)


@dataclass(frozen=True)
class Space:
    """The searched values of one hyperparameter: an interval (`low`..`high`) or the listed `choices`."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[bool | int | float | str, ...] | None = None
    integer: bool = False

    def on_edge(self, value: Any, share: float = 0.02) -> bool:
        """True when `value` lies within `share` of the interval's length from one of its ends."""
        if self.choices is not None or self.low is None or self.high is None:
            return False
        scale = math.log if self.log else float
        low, high, here = scale(self.low), scale(self.high), scale(value)
        margin = share * (high - low)
        return here <= low + margin or here >= high - margin


@dataclass(frozen=True)
class Declared:
    """One declared hyperparameter, as the report's settings table shows it."""

    name: str
    default: Any
    space: Space | None
    minimum: float | None
    maximum: float | None
    grid: tuple[Any, ...]
    help: str


def _field(default: Any, space: Space | None, minimum: float | None, maximum: float | None, grid: Any, help: str) -> Any:
    extra: Any = {"space": space, "grid": tuple(grid)}
    return Field(default, ge=minimum, le=maximum, description=help, json_schema_extra=extra)


def real(
    default: float,
    *,
    low: float,
    high: float,
    log: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    grid: tuple[float, ...] = (),
    help: str = "",
) -> Any:
    """A real number searched in [low, high] (in logs if `log`), valid in [minimum, maximum], tried by the paper on `grid`."""
    return _field(default, Space(low=low, high=high, log=log), minimum, maximum, grid, help)


def integer(
    default: int,
    *,
    low: int,
    high: int,
    log: bool = False,
    minimum: int | None = None,
    maximum: int | None = None,
    grid: tuple[int, ...] = (),
    help: str = "",
) -> Any:
    """A whole number searched in [low, high], valid in [minimum, maximum], tried by the paper on `grid`."""
    return _field(default, Space(low=low, high=high, log=log, integer=True), minimum, maximum, grid, help)


def choice(default: T, *others: T, also: tuple[T, ...] = (), grid: tuple[T, ...] = (), help: str = "") -> Any:
    """One of the listed values is searched; the first is the default. Those in `also` can be set, but are never searched."""
    space = Space(choices=(default, *others))
    extra: Any = {"space": space, "grid": tuple(grid), "options": (default, *others, *also)}
    return Field(default, description=help, json_schema_extra=extra)


def fixed(
    default: T,
    *,
    options: tuple[T, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    help: str = "",
) -> Any:
    """A value that can be set and is validated, but is never searched."""
    extra: Any = {"space": None, "grid": (), "options": options}
    return Field(default, ge=minimum, le=maximum, description=help, json_schema_extra=extra)


class Params(BaseModel):
    """Base of every runner's hyperparameters: frozen, no unknown names, JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_post_init(self, context: Any) -> None:
        for declared in self.declared():
            field = type(self).model_fields[declared.name]
            extra: dict[str, Any] = field.json_schema_extra or {}  # pyright: ignore[reportAssignmentType]
            options: tuple[Any, ...] | None = extra.get("options")
            value = getattr(self, declared.name)
            if options and value not in options:
                raise ValueError(f"{declared.name}={value!r} is not one of {', '.join(map(repr, options))}")

    @classmethod
    def declared(cls) -> list[Declared]:
        """Every hyperparameter in the order of declaration."""
        found: list[Declared] = []
        for name, field in cls.model_fields.items():
            extra: dict[str, Any] = field.json_schema_extra or {}  # pyright: ignore[reportAssignmentType]
            bounds = {type(mark).__name__: mark for mark in field.metadata}
            minimum = getattr(bounds.get("Ge"), "ge", None)
            maximum = getattr(bounds.get("Le"), "le", None)
            found.append(
                Declared(name, field.default, extra.get("space"), minimum, maximum, extra.get("grid", ()), field.description or "")
            )
        return found

    @classmethod
    def spaces(cls) -> dict[str, Space]:
        """The searched hyperparameters and their ranges."""
        return {declared.name: declared.space for declared in cls.declared() if declared.space is not None}

    @classmethod
    def resolve(cls, values: dict[str, Any]) -> Self:
        """Validated parameters from plain values; a wrong one is a `UsageError` that names it and its bounds."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "extra_forbidden":
                raise unknown("parameter", name, cls.model_fields) from None
            given = f"{name}={repr(first['input'])[:80]}: " if name else ""
            raise UsageError(f"{cls.__name__}: {given}{first['msg'].removeprefix('Value error, ')}") from None

    @classmethod
    def parse(cls, name: str, text: str) -> Any:
        """The value of hyperparameter `name` written as `text` on a command line."""
        if name not in cls.model_fields:
            raise unknown("parameter", name, cls.model_fields)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or more digits or brackets than it reads
            value = {"True": True, "False": False}.get(text, text)
        return getattr(cls.resolve({name: value}), name)
