"""Curves: kept by final cells alone, and read as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from craftbench.benchmarks import kept_curves
from craftbench.benchmarks.cell import Job, compute
from craftbench.core.curves import Curve, Drawable
from craftbench.core.errors import UsageError
from toybench import Descent, Lines, Weights

LINE = Curve.of("loss", "", [1, 2, 3], [0.5, 0.25, 0.125])
SURFACE = Curve.of("label", "liked", [0, 1, 0, 1], [5, 5, 6, 6], [0.1, 0.2, 0.3, 0.4])


class Drawing(Weights):
    def to_draw(self) -> list[Curve]:
        return [LINE, SURFACE]


class Drawn(Descent):
    name = "drawn"
    fitted = Drawing

    def fit(self, task: Any, params: Any, run: Any) -> Drawing:
        return Drawing(super().fit(task, params, run).weight)


class Viewed(Lines):
    def draw(self, folder: Path, predictions: Any, measured: Any) -> list[Curve]:
        return [Curve.of("scores", name, range(len(found["score"])), found["score"]) for name, found in predictions.items()]


def left_by(tmp_path: Path, runner: type[Descent], task: Lines, kind: Any = "final") -> dict[str, bytes]:
    task.prepare(tmp_path, tmp_path)
    outcome = compute(Job(kind, runner, {}, 1, task, tmp_path), lambda step, value: None)
    assert outcome.result["status"] == "ok", outcome.result
    return outcome.files


def same(one: Curve, other: Curve) -> bool:
    named = (one.name, one.series, one.z is None) == (other.name, other.series, other.z is None)
    return named and all(
        np.array_equal(getattr(one, each), getattr(other, each)) for each in "xyz" if getattr(one, each) is not None
    )


def test_what_a_final_cell_has_to_draw_lies_beside_its_metrics(tmp_path: Path) -> None:
    assert isinstance(Drawing(np.zeros(1)), Drawable)
    files = left_by(tmp_path, Drawn, Viewed())
    valid, test, *rest = kept_curves.read(files[kept_curves.FILE])
    assert [(each.name, each.series, len(each.x)) for each in (valid, test)] == [("scores", "valid", 30), ("scores", "test", 30)]
    assert all(same(*each) for each in zip(rest, (LINE, SURFACE), strict=True))
    assert kept_curves.FILE not in left_by(tmp_path, Drawn, Viewed(), "trial")


def test_nothing_to_draw_leaves_no_file(tmp_path: Path) -> None:
    assert "metrics.parquet" in left_by(tmp_path, Descent, Lines())
    assert kept_curves.FILE not in left_by(tmp_path, Descent, Lines())
    assert kept_curves.read(None) == []


def test_equal_names_in_any_order_stay_apart() -> None:
    other = replace(LINE, series="other", y=-LINE.y)
    found = kept_curves.read(kept_curves.to_bytes([SURFACE, other, LINE]))
    assert all(same(*each) for each in zip(found, (SURFACE, other, LINE), strict=True))


@pytest.mark.parametrize("wrong", [([1, 2], [1]), ([1, 2], [1, 2], [1]), ([[1], [2]], [[1], [2]])])
def test_coordinates_have_one_number_a_point(wrong: Any) -> None:
    with pytest.raises(UsageError, match="'loss' has coordinates of shapes"):
        Curve.of("loss", "", *wrong)
