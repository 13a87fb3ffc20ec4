"""KuaiRec's big matrix (Gao et al. 2022): Kuaishou's log of two months, watch time only.

    big_matrix.csv
    user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio
    0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965
    0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,1.2440823
    0,5262,851,7908,2020-07-05 00:16:06.687,20200705,1593879366.687,0.1076125

Odd parts: there is no like, follow or forward, so only the tasks of watching can be made of it; `timestamp` is in seconds with
decimals; `watch_ratio` and `time` repeat other columns and are not read. The small matrix (every user, every video, partly without
a time) is another experiment and not read either; nor is `item_daily_features.csv`, whose counts contain the impressions that they
would help to predict.

Columns, units and the first row's numbers are those of the dataset's README; the other two rows, and that `timestamp` may be empty,
are from general knowledge of the file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .csv_columns import DECIMAL_OR_NOTHING, TEXT
from .impressions import OWN_RULES, LogLayout, finished, read_features, read_log
from .kuairand import USERS, first_category
from .ratings_file import Parsed

LAYOUT = LogLayout(
    columns={
        "user_id": "user_id",
        "video_id": "item_id",
        "play_duration": "watch_time",
        "video_duration": "duration",
        "date": "date",
        "timestamp": "time",
    },
    rules={
        "timestamp": replace(DECIMAL_OR_NOTHING, wanted="a Unix time in seconds", high=1e12),
        "date": replace(DECIMAL_OR_NOTHING, wanted=OWN_RULES["date"].wanted, high=OWN_RULES["date"].high, whole=True),
    },
    units={"play_duration": 1000, "video_duration": 1000, "timestamp": 1 / 1000},
)


def read(path: Path, *beside: Path) -> Parsed:
    """The impressions of the big matrix, with `user_features.csv` and `item_categories.csv` where they are beside it."""
    log = finished(read_log([path], LAYOUT), "video_duration 0")
    tables = {"impressions": log.table}
    for other in beside:
        if other.name == "user_features.csv":
            tables["users"] = read_features(other, "user_id", "user_id", USERS)
        if other.name == "item_categories.csv":
            items = read_features(other, "video_id", "item_id", {"feat": TEXT})
            tables["items"] = items.assign(feat=first_category(items["feat"])).rename(columns={"feat": "tag"})
    return Parsed(tables, log.notes, log.lines)
