"""Titles of items: delimited text in, a table `titles` out (item_id, title), and for anything else a sentence with file and line.

Titles hold quote marks, so no quote in a file means anything. White space is evened out, and an empty title stays: who needs one
leaves the item out and counts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..core.errors import UsageError, shown
from .ratings_file import REPAIR

HEADER = ("item_id", "title")


def read_titles(
    path: Path,
    separator: str,
    columns: int,
    title: Callable[[Sequence[str]], str],
    header: str | None = None,
    encoding: str = "utf-8",
    item: int = 0,
) -> pd.DataFrame:
    """One row an item, in the file's order: item_id int64, title text.

    columns: how many a line has; title: makes a title of a line's fields; header: the first line, None where there is none; item:
    the column of the item's id, a whole number. Raises UsageError naming the line that does not fit.
    """
    lines = decoded(path, encoding).split("\n")
    if header is not None and lines[0].rstrip("\r") != header:
        raise UsageError(f"{path}, line 1: expected the header {header!r}, found {shown(lines[0])}; {REPAIR}")
    ids: dict[int, int] = {}
    titles: list[str] = []
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r").split(separator)
        if (number == 1 and header is not None) or line in ("", "\r"):
            continue
        if len(fields) != columns:
            raise UsageError(f"{path}, line {number}: {len(fields)} columns instead of {columns}; {REPAIR}")
        own = whole(fields[item])
        if own is None or own in ids:
            wrong = "is not a whole number of at most 18 digits" if own is None else f"stands in line {ids[own]} already"
            raise UsageError(f"{path}, line {number}, column {item + 1} (item_id): {shown(fields[item])} {wrong}; {REPAIR}")
        ids[own] = number
        titles.append(even(title(fields)))
    if not titles:
        raise UsageError(f"{path} holds no titles; {REPAIR}")
    return table(ids, titles)


def table(ids: Iterable[int] | Iterable[str], titles: Sequence[str]) -> pd.DataFrame:
    """The table of these items."""
    return pd.DataFrame(dict(zip(HEADER, (list(ids), titles), strict=True)))


def whole(text: str) -> int | None:
    """The number that a text of decimal digits says; None for any other text, and for what an int64 does not hold."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def even(title: str) -> str:
    """The title with single spaces between its words and none around it."""
    return " ".join(title.split())


def decoded(path: Path, encoding: str = "utf-8") -> str:
    """A file's text. Raises UsageError naming the first line that is in another encoding."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not {encoding}; save it as {encoding}") from None
