"""Reading large csv logs block by block, telling units, and validating tables of impressions."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import csv_columns
from craftbench.datasets.csv_columns import CODE, DECIMAL, FLAG, TEXT, WHOLE, Rule, blocks
from craftbench.datasets.impressions import LogLayout, finished, read_log, validate

LAYOUT = LogLayout(
    columns={"u": "user_id", "i": "item_id", "d": "date", "w": "watch_time", "v": "duration", "l": "like", "x": None},
    rules={"w": DECIMAL},
    units={"w": 1000, "v": 1000},
)
HEADER = "u,i,d,w,v,l,x"
ROWS = ("1,2,20220501,1500.5,3000,0,7", "1,3,20220502,0,4000,1,8", "2,2,20220503,9000,3000,0,9")


def _csv(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_bytes((end.join((HEADER, *lines)) + end).encode())
    return path


def test_a_log_in_our_units(tmp_path: Path) -> None:
    log = read_log([_csv(tmp_path / "a.csv", *ROWS)], LAYOUT)
    assert log.table.columns.tolist() == ["user_id", "item_id", "date", "watch_time", "duration", "like"]
    assert log.table["watch_time"].tolist() == pytest.approx([1.5005, 0, 9])
    assert log.table["like"].dtype == np.int8
    assert (log.lines, log.notes) == (3, ())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_order_of_columns_more_columns_and_a_byte_order_mark(tmp_path: Path, end: str) -> None:
    plain = read_log([_csv(tmp_path / "a.csv", *ROWS)], LAYOUT).table
    other = [",".join([*reversed(line.split(",")), "more"]) for line in (HEADER, *ROWS)]
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + (end.join(other) + end).encode())
    assert read_log([tmp_path / "b.csv"], LAYOUT).table.equals(plain)


def test_small_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{row % 50},{row % 7},20220501,{row},{row + 1},{row % 2},0" for row in range(3000)]
    path = _csv(tmp_path / "a.csv", *rows, *rows[:100])
    whole = read_log([path], LAYOUT)
    monkeypatch.setattr(csv_columns, "BLOCK", 1000)
    assert len(list(blocks(path, {"u": WHOLE}))) > 20
    pieces = read_log([path], LAYOUT)
    assert pieces.table.equals(whole.table)
    assert pieces.notes == whole.notes == ("dropped 100 exact duplicates of another row",)


def test_the_line_of_a_late_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_columns, "BLOCK", 1000)
    rows = [f"{row % 50},{row % 7},20220501,{row},5,{row % 2},0" for row in range(3000)]
    for name in ("a.csv", "a.csv.gz"):
        path = _csv(tmp_path / name, *rows[:2500], "1,1,20220501,-0.5,5,0,0", *rows[2500:])
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(UsageError, match=rf"{name}, line 2502, column 4 \(w\): '-0.5' is not a number, 0 or more"):
            read_log([path], LAYOUT)


def test_gzip_cut_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{user},1,20220501,1,5,0,0" for user in rng.integers(0, 10**9, 5000)]
    path = _csv(tmp_path / "a.csv.gz", *rows)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UsageError, match=r"a\.csv\.gz is no whole file \(cut short or damaged\)"):
        read_log([path], LAYOUT)
    path.write_bytes(b"no gzip")
    with pytest.raises(UsageError, match=r"a\.csv\.gz is no whole gzip file"):
        read_log([path], LAYOUT)


@pytest.mark.parametrize(("content", "sentence"), [("", "line 1: column 'u' is missing"), (HEADER + "\n", "holds no impressions")])
def test_empty_files(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read_log([tmp_path / "a.csv"], LAYOUT)


@pytest.mark.parametrize("rule", [WHOLE, FLAG, DECIMAL, CODE, TEXT])
@pytest.mark.parametrize(
    "text", ["0", "1", "2", "-1", "1.0", "1.5", "1e3", "nan", "inf", "", "x", " 1", "+1", ".5", "7.", "9" * 19, "é"]
)
def test_fast_and_slow_reading_agree(tmp_path: Path, rule: Rule, text: str) -> None:
    """What pyarrow and the range check take is what the pattern takes, or one of them is wrong."""
    (tmp_path / "a.csv").write_text(f"a,b\n1,{text}\n")
    if rule.allows(text):
        (block,) = blocks(tmp_path / "a.csv", {"b": rule})
        assert len(block["b"]) == 1
    else:
        with pytest.raises(UsageError, match=r"a\.csv, line 2, column 2 \(b\): .* is not (a|0 or 1)"):
            list(blocks(tmp_path / "a.csv", {"b": rule}))


def test_units_are_told_by_the_median_and_said(tmp_path: Path) -> None:
    def seconds(path: Path) -> tuple[list[float], list[float], str]:
        log = finished(read_log([path], LAYOUT), "v 0")
        return log.table["watch_time"].tolist(), log.table["duration"].tolist(), " | ".join(log.notes)

    right = [f"{row},1,20220501,{row * 100},{row * 1000},0,0" for row in range(5, 60)]
    watch, duration, said = seconds(_csv(tmp_path / "right.csv", *right))
    assert said == ""
    both = [f"{row},1,20220501,{row / 10},{row},0,0" for row in range(5, 60)]
    again = seconds(_csv(tmp_path / "both.csv", *both))
    assert again[0] == pytest.approx(watch, abs=1e-3)
    assert again[1] == duration
    assert again[2].count("the file gives seconds already") == 2
    one = [f"{row},1,20220501,{row / 10},{row * 1000},0,0" for row in range(5, 60)]
    assert seconds(_csv(tmp_path / "one.csv", *one))[2].count("the median watch_time would be") == 1
    micro = [f"{row},1,20220501,{row * 100_000},{row * 1_000_000},0,0" for row in range(5, 60)]
    assert seconds(_csv(tmp_path / "micro.csv", *micro))[2].count("the file gives milliseconds: divided by 1000") == 2


def test_no_known_duration(tmp_path: Path) -> None:
    log = read_log([_csv(tmp_path / "a.csv", "1,2,20220501,5,0,0,0")], LAYOUT)
    with pytest.raises(UsageError, match=r"no impression has a known duration \(v 0 on all of them\)"):
        finished(log, "v 0")


def _table(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {
        "user_id": [1, 2],
        "item_id": [1, 1],
        "date": [1, 2],
        "watch_time": [0.0, 9.0],
        "duration": [5.0, 7.0],
    }
    return pd.DataFrame({**columns, "like": [0, 1], **changes})


def test_a_valid_table() -> None:
    validate(_table(), "mine")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"watch_time": [1.0, -3.0]}, "mine, row 1, column watch_time: -3 is not seconds, 0 or more"),
        ({"watch_time": [np.nan, 1.0]}, "row 0, column watch_time: nan is not seconds"),
        ({"duration": [0.0, 7.0]}, "row 0, column duration: 0 is not seconds above 0"),
        ({"duration": [5.0, np.inf]}, "row 1, column duration: inf is not seconds"),
        ({"like": [0, 2]}, "row 1, column like: 2 is not 0 or 1"),
        ({"duration": [50_000.0, 70_000.0]}, "the median duration is 60000 s, which looks like milliseconds"),
    ],
)
def test_what_is_wrong_with_a_table(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        validate(_table(**changes), "mine")


def test_a_table_without_a_column_or_a_row() -> None:
    with pytest.raises(UsageError, match="mine has no column 'duration'"):
        validate(_table().drop(columns="duration"), "mine")
    with pytest.raises(UsageError, match="mine is empty"):
        validate(_table().head(0), "mine")
