"""Named columns of a large csv or csv.gz, block by block, so that memory stays bounded whatever the file's size.

pyarrow reads fast and says little about what is wrong; so when it refuses a file, or a column holds what its rule forbids, the file
is read a second time, slowly, until the first field that does not fit is found: one sentence with file, line and column.
"""

from __future__ import annotations

import csv
import gzip
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from pyarrow import csv as pyarrow_csv  # pyright: ignore[reportMissingTypeStubs]

from ..core.errors import UsageError, shown
from .ratings_file import REPAIR, first_line

pa, arrow_csv = cast(Any, pyarrow), cast(Any, pyarrow_csv)  # they have no types
BLOCK = 16 << 20  # bytes of text


@dataclass(frozen=True)
class Rule:
    """What may stand in a column: in words, as a pattern of the whole field, and as the type that it is read into.

    low, high: the ends of a number's range; whole: whether decimals are refused in a column that is read as float64; gaps: whether
    a field may be empty.
    """

    wanted: str
    pattern: str
    kind: Any
    low: float = 0
    high: float = sys.float_info.max
    whole: bool = False
    gaps: bool = False

    def allows(self, text: str) -> bool:
        """Whether a field fits."""
        if text == "" or self.kind == TEXT_KIND:
            return self.gaps
        if re.fullmatch(self.pattern, text.strip(" \t")) is None:
            return False
        return self.low <= float(text) <= self.high and not (self.whole and float(text) % 1)

    def allow(self, values: NDArray[Any], gaps: int) -> bool:
        """Whether all numbers of a column fit, `gaps` of which are NaN because the field was empty."""
        if self.kind == TEXT_KIND:
            return True
        if gaps > 0 and not self.gaps:
            return False
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if len(known) + gaps < len(values) or (self.whole and (known % 1).any()):
            return False
        return len(known) == 0 or bool(self.low <= known.min() and known.max() <= self.high)


INTEGER = r"-?\d+"
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
TEXT_KIND = pa.string()
WHOLE = Rule("a whole number, 0 or more", INTEGER, pa.int64(), high=1e18)
FLAG = Rule("0 or 1", INTEGER, pa.int64(), high=1)
DECIMAL = Rule("a number, 0 or more, below 1e15", NUMBER, pa.float64(), high=1e15)
DECIMAL_OR_NOTHING = replace(DECIMAL, gaps=True)
CODE = Rule("a whole number", NUMBER, pa.float64(), low=-1e15, high=1e15, whole=True, gaps=True)
TEXT = Rule("a text", "", TEXT_KIND, gaps=True)

Block = Mapping[str, NDArray[Any]]


def blocks(path: Path, rules: Mapping[str, Rule]) -> Generator[Block]:
    """The columns that `rules` names, as int64, float64 (an empty field: NaN) or object (text) arrays, a block at a time.

    Raises UsageError for a missing column, for the first field that its rule forbids, and for a damaged file.
    """
    header: list[str] = next(csv.reader([first_line(path, "utf-8").partition("\r")[0]]), [""])
    for name in rules:
        if header.count(name) != 1:
            wrong = "is missing" if name not in header else "stands there twice"
            raise UsageError(f"{path}, line 1: column {name!r} {wrong}; the header must hold {', '.join(rules)}: {REPAIR}")
    options: dict[str, Any] = {
        "read_options": arrow_csv.ReadOptions(block_size=BLOCK, use_threads=False),
        "parse_options": arrow_csv.ParseOptions(newlines_in_values=True),
        "convert_options": arrow_csv.ConvertOptions(
            include_columns=list(rules),
            column_types={name: rule.kind for name, rule in rules.items()},
            null_values=[""],
            strings_can_be_null=False,
        ),
    }
    try:
        with arrow_csv.open_csv(str(path), **options) as reader:
            for batch in reader:
                yield _checked(path, rules, batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise _first_wrong(path, rules, str(error)) from None


def _checked(path: Path, rules: Mapping[str, Rule], batch: Any) -> Block:
    """A batch as arrays, when every column keeps its rule."""
    block: dict[str, NDArray[Any]] = {}
    for name, rule in rules.items():
        column = batch.column(name)
        block[name] = column.to_numpy(zero_copy_only=False)
        if not rule.allow(block[name], column.null_count):
            raise _first_wrong(path, rules, f"column {name} breaks its rule")
    return block


def _first_wrong(path: Path, rules: Mapping[str, Rule], reason: str) -> UsageError:
    """The sentence for the first line that breaks a rule; `reason` where no single line does (a file cut short)."""
    try:
        with gzip.open(path, "rt", errors="replace") if path.suffix == ".gz" else path.open(errors="replace") as stream:
            lines = csv.reader(stream)
            header = [name.removeprefix("\ufeff") for name in next(lines)]
            places = {name: header.index(name) for name in rules}
            for fields in lines:
                if (wrong := _wrong_line(fields, header, places, rules)) is not None:
                    return UsageError(f"{path}, line {lines.line_num}{wrong}; {REPAIR}")
    except (EOFError, gzip.BadGzipFile, csv.Error):
        return UsageError(f"{path} is no whole file (cut short or damaged); {REPAIR}")
    return UsageError(f"{path} cannot be read ({reason}); {REPAIR}")


def _wrong_line(fields: Sequence[str], header: Sequence[str], places: Mapping[str, int], rules: Mapping[str, Rule]) -> str | None:
    if fields and len(fields) != len(header):
        return f": {len(fields)} columns instead of {len(header)}"
    for name, place in places.items() if fields else ():
        if not rules[name].allows(fields[place]):
            said = shown(fields[place]) if fields[place] else "nothing"
            return f", column {place + 1} ({name}): {said} is not {rules[name].wanted}"
    return None
