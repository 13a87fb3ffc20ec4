"""Every row of every paper keeps the contract, and two rows with other parameters are not the same row."""

import json

import pytest
from craftbench.benchmarks.catalogue import PAPERS, declared
from craftbench.benchmarks.exercise import OUTPUTS, exercises, same
from craftbench.core.context import RunContext
from craftbench.core.task import UnlearningTask
from craftbench.testing import check_runner

SHORT = {"shards": 3, "max_epochs": 15, "shard_epochs": 15}  # promises do not depend on how long is trained


# Every runner here


def _variants():
    """Each distinct (runner, pinned) of every row of every paper, under the key of its first row."""
    found = {}
    for paper in PAPERS:
        for profile in declared(paper).profiles.values():
            for row in (row for rows in profile.rows.values() for row in rows):
                found.setdefault((row.runner, json.dumps(dict(row.pinned), sort_keys=True)), row)
    return list(found.values())


@pytest.mark.parametrize("row", _variants(), ids=lambda row: row.key)
def test_every_row_here_keeps_the_contract(row):
    short = {name: value for name, value in SHORT.items() if name in row.runner.Params.model_fields}
    results = check_runner(row.runner, {**short, **row.pinned})
    assert {each.status for each in results} == {"ok"}, [each for each in results if each.status != "ok"]


def test_every_paper_has_tasks_to_try_a_runner_on():
    for paper in PAPERS:
        kind = declared(paper).task_kind()
        assert exercises(kind)
        assert kind in OUTPUTS


def _params(row, base):
    """A row's parameters where nothing was searched yet."""
    known = {name: value for name, value in base.items() if name in row.runner.Params.model_fields} if row.inherits else {}
    return row.runner.Params.resolve({**known, **row.pinned})


def _predictions(row, params, exercise):
    run = RunContext(1, parents=exercise.parents(row.runner.requires))
    fitted = row.runner().fit(exercise.spec.open(exercise.folder), params, run)
    return {view.name: dict(fitted.predict(view)) for view in exercise.spec.views(exercise.folder)}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_rows_with_other_parameters_predict_otherwise(backbone):
    exercise = next(each for each in exercises(UnlearningTask) if each.spec.backbone == backbone)
    listed = [rows for task, rows in declared("ifru").profiles["standard"].rows.items() if f"/{backbone}/" in task]
    rows = {row.key: row for each in listed for row in each}
    base = _params(rows["original"], {}).model_dump()
    params = {key: _params(row, base) for key, row in rows.items()}
    found = {key: _predictions(row, params[key], exercise) for key, row in rows.items()}
    pairs = [(a, b) for a in rows for b in rows if a < b and (rows[a].runner, params[a]) != (rows[b].runner, params[b])]
    assert [(a, b) for a, b in pairs if same(found[a], found[b])] == []
