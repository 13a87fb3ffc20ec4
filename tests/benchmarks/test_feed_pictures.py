"""The histogram of durations: by numpy's, with weights, and of the catalogue against the log."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.benchmarks.feed_pictures import catalogue_durations, durations
from craftbench.datasets import feeds
from craftbench.datasets.sim_video import generate

EDGES = np.arange(0, 601, 50)


def test_durations_by_numpys_histogram():
    rng = np.random.default_rng(0)
    seconds, weight = np.append(rng.lognormal(4.5, 1.2, 500), [50, 600, 3600]), rng.random(503)
    table = durations(seconds, weight, "mine")
    assert table["x"].tolist() == [25 + 50 * k for k in range(12)]
    counts = np.histogram(seconds[seconds < 600], EDGES, weights=weight[seconds < 600])[0]
    assert table["y"].tolist() == pytest.approx((counts / weight.sum()).tolist())
    assert table["y"].sum() < 1, "the longest have no bin"
    assert set(table["series"]) == {"mine"}
    assert durations([10, 20, 60]).loc[:1, "y"].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_the_catalogue_counts_each_video_once(tmp_path):
    dataset = generate("sim-video-small")
    feeds.write(feeds.prepare(dataset, 3), tmp_path / "task")
    table = catalogue_durations(tmp_path / "task")
    log = dataset.impressions[dataset.impressions["date"] < 20220505]
    known = log[log["item_id"].isin(log["item_id"][log["date"] < 20220503])]
    for name, rows in (("catalogue", known.drop_duplicates("item_id")), ("shown", log)):
        counts = np.histogram(rows["duration"], EDGES)[0]
        assert table["y"][table["series"] == name].tolist() == pytest.approx((counts / len(rows)).tolist())
