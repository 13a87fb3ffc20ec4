"""A watch-time task's tables: the question, shares of train, the random log as a second test part, a simulated one's truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import multitask
from craftbench.datasets.dataset import Provenance, assemble
from craftbench.datasets.multitask_rule import rule_of
from craftbench.datasets.sim_video import generate
from craftbench.datasets.watch_time import answers, fresh_view, held_out_parts, lower_quantile, prepare, task_of, view_of

NOTES = (
    "dropped 2 exact duplicates of another row",
    "dropped 30 rows of unknown duration (x 0)",
    "random log: dropped 5 rows of unknown duration (x 0)",
)


@pytest.fixture(scope="module")
def simulated():
    return generate("sim-video-small")


@pytest.fixture(scope="module")
def recorded(simulated):
    """A log like KuaiRand's, in two scenes, with a random log beside it."""
    rng = np.random.default_rng(0)
    log = simulated.impressions
    log = log.assign(tab=rng.choice([0, 1, 1, 1], len(log)).astype(np.int8))
    free = log.sample(900, random_state=1).assign(watch_time=lambda rows: rows["watch_time"] + np.float32(0.5))
    provenance = Provenance("Tiny", "made here", "", "", "", "whole", {}, {}, NOTES)
    return assemble("kuairand-pure", {"impressions": log, "random": free.reset_index(drop=True)}, provenance)


@pytest.fixture(scope="module")
def tables(simulated):
    return prepare(simulated)


@pytest.fixture(scope="module")
def both(recorded):
    return prepare(recorded)


def test_the_question_is_another_one_the_inputs_are_those_of_the_multi_task_task(simulated, tables):
    task, beside = task_of(tables), multitask.prepare(simulated)
    assert task.name == "sim-video-small/watch"
    assert task.feedback == tuple(task.train.label) == ("like", "follow", "forward")
    assert {"user_id", "item_id", "duration_bucket", "hour"} <= set(task.fields)
    assert {f"{side}_rate_{of}" for side in ("user", "item") for of in ("ev", "lv", "cv", *task.feedback)} == set(task.dense)
    for part, rows in (("train", task.train), ("valid", task.valid)):
        log = simulated.impressions.iloc[tables.shown[part].row]
        for ours, theirs in ((rows.watch_time, log["watch_time"]), (rows.duration, log["duration"])):
            assert ours.dtype == np.float32
            assert ours.tolist() == theirs.tolist()
        for name, values in getattr(beside, part).inputs.items():
            assert np.array_equal(rows.inputs[name], values)
        assert rows.label["like"].tolist() == log["like"].tolist()
    assert not np.array_equal(task.train.watch_time, np.minimum(task.train.watch_time, task.train.duration)), "it is uncut"


def test_a_view_has_the_exact_duration_and_no_answer(simulated, tables):
    view = view_of(tables, "test")
    assert set(view.columns) == {*tables.fields, *tables.dense, "user", "seconds_long"}
    assert view.columns["seconds_long"].dtype == np.float32
    log = simulated.impressions.iloc[tables.shown["test"].row]
    assert view.columns["seconds_long"].tolist() == log["duration"].tolist()
    assert view.columns["user"].tolist() == log["user_id"].tolist()
    assert held_out_parts(tables) == ("test",)


def test_what_satisfied_is_hidden_with_the_answers(simulated, tables, tmp_path):
    fingerprint = multitask.write(tables, tmp_path / "task")
    again, hidden = multitask.read_open(tmp_path / "task"), multitask.read_hidden(tmp_path / "task")
    assert fingerprint == again.fingerprint
    found = answers(again, hidden, "test")
    row = tables.shown["test"].row
    assert found.watch_time.tolist() == simulated.impressions["watch_time"].to_numpy()[row].tolist()
    assert found.satisfied is not None
    assert found.satisfied.tolist() == simulated.tables["truth"]["satisfied"].to_numpy()[row].tolist()
    task, written = task_of(again), task_of(tables)
    assert np.array_equal(task.train.watch_time, written.train.watch_time)
    assert (task.fields, task.dense, task.feedback) == (written.fields, written.dense, written.feedback)
    columns = [name for path in (tmp_path / "task" / "open").glob("*.parquet") for name in pd.read_parquet(path)]
    assert "satisfied" not in columns


# Shares


def test_shares_are_nested_and_leave_valid_and_test_alone(recorded, both):
    kept = {share: prepare(recorded, share) for share in (0.25, 0.5)}
    rows = {share: set(each.shown["train"].row.tolist()) for share, each in kept.items()} | {1.0: set(both.shown["train"].row)}
    assert rows[0.25] < rows[0.5] < rows[1.0]
    for share, each in kept.items():
        assert len(rows[share]) == np.ceil(share * len(rows[1.0]))
        assert each.name == f"kuairand-pure/watch-{100 * share:g}%"
        for part in ("valid", "test"):
            assert np.array_equal(each.shown[part].row, both.shown[part].row)
        watch = recorded.impressions["watch_time"].to_numpy()[each.shown["train"].row]
        assert np.array_equal(task_of(each).train.watch_time, watch)
        assert each.facts["samples"] == both.facts["samples"]
        assert each.facts["median_watch_time"] == both.facts["median_watch_time"]


