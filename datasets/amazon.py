"""Amazon review ratings without text, per category: the 2014 release (McAuley et al. 2015) and the 2018 one (Ni et al. 2019).

    ratings_Electronics.csv (2014: user, item)               Electronics.csv (2018: item, user)
    AKM1MP6P0OYPR,0132793040,5.0,1365811200                  0060009810,A1N4O8VOJZTDVB,3.0,1383004800
    A2CX7LUOHB2NDG,0321732944,5.0,1341100800                 0060009810,AMZUF6MVQ6M7G,5.0,1367107200
    A2NWSAGRHCP8N5,0439886341,1.0,1367193600                 0060009810,A1XA5R98MOFD6G,4.0,1367107200

Odd parts: no header (the released preprocessing of IFRU assumes one and so loses the first row; here it is kept), and the first two
columns change places between the releases. An item (ASIN) always has ten characters, a user almost never: that tells them apart.
"""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

from ..core.errors import UsageError
from .ratings_file import Layout, Parsed, first_line, read_ratings, unpacking

TEXT = frozenset({"user_id", "item_id"})
Y2014 = Layout(",", ("user_id", "item_id", "rating", "timestamp"), None, 1, 5, TEXT)
Y2018 = Layout(",", ("item_id", "user_id", "rating", "timestamp"), None, 1, 5, TEXT)
PROBE = 1000  # lines looked at
ASIN = 10  # characters
EXAMPLE = "AKM1MP6P0OYPR,0132793040,5.0,1365811200"


def read(path: Path) -> Parsed:
    """The ratings of either release, plain or gzipped; which one it was is noted. Raises UsageError when neither fits."""
    first_line(path, "utf-8")
    packed = path.suffix == ".gz"
    with unpacking(path), gzip.open(path, "rt", errors="replace") if packed else path.open(errors="replace") as stream:
        fields = [line.split(",") for line in islice(stream, PROBE)]
    item_first, item_second = (sum(len(row[column]) == ASIN for row in fields if len(row) == 4) for column in (0, 1))
    if item_first == item_second:
        raise UsageError(f"{path}: neither of the first two columns can be told to be the item; expected lines such as {EXAMPLE}")
    release, layout = ("2018 (item, user, ...)", Y2018) if item_first > item_second else ("2014 (user, item, ...)", Y2014)
    parsed = read_ratings(path, layout)
    return Parsed(parsed.tables, (f"recognised as the release of {release}", *parsed.notes))
