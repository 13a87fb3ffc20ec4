"""The figures on watch time: their numbers by hand, and what they say where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.watch_time_pictures import (
    label_by_duration,
    rank_edges,
    train_labels,
    train_table,
    truth_correlation,
    watch_frequency,
)
from craftbench.benchmarks.watch_time_task import WatchTimeSpec
from craftbench.core.errors import UsageError
from craftbench.datasets.sim_video import generate
from craftbench.models.watch_labels import WatchTimeLabels
from scipy.stats import spearmanr

WORLD = "sim-video-small"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    home = tmp_path_factory.mktemp("pictures")
    (home / "task").mkdir()
    WatchTimeSpec(WORLD, "simulated").prepare(home / "data", home / "task")
    return train_table(home / "task")


def _rows(watch, duration):
    return pd.DataFrame({"watch_time": np.array(watch, np.float32), "duration": np.array(duration, np.float32)})


def _series(table, name):
    return table[table["series"] == name]


def test_the_table_of_train_is_the_log(rows):
    log = generate(WORLD).impressions.iloc[rows["row"]]
    for name in ("watch_time", "duration"):
        assert rows[name].tolist() == log[name].tolist()
    for name in ("user_id", "item_id"):
        assert (
            len(pd.DataFrame({"ours": rows[name].to_numpy(), "log": log[name].to_numpy()}).drop_duplicates()) == log[name].nunique()
        )


def test_watch_frequency_by_hand():
    table = watch_frequency(_rows([0, 4.9, 5, 12, 99, 3600, 3], [10, 19.9, 15, 15, 15, 15, 30]))
    first, second = _series(table, "10-20 s"), _series(table, "30-40 s")
    assert first["x"].tolist() == [2.5 + 5 * k for k in range(20)]
    assert first["x"].iloc[-1] == 97.5
    assert first["y"].tolist() == pytest.approx([2 / 6, 1 / 6, 1 / 6, *[0] * 16, 2 / 6])
    assert second["y"].tolist() == [1, *[0] * 19]
    assert watch_frequency(_rows([3], [5])).empty


def test_watch_frequency_of_a_log(rows):
    table = watch_frequency(rows)
    held = rows["watch_time"][rows["duration"].between(30, 40, inclusive="left")]
    counts = np.histogram(held, bins=[*range(0, 100, 5), np.inf])[0]
    assert _series(table, "30-40 s")["y"].tolist() == pytest.approx((counts / counts.sum()).tolist())


def test_rank_edges_by_hand():
    table = rank_edges(_rows(range(1, 101), [10] * 100), groups=4, decay=0.5)
    equal, falling = (_series(table, name) for name in ("4 equal groups", "4 groups, each 0.5 of the one before"))
    assert equal["x"].tolist() == [0.25, 0.5, 0.75, 1]
    assert equal["y"].tolist() == [25, 50, 75, 100]
    assert falling["x"].tolist() == pytest.approx([8 / 15, 12 / 15, 14 / 15, 1])
    assert falling["y"].tolist() == [54, 80, 94, 100]


def test_falling_groups_are_narrower_at_the_long_end(rows):
    equal, falling = (np.diff(part["y"]) for _, part in rank_edges(rows).groupby("series", sort=False))
    assert falling[-1] < equal[-1]
    assert len(equal) == len(falling) == 19


def test_labels_by_duration_by_hand():
    data = _rows([0] * 6, [10, 10, 10, 20, 30, 40])
    table = label_by_duration(data, {"a": np.array([1.0, 2, 3, 4, 5, 6]), "b": np.ones(6)}, bins=3)
    assert _series(table, "a")["x"].tolist() == [10, 20, 35], "equal durations stay together"
    assert _series(table, "a")["y"].tolist() == [2, 4, 5.5]
    assert _series(table, "b")["y"].tolist() == [1, 1, 1]


def test_what_labels_give_to_long_videos_and_to_the_true_match(rows):
    """Seconds favour long videos, the share played favours short ones, and ranks within durations neither."""
    dataset = generate(WORLD)
    labels = train_labels(rows, WatchTimeLabels(min_rows=100))
    assert list(labels) == ["watch time", "PCR", "WPR", "WPR, by duration"]
    found = truth_correlation(rows, dataset, labels).pivot(index="series", columns="x", values="y")
    match = dataset.tables["truth"]["match"].to_numpy()[rows["row"]]
    for title, values in labels.items():
        assert found.loc[title, "true match"] == pytest.approx(spearmanr(values, match).statistic)
        assert found.loc[title, "duration"] == pytest.approx(spearmanr(values, rows["duration"]).statistic)
    by_duration = found["duration"]
    assert by_duration["PCR"] < -0.1 < 0.1 < by_duration["watch time"]
    assert abs(by_duration["WPR, by duration"]) < 0.03
    assert (found["true match"] > 0.1).all()
    spread = {title: np.ptp(part["y"]) for title, part in label_by_duration(rows, labels, bins=8).groupby("series")}
    assert spread["WPR, by duration"] < 0.5 * spread["WPR"]


def test_a_recorded_log_knows_no_match(rows):
    dataset = generate(WORLD)
    bare = type(dataset)("mine", {"impressions": dataset.impressions}, dataset.provenance, None, "")
    with pytest.raises(UsageError, match="'mine' does not know who matches what"):
        truth_correlation(rows, bare, {})
