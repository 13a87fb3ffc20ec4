"""Saved labels and logs in Parquet that something happened to: labels, or one sentence; no other exception."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.models.watch_labels import WatchTimeLabels
from mangle import archived, mangled

TABLE = pd.DataFrame(
    {
        "watch_time": np.arange(600) % 37 + 0.5,
        "duration": np.arange(600) % 11 + 5.0,
        "user_id": np.arange(600) % 30,
        "item_id": np.arange(600) % 41,
    }
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Labels, the folder that they were saved to, and a log in Parquet that they come from."""
    labels, place = WatchTimeLabels(min_rows=50, duration_bins=4).fit(TABLE), tmp_path_factory.mktemp("labels")
    labels.save(place / "labels")
    (place / "log").mkdir()
    TABLE.to_parquet(place / "log" / "log.parquet", index=False, row_group_size=200)
    return labels, place


def refused(call):
    """Whether the call ended in one sentence; what else it may do is to return."""
    try:
        call()
    except UsageError as refusal:
        sentence = str(refusal)
    else:
        return False
    assert len(sentence.splitlines()) == 1
    return True


def harms(content, seeds):
    yield from (each for _, each in archived(content))
    yield from (b"", content[:-1], content[: len(content) // 2], bytes(len(content)))
    yield from (mangled(content, random.Random(seed)) for seed in range(seeds))


def try_saved(saved, tmp_path, seeds):
    labels, place = saved
    for file in sorted((place / "labels").iterdir()):
        whole = file.read_bytes()
        for content in harms(whole, seeds):
            shutil.rmtree(tmp_path / "work", ignore_errors=True)
            shutil.copytree(place / "labels", tmp_path / "work")
            (tmp_path / "work" / file.name).write_bytes(content)
            if not refused(lambda: WatchTimeLabels.load(tmp_path / "work")):
                again = WatchTimeLabels.load(tmp_path / "work")
                pd.testing.assert_frame_equal(again.transform(TABLE), labels.transform(TABLE))


def try_logs(saved, tmp_path, seeds):
    _, place = saved
    (tmp_path / "log").mkdir(exist_ok=True)
    whole = (place / "log" / "log.parquet").read_bytes()
    outcomes = set()
    for content in harms(whole, seeds):
        (tmp_path / "log" / "log.parquet").write_bytes(content)
        labels = WatchTimeLabels(min_rows=50, duration_bins=4)
        outcomes.add(refused(lambda: labels.fit(tmp_path / "log")))  # noqa: B023
    assert True in outcomes


def test_saved_labels_with_a_few_harms(saved, tmp_path):
    try_saved(saved, tmp_path, 8)


def test_a_log_in_parquet_with_a_few_harms(saved, tmp_path):
    try_logs(saved, tmp_path, 60)


@pytest.mark.soak
def test_saved_labels_with_many_harms(saved, tmp_path):
    try_saved(saved, tmp_path, 300)


@pytest.mark.soak
def test_a_log_in_parquet_with_many_harms(saved, tmp_path):
    try_logs(saved, tmp_path, 2000)