def test_a_share_knows_nothing_of_the_rows_left_out(recorded):
    small = prepare(recorded, 0.25)
    left_out = np.setdiff1d(np.arange(recorded.rows), np.concatenate([each.row for each in small.shown.values()]))
    other = recorded.impressions.copy()
    train = left_out[other["date"].to_numpy()[left_out] < 20220504]
    other.loc[train, ["watch_time", "duration"]] = np.float32(500)
    other.loc[train, "like"] = 1 - other.loc[train, "like"]
    again = prepare(replace(recorded, tables={**recorded.tables, "impressions": other}), 0.25)
    assert small.fields == again.fields
    for name, values in small.train.inputs.items():
        assert np.array_equal(values, again.train.inputs[name]), name
    for name, values in small.test.items():
        assert np.array_equal(values, again.test[name]), name


def test_days_do_not_move_with_a_share(simulated):
    """Where the split is by sevenths of the days in the log, a small share may lose whole days."""
    whole, small = prepare(simulated), prepare(simulated, 0.2)
    assert small.facts["rule"] == whole.facts["rule"]
    assert np.array_equal(small.shown["valid"].row, whole.shown["valid"].row)


# The random log


def test_the_random_log_is_a_second_test_part(recorded, both):
    assert held_out_parts(both) == ("test", "random")
    free = recorded.tables["random"]
    expected = free[(free["tab"] == 1) & (free["date"] >= 20220506)]
    view = view_of(both, "random")
    assert view.rows == both.facts["random_log"] == len(expected) > 0
    assert view.columns["user"].tolist() == expected["user_id"].tolist()
    assert view.columns["seconds_long"].tolist() == expected["duration"].tolist()
    assert both.hidden is not None
    found = answers(both, both.hidden, "random")
    assert found.watch_time.tolist() == expected["watch_time"].tolist()
    assert found.satisfied is None


def test_the_random_log_changes_nothing_else(recorded, both):
    alone = prepare(replace(recorded, tables={"impressions": recorded.impressions}))
    assert held_out_parts(alone) == ("test",)
    assert alone.fields == both.fields
    for part in ("train", "valid", "test"):
        first, second = view_of(alone, part), view_of(both, part)
        for name, values in first.columns.items():
            assert np.array_equal(values, second.columns[name]), (part, name)
    assert alone.hidden is not None
    assert both.hidden is not None
    assert np.array_equal(answers(alone, alone.hidden, "test").watch_time, answers(both, both.hidden, "test").watch_time)
    assert {**alone.facts, "parts": 0} == {**both.facts, "parts": 0, "random_log": 0}


# Facts, and rows of no log


def test_facts_count_the_log_in_its_scene(recorded, both):
    log = recorded.impressions[recorded.impressions["tab"] == 1]
    train = log[log["date"] < 20220504]
    facts = both.facts
    assert facts["samples"] == len(log)
    assert (facts["users"], facts["items"]) == (log["user_id"].nunique(), log["item_id"].nunique())
    assert facts["actions_per_user_day"] == pytest.approx(log.groupby(["user_id", "date"]).size().mean())
    history = train.groupby("user_id").size()
    assert (facts["history_mean"], facts["history_max"]) == (pytest.approx(history.mean()), history.max())
    assert facts["dropped_in_reading"] == 32
    assert facts["dropped_other_scenes"] == recorded.rows - len(log)
    assert facts["median_watch_time"] == train["watch_time"].quantile(0.5, interpolation="lower")
    assert facts["test"] == (log["date"] >= 20220506).sum()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.2, 1.0), (0.21, 2.0), (0.5, 3.0), (1.0, 9.0)])
def test_the_lower_quantile_is_an_observed_value(share, expected):
    assert lower_quantile(np.array([9.0, 1.0, 4.0, 2.0, 3.0]), share) == expected


def test_fresh_rows_are_encoded_as_test_rows_are(simulated):
    fresh = simulated.impressions.tail(50)
    tables = prepare(simulated, fresh={"mine": fresh})
    view, test = fresh_view(tables.fresh["mine"], "mine"), view_of(tables, "test")
    for name, values in test.columns.items():
        assert np.array_equal(values[-50:], view.columns[name]), name


def test_bad_input(simulated, recorded):
    for share in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"cannot be kept; give one above 0"):
            prepare(simulated, share)
    with pytest.raises(UsageError, match=r"has no positive in train"):
        prepare(simulated, 0.0005)
    with pytest.raises(UsageError, match="column watch_time: -1"):
        prepare(replace(recorded, tables={"impressions": recorded.impressions.assign(watch_time=np.float32(-1))}))
    with pytest.raises(UsageError, match="has no column 'tab'"):
        prepare(replace(recorded, tables={"impressions": recorded.impressions.drop(columns="tab")}), rule=rule_of(recorded))
