"""Words of titles."""

from __future__ import annotations

import re

WORD = re.compile(r"\w+|[^\w\s]")


def words(title: str) -> list[str]:
    """Runs of letters and digits in lower case, and every other sign that is no space by itself.

    >>> words("Schindler's List (1993)")
    ['schindler', "'", 's', 'list', '(', '1993', ')']
    """
    return WORD.findall(title.lower())
