"""Words of titles."""

from __future__ import annotations

import re

WORD = re.compile(r"\w+|[^\w\s]")


def words(title: str) -> list[str]:
    """Runs of letters and digits in lower case, and every other sign that is no space by itself."""
    return WORD.findall(title.lower())
