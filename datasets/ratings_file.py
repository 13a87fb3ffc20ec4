"""Rating files: delimited text in, a checked table out, and for anything else one sentence with file, line and column.

Every field is read as text first, so that nothing is guessed ("NA" stays a user's name, an ISBN keeps its zeros) and an error can
show what the file really says. A table with one doubtful value is no table.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ..core.errors import UsageError, shown

REPAIR = "correct the file or fetch it again"
LARGEST = 2**53  # the whole numbers up to it are told apart when they are read as float64


@dataclass(frozen=True)
class Layout:
    """How a rating file is written.

    columns: in the file's order, of user_id, item_id, rating, timestamp; header: the first line, or None where the file has none;
    low, high: the ends of the rating scale; text: columns that stay text, the others being whole numbers (rating: any number).
    """

    separator: str
    columns: tuple[str, ...]
    header: str | None
    low: float
    high: float
    text: frozenset[str] = frozenset()
    encoding: str = "utf-8"
    quoted: bool = False


@dataclass(frozen=True)
class Parsed:
    """What a reader hands over: tables, what it did beyond parsing, and how many rows it read where the main table has fewer."""

    tables: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...] = ()
    lines: int | None = None


def read_ratings(path: Path, layout: Layout) -> Parsed:
    """The table `ratings` of a file; a repeated (user, item) pair keeps its latest row, and the drop is noted.

    Raises UsageError for anything that the layout does not allow.
    """
    if layout.header is not None and (found := first_line(path, layout.encoding)) != layout.header:
        wanted, start = repr(layout.header), shown(found)
        raise UsageError(f"{path}, line 1: expected the header {wanted}, found {start}; put that header above the ratings")
    raw = _fields(path, layout)
    frame = _checked(path, raw, layout)
    frame = frame[[name for name in ("user_id", "item_id", "rating", "timestamp") if name in layout.columns]]
    if frame["user_id"].nunique() < 2:
        raise UsageError(f"{path} holds the ratings of one user only; a recommender needs at least two")
    latest = frame.sort_values("timestamp", kind="stable") if "timestamp" in frame else frame
    repeated = latest.duplicated(["user_id", "item_id"], keep="last")
    kept = frame.loc[~repeated.sort_index()].reset_index(drop=True)
    dropped = f"dropped {int(repeated.sum())} earlier rows of repeated (user, item) pairs"
    return Parsed({"ratings": kept}, (dropped,) if repeated.any() else ())


def first_line(path: Path, encoding: str) -> str:
    """A file's first line without its end, whatever the file's size."""
    with unpacking(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        start = stream.readline(4096)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(f"{path}, line 1: the file is UTF-16, not {encoding}; save it as {encoding}")
    return start.decode(encoding, errors="replace").removeprefix("\ufeff").rstrip("\r\n")


def _fields(path: Path, layout: Layout) -> pd.DataFrame:
    """Every field as text, one row a line."""
    first_line(path, layout.encoding)
    options: dict[str, Any] = {
        "sep": layout.separator,
        "header": None,
        "skiprows": 0 if layout.header is None else 1,
        "dtype": str,
        "na_filter": False,
        "skip_blank_lines": False,
        "quoting": csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
        "encoding": "utf-8-sig" if layout.encoding == "utf-8" else layout.encoding,
        "compression": "gzip" if path.suffix == ".gz" else None,
    }
    try:
        with unpacking(path):
            raw = cast(pd.DataFrame, pd.read_csv(path, **options))
    except pd.errors.EmptyDataError:
        raise UsageError(f"{path} holds no ratings; {REPAIR}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}, {_undecodable(path, layout.encoding)}; save it as {layout.encoding}") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        where = f", line {found[2]}: {found[3]} columns instead of {found[1]}" if found else f" cannot be parsed ({error})"
        raise UsageError(f"{path}{where}; {REPAIR}") from None
    if raw.shape[1] != len(layout.columns):
        line, wanted = (1 if layout.header is None else 2), ", ".join(layout.columns)
        raise UsageError(f"{path}, line {line}: {raw.shape[1]} columns instead of {len(layout.columns)} ({wanted}); {REPAIR}")
    return raw.set_axis(list(layout.columns), axis=1)


def _undecodable(path: Path, encoding: str) -> str:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"line {number}, byte {error.start + 1}: not {encoding}"
    return f"not {encoding}"


def _checked(path: Path, raw: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """The fields in their types, held against the layout by pandera; the first failure becomes a sentence."""
    import pandera.pandas as pandera  # a third of a second to import, and only reading raw files needs it

    def is_count(values: pd.Series[float]) -> pd.Series[bool]:
        return (values >= 0) & (values < LARGEST) & (values % 1 == 0)

    def is_name(values: pd.Series[str]) -> pd.Series[bool]:
        return values.str.len().between(1, 64) & ~values.str.contains("[\\x00-\\x1f]")

    check: Any = pandera.Check
    checks = {name: pandera.Column(float, check(is_count)) for name in layout.columns if name not in layout.text}
    checks |= {name: pandera.Column(checks=check(is_name)) for name in layout.text}
    checks["rating"] = pandera.Column(float, check.in_range(layout.low, layout.high))
    typed = {
        name: raw[name] if name in layout.text else pd.to_numeric(raw[name], errors="coerce").astype(np.float64)
        for name in layout.columns
    }
    try:
        pandera.DataFrameSchema(checks).validate(pd.DataFrame(typed), lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = cast(pd.DataFrame, cast(Any, error).failure_cases)
        row = int(cases["index"].min())
        column = str(cases.loc[cases["index"] == row, "column"].iloc[0])
        line = row + (1 if layout.header is None else 2)
        text = raw[column].iloc[row]
        said = "nothing" if pd.isna(text) or text == "" else shown(text)
        wanted = _wanted(column, layout)
        place = f"{path}, line {line}, column {layout.columns.index(column) + 1} ({column})"
        raise UsageError(f"{place}: {said} is not {wanted}; {REPAIR}") from None
    kinds = {name: np.int64 for name in layout.columns if name not in layout.text} | {"rating": np.float32}
    return pd.DataFrame({name: typed[name].astype(kinds[name]) if name in kinds else typed[name] for name in typed})


def _wanted(column: str, layout: Layout) -> str:
    if column == "rating":
        return f"a rating from {layout.low:g} to {layout.high:g}"
    return "a name of 1 to 64 characters" if column in layout.text else f"a whole number from 0 to {LARGEST - 1}"


@contextmanager
def unpacking(path: Path) -> Generator[None]:
    """One sentence where a gzip file is cut short or damaged, and where a disk does not give what is on it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UsageError(f"{path} is no whole gzip file (cut short or damaged); {REPAIR}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {REPAIR}") from None
