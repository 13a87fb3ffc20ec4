"""The log of the WeChat Big Data Challenge in its official format."""

from __future__ import annotations

from pathlib import Path

import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import wechat
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.multitask import prepare

ACTIONS = (
    "userid,feedid,date_,device,read_comment,comment,like,play,stay,click_avatar,forward,follow,favorite\n"
    "8,71474,1,1,0,0,1,500,5366,0,0,0,0\n"
    "8,73916,1,1,1,0,0,25000,26533,1,0,0,0\n"
    "9,50282,2,1,0,1,0,750,1302,0,1,1,1\n"
    "9,99999,2,1,0,0,0,750,1302,0,0,0,0\n"
    "8,71474,1,1,0,0,1,500,5366,0,0,0,0\n"
)
FEEDS = (
    "feedid,authorid,videoplayseconds,description,ocr,asr,bgm_song_id,bgm_singer_id,description_char,ocr_char,asr_char,"
    "manual_keyword_list,machine_keyword_list,manual_tag_list,machine_tag_list,description_x\n"
    "71474,10,26,1 2 3,,,4.0,5.0,1,,,1;2,3 0.5;4 0.5,39;41,7 0.9,\n"
    "73916,11,12,,,,,,,,,,,,,\n"
    "50282,12,60,,,,,,,,,,,8,,\n"
)


def _folder(path: Path, actions: str = ACTIONS, feeds: str = FEEDS) -> Path:
    path.mkdir(exist_ok=True)
    (path / "user_action.csv").write_text(actions)
    (path / "feed_info.csv").write_text(feeds)
    return path


def test_rows_with_durations_from_the_other_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    parsed = wechat.read(folder / "user_action.csv", folder / "feed_info.csv")
    table = parsed.tables["impressions"]
    assert table["user_id"].tolist() == [8, 8, 9]
    assert table["watch_time"].tolist() == [0.5, 25, 0.75]
    assert table["duration"].tolist() == [26, 12, 60]
    assert table["date"].tolist() == [1, 1, 2]
    signals = ["like", "follow", "comment", "forward", "profile_enter"]
    assert table[signals].to_numpy().tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 1, 1, 0]]
    assert parsed.tables["items"]["tag"].tolist() == [39, -1, 8]
    assert parsed.tables["items"]["author_id"].tolist() == [10, 11, 12]
    assert parsed.notes == (
        "dropped 1 exact duplicates of another row",
        "dropped 1 rows of unknown duration (not in feed_info.csv, or videoplayseconds 0)",
    )


def test_the_log_alone_has_no_durations(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "raw")
    with pytest.raises(UsageError, match=r"user_action.csv has no durations; give the folder that holds both it and feed_info.csv"):
        import_path("wechat-2021", folder / "user_action.csv", tmp_path / "home", lambda _: None)


def test_a_wrong_field_of_either_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path, ACTIONS.replace(",25000,", ",-3,"))
    with pytest.raises(UsageError, match=r"user_action.csv, line 3, column 8 \(play\): '-3' is not a number, 0 or more"):
        wechat.read(folder / "user_action.csv", folder / "feed_info.csv")
    folder = _folder(tmp_path, feeds=FEEDS.replace(",26,", ",long,"))
    with pytest.raises(UsageError, match=r"feed_info.csv, line 2, column 3 \(videoplayseconds\): 'long' is not a whole number"):
        wechat.read(folder / "user_action.csv", folder / "feed_info.csv")


def test_import_and_the_task_without_hours(tmp_path: Path) -> None:
    feeds = (71474, 73916, 50282)
    rows: list[str] = []
    for row in range(420):
        like, forward, follow = (int(row % every == 1) for every in (5, 7, 11))
        shown = f"{row % 4},{feeds[row % 3]},{1 + row % 14}"
        rows.append(f"{shown},1,0,0,{like},{row % 40 * 1000},9,0,{forward},{follow},0")
    folder = _folder(tmp_path / "raw", ACTIONS.splitlines()[0] + "\n" + "\n".join(rows) + "\n")
    dataset = import_path("wechat-2021", folder, tmp_path / "home", lambda _: None)
    assert set(dataset.provenance.files) == {"user_action.csv", "feed_info.csv"}
    tables = prepare(dataset)
    assert tables.tasks == ("ev", "lv", "cv", "like", "follow", "forward")
    assert set(tables.fields) == {"user_id", "item_id", "duration_bucket", "item_tag"}
    assert {part: counts["rows"] for part, counts in tables.facts["parts"].items()} == {
        "train": 240,
        "meta": 60,
        "valid": 60,
        "test": 60,
    }
