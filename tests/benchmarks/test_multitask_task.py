"""The multi-task benchmark task: what it declares, shows and measures; and the week that a simulated one plays."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.exercise import holds_any, reachable
from craftbench.benchmarks.multitask_task import MultiTaskSpec
from craftbench.benchmarks.simulated_week import TUNING_DAYS, week_of
from craftbench.core.metrics.groups import user_group
from craftbench.core.task import MultiTask
from craftbench.datasets.closed_loop import fuse, fusion_grid, log_product, oracle, random_score, run
from craftbench.datasets.dataset import write
from craftbench.datasets.multitask import read_hidden
from craftbench.datasets.multitask_rule import SIX
from craftbench.datasets.sim_video import generate
from craftbench.datasets.sim_video_behaviour import behaviour
from scipy.special import expit
from sklearn.metrics import roc_auc_score

SIMULATED = MultiTaskSpec("sim-video-small", "simulated", SIX)
RECORDED = MultiTaskSpec("kuairand-pure", "real stand-in", ("lv", "like"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("simulated")
    (home / "task").mkdir()
    SIMULATED.prepare(home / "data", home / "task")
    return home / "task"


@pytest.fixture(scope="module")
def views(folder):
    return {view.name: view for view in SIMULATED.views(folder)}


@pytest.fixture(scope="module")
def week():
    return week_of("sim-video-small")


def _guesses(rows, seed=0, tasks=SIX):
    rng = np.random.default_rng(seed)
    return {task: rng.random(rows, dtype=np.float32) for task in tasks}


def _measured(folder, view, predictions):
    return {each.metric: each for each in SIMULATED.measure(folder, view, predictions)}


# What it declares and shows


def test_declaration():
    assert (SIMULATED.key, RECORDED.key) == ("sim-video-small/6-tasks", "kuairand-pure/2-tasks")
    assert SIMULATED.labels["predicts"] == "EV, LV, CV, Like, Follow, Forward"
    assert RECORDED.labels["tasks"] == "2"  # the x of the figure over numbers of tasks


def test_the_task_a_runner_is_given(folder, views):
    task = SIMULATED.open(folder)
    assert isinstance(task, MultiTask)
    assert task.tasks == SIX
    assert list(views) == ["valid", "test", "loop"]
    for view in views.values():
        assert set(view.columns) == {*task.fields, *task.dense, "user"}
        assert {len(column) for column in view.columns.values()} == {view.rows}
    for name, values in task.valid.inputs.items():
        assert np.array_equal(views["valid"].columns[name], values)
        assert all(view.columns[name].dtype == values.dtype for view in views.values())


def test_a_recorded_log_has_no_week(tmp_path):
    small = generate("sim-video-small")
    log = small.impressions.assign(tab=np.int8(1))
    write(replace(small, name="kuairand-pure", tables={"impressions": log}), tmp_path / "data")
    (tmp_path / "task").mkdir()
    RECORDED.prepare(tmp_path / "data", tmp_path / "task")
    assert [view.name for view in RECORDED.views(tmp_path / "task")] == ["valid", "test"]
    assert not any(name.startswith(("random", "oracle")) for name in RECORDED.facts(tmp_path / "task"))


def test_tasks_on_the_same_rows_share_what_is_prepared_only_if_they_predict_the_same(tmp_path):
    keys = [replace(SIMULATED, tasks=tasks, scope=scope).cache_key(tmp_path) for tasks in (SIX, SIX[:2]) for scope in ("a", "b")]
    assert keys[0] == keys[1] != keys[2] == keys[3]


# AUC and GAUC


def test_auc_and_gauc_against_sklearn_with_everybody_and_without_each_group(folder, views):
    view, label = views["test"], read_hidden(folder).label
    predictions, user = _guesses(view.rows), views["test"].columns["user"]
    found, group = _measured(folder, view, predictions), user_group(user, 40)
    assert set(found) == {f"{metric}_{task}" for metric in ("auc", "gauc") for task in SIX}

    def gauc(task, kept):
        parts = [kept & (user == each) for each in np.unique(user[kept])]
        both = [part for part in parts if 0 < label[task][part].sum() < part.sum()]
        each = [roc_auc_score(label[task][part], predictions[task][part]) for part in both]
        return np.average(each, weights=[part.sum() for part in both]), len(both)

    everybody = np.ones(view.rows, dtype=bool)
    for task in ("ev", "forward"):
        auc, within = found[f"auc_{task}"], found[f"gauc_{task}"]
        assert auc.value == pytest.approx(roc_auc_score(label[task], predictions[task]))
        assert (within.value, within.users) == (pytest.approx(gauc(task, everybody)[0]), gauc(task, everybody)[1])
        assert auc.users == len(np.unique(user)) > within.users
        assert auc.positives == within.positives == label[task].sum()
        for left in (0, 17):
            kept = group != left
            assert auc.leave_out[left] == pytest.approx(roc_auc_score(label[task][kept], predictions[task][kept]))
            assert within.leave_out[left] == pytest.approx(gauc(task, kept)[0])


def test_the_objective_is_the_mean_of_the_tasks_and_reads_nothing_hidden(folder, views, tmp_path):
    shutil.copytree(folder / "open", tmp_path / "open")
    for name in ("manifest.json", "facts.json"):
        shutil.copy(folder / name, tmp_path / name)
    predictions, label = _guesses(views["valid"].rows), SIMULATED.open(folder).valid.label
    (found,) = SIMULATED.measure(tmp_path, views["valid"], predictions)
    expected = np.mean([roc_auc_score(label[task], predictions[task]) for task in SIX])
    assert (found.view, found.metric, found.value) == ("valid", "auc", pytest.approx(expected))
    assert [view.rows for view in SIMULATED.views(tmp_path)] == [view.rows for view in views.values()]


# The week


def test_the_week_is_shown_without_anything_that_happens_in_it(folder, views, week):
    """Neither a runner's task nor its views hold what is true of the candidates, in any dress."""
    rows, view = week.rows, views["loop"]
    assert (view.columns["user"] == rows["user_id"]).all()
    assert set(week.rows) == {"user_id", "item_id", "time", "date", "duration", "day"}
    conduct = behaviour(week.world)
    truth = conduct.truth(rows["user_id"].to_numpy(), rows["item_id"].to_numpy())
    watch = conduct.expected_watch(truth.view, rows["duration"].to_numpy())
    secret = pd.DataFrame({**vars(truth), "watch": watch})
    given = [SIMULATED.open(folder), *views.values()]
    assert not holds_any([secret], views.values(), reachable(*given))
    assert holds_any([secret], views.values(), reachable(*given, {"kept": secret["match"].to_numpy()}))
    visible = [column for name, column in view.columns.items() if name != "user"]
    assert max(abs(np.corrcoef(column, secret[name])[0, 1]) for column in visible for name in secret) < 0.6


