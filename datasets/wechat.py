"""The short-video log of the WeChat Big Data Challenge 2021: fourteen days of WeChat Channels, seven kinds of feedback.

    user_action.csv
    userid,feedid,date_,device,read_comment,comment,like,play,stay,click_avatar,forward,follow,favorite
    8,71474,1,1,0,0,1,500,5366,0,0,0,0
    8,73916,1,1,0,0,0,250,1533,0,0,0,0
    8,50282,1,1,0,0,0,750,1302,0,0,0,0

    feed_info.csv: feedid,authorid,videoplayseconds,description,...,bgm_song_id,bgm_singer_id,...,manual_tag_list,...

Odd parts: `play` and `stay` are milliseconds, the duration is in whole seconds and stands in the other file; days are numbered 1 to
14 without a calendar and rows have no time, so there is no hour of day; a user who meets a video again makes a row of its own.
`click_avatar` (a tap on the author's face) is `profile_enter` here; `read_comment`, `favorite`, `stay` and `device` only tell
duplicates apart and are not kept.

The columns' names are those that the organisers' baseline reads; their order, the sample rows and the units are from general
knowledge of the competition, whose page is gone. Missing columns are told by name, their order does not matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..core.errors import UsageError
from .csv_columns import CODE, DECIMAL, TEXT
from .impressions import TYPES, Log, LogLayout, finished, read_features, read_log
from .kuairand import first_category
from .ratings_file import Parsed

LAYOUT = LogLayout(
    columns={
        "userid": "user_id",
        "feedid": "item_id",
        "date_": "date",
        "device": None,
        "read_comment": None,
        "comment": "comment",
        "like": "like",
        "play": "watch_time",
        "stay": None,
        "click_avatar": "profile_enter",
        "forward": "forward",
        "follow": "follow",
        "favorite": None,
    },
    rules={"play": DECIMAL, "stay": DECIMAL},
    units={"play": 1000},
)
FEEDS = {"authorid": CODE, "videoplayseconds": CODE, "bgm_song_id": CODE, "bgm_singer_id": CODE, "manual_tag_list": TEXT}
NAMES = {"authorid": "author_id", "videoplayseconds": "duration", "manual_tag_list": "tag"}


def read(path: Path, *beside: Path) -> Parsed:
    """The impressions of `user_action.csv`, with durations and features from the `feed_info.csv` beside it.

    tables["items"]: author_id, bgm_song_id, bgm_singer_id, tag (the first of the manual ones); -1 where not known.
    """
    if not beside:
        raise UsageError(f"{path.name} has no durations; give the folder that holds both it and feed_info.csv")
    feeds = read_features(beside[0], "feedid", "item_id", FEEDS).rename(columns=NAMES)
    log = read_log([path], LAYOUT)
    place = pd.Index(feeds["item_id"]).get_indexer(pd.Index(log.table["item_id"]))
    duration = np.where(place >= 0, feeds["duration"].to_numpy()[place], 0).astype(np.float32)
    table = log.table.assign(duration=duration)[[name for name in TYPES if name in log.table or name == "duration"]]
    log = finished(Log(table, log.lines, log.notes), "not in feed_info.csv, or videoplayseconds 0")
    items = feeds.drop(columns="duration").assign(tag=first_category(feeds["tag"]))
    return Parsed({"impressions": log.table, "items": items}, log.notes, log.lines)
