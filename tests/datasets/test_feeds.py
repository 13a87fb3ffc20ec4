"""A feed's tables: what was played before each row, ids and rates from train alone, what is known of an item, who has a list."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import feeds, multitask
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.dataset import assemble
from craftbench.datasets.multitask_rule import rule_of
from craftbench.datasets.sim_video import generate

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def simulated():
    return generate("sim-video-small")


@pytest.fixture(scope="module")
def feed(simulated):
    return feeds.prepare(simulated, 3)


def _with_log(dataset, log):
    return assemble(dataset.name, {**dataset.tables, "impressions": log}, dataset.provenance)


def _items(feed):
    """The encoded item of each row of the log, by its place there."""
    tables = feed.tables
    inputs = dict(zip(PARTS, (tables.train.inputs, tables.valid.inputs, tables.test), strict=True))
    return {row: item for part in PARTS for row, item in zip(tables.shown[part].row, inputs[part]["item_id"], strict=True)}


def _expected(feed, log):
    """The history of each row of the log, play after play."""
    item, found, own = _items(feed), {}, {user: [] for user in log["user_id"]}
    rows = log.assign(row=range(len(log)), when=log["time"] if "time" in log else log["date"])
    for row, user in rows.sort_values(["when", "row"])[["row", "user_id"]].itertuples(index=False):
        last = own[user][-feeds.HISTORY :]
        found[row] = [0] * (feeds.HISTORY - len(last)) + last
        if item[row]:
            own[user].append(item[row])
    return found


def _check(feed, log):
    expected = _expected(feed, log)
    for part in PARTS:
        history = feed.histories.of(part)
        assert history.dtype == np.int32
        assert np.array_equal(history, [expected[row] for row in feed.tables.shown[part].row]), part


# Histories


def test_histories_play_after_play(simulated, feed):
    assert sum(len(feed.tables.shown[part].row) for part in PARTS) == simulated.rows
    assert not all(_items(feed).values()), "some videos are unseen in train"
    assert (feed.histories.of("test")[:, 0] > 0).any(), "some histories are full"
    _check(feed, simulated.impressions)


def test_equal_times_and_logs_without_times_are_in_the_order_of_the_log(simulated):
    log = simulated.impressions.sample(frac=1, random_state=0).reset_index(drop=True)
    coarse = log.assign(time=log["time"] // 43_200_000 * 43_200_000)
    for each in (log, coarse, log.drop(columns="time")):
        _check(feeds.prepare(_with_log(simulated, each), 3), each)


def test_a_row_that_repeats_is_behind_itself_only_once(simulated):
    """Two equal plays at the same time: the second has the first in its history, the first does not have itself."""
    log = simulated.impressions
    at = int(np.flatnonzero(log["date"] == log["date"].min())[0])
    twice = pd.concat([log.iloc[: at + 1], log.iloc[at:]], ignore_index=True)
    found = feeds.prepare(assemble("twice", {"impressions": twice}, simulated.provenance), 3)
    first, second = found.histories.of("train")[found.tables.shown["train"].row.searchsorted([at, at + 1])]
    assert first[-1] != second[-1] == _items(found)[at]
    assert np.array_equal(second[:-1], first[1:])


def test_histories_hold_ids_alone_and_nothing_that_comes_later(simulated, feed):
    log, late = simulated.impressions.copy(), simulated.impressions["date"].to_numpy() >= 20220505
    log.loc[late, ["watch_time"]] = np.float32(0.5)
    log.loc[late, ["like", "follow", "forward"]] = 0
    other = feeds.prepare(_with_log(simulated, log), 3)
    for part in PARTS:
        assert np.array_equal(feed.histories.of(part), other.histories.of(part))
    moved = simulated.impressions.copy()
    test = moved["date"].to_numpy() >= 20220507
    moved.loc[test, "item_id"] = moved.loc[test, "item_id"].to_numpy()[::-1]
    shuffled = feeds.prepare(_with_log(simulated, moved), 3)
    for part in ("train", "valid"):
        assert np.array_equal(feed.histories.of(part), shuffled.histories.of(part))
    assert not np.array_equal(feed.histories.of("test"), shuffled.histories.of("test"))


def test_after_the_log_all_of_it_is_known(simulated):
    log = simulated.impressions
    known, stranger = log["user_id"].to_numpy()[:3], np.setdiff1d(np.arange(400), log["user_id"])[0]
    fresh = log.tail(4).assign(user_id=[*known, stranger])
    feed = feeds.prepare(simulated, 3, fresh={"later": fresh})
    item = _items(feed)
    expected = [[item[row] for row in np.lexsort((log.index, log["time"])) if log["user_id"][row] == user] for user in known]
    history = feed.histories.of("later")
    for own, plays in zip(history, expected, strict=False):
        plays = [each for each in plays if each][-feeds.HISTORY :]
        assert own.tolist() == [0] * (feeds.HISTORY - len(plays)) + plays
    assert not history[3].any()


# The task


def test_parts_in_order_of_time(simulated, feed):
    task, log = feeds.task_of(feed), simulated.impressions
    assert (task.name, task.k) == ("sim-video-small/feed", 3)
    parts = {"train": (20220425, 20220502), "meta": (20220503, 20220504), "valid": (20220505, 20220506)}
    for part, days in parts.items():
        rows, given = log[log["date"].between(*days)], getattr(task, part)
        assert given.watch_time.tolist() == rows["watch_time"].tolist()
        assert given.duration.tolist() == rows["duration"].tolist()
        assert set(given.inputs) == {*task.fields, *task.dense, "history"}
        assert given.inputs["history"].shape == (len(rows), feeds.HISTORY)
        assert list(given.label) == ["like", "follow", "forward"]
        for name, values in given.label.items():
            assert values.tolist() == rows[name].tolist()
    view = feeds.view_of(feed, "test")
    assert set(view.columns) == {*task.fields, *task.dense, "history", "user", "seconds_long"}
    assert view.rows == len(log[log["date"] >= 20220507])
    assert np.array_equal(feeds.view_of(feed, "valid").columns["history"], task.valid.inputs["history"])


def test_inputs_know_nothing_of_meta(simulated, feed):
    log = simulated.impressions.copy()
    meta = log["date"].between(20220503, 20220504).to_numpy()
    log.loc[meta, "watch_time"] += np.float32(100)
    log.loc[meta, "like"] = 1 - log.loc[meta, "like"]
    log.loc[meta, "duration"] = np.float32(3)
    task, other = feeds.task_of(feed), feeds.task_of(feeds.prepare(_with_log(simulated, log), 3))
    assert task.fields == other.fields
    for part in ("train", "valid"):
        for name, values in getattr(task, part).inputs.items():
            assert np.array_equal(values, getattr(other, part).inputs[name]), name
    for name, values in task.item_fields.items():
        assert np.array_equal(values, other.item_fields[name])
    assert not np.array_equal(task.meta.watch_time, other.meta.watch_time)
    assert all(0 < values.max() < task.fields[name] for name, values in task.meta.inputs.items() if name in ("user_id", "item_id"))


def test_what_is_known_of_an_item(simulated, feed):
    task = feeds.task_of(feed)
    assert list(task.item_fields) == ["duration_bucket", "item_category", "item_author_id", "item_upload_age"]
    train = pd.DataFrame({name: task.train.inputs[name] for name in ("item_id", *task.item_fields)})
    first = train.drop_duplicates("item_id").set_index("item_id").sort_index()
    assert first.index.tolist() == list(range(1, task.fields["item_id"]))
    for name, values in task.item_fields.items():
        assert values.dtype == np.int64
        assert values.tolist() == [0, *first[name]]
    log = simulated.impressions[simulated.impressions["date"] <= 20220502]
    category = simulated.tables["items"].set_index("item_id")["category"]
    codes = pd.Series(task.item_fields["item_category"][task.train.inputs["item_id"]])
    assert codes.groupby(category[log["item_id"]].to_numpy()).nunique().eq(1).all()


def test_explicit_feedback_is_any_of_its_kinds(simulated, feed):
    rows = simulated.impressions.iloc[feed.tables.shown["valid"].row]
    assert feeds.feedback(feed.tables) == ("like", "follow", "forward")
    expected = rows[["like", "follow", "forward"]].any(axis=1)
    assert feeds.explicit(feed.tables, feed.tables.valid.label).tolist() == expected.tolist()


def test_facts_by_hand(simulated, feed):
    log, facts = simulated.impressions, feed.tables.facts
    days = dict(zip(("train", "meta", "valid", "test"), (20220425, 20220503, 20220505, 20220507), strict=True))
    for part, begin, end in zip(days, days.values(), [*list(days.values())[1:], 20220601], strict=True):
        rows = log[(log["date"] >= begin) & (log["date"] < end)]
        each = rows.assign(any=rows[["like", "follow", "forward"]].any(axis=1)).groupby("user_id")["any"].agg(["size", "max"])
        each = each[each["size"] >= 6]
        assert facts[f"users_{part}"] == len(each)
        assert facts[f"explicit_users_{part}"] == pytest.approx(each["max"].mean())
        assert facts[part] == len(rows)
    train = log[log["date"] < 20220503]
    assert facts["history_mean"] == pytest.approx(train.groupby("user_id").size().mean())
    assert facts["median_watch_time"] == train["watch_time"].quantile(0.5, interpolation="lower")
    catalogue = log.groupby("item_id")["duration"].first()
    assert [facts[f"duration_{share}"] for share in (10, 50, 90)] == pytest.approx(catalogue.quantile([0.1, 0.5, 0.9]).tolist())


# The folder


def test_written_and_read_again(simulated, feed, tmp_path):
    fingerprint = feeds.write(feed, tmp_path / "task")
    again = feeds.read_open(tmp_path / "task")
    assert again.tables.hidden is None
    before, after = feeds.task_of(feed), feeds.task_of(again)
    assert (before.name, before.fields, before.dense, before.k) == (after.name, after.fields, after.dense, after.k)
    for part in ("train", "meta", "valid"):
        for name, values in getattr(before, part).inputs.items():
            assert np.array_equal(values, getattr(after, part).inputs[name])
            assert values.dtype == getattr(after, part).inputs[name].dtype
    for name, values in feeds.view_of(feed, "test").columns.items():
        assert np.array_equal(values, feeds.view_of(again, "test").columns[name])
    assert feeds.write(feed, tmp_path / "again") == fingerprint
    assert feeds.write(feeds.prepare(simulated, 2), tmp_path / "other") != fingerprint


def test_sequences_are_written_once(simulated, feed, tmp_path):
    feeds.write(feed, tmp_path / "task")
    written = {path.stem: pd.read_parquet(path) for path in (tmp_path / "task" / "histories").glob("*.parquet")}
    assert set(written) == {"items", *PARTS}
    users, known = simulated.impressions["user_id"].nunique(), sum(item > 0 for item in _items(feed).values())
    assert len(written["items"]) == users * feeds.HISTORY + known
    assert all(list(written[part]) == ["end"] and len(written[part]) == len(feed.tables.shown[part].row) for part in PARTS)


def test_truth_is_hidden(feed, tmp_path):
    feeds.write(feed, tmp_path / "task")
    hidden = multitask.read_hidden(tmp_path / "task")
    assert {"satisfied", "match"} <= set(hidden.label)
    shutil.rmtree(tmp_path / "task" / "hidden")
    assert feeds.task_of(feeds.read_open(tmp_path / "task")).k == 3


# Recorded logs, and bad input


def test_a_random_log_is_left_out(simulated, feed):
    free = simulated.impressions.tail(100).assign(date=np.int32(20220508))
    beside = replace(simulated, tables={**simulated.tables, "random": free})
    other = feeds.prepare(beside, 3)
    assert other.tables.fingerprint == feed.tables.fingerprint


def test_lengths_of_lists(simulated):
    assert (feeds.list_length("sim-video"), feeds.list_length("kuairand-1k"), feeds.list_length("kuairand-pure-slice")) == (
        10,
        10,
        3,
    )
    assert feeds.prepare(simulated, 4).k == 4
    own = replace(simulated, name="kuairand-pure-slice")
    assert rule_of(own).tab == 1
    log = simulated.impressions.assign(tab=np.int8(1))
    assert feeds.prepare(replace(own, tables={**own.tables, "impressions": log})).k == 3


def test_bad_input(simulated, feed, tmp_path):
    with pytest.raises(
        UsageError, match=r"nobody has 60 rows in meta of dataset 'sim-video-small'; take a longer log, or a k below"
    ):
        feeds.prepare(simulated, 30)
    with pytest.raises(UsageError, match="'kuairec' holds no explicit feedback"):
        feeds.prepare(replace(simulated, name="kuairec"))
    with pytest.raises(UsageError, match="holds no prepared task"):
        feeds.read_open(tmp_path)
    multitask.write(feed.tables, tmp_path / "task")
    with pytest.raises(UsageError, match="holds no histories of a feed"):
        feeds.read_open(tmp_path / "task")


def test_the_real_slice(tmp_path):
    folder = SHARED / "data" / "kuairand_pure_slice"
    if not folder.is_dir():
        pytest.skip("kuairand_pure_slice is not beside the repository")
    feed = feeds.prepare(import_path("kuairand-pure", folder, tmp_path, lambda _: None))
    facts = feed.tables.facts
    assert [facts[f"users_{part}"] for part in ("train", "meta", "valid", "test")] == [3578, 2048, 612, 1096]
    assert [facts[part] for part in ("train", "meta", "valid", "test")] == [68_763, 45_510, 23_749, 32_317]
    assert feed.k == 3
    task = feeds.task_of(feed)
    assert list(task.train.label) == ["like", "profile_enter", "comment"]
    assert (task.train.inputs["history"].max(), task.meta.inputs["history"].max()) < (task.fields["item_id"],) * 2
