"""Amazon reviews of 2018 with their metadata (Ni et al. 2019) as sequences with titles: the pipeline of the released data of D3.

    CDs_and_Vinyl.json.gz (a review a line)
    {"overall": 5.0, "reviewerID": "A1JKGTL51HHTU1", "asin": "0001393774", "unixReviewTime": 1412035200, ...}
    meta_CDs_and_Vinyl.json.gz (an item a line)
    {"title": "Songs from the Shepherd", "asin": "0001393774", ...}

Every rating counts as taken. Reviews are kept from October 2017 to the first of November 2018, of items with a title of at least 2
characters and at most 20 words; then users and items with fewer than five reviews are left out, again and again, until all have
five (each pass drops both, which ends where any other order does). If fewer than 10,000 items remain, the window begins a year
earlier and all is done anew, but not before 1996. A user's reviews are ordered by (time, item). What the description leaves open: a
review that stands there twice counts twice, times are UTC, and all HTML entities of a title are resolved.
"""

from __future__ import annotations

import gzip
import json
from array import array
from collections.abc import Generator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
import pandas as pd

from ..core.errors import UsageError
from .ratings_file import REPAIR, Parsed, unpacking
from .splits import k_core
from .titles import even, table

END = int(datetime(2018, 11, 1, tzinfo=UTC).timestamp())
FIRST_YEAR, LATEST_YEAR, MONTH = 1996, 2017, 10
ITEMS, CORE = 10_000, 5
SHORTEST, LONGEST = 2, 20  # characters, words


def read(path: Path, *beside: Path, items: int = ITEMS) -> Parsed:
    """Tables `sequences` and `titles` of one category; `beside` is its file of metadata. items: that the window must hold.

    Lines are read one at a time. Raises UsageError for a line that is not JSON or lacks what is needed, and where the widest window
    holds nothing.
    """
    if not beside:
        raise UsageError(f"{path} is not enough: meta_{path.name} does not lie beside it; give the folder that holds both")
    titles = _titles(beside[0])
    users, reviews = _reviews(path, titles)
    year, core = LATEST_YEAR, _core_since(reviews, LATEST_YEAR)
    while core["item_id"].nunique() < items and year > FIRST_YEAR:
        year -= 1
        core = _core_since(reviews, year)
    if core.empty:
        raise UsageError(f"{path} holds no users and items with {CORE} reviews each; take the file of a whole category")
    return _parsed(core, users, titles, year)


def cleaned(title: str) -> str:
    """The title as it is kept, or "" for one that is none: too short, too long, or a piece of a web page."""
    text = even(unescape(title))
    return text if "<span id" not in title and len(text) >= SHORTEST and len(text.split()) <= LONGEST else ""


def _begin(year: int) -> int:
    return int(datetime(year, MONTH, 1, tzinfo=UTC).timestamp())


def _core_since(reviews: pd.DataFrame, year: int) -> pd.DataFrame:
    return k_core(reviews[reviews["timestamp"] >= _begin(year)], CORE)


def _titles(path: Path) -> dict[str, str]:
    """The titles of the items that have one, by asin; the last line of an item counts."""
    found: dict[str, str] = {}
    for number, line in _json_lines(path):
        asin, title = line.get("asin"), line.get("title", "")
        if not _text(asin) or not _text(title):
            raise UsageError(f"{path}, line {number}: 'asin' or 'title' is no text; {REPAIR}")
        found[asin] = cleaned(title)
    return {asin: title for asin, title in found.items() if title}


def _reviews(path: Path, titles: dict[str, str]) -> tuple[list[str], pd.DataFrame]:
    """The users, and user_id (a place among them), item_id (a place among `titles`) and timestamp of their reviews in the widest
    window."""
    users, items = dict[str, int](), {asin: place for place, asin in enumerate(titles)}
    columns: dict[str, array[int]] = {name: array("q") for name in ("user_id", "item_id", "timestamp")}
    for number, line in _json_lines(path):
        user, asin, time = (line.get(name) for name in ("reviewerID", "asin", "unixReviewTime"))
        if not _text(user) or not _text(asin) or type(time) is not int:
            raise UsageError(f"{path}, line {number}: 'reviewerID' or 'asin' is no text, or 'unixReviewTime' no number; {REPAIR}")
        if asin in items and _begin(FIRST_YEAR) <= time <= END:
            for name, value in (("user_id", users.setdefault(user, len(users))), ("item_id", items[asin]), ("timestamp", time)):
                columns[name].append(value)
    return list(users), pd.DataFrame({name: np.array(values, dtype=np.int64) for name, values in columns.items()})


def _parsed(core: pd.DataFrame, users: list[str], titles: dict[str, str], year: int) -> Parsed:
    names = {"user_id": np.array(users, dtype=object), "item_id": np.array(list(titles), dtype=object)}
    rows = core.assign(**{column: of[core[column].to_numpy()] for column, of in names.items()})
    rows = rows.sort_values(["user_id", "timestamp", "item_id"], ignore_index=True)
    rows = rows.assign(position=rows.groupby("user_id").cumcount())
    kept: list[str] = sorted(set(rows["item_id"]))
    note = f"reviews from October {year} to November 2018, {CORE}-core: {rows['user_id'].nunique()} users, {len(kept)} items"
    twice = int(rows.duplicated(["user_id", "item_id", "timestamp"]).sum())
    notes = (note, f"{twice} of the rows repeat another one") if twice else (note,)
    sequences = rows[["user_id", "item_id", "position", "timestamp"]]
    return Parsed({"sequences": sequences, "titles": table(kept, [titles[asin] for asin in kept])}, notes)


def _json_lines(path: Path) -> Generator[tuple[int, dict[str, Any]]]:
    """Each line's object with its number."""
    with unpacking(path), gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):  # the second of ten thousand brackets
                found = None
            if not isinstance(found, dict):
                raise UsageError(f"{path}, line {number}: not a JSON object, as the release of 2018 has them; {REPAIR}")
            yield number, cast(dict[str, Any], found)


def _text(value: Any) -> TypeGuard[str]:
    """A text, and no half of a character that stands in two, which no file can hold."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value))
