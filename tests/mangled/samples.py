"""A small whole sample of every dataset that has a reader, in the form of its publisher."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from craftbench.datasets import amazon, amazon_2018, amazon_sequences, bookcrossing, kuairand, kuairec, movielens, wechat
from craftbench.datasets.ratings_file import Parsed


@dataclass(frozen=True)
class Sample:
    """files: by name, the main one first, without gzip (a name in .gz is gzipped when it is written); entry: of the catalogue."""

    entry: str
    read: Callable[..., Parsed]
    files: Mapping[str, str]
    separators: tuple[str, ...]
    encoding: str = "utf-8"

    def content(self, name: str) -> bytes:
        return self.files[name].encode(self.encoding)


def packed(name: str, content: bytes) -> bytes:
    """The bytes as they lie on the disk."""
    return gzip.compress(content, mtime=0) if name.endswith(".gz") else content


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


U_DATA = _lines(
    "196\t242\t3\t881250949", "186\t302\t3\t891717742", "22\t377\t1\t878887116", "244\t51\t2\t880606923", "196\t51\t5\t880606930"
)
INTER = movielens.INTER.header + "\n" + U_DATA
U_ITEM = _lines(
    *(
        f"{item}|{title}|01-Jan-1995||http://x{'|0' * 19}"
        for item, title in ((242, "Kolya (1996)"), (302, "L\xe9on"), (51, "unknown"))
    )
)
ML_ITEM = _lines(movielens.ITEM, "242\tKolya\t1996\tComedy", "302\tL.A. Confidential\t1997\tCrime", "51\tunkonwn\tunkonwn\tunknown")
SMALL = _lines(
    "userId,movieId,rating,timestamp", "1,1,4.0,964982703", "1,3,4.5,964981247", "2,1,0.5,964982224", "2,47,5.0,964983815"
)
BOOKS = _lines(
    '"User-ID";"ISBN";"Book-Rating"', '"276725";"034545104X";"0"', '"276726";"0155061224";"5"', '"276726";"0446520802";"10"'
)
SLICE = _lines("User-ID,ISBN,Book-Rating", "276762,3404122879,0", "276762,3404182928,8", "276763,3404122879,3")
Y2014 = _lines(*(f"A{user:012d}X,01327930{user % 4:02d},{1 + user % 5}.0,{1365811200 + user}" for user in range(8)))
Y2018 = _lines(*(f"00600098{user % 4:02d},A{user:012d}X,{1 + user % 5}.0,{1365811200 + user}" for user in range(8)))
LOG = _lines(
    ",".join(kuairand.LAYOUT.columns),
    "712,5239,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1",
    "13414,6831,20220425,0,1650812934945,1,1,0,1,0,0,0,1184,11933,0,250,0,0,1",
    "19674,5239,20220426,2300,1650899000001,0,0,1,0,1,1,0,0,9500,77,0,1,0,4",
)
USERS = _lines(
    ",".join(("user_id", *kuairand.USERS, "follow_user_num")),
    "712," + ",".join(["full_active", "500+", "[100", "[30", "730+", "0", "1", "1", *map(str, range(18)), "514"]),
    "13414," + ",".join(["UNKNOWN", '"(0,10]"', '"[10,100)"', '"[1,5)"', "181-365", "0", "-124", "0", *["1.0"] * 17, "", "8"]),
)
VIDEOS = _lines(
    "video_id,author_id,video_type,upload_dt,upload_type,music_type,tag",
    '5239,7349781,NORMAL,2022-04-10,LongImport,9.0,"39,12"',
    "6831,2103883,AD,2022-04-10,Kmovie,,",
)
MATRIX = _lines(
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio",
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965",
    "0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,1.2440823",
    "1,5262,900,7908,,,,0.11",
)
CATEGORIES = _lines("video_id,feat", '3649,"[27, 9]"', "9598,[8]", "5262,[]")
ACTIONS = _lines(
    ",".join(wechat.LAYOUT.columns),
    "8,71474,1,1,0,0,1,500,5366,0,0,0,0",
    "8,73916,1,1,1,0,0,25000,26533,1,0,0,0",
    "9,50282,2,1,0,1,0,750,1302,0,1,1,1",
)
FEEDS = _lines(
    "feedid,authorid,videoplayseconds,description,bgm_song_id,bgm_singer_id,manual_tag_list",
    "71474,10,26,1 2 3,4.0,5.0,39;41",
    "73916,11,12,,,,",
    "50282,12,60,,,,8",
)
GAMES = _lines(amazon_sequences.INTER, "0\t0 1 2\t3", "7\t3\t1", "9\t2 0\t1")
GAME_TITLES = _lines(amazon_sequences.ITEM, "0\tFire Emblem", '1\t6" Case', "2\tA  B", "3\t")
OFFICE = tuple(
    _lines(
        ",".join(amazon_sequences.OFFICE),
        *(f'{user},"[\'x\']",t,"{history}",{item},"[\'<a>\']",<b>' for user, history, item in rows),
    )
    for rows in ((("A", [3, 1], 4), ("B", [5], 6), ("A", [3, 1, 4], 1)), (("B", [5, 6], 5), ("A", [3, 1, 4, 1], 0)))
)
OFFICE_TITLES = _lines(*(f"<a>\tItem {item}\t{item}" for item in range(8)))
REVIEWS = _lines(
    *(
        json.dumps({"overall": 5.0, "reviewerID": f"U{user}", "asin": f"B{item}", "unixReviewTime": 1514764800 + 60 * user + item})
        for user in range(6)
        for item in range(6)
    )
)
META = _lines(*(json.dumps({"title": f"Song {item} &amp; more", "asin": f"B{item}"}) for item in range(6)))

BOX = {
    "games": ("games_sequences.inter", "games_items.item"),
    "office": ("office_valid.csv.gz", "office_test.csv.gz", "office_items.txt"),
}
SAMPLES = {
    "movielens u.data": Sample("ml-100k", movielens.read_100k, {"u.data": U_DATA, "u.item": U_ITEM}, ("\t", "|"), "latin-1"),
    "movielens inter": Sample("ml-100k", movielens.read_100k, {"ml-100k.inter": INTER, "ml-100k.item": ML_ITEM}, ("\t", "\t")),
    "movielens small": Sample("ml-latest-small", movielens.read_latest_small, {"ratings.csv": SMALL}, (",",)),
    "bookcrossing": Sample("bookcrossing", bookcrossing.read, {"BX-Book-Ratings.csv": BOOKS}, (";",), "latin-1"),
    "bookcrossing slice": Sample("bookcrossing", bookcrossing.read, {"BX-Book-Ratings.csv": SLICE}, (",",), "latin-1"),
    "amazon 2014": Sample("amazon-electronics", amazon.read, {"ratings_Electronics.csv": Y2014}, (",",)),
    "amazon 2018 gzipped": Sample("amazon-electronics", amazon.read, {"Electronics.csv.gz": Y2018}, (",",)),
    "kuairand": Sample(
        "kuairand-pure",
        kuairand.read,
        {
            "log_standard_4_08_to_4_21_pure.csv": LOG,
            "log_standard_4_22_to_5_08_pure.csv.gz": LOG,
            "log_random_4_22_to_5_08_pure.csv": LOG,
            "user_features_pure.csv": USERS,
            "video_features_basic_pure.csv": VIDEOS,
        },
        (",",) * 5,
    ),
    "kuairec": Sample(
        "kuairec",
        kuairec.read,
        {"big_matrix.csv": MATRIX, "user_features.csv": USERS, "item_categories.csv": CATEGORIES},
        (",",) * 3,
    ),
    "wechat": Sample("wechat-2021", wechat.read, {"user_action.csv": ACTIONS, "feed_info.csv": FEEDS}, (",", ",")),
    "amazon games": Sample(
        "amazon-games", amazon_sequences.read_games, dict(zip(BOX["games"], (GAMES, GAME_TITLES), strict=True)), ("\t", "\t")
    ),
    "amazon office": Sample(
        "amazon-office",
        amazon_sequences.read_office,
        dict(zip(BOX["office"], (*OFFICE, OFFICE_TITLES), strict=True)),
        (",", ",", "\t"),
    ),
    "amazon category": Sample(
        "amazon-2018-games",
        partial(amazon_2018.read, items=1),
        {"Video_Games.json.gz": REVIEWS, "meta_Video_Games.json": META},
        (",", ","),
    ),
}
