"""The plan in the store: pictures of the data are computed for the tasks that ask for them, and kept as points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from craftbench.benchmarks.benchmark import Picture, TaskSpec
from craftbench.benchmarks.document import document
from toybench import TASKS, Lines, toy
from toyhouse import plan


def counted(folder: Path, task: TaskSpec, data_home: Path) -> pd.DataFrame:
    rows = len(Lines.open(task, folder).x)  # type: ignore[arg-type]
    return pd.DataFrame({"x": [1, 2, 1], "y": [rows, 0.5, 0.25], "series": ["b", "b", "a"]})


def test_pictures_are_points_by_series_of_the_tasks_that_they_name(tmp_path: Path) -> None:
    picture = Picture("P1", "Rows", counted, (TASKS[0].key,), "x", "y")
    planner = plan(replace(toy(), pictures=(picture,)), tmp_path / "store")
    first, second = document(planner, exploratory=False)["tasks"]
    rows = len(TASKS[0].open(planner.prepared[TASKS[0].key].folder).x)
    assert first["pictures"] == {"P1": {"b": [[1.0, float(rows)], [2.0, 0.5]], "a": [[1.0, 0.25]]}}
    assert list(first["pictures"]["P1"]) == ["b", "a"]
    assert second["pictures"] == {}
