"""Labels of logs in parts: streams, folders of Parquet, merging, files."""

import json
from functools import reduce

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.models import watch_histogram
from craftbench.models.watch_histogram import WatchHistogram
from craftbench.models.watch_labels import LABELS, WatchTimeLabels

SETTINGS = {"min_rows": 50, "duration_bins": 8}


def log(rows=4000, seed=0):
    rng = np.random.default_rng(seed)
    duration = np.round(rng.gamma(2, 20, rows) + 3, 1)
    watch = np.round(np.minimum(rng.lognormal(0, 1.5, rows) * duration**0.6, 5000), 2)
    return pd.DataFrame(
        {"watch_time": watch, "duration": duration, "user_id": rng.integers(0, 90, rows), "item_id": rng.integers(0, 300, rows)}
    )


@pytest.fixture(scope="module")
def table():
    return log()


@pytest.fixture(scope="module")
def whole(table):
    return WatchTimeLabels(**SETTINGS).fit(table)


def parts_of(table, count=3):
    return [table.iloc[k::count] for k in range(count)]


def assert_same(a, b):
    """Every count and every label, bit for bit."""
    (tables, settings), (others, other_settings) = a.state(), b.state()
    assert settings == other_settings
    assert list(tables) == list(others)
    for name, columns in tables.items():
        for column, values in columns.items():
            np.testing.assert_array_equal(values, others[name][column], strict=True)


def folder_of(table, folder):
    (folder / "day=2").mkdir(parents=True)
    table[:1500].to_parquet(folder / "a.parquet", index=False, row_group_size=400)
    table[1500:].to_parquet(folder / "day=2/b.parquet", index=False)
    return folder


def test_a_table_a_mapping_a_stream_and_a_folder_fit_alike(table, whole, tmp_path):
    arrays = {name: table[name].to_numpy() for name in table}
    folder = folder_of(table, tmp_path / "log")
    for source in (arrays, parts_of(table), [arrays], folder, str(folder)):
        assert_same(WatchTimeLabels(**SETTINGS).fit(source), whole)
    assert_same(WatchTimeLabels(**SETTINGS).fit(folder / "a.parquet"), WatchTimeLabels(**SETTINGS).fit(table[:1500]))


def test_transform_of_a_stream_and_of_a_folder(table, whole, tmp_path):
    found = whole.transform(table)
    assert list(found) == list(LABELS)
    pd.testing.assert_frame_equal(pd.concat(whole.transform([table[:7], table[7:7], table[7:]])).reset_index(drop=True), found)
    pd.testing.assert_frame_equal(pd.concat(whole.transform(folder_of(table, tmp_path / "log")), ignore_index=True), found)
    once = WatchTimeLabels(**SETTINGS, sides=[]).fit(iter(parts_of(table)))
    assert once.names == ("wpr", "wpr_d", "ev_d", "lv_d")
    pd.testing.assert_frame_equal(once.transform(table[["duration", "watch_time"]]), found[list(once.names)])
    assert list(whole.transform(table, ["lv_v", "wpr"])) == ["lv_v", "wpr"]


@pytest.mark.parametrize("rows", [1, 2, 4000])
def test_threads_change_no_digit(table, rows):
    table = table[:rows]
    one, three = (WatchTimeLabels(**SETTINGS, threads=threads).fit(table) for threads in (1, 3))
    assert_same(one, three)
    pd.testing.assert_frame_equal(one.transform(table), three.transform(table))


def test_write(table, whole, tmp_path):
    source = folder_of(table.assign(user_id="user " + table["user_id"].astype(str), note="kept"), tmp_path / "log")
    labels = WatchTimeLabels(**SETTINGS).fit(source)
    assert labels.write(source, tmp_path / "out") == len(table)
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == [
        "a.parquet",
        "day=2/b.parquet",
    ]
    written = pd.concat([pd.read_parquet(tmp_path / "out" / name, partitioning=None) for name in ("a.parquet", "day=2/b.parquet")])
    assert (written["note"] == "kept").all()
    pd.testing.assert_frame_equal(written[list(LABELS)].reset_index(drop=True), whole.transform(table))
    with pytest.raises(UsageError, match="already"):
        labels.write(tmp_path / "out", tmp_path / "again")
    with pytest.raises(UsageError, match="elsewhere"):
        labels.write(source, source / "labels")


def test_merged_parts_equal_one_fit(table, whole):
    fits = [WatchTimeLabels(**SETTINGS).fit(part) for part in parts_of(table)]
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = reduce(lambda a, b: a.merge(b), [fits[k] for k in order])
        assert_same(merged, whole)
        pd.testing.assert_frame_equal(merged.transform(table), whole.transform(table))
    assert fits[0].fingerprint != whole.fingerprint  # the parts are what they were
    assert_same(fits[0], WatchTimeLabels(**SETTINGS).fit(parts_of(table)[0]))