def test_the_oracles_order_plays_as_the_oracle_and_the_random_one_as_random(folder, views, week):
    """All tasks with one score: whatever the weights, the fused order is that score's."""
    facts = SIMULATED.facts(folder)
    for policy, score, place in (("oracle", oracle, 1.0), ("random", lambda _, each: 0.01 + 0.98 * random_score(each), 0.0)):
        parts = [score(week.world, each) for each in (week.tuning, week.days)]
        found = _measured(folder, views["loop"], dict.fromkeys(SIX, np.concatenate(parts)))
        assert found["to_oracle"].value == pytest.approx(place, abs=1e-12)
        np.testing.assert_allclose(found["to_oracle"].leave_out, place, atol=1e-12)
        for name in ("watch_time", "views", "shares", "retained", "satisfied"):
            assert found[name].value == facts[f"{policy}_{name}"]
    assert facts["oracle_satisfied"] > 1.5 * facts["random_satisfied"]


def test_a_week_is_a_function_of_the_predictions_and_better_ones_bring_more(folder, views, week):
    rows = week.rows
    truth = behaviour(week.world).truth(rows["user_id"].to_numpy(), rows["item_id"].to_numpy())
    wish, liking = expit(truth.view), expit(truth.match - 2)
    good = {task: (wish if task in SIX[:3] else liking).astype(np.float32) for task in SIX}
    first, again = (_measured(folder, views["loop"], good) for _ in range(2))
    assert [(each.value, *np.ravel(each.leave_out)) for each in first.values()] == [
        (each.value, *np.ravel(each.leave_out)) for each in again.values()
    ]
    for seed in range(3):
        blind = _measured(folder, views["loop"], _guesses(len(rows), seed))
        for name in ("watch_time", "views", "shares", "satisfied", "to_oracle"):
            assert first[name].value > blind[name].value, name
        assert abs(blind["to_oracle"].value) < 0.3 < first["to_oracle"].value < 1


def test_a_week_by_hand(folder, views, week):
    """The tuned weights, the means and their leave-outs, each anew from the closed loop itself."""
    predictions = _guesses(len(week.rows), 5)
    found = _measured(folder, views["loop"], predictions)
    table, tuning = np.stack(list(predictions.values()), axis=1), len(week.tuning.rows)
    grid = fusion_grid(len(SIX))
    brought = [log_product(run(week.world, week.tuning, fuse(table[:tuning], weights))) for weights in grid]
    best = np.mean([weights for _, weights in sorted(zip(brought, grid.tolist(), strict=True))[-8:]], axis=0)
    assert [found[f"weight_{task}"].value for task in SIX] == pytest.approx(best)
    assert week.tuning.days == TUNING_DAYS
    assert not week.tuning.rows["item_id"].head(200).equals(week.days.rows["item_id"].head(200))

    own = run(week.world, week.days, fuse(table[tuning:], best))
    random, most = (run(week.world, week.days, score(week)) for score in (_random, _oracle))
    users, group = week.days.users, user_group(week.days.users, 40)
    carriers = {"watch_time": own.views, "views": own.views, "shares": own.shares, "retained": own.retained}
    for kept, value in ((np.ones(len(users), bool), lambda each: each.value), (group != 7, lambda each: each.leave_out[7])):
        for name in ("watch_time", "views", "shares", "retained", "satisfied"):
            assert value(found[name]) == pytest.approx(getattr(own, name)[kept].mean(dtype=float))
            assert found[name].positives == carriers.get(name, own.satisfied).sum()
        gains = [(each.satisfied[kept].mean(dtype=float) - random.satisfied[kept].mean(dtype=float)) for each in (own, most)]
        assert value(found["to_oracle"]) == pytest.approx(gains[0] / gains[1])
    assert {each.users for name, each in found.items() if not name.startswith("weight")} == {len(users)}
    assert {each.view for each in found.values()} == {"loop"}


def _random(week):
    return random_score(week.days)


def _oracle(week):
    return oracle(week.world, week.days)
