"""Every row of every paper keeps the contract, and two rows with other parameters are not the same row."""

import json
from dataclasses import replace

import pytest
from craftbench.benchmarks.catalogue import PAPERS, declared
from craftbench.benchmarks.exercise import exercises, same
from craftbench.core.context import RunContext
from craftbench.core.task import Feed, MultiTask, NextItem, UnlearningTask, WatchTime
from craftbench.testing import check_runner

# Promises do not depend on how long is trained, nor on how large a network.
SHORT = {
    UnlearningTask: {"shards": 3, "max_epochs": 15, "shard_epochs": 15},
    WatchTime: {"dim": 4, "hidden": 16, "batch_size": 1024, "max_epochs": 2, "patience": 2, "duration_bins": 10, "min_rows": 100},
    Feed: {
        "dim": 4,
        "hidden": 16,
        "history": 10,
        "batch_size": 1024,
        "max_epochs": 2,
        "patience": 2,
        "strict": False,
        "rules": 3,
        "holdout_users": 8,
        "holdout_rows": 20,
    },
    NextItem: {
        "name": "tiny",
        "template": "plain",
        "layers": 1,
        "width": 16,
        "vocabulary": 300,
        "train_rows": 100,
        "epochs": 0.5,
        "dim": 8,
        "max_epochs": 2,
        "patience": 1,
        "words": 8,
        "valid_rows": 50,
        "lr": 0.01,
        "lam": 0.1,
        "beta": 0.5,
    },
    MultiTask: {"dim": 4, "hidden": 16, "batch_size": 1024, "init": "fan_in", "dropout": 0.1, "max_epochs": 2, "patience": 2},
}


# Every runner here


def _variants():
    """Each distinct (runner, pinned) of every row of every paper, made short, under the key of its first row."""
    found = {}
    for paper in PAPERS:
        for profile in declared(paper).profiles.values():
            for row in (row for rows in profile.rows.values() for row in rows):
                short = replace(row, pinned={**row.start, **_short(row)})
                found.setdefault((row.runner, json.dumps(dict(short.pinned), sort_keys=True)), short)
    return list(found.values())


def _short(row):
    known = row.runner.Params.model_fields
    return {**row.pinned, **{name: value for name, value in SHORT[row.runner.task].items() if name in known}}


@pytest.mark.parametrize("row", _variants(), ids=lambda row: row.key)
def test_every_row_here_keeps_the_contract(row):
    results = check_runner(row.runner, row.pinned)
    assert {each.status for each in results} == {"ok"}, [each for each in results if each.status != "ok"]


def test_every_paper_has_tasks_to_try_a_runner_on():
    for paper in PAPERS:
        assert exercises(declared(paper).task_kind())


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
    rows = {row.key: row for each in listed for row in each if row.key != "ifru_sequence"}  # there is one request
    base = _params(rows["original"], {}).model_dump()
    params = {key: _params(row, base) for key, row in rows.items()}
    found = {key: _predictions(row, params[key], exercise) for key, row in rows.items()}
    pairs = [(a, b) for a in rows for b in rows if a < b and (rows[a].runner, params[a]) != (rows[b].runner, params[b])]
    assert [(a, b) for a, b in pairs if same(found[a], found[b])] == []


def _longer(row):
    """DWA has equal weights for two epochs."""
    short = _short(row)
    return {**short, "max_epochs": 4} if "max_epochs" in short else short


@pytest.mark.slow
def test_balancers_with_other_parameters_predict_otherwise():
    (exercise,) = exercises(MultiTask)
    rows = {row.key: row for rows in declared("gradcraft").profiles["standard"].rows.values() for row in rows}
    params = {key: row.runner.Params.resolve(_longer(row)) for key, row in rows.items()}
    unseen = {key for key, each in params.items() if 0 < getattr(each, "eps", 0) < 1e-6}  # below what float32 gradients resolve
    rows = {key: row for key, row in rows.items() if key not in unseen or key == "gradcraft"}
    rows.pop("gradcraft_eps0")
    found = {key: _predictions(row, params[key], exercise) for key, row in rows.items()}
    pairs = [(a, b) for a in rows for b in rows if a < b and (rows[a].runner, params[a]) != (rows[b].runner, params[b])]
    assert [(a, b) for a, b in pairs if same(found[a], found[b])] == []