def test_parts_on_several_machines(table, whole):
    """Two rounds: counts, then side counts by the merged cuts."""
    parts = parts_of(table)
    merged = reduce(lambda a, b: a.merge(b), [WatchTimeLabels(**SETTINGS).count(iter([part])) for part in parts])
    with pytest.raises(UsageError, match="side_counts"):
        merged.transform(table)
    pd.testing.assert_frame_equal(merged.transform(table, ["wpr_d", "lv_d"]), whole.transform(table, ["wpr_d", "lv_d"]))
    sides = [merged.side_counts(part) for part in parts]
    assert_same(merged.with_sides(reduce(lambda a, b: a.merge(b), sides)), whole)
    with pytest.raises(UsageError, match="every part once"):
        merged.with_sides(sides[0])
    with pytest.raises(UsageError, match="different labels"):
        sides[0].merge(WatchTimeLabels(**SETTINGS).fit(parts[0]).side_counts(parts[1]))
    with pytest.raises(UsageError, match="different levels"):
        merged.merge(WatchTimeLabels(**SETTINGS, levels=9).fit(parts[0]))


def test_counts_do_not_depend_on_how_they_are_stored(table, monkeypatch):
    """Long plays listed at once or later; a table that is emptied before it overflows."""
    arrays = [table[name].to_numpy() for name in ("watch_time", "duration")]
    wanted = WatchHistogram()
    wanted.add(*arrays)
    monkeypatch.setattr(watch_histogram, "WAITING", 3)
    found = WatchHistogram()
    for start in range(0, len(table), 101):
        found.add(*(column[start : start + 101] for column in arrays))
        if start == 1010:
            assert found.fingerprint() != wanted.fingerprint()  # looked at in between
    assert found.fingerprint() == wanted.fingerprint()
    second, tick, rows = wanted.cells
    pairs = np.stack([np.minimum(np.rint(arrays[1]), 3600), np.minimum(np.rint(arrays[0] * 10), 36000)])
    unique, count = np.unique(pairs, axis=1, return_counts=True)
    np.testing.assert_array_equal(np.stack([second, tick]), unique)
    np.testing.assert_array_equal(rows, count)


def test_a_log_that_changes_between_the_readings(table):
    class Growing:
        def __init__(self):
            self.times = 0

        def __iter__(self):
            self.times += 1
            yield from [table] * self.times

    with pytest.raises(UsageError, match="second reading"):
        WatchTimeLabels(**SETTINGS).fit(Growing())


def test_an_iterator_cannot_be_read_twice(table):
    with pytest.raises(UsageError, match="twice"):
        WatchTimeLabels(**SETTINGS).fit(iter([table]))


# Files


@pytest.mark.parametrize("text", [False, True])
def test_saved_labels_are_the_same(table, whole, tmp_path, text):
    if text:
        table = table.assign(item_id="video " + table["item_id"].astype(str))
        whole = WatchTimeLabels(**SETTINGS).fit(table)
    whole.save(tmp_path / "labels")
    again = WatchTimeLabels.load(tmp_path / "labels", table)
    assert_same(again, whole)
    assert again.fingerprint == whole.fingerprint
    assert again.report() == whole.report()
    pd.testing.assert_frame_equal(again.transform(table), whole.transform(table))
    p = np.random.default_rng(0).random(len(table))
    np.testing.assert_array_equal(again.to_seconds(p, table["duration"]), whole.to_seconds(p, table["duration"]))
    with pytest.raises(UsageError, match="side_counts"):  # its rows are not known
        again.merge(whole).transform(table)


def test_saved_labels_of_other_data_or_a_newer_version(table, whole, tmp_path):
    whole.save(tmp_path / "labels")
    with pytest.raises(UsageError, match="other data"):
        WatchTimeLabels.load(tmp_path / "labels", table[1:])
    with pytest.raises(UsageError, match="no saved labels"):
        WatchTimeLabels.load(tmp_path)
    (tmp_path / "labels/user_id.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="damaged"):
        WatchTimeLabels.load(tmp_path / "labels")


def test_a_newer_format(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("craftbench.models.watch_labels_file.FORMAT", 2)
    whole.save(tmp_path / "labels")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="newer craftbench"):
        WatchTimeLabels.load(tmp_path / "labels")
    assert json.loads((tmp_path / "labels/facts.json").read_text())["fingerprint"] == whole.fingerprint


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_a_path_without_parquet(content, tmp_path):
    if content is not None:
        (tmp_path / "log.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=r"Parquet"):
        WatchTimeLabels().fit(tmp_path)


@pytest.mark.parametrize("watch_time", [409.4, 409.44, 409.46, 409.5, 409.6, 3599.94, 3599.96, 3600.0, 1e7])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_cells_at_the_ends_of_the_table(watch_time, kind):
    found = WatchHistogram()
    found.add(np.array([watch_time, watch_time], kind), np.array([200, 5e4], kind))
    second, tick, rows = found.cells
    wanted = min(round(watch_time * 10), 36000)
    assert (second.tolist(), tick.tolist(), rows.tolist()) == ([200, 3600], [wanted, wanted], [1, 1])
