"""Amazon purchases (Ni et al. 2019) as sequences, as two repositories prepared them: no ratings, no times, only the order.

    games_sequences.inter (LLMRank: tab, typed header; a user's items, oldest first, then the last one)
    user_id:token   item_id_list:token_seq  item_id:token
    4       70 71 72 73     74

    games_items.item (tab, typed header)
    item_id:token   title:token_seq
    0       Fire Emblem: The Sacred Stones

    office_valid.csv.gz, office_test.csv.gz (MiniOneRec: csv, quoted; one row an item that was bought, with up to ten before it)
    user_id,history_item_title,item_title,history_item_id,item_id,history_item_sid,item_sid
    A994,"['BIC 4 Color ...', ...]","Sparco ...","[2122, 243, 811, 812]",2280,"['<a_255>...', ...]",<a_130>...

    office_items.txt (tab, no header; the first column, a code of another model, is left out)
    <a_60><b_159><c_203>    HP 74 Black & 75 Tri-color Original Ink Cartridges ...  0

Of the office products only the rows of valid and test are published, in order of time. A user's rows follow each other without a
gap (the history of each is the end of what went before, which is checked), so each user's sequence is put together again from the
first row's history on; what lies further back is lost.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.errors import UsageError, shown
from .ratings_file import REPAIR, Parsed, first_line, unpacking
from .titles import decoded, read_titles, whole

INTER = "user_id:token\titem_id_list:token_seq\titem_id:token"
ITEM = "item_id:token\ttitle:token_seq"
OFFICE = ("user_id", "history_item_title", "item_title", "history_item_id", "item_id", "history_item_sid", "item_sid")
HISTORY = 10


def read_games(path: Path, *beside: Path) -> Parsed:
    """Tables `sequences` and `titles` of the video games; `beside` is the file of items."""
    (items,) = _needed(path, beside, ("*.item",))
    titles = read_titles(items, "\t", 2, lambda fields: fields[1], ITEM)
    if (found := first_line(path, "utf-8")) != INTER:
        raise UsageError(f"{path}, line 1: expected the header {INTER!r}, found {shown(found)}; {REPAIR}")
    taken: dict[int, list[int]] = {}
    for number, line in enumerate(decoded(path).splitlines()[1:], start=2):
        fields = line.split("\t")
        words = [whole(word) for word in " ".join(fields).split(" ")]
        numbers = [word for word in words if word is not None]
        if len(fields) != len(INTER.split("\t")) or len(numbers) < len(words):
            raise UsageError(f"{path}, line {number}: not a user, the items taken, and the last one, all whole numbers; {REPAIR}")
        user, *own = numbers
        if user in taken:
            raise UsageError(f"{path}, line {number}: user {user} has a line already; {REPAIR}")
        taken[user] = own
    return _parsed(path, taken, titles)


def read_office(path: Path, *beside: Path) -> Parsed:
    """Tables `sequences` and `titles` of the office products; `beside` are the rows of test and the file of items."""
    test, items = _needed(path, beside, ("office_test.csv*", "office_items.txt"))
    titles = read_titles(items, "\t", 3, lambda fields: fields[1], item=2)
    taken: dict[str, list[int]] = {}
    rows = 0
    for file in (path, test):
        for number, row in _csv_rows(file):
            user, history, item = row[0], row[3], row[4]
            before, last = _numbers(history), whole(item)
            if not user or before is None or last is None:
                raise UsageError(f"{file}, line {number}: not a user, a list of items and an item; {REPAIR}")
            own = taken.setdefault(user, list(before))
            if before != own[-HISTORY:]:
                raise UsageError(
                    f"{file}, line {number}: the history of {shown(user)} does not end what that user took before; {REPAIR}"
                )
            own.append(last)
            rows += 1
    note = f"{rows} rows of valid and test put together to {len(taken)} sequences; the rows of train are not published"
    return _parsed(path, taken, titles, (note,))


def _needed(path: Path, beside: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """Of the files beside the first, one for each pattern."""
    found = [next((file for file in beside if file.match(pattern)), None) for pattern in patterns]
    if lacking := [pattern for pattern, file in zip(patterns, found, strict=True) if file is None]:
        raise UsageError(f"{path} is not enough: {lacking[0]} does not lie beside it; give the folder that holds both")
    return [file for file in found if file is not None]


def _parsed(
    path: Path, taken: dict[int, list[int]] | dict[str, list[int]], titles: pd.DataFrame, notes: tuple[str, ...] = ()
) -> Parsed:
    """The tables of what each user took, in the users' order."""
    if len(taken) < 2:
        raise UsageError(f"{path} holds what {len(taken)} users took; a recommender needs at least two")
    length = np.array([len(own) for own in taken.values()])
    item = np.fromiter((item for own in taken.values() for item in own), dtype=np.int64, count=int(length.sum()))
    unknown = ~np.isin(item, titles["item_id"].to_numpy())
    if unknown.any():
        raise UsageError(
            f"{path} names item {int(item[unknown][0])}, which the file of titles lacks; take both files of one edition"
        )
    position = np.arange(len(item)) - np.repeat(np.cumsum(length) - length, length)
    user = np.repeat(np.array(list(taken)), length)
    return Parsed({"sequences": pd.DataFrame({"user_id": user, "item_id": item, "position": position}), "titles": titles}, notes)


def _numbers(text: str) -> list[int] | None:
    """A list of whole numbers, or None for any other text."""
    return [int(each) for each in text[1:-1].split(",")] if re.fullmatch(r"\[[0-9]{1,18}(, *[0-9]{1,18})*\]", text) else None


def _csv_rows(path: Path) -> Generator[tuple[int, list[str]]]:
    """Each row with the line that it ends in."""
    with unpacking(path), _csv(path), gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        header = tuple(next(lines, [""]))
        if header != OFFICE:
            raise UsageError(f"{path}, line 1: expected the header {','.join(OFFICE)}, found {shown(','.join(header))}; {REPAIR}")
        for row in lines:
            if len(row) != len(OFFICE):
                raise UsageError(f"{path}, line {lines.line_num}: {len(row)} columns instead of {len(OFFICE)}; {REPAIR}")
            yield lines.line_num, row


@contextmanager
def _csv(path: Path) -> Generator[None]:
    try:
        yield
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no csv file in UTF-8 ({error}); {REPAIR}") from None
