"""Inputs of any row are those that a test row would get: learned from train alone, and from nothing that happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.dataset import Dataset
from craftbench.datasets.encoding import Encoder
from craftbench.datasets.multitask import Fresh, prepare, read_fresh, read_open, write
from craftbench.datasets.multitask_rule import MultiTaskRule, rule_of
from craftbench.datasets.rates import log_odds
from craftbench.datasets.sim_video import generate

SHOWN = ["user_id", "item_id", "time", "date", "duration"]  # the columns of a candidate


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return generate("sim-video-small")


def _part(dataset: Dataset, part: str) -> pd.DataFrame:
    """What is known when they are shown of the impressions of a part."""
    return dataset.impressions.iloc[prepare(dataset).shown[part].row][SHOWN].reset_index(drop=True)


def _same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert np.array_equal(one[name], other[name]), name


@pytest.mark.parametrize("meta_joins", [True, False])
def test_rows_of_the_log_given_as_fresh_get_what_they_have(dataset, meta_joins):
    rule = replace(rule_of(dataset), meta_joins=meta_joins)
    tables = prepare(dataset, rule, {part: _part(dataset, part) for part in ("test", "valid")})
    _same(tables.fresh["test"].inputs, tables.test)
    _same(tables.fresh["valid"].inputs, tables.valid.inputs)
    assert (tables.fresh["test"].user == tables.shown["test"].user).all()
    assert (tables.fresh["test"].duration == tables.shown["test"].duration).all()
    alone = prepare(dataset, rule)
    _same(alone.test, tables.test)
    _same(alone.train.inputs, tables.train.inputs)


def test_train_rows_given_as_fresh_differ_in_their_rates_alone(dataset):
    """A train row's own label is left out of its rates; a fresh row of the same user and video has all labels in it."""
    tables = prepare(dataset, None, {"again": _part(dataset, "train")})
    fresh = tables.fresh["again"].inputs
    _same({name: fresh[name] for name in tables.fields}, {name: tables.train.inputs[name] for name in tables.fields})
    liked = tables.train.label["like"] == 1
    assert (fresh["user_rate_like"][liked] - tables.train.inputs["user_rate_like"][liked]).mean() > 0.1


def test_order_and_company_of_fresh_rows_do_not_matter(dataset):
    rows = _part(dataset, "test")
    some = np.random.default_rng(0).permutation(len(rows))[:100]
    tables = prepare(dataset, None, {"all": rows, "some": rows.iloc[some]})
    _same(tables.fresh["some"].inputs, {name: values[some] for name, values in tables.fresh["all"].inputs.items()})


def test_strangers_are_zero_and_have_no_history(dataset):
    rows = _part(dataset, "test").head(3).assign(user_id=[10**6, 10**6, 3], item_id=[10**6, 3, 10**6])
    inputs = prepare(dataset, None, {"odd": rows}).fresh["odd"].inputs
    assert (inputs["user_id"] == 0).tolist() == [True, True, False]
    assert (inputs["item_id"] == 0).tolist() == [True, False, True]
    assert (inputs["user_device"] == 0).tolist() == [True, True, False]  # no row in the table of users
    for side in ("user", "item"):
        unknown = inputs[f"{side}_id"] == 0
        assert (inputs[f"{side}_rate_ev"][unknown] == 0).all()
        assert (inputs[f"{side}_rate_ev"][~unknown] != 0).all()


def test_what_is_learned_by_hand(dataset):
    """Ids count values in ascending order, buckets are quantiles, rates are log odds of the learned rows."""
    rows = pd.DataFrame(
        {
            "user_id": [7, 7, 5, 9],
            "item_id": [1, 2, 2, 1],
            "time": np.array([0, 1, 23, 24]) * 3_600_000,
            "duration": np.array([10, 20, 30, 40], dtype=np.float32),
        }
    )
    label = {"like": np.array([1, 0, 1, 0], dtype=np.float32)}
    rule = MultiTaskRule(tasks=("like",), buckets=2, utc_offset=0, user_fields=(), item_fields=())
    encoder = Encoder.fit(dataset, rows, label, rule)
    assert encoder.fields == {"user_id": 4, "item_id": 3, "duration_bucket": 3, "hour": 4}
    inputs = encoder.encode(rows.assign(user_id=[5, 7, 8, 9], item_id=[1, 1, 2, 3], duration=np.float32(26)))
    assert {name: values.tolist() for name, values in inputs.items() if name in encoder.fields} == {
        "user_id": [1, 2, 0, 3],
        "item_id": [1, 1, 2, 0],
        "duration_bucket": [2, 2, 2, 2],
        "hour": [1, 2, 3, 1],
    }
    expected = log_odds(np.array([2, 2, 1, 3]), label["like"], np.array([1, 2, 0, 3]), 4)
    assert inputs["user_rate_like"].tolist() == expected.tolist()
    p = (2 + 1) / (4 + 2)
    assert expected[0] == pytest.approx(np.log((1 + 10 * p) / (10 * (1 - p))) - np.log(p / (1 - p)))


def test_fresh_rows_are_kept_apart_and_count(dataset, tmp_path: Path):
    rows = _part(dataset, "test").head(50)
    tables = prepare(dataset, None, {"loop": rows})
    assert write(tables, tmp_path / "task") == tables.fingerprint
    assert tables.fingerprint not in (prepare(dataset).fingerprint, prepare(dataset, None, {"loop": rows.head(49)}).fingerprint)
    assert read_open(tmp_path / "task").fingerprint == tables.fingerprint
    read = read_fresh(tmp_path / "task", "loop")
    assert isinstance(read, Fresh)
    _same(read.inputs, tables.fresh["loop"].inputs)
    _same(read.view("loop").columns, tables.fresh["loop"].view("loop").columns)
    assert list(read.view("loop").columns) == list(tables.view("test").columns)
    assert (read.duration == rows["duration"]).all()


def test_fresh_rows_without_a_column_of_the_log(dataset):
    with pytest.raises(UsageError, match="no column 'time', which the log has; give user_id, item_id, time, duration"):
        prepare(dataset, None, {"loop": _part(dataset, "test").drop(columns="time")})
