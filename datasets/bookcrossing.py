"""Book-Crossing ratings (Ziegler et al. 2005): 0 means "read, no score given", 1 to 10 is a score.

    BX-Book-Ratings.csv as released (; quoted, Latin-1)      the slice that circulates (comma)
    "User-ID";"ISBN";"Book-Rating"                           User-ID,ISBN,Book-Rating
    "276725";"034545104X";"0"                                276762,3404122879,0
    "276726";"0155061224";"5"                                276762,3404182928,0

Odd parts: an ISBN is a text (X, leading zeros, and what readers typed in); there are no timestamps. The released preprocessing of
IFRU takes ratings above 5 as positives, so the 62 % implicit zeros become negatives; that is reproduced, not repaired.
"""

from __future__ import annotations

from pathlib import Path

from .ratings_file import Layout, Parsed, first_line, read_ratings

COLUMNS = ("user_id", "item_id", "rating")
ISBN = frozenset({"item_id"})
OFFICIAL = Layout(";", COLUMNS, '"User-ID";"ISBN";"Book-Rating"', 0, 10, ISBN, "latin-1", quoted=True)
SLICE = Layout(",", COLUMNS, "User-ID,ISBN,Book-Rating", 0, 10, ISBN, "latin-1", quoted=True)


def read(path: Path) -> Parsed:
    """The ratings from either form, told apart by the header."""
    return read_ratings(path, SLICE if first_line(path, "latin-1") == SLICE.header else OFFICIAL)
