"""Each prompt is read once, however many views of a task show it.

A view whose histories are those of other users, or the first rows of another view, asks for prompts that were read before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model import LanguageModel
from .scoring import title_edges
from .trie import TitleTrie

BYTES = 1 << 28  # that are held at most; what comes after is read anew


class Recall:
    """What a model, which must not change meanwhile, expects of the titles of a trie after each prompt."""

    def __init__(self, model: LanguageModel, trie: TitleTrie) -> None:
        self.model, self.trie = model, trie
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def edges(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """(N, n), as by `title_edges`."""
        keys = [tuple(prompt) for prompt in prompts]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        read = dict(zip(new, title_edges(self.model, self.trie, new), strict=True)) if new else {}
        found = np.stack([read[key] if key in read else self._known[key] for key in keys]).astype(np.float32, copy=False)
        room = BYTES // found[0].nbytes - len(self._known)
        self._known |= {key: read[key].astype(np.float32) for key in new[: max(room, 0)]}
        return found
