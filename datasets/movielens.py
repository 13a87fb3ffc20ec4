"""MovieLens ratings and titles (Harper and Konstan 2015), as GroupLens and as RecBole write them.

    ml-100k.inter (RecBole: tab, typed header)               u.data (GroupLens: tab, no header)
    user_id:token  item_id:token  rating:float  timestamp:float
    196     242     3       881250949                        196     242     3       881250949
    186     302     3       891717742                        186     302     3       891717742

    ml-100k.item (RecBole: tab, typed header)                u.item (GroupLens: "|", Latin-1, no header, 24 columns)
    item_id:token  movie_title:token_seq  release_year:token  class:token_seq
    1       Toy Story   1995    Animation Children's Comedy  1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?...|0|...
    2       GoldenEye   1995    Action Adventure Thriller    2|GoldenEye (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?...|0|...

    ratings.csv (GroupLens, edition "latest-small": comma, CRLF, ratings in halves)
    userId,movieId,rating,timestamp
    1,1,4.0,964982703
    1,3,4.0,964981247

Both files of MovieLens 100K hold the same 100,000 rows in the same order. RecBole cuts the year off a title; it is put back, in
parentheses, where it is a year. Item 267 has no title in either. No official preprocessing is reproduced here; the paper
did not use MovieLens, so the rule for a positive is ours: four stars and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .ratings_file import Layout, Parsed, first_line, read_ratings
from .titles import read_titles

COLUMNS = ("user_id", "item_id", "rating", "timestamp")
U_DATA = Layout("\t", COLUMNS, None, 1, 5)
INTER = Layout("\t", COLUMNS, "user_id:token\titem_id:token\trating:float\ttimestamp:float", 1, 5)
RATINGS_CSV = Layout(",", COLUMNS, "userId,movieId,rating,timestamp", 0.5, 5)
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
UNTITLED = ("unknown", "unkonwn")  # GroupLens; RecBole


def read_100k(path: Path, *beside: Path) -> Parsed:
    """MovieLens 100K from either of its two files, told apart by the header; with titles where a file of items lies beside it."""
    parsed = read_ratings(path, INTER if first_line(path, "utf-8") == INTER.header else U_DATA)
    if not beside:
        return parsed
    items = beside[0]
    if first_line(items, "utf-8") == ITEM:
        titles = read_titles(items, "\t", 4, _with_year, ITEM)
    else:
        titles = read_titles(items, "|", 24, _as_it_stands, encoding="latin-1")
    return Parsed({**parsed.tables, "titles": titles}, parsed.notes)


def _as_it_stands(fields: Sequence[str]) -> str:
    return "" if fields[1] in UNTITLED else fields[1]


def _with_year(fields: Sequence[str]) -> str:
    year = f" ({fields[2]})" if len(fields[2]) == 4 and fields[2].isdecimal() else ""
    return "" if fields[1] in UNTITLED else fields[1] + year


def read_latest_small(path: Path) -> Parsed:
    """The small edition from its ratings.csv."""
    return read_ratings(path, RATINGS_CSV)
