"""What a fit, or a task, leaves beside its numbers for a figure to draw: lines, and surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import UsageError


@dataclass(frozen=True)
class Curve:
    """A line y over x, or, with z, the surface z over every pair of an x and a y of a grid; float64 (points,) each.

    name: by which figures ask for it; series: which line, or surface, of that name.
    """

    name: str
    series: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, name: str, series: str, x: ArrayLike, y: ArrayLike, z: ArrayLike | None = None) -> Curve:
        """Raises UsageError for coordinates of different lengths."""
        given = [np.asarray(each, dtype=np.float64) for each in (x, y, *([] if z is None else [z]))]
        if {each.shape for each in given} != {(len(given[0]),)}:
            raise UsageError(f"curve {name!r} has coordinates of shapes {[each.shape for each in given]}; give one number a point")
        return cls(name, series, *given)


@runtime_checkable
class Drawable(Protocol):
    """A `Fitted` that has something to draw; a final cell keeps it beside its metrics."""

    def to_draw(self) -> Sequence[Curve]: ...
