"""MovieLens ratings (Harper and Konstan 2015), as GroupLens and as RecBole write them.

    ml-100k.inter (RecBole: tab, typed header)               u.data (GroupLens: tab, no header)
    user_id:token  item_id:token  rating:float  timestamp:float
    196     242     3       881250949                        196     242     3       881250949
    186     302     3       891717742                        186     302     3       891717742

    ratings.csv (GroupLens, edition "latest-small": comma, CRLF, ratings in halves)
    userId,movieId,rating,timestamp
    1,1,4.0,964982703
    1,3,4.0,964981247

Both files of MovieLens 100K hold the same 100,000 rows in the same order. No official preprocessing is reproduced here; the paper
did not use MovieLens, so the rule for a positive is ours: four stars and more.
"""

from __future__ import annotations

from pathlib import Path

from .ratings_file import Layout, Parsed, first_line, read_ratings

COLUMNS = ("user_id", "item_id", "rating", "timestamp")
U_DATA = Layout("\t", COLUMNS, None, 1, 5)
INTER = Layout("\t", COLUMNS, "user_id:token\titem_id:token\trating:float\ttimestamp:float", 1, 5)
RATINGS_CSV = Layout(",", COLUMNS, "userId,movieId,rating,timestamp", 0.5, 5)


def read_100k(path: Path) -> Parsed:
    """MovieLens 100K from either of its two files, told apart by the header."""
    return read_ratings(path, INTER if first_line(path, "utf-8") == INTER.header else U_DATA)


def read_latest_small(path: Path) -> Parsed:
    """The small edition from its ratings.csv."""
    return read_ratings(path, RATINGS_CSV)
