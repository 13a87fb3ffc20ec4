"""KuaiRand (Gao et al. 2022), in its three sizes: Kuaishou's log of short videos, twelve signals an impression.

    log_standard_4_22_to_5_08_pure.csv (19 columns)
    user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,...
    712,5239,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1
    13414,6831,20220425,0,1650812934945,1,0,0,0,0,0,0,1184,11933,0,0,0,0,1
    19674,3359,20220425,0,1650813311985,0,0,0,0,0,0,0,0,9500,0,0,0,0,1

Odd parts: some rows are there twice or more, in all columns; `duration_ms` is 0 where it is not known; `hourmin` often differs from
the hour of `time_ms`, so the latter is used; `is_click` and `long_view` are, in a feed that plays by itself, functions of play time
and duration; the log mixes scenes (`tab`), of which 1 is such a feed and the largest. User features hold -124 for "not known".

Read: the standard logs (two, or four for 27K), user features, basic video features; for the smallest edition also the log of videos
exposed at random, as a table of its own, `random`: another distribution, to test on only. Not read: `video_features_statistic_*`,
whose averages run over the whole month and so have seen every test day. Columns and file names are those of the dataset's README.
The largest edition, 3.2e8 rows, needs some 25 GB of memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .csv_columns import CODE, TEXT, Rule
from .impressions import LogLayout, finished, read_features, read_log
from .ratings_file import Parsed

LAYOUT = LogLayout(
    columns={
        "user_id": "user_id",
        "video_id": "item_id",
        "date": "date",
        "hourmin": None,
        "time_ms": "time",
        "is_click": "click",
        "is_like": "like",
        "is_follow": "follow",
        "is_comment": "comment",
        "is_forward": "forward",
        "is_hate": "hate",
        "long_view": "long_view",
        "play_time_ms": "watch_time",
        "duration_ms": "duration",
        "profile_stay_time": None,
        "comment_stay_time": None,
        "is_profile_enter": "profile_enter",
        "is_rand": None,
        "tab": "tab",
    },
    rules={},
    units={"play_time_ms": 1000, "duration_ms": 1000},
)
USER_TEXTS = ("user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range")
USER_CODES = ("is_lowactive_period", "is_live_streamer", "is_video_author", *(f"onehot_feat{number}" for number in range(18)))
ITEM_TEXTS = ("video_type", "upload_dt", "upload_type", "tag")
ITEM_CODES = ("author_id", "music_type")
USERS: dict[str, Rule] = {**dict.fromkeys(USER_TEXTS, TEXT), **dict.fromkeys(USER_CODES, CODE)}
ITEMS: dict[str, Rule] = {**dict.fromkeys(ITEM_TEXTS, TEXT), **dict.fromkeys(ITEM_CODES, CODE)}


def read(path: Path, *beside: Path) -> Parsed:
    """The impressions of one log and of further `log_standard_*` beside it, and the feature files that are beside it.

    tables["random"]: of a `log_random_*` beside it, with the columns of `impressions`; tables["items"].tag: the first category of a
    video's list, -1 where it has none.
    """
    logs = [path, *(other for other in beside if other.name.startswith("log_standard_"))]
    log = finished(read_log(logs, LAYOUT), "duration_ms 0")
    tables = {"impressions": log.table}
    notes = list(log.notes)
    for other in beside:
        if other.name.startswith("log_random_"):
            free = finished(read_log([other], LAYOUT), "duration_ms 0")
            tables["random"] = free.table
            notes += [f"random log: {note}" for note in free.notes]
        if other.name.startswith("user_features_"):
            tables["users"] = read_features(other, "user_id", "user_id", USERS)
        if other.name.startswith("video_features_basic_"):
            items = read_features(other, "video_id", "item_id", ITEMS)
            tables["items"] = items.assign(tag=first_category(items["tag"]))
    absent = [
        f"no {kind} features came with the log" for kind, table in (("user", "users"), ("video", "items")) if table not in tables
    ]
    return Parsed(tables, (*notes, *absent), log.lines)


def first_category(lists: pd.Series[str]) -> pd.Series[int]:
    """The first whole number of each list of categories ("12,65", "[27, 9]"); int64, -1 where there is none of up to 15 digits."""
    found = lists.astype(str).str.extract(r"(?<![0-9])([0-9]{1,15})(?![0-9])", expand=False)
    return pd.to_numeric(found).fillna(-1).astype(np.int64)
