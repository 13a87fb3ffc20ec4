"""One multi-task task's tables: labels, split, inputs without leaks, and that the open part never touches the hidden one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.dataset import Dataset, Provenance, assemble
from craftbench.datasets.multitask import MultiTaskTables, prepare, read_hidden, read_open, write
from craftbench.datasets.multitask_rule import KUAIRAND, DaySplit, MultiTaskRule, labels_of, sevenths

ROWS = 4000
DAYS = 14


def _log(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, DAYS, ROWS))
    duration = rng.choice([3.0, 10.0, 30.0, 60.0], ROWS)
    table = pd.DataFrame(
        {
            "user_id": 100 + rng.integers(0, 60, ROWS),
            "item_id": 7000 + np.minimum(rng.integers(0, 40 + 4 * day), 79),  # later days have items that train has not
            "time": 1_650_844_800_000 + day * 86_400_000 + rng.integers(0, 86_400_000, ROWS),
            "date": (20220425 + np.where(day < 6, day, day + 70)).astype(np.int32),  # 0425..0430, 0501..0508
            "watch_time": rng.choice([0.0, 2.0, 7.0, 18.0, 30.0, 61.0], ROWS).astype(np.float32),
            "duration": duration.astype(np.float32),
        }
    )
    for name, share in (("like", 0.1), ("follow", 0.05), ("forward", 0.05), ("comment", 0.05), ("profile_enter", 0.1)):
        table[name] = (rng.random(ROWS) < share).astype(np.int8)
    return table.assign(tab=rng.choice([0, 1, 1, 1], ROWS).astype(np.int8))


def _dataset(log: pd.DataFrame, name: str = "kuairand-pure", **more: pd.DataFrame) -> Dataset:
    provenance = Provenance("Tiny", "made here", "", "", "", "whole", {}, {}, ("dropped 2 exact duplicates of another row",))
    return assemble(name, {"impressions": log, **more}, provenance)


USERS = pd.DataFrame(
    {"user_id": range(100, 155), "onehot_feat0": [0, 1] * 27 + [5], "register_days_range": ["a", "b"] * 27 + ["a"]}
)
ITEMS = pd.DataFrame({"item_id": range(7000, 7080), "tag": np.arange(80) // 10, "visible_status": 1})


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return _log()


@pytest.fixture(scope="module")
def tables(log: pd.DataFrame) -> MultiTaskTables:
    return prepare(_dataset(log, users=USERS, items=ITEMS))


def test_the_split_is_by_day_and_only_the_scene_stays(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    feed = log[log["tab"] == 1]
    days = feed["date"]
    expected = [(days < 20220504).sum(), days.between(20220504, 20220505).sum(), (days >= 20220506).sum()]
    assert [len(tables.train), len(tables.valid), len(tables.test["user_id"])] == expected
    assert tables.meta.sum() == days.between(20220501, 20220503).sum()
    for part, low, high in (("train", 0, 20220503), ("valid", 20220504, 20220505), ("test", 20220506, 20220508)):
        rows = log.iloc[tables.shown[part].row]
        assert rows["date"].between(low, high).all()
        assert (rows["tab"] == 1).all()
        assert rows["user_id"].tolist() == tables.shown[part].user.tolist()
        assert rows["duration"].tolist() == tables.shown[part].duration.tolist()
    assert tables.facts["dropped_other_scenes"] == (log["tab"] != 1).sum()


def test_facts_count_what_is_there(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    parts = tables.facts["parts"]
    assert parts["train"]["rows"] + parts["meta"]["rows"] == len(tables.train) == tables.facts["train"] + tables.facts["meta"]
    assert tables.facts["users"] == log["user_id"][log["tab"] == 1].nunique()
    assert tables.name == "kuairand-pure/6-tasks"
    assert parts["test"]["items"] == log.iloc[tables.shown["test"].row]["item_id"].nunique()
    assert tables.hidden is not None
    for task in tables.tasks:
        assert parts["valid"]["positives"][task] == tables.valid.label[task].sum()
        assert parts["train"]["positives"][task] == tables.train.label[task][~tables.meta].sum()
        assert parts["test"]["positives"][task] == tables.hidden.label[task].sum() > 0
    assert tables.facts["notes"] == ["dropped 2 exact duplicates of another row"]
    assert tables.facts["rule"].startswith("tab 1; by day: train before 20220501, meta from 20220501")


def test_labels_of_watching_by_hand() -> None:
    watch = [0, 3, 6.9, 7, 7, 17, 18, 29, 30, 60]
    duration = [3, 3, 7, 7, 10, 17, 30, 30, 30, 30]
    table = pd.DataFrame({"watch_time": np.float32(watch), "duration": np.float32(duration)})
    assert labels_of(table, "ev").tolist() == [0, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert labels_of(table, "lv").tolist() == [0, 1, 0, 1, 0, 1, 1, 1, 1, 1]
    assert labels_of(table, "cv").tolist() == [0, 1, 0, 1, 0, 1, 0, 0, 1, 1]


def test_ids_come_from_train_and_zero_is_unseen(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    seen = set(log["item_id"].iloc[tables.shown["train"].row])
    test = log["item_id"].iloc[tables.shown["test"].row]
    assert (tables.test["item_id"] == 0).tolist() == [item not in seen for item in test]
    assert 0 < (tables.test["item_id"] == 0).sum() < len(test)
    assert tables.fields["item_id"] == len(seen) + 1
    for name, size in tables.fields.items():
        assert tables.train.inputs[name].dtype == np.int64
        assert set(tables.train.inputs[name].tolist()) == set(range(1, size))
        assert 0 <= tables.test[name].min() <= tables.test[name].max() < size
    one_to_one = pd.DataFrame({"raw": test.to_numpy(), "id": tables.test["item_id"]}).query("id > 0").drop_duplicates()
    assert one_to_one["id"].is_unique
    assert one_to_one["raw"].is_unique


def test_features_of_users_and_items(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    assert set(tables.fields) == {
        *("user_id", "item_id", "duration_bucket", "hour", "user_onehot_feat0", "user_register_days_range", "item_tag")
    }
    item = log["item_id"].iloc[tables.shown["train"].row].to_numpy()
    assert tables.train.inputs["item_tag"].tolist() == ((item - 7000) // 10 + 1).tolist()
    unknown = tables.shown["train"].user >= 155  # no row in the table of users: a value of its own
    assert set(tables.train.inputs["user_onehot_feat0"][unknown].tolist()) == {1}
    hours = (log["time"].iloc[tables.shown["train"].row].to_numpy() // 3_600_000 + 8) % 24
    assert (tables.train.inputs["hour"] - 1).tolist() == hours.tolist()


def test_without_rule_every_small_feature_is_taken(log: pd.DataFrame) -> None:
    users = USERS.assign(serial=range(len(USERS)), height=1.5)
    items = ITEMS.assign(many=np.arange(80))
    many = pd.DataFrame({"item_id": range(7080, 7500), "tag": 0, "visible_status": 1, "many": range(80, 500)})
    tables = prepare(_dataset(log, "mine", users=users, items=pd.concat([items, many])))
    features = {name for name in tables.fields if name.startswith(("user_", "item_"))} - {"user_id", "item_id"}
    assert features == {"user_onehot_feat0", "user_register_days_range", "user_serial", "item_tag", "item_visible_status"}
    assert "meta from 20220503" in tables.facts["rule"]


def test_no_input_depends_on_feedback_of_its_own_row_or_of_later_parts(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    """Every label and watch time of valid and test inverted: not one input differs; one train row inverted: not its own."""
    signals = ["like", "follow", "forward", "comment", "profile_enter"]
    later = log.copy()
    late = later["date"] >= 20220504
    later.loc[late, signals] = 1 - later.loc[late, signals]
    later.loc[late, "watch_time"] = 61 - later.loc[late, "watch_time"]
    other = prepare(_dataset(later, users=USERS, items=ITEMS))
    for mine, theirs in (
        (tables.train.inputs, other.train.inputs),
        (tables.valid.inputs, other.valid.inputs),
        (tables.test, other.test),
    ):
        assert mine.keys() == theirs.keys()
        assert all((mine[name] == theirs[name]).all() for name in mine)
    assert (other.valid.label["like"] != tables.valid.label["like"]).all()

    for place in (0, 500, len(tables.train) - 1):
        changed = log.copy()
        row = int(tables.shown["train"].row[place])
        changed.loc[row, signals] = 1 - changed.loc[row, signals]
        changed.loc[row, "watch_time"] = 61 - changed.loc[row, "watch_time"]
        again = prepare(_dataset(changed, users=USERS, items=ITEMS))
        assert all(again.train.inputs[name][place] == tables.train.inputs[name][place] for name in tables.train.inputs)
        assert any((again.train.inputs[name] != tables.train.inputs[name]).any() for name in tables.dense)


def test_dense_inputs_tell_users_apart(log: pd.DataFrame) -> None:
    fond = log.assign(like=((log["user_id"] < 110) & (np.arange(ROWS) % 3 > 0) | (np.arange(ROWS) % 50 == 0)).astype(np.int8))
    tables = prepare(_dataset(fond))
    user = tables.shown["test"].user
    assert tables.dense[3] == "user_rate_like"
    assert tables.test["user_rate_like"].dtype == np.float32
    assert tables.test["user_rate_like"][user < 110].min() > tables.test["user_rate_like"][user >= 110].max()
    assert (tables.test["item_rate_like"][tables.test["item_id"] == 0] == 0).all()


def test_meta_apart_is_seen_like_valid(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    apart = prepare(_dataset(log, users=USERS, items=ITEMS), replace(KUAIRAND, meta_joins=False))
    assert apart.meta.tolist() == tables.meta.tolist()
    assert (apart.train.inputs["item_id"][apart.meta] == 0).any()
    assert (apart.train.inputs["item_id"][~apart.meta] > 0).all()
    changed = log.copy()
    early = changed["date"].between(20220501, 20220503)
    changed.loc[early, "like"] = 1 - changed.loc[early, "like"]
    again = prepare(_dataset(changed, users=USERS, items=ITEMS), replace(KUAIRAND, meta_joins=False))
    assert all((again.train.inputs[name] == apart.train.inputs[name]).all() for name in apart.train.inputs)
    assert apart.name != tables.name


def test_round_trip(tables: MultiTaskTables, tmp_path: Path) -> None:
    assert write(tables, tmp_path / "task") == tables.fingerprint
    read = read_open(tmp_path / "task")
    for name in ("name", "tasks", "fields", "dense", "facts", "fingerprint"):
        assert getattr(read, name) == getattr(tables, name)
    pairs = [(read.test, tables.test), (read.train.label, tables.train.label), (read.valid.label, tables.valid.label)]
    pairs += [(read.train.inputs, tables.train.inputs), (read.valid.inputs, tables.valid.inputs)]
    hidden = read_hidden(tmp_path / "task")
    assert tables.hidden is not None
    pairs += [(hidden.label, tables.hidden.label), ({"w": hidden.watch_time}, {"w": tables.hidden.watch_time})]
    for part in ("train", "valid", "test"):
        pairs.append((vars(read.shown[part]), vars(tables.shown[part])))
    for mine, theirs in pairs:
        assert list(mine) == list(theirs)
        for name in mine:
            assert (mine[name] is None and theirs[name] is None) or mine[name].dtype == theirs[name].dtype
            assert np.array_equal(mine[name], theirs[name])
    assert read.meta.tolist() == tables.meta.tolist()
    assert read.hidden is None
    task = read.task()
    assert (task.name, task.tasks, task.fields) == (tables.name, tables.tasks, tables.fields)
    assert task.one_sided() is None
    assert set(read.view("test").columns) == {*tables.fields, *tables.dense, "user"}


def test_the_open_part_is_enough_and_holds_no_test_label(tables: MultiTaskTables, tmp_path: Path) -> None:
    write(tables, tmp_path / "task")
    shutil.rmtree(tmp_path / "task" / "hidden")
    read = read_open(tmp_path / "task")
    assert read.fingerprint == tables.fingerprint
    assert read.shown["test"].watch_time is None
    files = {path.stem: set(pd.read_parquet(path).columns) for path in (tmp_path / "task" / "open").iterdir()}
    assert files["test_shown"] == {"row", "user", "duration"}
    assert not {"watch_time", "date", *tables.tasks} & files["test_inputs"]
    assert "test_labels" not in files
    with pytest.raises(UsageError, match=r"test_labels.parquet is missing"):
        read_hidden(tmp_path / "task")
    with pytest.raises(UsageError, match="without its hidden part"):
        write(read, tmp_path / "other")


def test_unfinished_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no prepared task"):
        read_open(tmp_path)


def test_same_arguments_same_fingerprint_and_others_differ(log: pd.DataFrame, tables: MultiTaskTables) -> None:
    dataset = _dataset(log, users=USERS, items=ITEMS)
    assert prepare(dataset).fingerprint == tables.fingerprint
    rules = [
        replace(KUAIRAND, **change) for change in ({"pseudo": 5.0}, {"folds": 4}, {"buckets": 2}, {"tab": 0}, {"utc_offset": 0})
    ]
    others = [prepare(dataset, rule).fingerprint for rule in (*rules, replace(KUAIRAND, tasks=("ev", "like")))]
    assert len({tables.fingerprint, prepare(_dataset(_log(1))).fingerprint, *others}) == 8


@pytest.mark.parametrize(("days", "expected"), [(4, (2, 3, 4)), (7, (5, 6, 7)), (14, (9, 11, 13)), (31, (20, 24, 28))])
def test_sevenths(days: int, expected: tuple[int, int, int]) -> None:
    assert sevenths(np.repeat(np.arange(1, days + 1), 3).astype(np.int32), "mine") == DaySplit(*expected)
    assert DaySplit(*expected).parts(np.array([1, *expected], np.int32)).tolist() == [0, 1, 2, 3]


def test_bad_input(log: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="task 'forward' of dataset 'kuairand-pure' has no positive in train"):
        prepare(_dataset(log.assign(forward=np.where(log["date"] < 20220504, 0, log["forward"]))))
    with pytest.raises(UsageError, match="task 'cv' of dataset 'kuairand-pure' has no negative in train"):
        prepare(_dataset(log.assign(watch_time=np.float32(61))), replace(KUAIRAND, tasks=("cv",)))
    with pytest.raises(UsageError, match=r"has no impression for test \(train before .*\): its days run from 20220425 to 20220505"):
        prepare(_dataset(log[log["date"] < 20220506]))
    with pytest.raises(UsageError, match=r"no impression for train and meta and valid and test .* it has none in that scene"):
        prepare(_dataset(log.assign(tab=np.int8(3))))
    with pytest.raises(UsageError, match="'mine' covers 3 days"):
        prepare(_dataset(log[log["date"] < 20220428], "mine"))
    with pytest.raises(UsageError, match="has no column 'tab'"):
        prepare(_dataset(log.drop(columns="tab")))
    with pytest.raises(UsageError, match="row 5, column watch_time: -1"):
        prepare(_dataset(log.assign(watch_time=np.where(np.arange(ROWS) == 5, -1, log["watch_time"]))))
    with pytest.raises(UsageError, match="looks like milliseconds"):
        prepare(_dataset(log.assign(duration=log["duration"] * 1000)))
    with pytest.raises(UsageError, match="cannot tell task 'share'"):
        prepare(_dataset(log), MultiTaskRule(tasks=("share",)))
    ratings = pd.DataFrame({"user_id": [1], "item_id": [1], "rating": [5.0]})
    with pytest.raises(UsageError, match="'stars' holds ratings and no impressions"):
        prepare(assemble("stars", {"ratings": ratings}, _dataset(log).provenance, 3))
