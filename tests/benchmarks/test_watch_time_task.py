"""The watch-time benchmark task: what it declares, shows and measures; and the week that a simulated one plays under a score."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.exercise import holds_any, reachable
from craftbench.benchmarks.multitask_task import MultiTaskSpec
from craftbench.benchmarks.simulated_week import week_of
from craftbench.benchmarks.watch_time_task import WatchTimeSpec, better_half
from craftbench.core.metrics.groups import user_group
from craftbench.core.metrics.watch_time import xauc, xgauc
from craftbench.core.task import WatchTime
from craftbench.datasets.closed_loop import oracle, random_score, run
from craftbench.datasets.dataset import write
from craftbench.datasets.multitask import read_hidden
from craftbench.datasets.multitask_rule import SIX
from craftbench.datasets.sim_video import generate
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, roc_auc_score, root_mean_squared_error

SIMULATED = WatchTimeSpec("sim-video-small", "simulated")
RECORDED = WatchTimeSpec("kuairand-pure", "real stand-in", 0.05)
OUTPUTS = ("seconds", "score", "fused")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("simulated")
    (home / "task").mkdir()
    SIMULATED.prepare(home / "data", home / "task")
    return home / "task"


@pytest.fixture(scope="module")
def views(folder):
    return {view.name: view for view in SIMULATED.views(folder)}


def _guesses(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.exponential(20, rows).astype(np.float32) for name in OUTPUTS}


def _measured(folder, view, predictions, spec=SIMULATED):
    return {each.metric: each for each in spec.measure(folder, view, predictions)}


# What it declares and shows


def test_declaration():
    assert (SIMULATED.key, RECORDED.key) == ("sim-video-small/watch", "kuairand-pure/watch-5%")
    assert replace(RECORDED, share=0.01).key == "kuairand-pure/watch-1%"
    assert RECORDED.labels == {"dataset": "kuairand-pure", "share": "5"}  # the x of the learning curves


def test_the_task_a_runner_is_given(folder, views):
    task = SIMULATED.open(folder)
    assert isinstance(task, WatchTime)
    assert task.feedback == ("like", "follow", "forward")
    assert list(views) == ["valid", "test", "loop"]
    for view in views.values():
        assert set(view.columns) == {*task.fields, *task.dense, "user", "seconds_long"}
        assert {len(column) for column in view.columns.values()} == {view.rows}
        assert view.columns["seconds_long"].dtype == np.float32
    for name, values in task.valid.inputs.items():
        assert np.array_equal(views["valid"].columns[name], values)
        assert all(view.columns[name].dtype == values.dtype for view in views.values())
    assert np.array_equal(views["valid"].columns["seconds_long"], task.valid.duration)
    assert (SIMULATED.keeps("test"), SIMULATED.keeps("loop")) == (True, False)


def test_no_answer_is_within_reach(folder, views):
    hidden = [pd.read_parquet(path) for path in (folder / "hidden").glob("*.parquet")]
    assert {"watch_time", "satisfied", "ev"} <= set(hidden[0].columns)
    given = [SIMULATED.open(folder), *views.values()]
    assert not holds_any(hidden, views.values(), reachable(*given))
    assert holds_any(hidden, views.values(), reachable(*given, {"kept": hidden[0]["watch_time"].to_numpy()}))


def test_the_inputs_are_those_of_the_multi_task_task(folder, views, tmp_path):
    beside = MultiTaskSpec("sim-video-small", "simulated", SIX)
    (tmp_path / "task").mkdir()
    beside.prepare(tmp_path / "data", tmp_path / "task")
    for view in beside.views(tmp_path / "task"):
        for name, values in view.columns.items():
            assert np.array_equal(values[-views[view.name].rows :], views[view.name].columns[name])


def test_shares_are_prepared_apart(tmp_path):
    specs = [replace(SIMULATED, share=share, scope=scope) for share in (1.0, 0.25) for scope in ("a", "b")]
    keys = [spec.cache_key(tmp_path) for spec in specs]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    (tmp_path / "task").mkdir()
    specs[2].prepare(tmp_path, tmp_path / "task")
    few, facts = specs[2].open(tmp_path / "task"), specs[2].facts(tmp_path / "task")
    assert len(few.train) == facts["train"] + facts["meta"] == np.ceil(0.25 * (facts["samples"] - facts["valid"] - facts["test"]))


def test_a_recorded_log_has_no_week_and_its_random_log_is_measured_as_test_is(tmp_path):
    small = generate("sim-video-small")
    log = small.impressions.assign(tab=np.int8(1))
    free = log.sample(2000, random_state=3).assign(user_id=lambda rows: rows["user_id"] % 50)
    spec = replace(RECORDED, share=1.0)
    write(replace(small, name="kuairand-pure", tables={"impressions": log, "random": free}), tmp_path / "data")
    (tmp_path / "task").mkdir()
    spec.prepare(tmp_path / "data", tmp_path / "task")
    views = {view.name: view for view in spec.views(tmp_path / "task")}
    assert list(views) == ["valid", "test", "random"]
    predictions = _guesses(views["random"].rows)
    found, test = (_measured(tmp_path / "task", views[name], _guesses(views[name].rows), spec) for name in ("random", "test"))
    late = free[free["date"] >= 20220506]
    assert found["mae"].value == pytest.approx(mean_absolute_error(late["watch_time"], predictions["seconds"]))
    assert found["xgauc"].value == pytest.approx(xgauc(predictions["seconds"], late["watch_time"], late["user_id"]))
    assert set(found) == set(test)
    assert "top_satisfied" not in found
    assert {each.view for each in found.values()} == {"random"}
    facts = spec.facts(tmp_path / "task")
    assert facts["random_log"] == len(late)
    assert not any(name.startswith("oracle") for name in facts)


# What is measured on valid and test


def test_the_objective_reads_nothing_hidden(folder, views, tmp_path):
    shutil.copytree(folder / "open", tmp_path / "open")
    for name in ("manifest.json", "facts.json"):
        shutil.copy(folder / name, tmp_path / name)
    predictions, valid = _guesses(views["valid"].rows), SIMULATED.open(folder).valid
    (found,) = SIMULATED.measure(tmp_path, views["valid"], predictions)
    expected = xgauc(predictions["seconds"], valid.watch_time, views["valid"].columns["user"])
    assert (found.view, found.metric, found.value) == ("valid", "xgauc", expected)
    assert [view.rows for view in SIMULATED.views(tmp_path)] == [view.rows for view in views.values()]


def test_test_by_other_means_with_everybody_and_without_a_group(folder, views):
    view = views["test"]
    predictions, user = _guesses(view.rows), view.columns["user"]
    found, group = _measured(folder, view, predictions), user_group(view.columns["user"], 40)
    watch, duration = read_hidden(folder).watch_time, view.columns["seconds_long"]
    match = read_hidden(folder).label["match"]
    median = np.quantile(SIMULATED.open(folder).train.watch_time, 0.5, method="inverted_cdf")
    seconds, score = (predictions[name].astype(float) for name in ("seconds", "score"))
    ratio = np.abs(seconds - watch) / np.maximum(watch, 1)

    def expected(rows):
        of = seconds[rows], watch[rows]
        return {
            "xauc": xauc(*of),
            "xgauc": xgauc(*of, user[rows]),
            "score_xauc": xauc(score[rows], watch[rows]),
            "score_xgauc": xgauc(score[rows], watch[rows], user[rows]),
            "mae": mean_absolute_error(*of),
            "rmse": root_mean_squared_error(*of),
            "mape": ratio[rows].mean(),
            "mape_median": np.median(ratio[rows]),
            "mape_3s": ratio[rows & (watch >= 3)].mean(),
            "calibration": of[0].mean() / of[1].mean(dtype=float),
            "auc_ev": roc_auc_score((watch >= median)[rows], of[0]),
            "auc_cv": roc_auc_score((watch >= duration)[rows], of[0]),
            "score_match": abs(spearmanr(score[rows], match[rows]).statistic),
            "score_duration": abs(spearmanr(score[rows], duration[rows]).statistic),
        }

    whole, without = expected(np.ones(view.rows, dtype=bool)), expected(group != 17)
    assert set(found) == {*whole, "top_watch_time", "top_finished", "top_satisfied"}
    for name, value in whole.items():
        assert found[name].value == pytest.approx(value, rel=1e-6), name
        assert found[name].leave_out[17] == pytest.approx(without[name], rel=1e-6), name
    assert found["auc_cv"].positives == (watch >= duration).sum()
    assert found["xauc"].users == len(np.unique(user)) > found["xgauc"].users
    assert found["mape_3s"].positives == (watch >= 3).sum() < found["mape"].positives == view.rows


def test_the_better_half_of_each_user_by_hand(folder, views):
    view = views["test"]
    predictions = _guesses(view.rows, 4)
    predictions["fused"] = np.round(predictions["fused"])  # ties
    found, hidden = _measured(folder, view, predictions), read_hidden(folder)
    table = pd.DataFrame({"user": view.columns["user"], "score": predictions["fused"], "watch": hidden.watch_time.astype(float)})
    table["finished"] = hidden.watch_time >= view.columns["seconds_long"]
    table["satisfied"] = hidden.label["satisfied"]
    total, rows = np.zeros(3), 0
    for _, own in table.groupby("user"):
        half = len(own) // 2
        if len(own) < 4:
            continue
        edge = own["score"].nlargest(half).iloc[-1]
        sure, tied = own[own["score"] > edge], own[own["score"] == edge]
        columns = ["watch", "finished", "satisfied"]
        total += sure[columns].sum().to_numpy(float) + (half - len(sure)) * tied[columns].mean().to_numpy(float)
        rows += half
    names = ("top_watch_time", "top_finished", "top_satisfied")
    assert [found[name].value for name in names] == pytest.approx(total / rows)
    assert found["top_finished"].positives == rows
    assert found["top_finished"].users == (table["user"].value_counts() >= 4).sum()


def test_a_better_half_does_not_depend_on_the_order_of_rows():
    score, user = np.array([5, 1, 1, 1, 9, 2, 2, 3], dtype=np.float32), np.array([7, 7, 7, 7, 8, 8, 8, 7])
    expected = np.array([1, 0, 0, 0, 0, 0, 0, 1])  # user 7: 5 rows, the best two; user 8: three rows, too few
    assert better_half(score, user).tolist() == expected.tolist()
    constant = better_half(np.zeros(8, dtype=np.float32), user)
    assert constant.tolist() == [0.4, 0.4, 0.4, 0.4, 0, 0, 0, 0.4]
    order = np.random.default_rng(0).permutation(8)
    assert better_half(score[order], user[order]).tolist() == expected[order].tolist()


def test_knowing_the_watch_time_is_best(folder, views):
    view, hidden = views["test"], read_hidden(folder)
    found = _measured(folder, view, dict.fromkeys(OUTPUTS, hidden.watch_time))
    assert {found[name].value for name in ("xauc", "xgauc", "score_xauc", "auc_ev", "calibration")} == {1}
    assert {found[name].value for name in ("mae", "rmse", "mape", "mape_median", "mape_3s")} == {0}
    guessed = _measured(folder, view, _guesses(view.rows))
    assert found["top_watch_time"].value > 1.5 * guessed["top_watch_time"].value


# The week


def test_the_oracles_order_plays_as_the_oracle_and_the_random_one_as_random(folder, views):
    week, facts = week_of("sim-video-small"), SIMULATED.facts(folder)
    for policy, score, place in (("oracle", oracle(week.world, week.days), 1.0), ("random", random_score(week.days), 0.0)):
        found = _measured(folder, views["loop"], {"fused": score})
        assert found["to_oracle"].value == pytest.approx(place, abs=1e-12)
        for name in ("watch_time", "session_time", "views", "satisfied", "retained"):
            assert found[name].value == facts[f"{policy}_{name}"]


def test_a_week_by_hand(folder, views):
    week = week_of("sim-video-small")
    rows = week.days.rows
    assert views["loop"].columns["user"].tolist() == rows["user_id"].tolist()
    assert views["loop"].columns["seconds_long"].tolist() == rows["duration"].tolist()
    score = _guesses(len(rows), 5)["fused"]
    found = _measured(folder, views["loop"], {"fused": score})
    own, blind, best = (
        run(week.world, week.days, each) for each in (score, random_score(week.days), oracle(week.world, week.days))
    )
    users, group = week.days.users, user_group(week.days.users, 40)
    for kept, value in ((np.ones(len(users), bool), lambda each: each.value), (group != 7, lambda each: each.leave_out[7])):
        for name in ("watch_time", "views", "satisfied", "retained"):
            assert value(found[name]) == pytest.approx(getattr(own, name)[kept].mean(dtype=float))
        visits = own.visits[kept].sum(dtype=float)
        assert value(found["session_time"]) == pytest.approx(own.watch_time[kept].sum(dtype=float) / visits)
        gain = [(each.satisfied[kept].mean(dtype=float) - blind.satisfied[kept].mean(dtype=float)) for each in (own, best)]
        assert value(found["to_oracle"]) == pytest.approx(gain[0] / gain[1])
    assert (found["watch_time"].positives, found["session_time"].positives) == (own.views.sum(), own.visits.sum())
    assert {(each.view, each.users) for each in found.values()} == {("loop", len(users))}
