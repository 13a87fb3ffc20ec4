"""What a row adds to a language model's own step when it looks for a title: the score of a node of the trie is

    scale log p(v | x, y_<t) + bonus(v)

summed along the title's path, whether every title is scored or a beam goes through the trie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .trie import TitleTrie

TINY = 1e-30  # mass below which two nodes are told apart no more


@dataclass(frozen=True)
class Guide:
    """scale, bonus: float32 over the trie's nodes, (n,) for all rows or (N, n); of the root they mean nothing."""

    scale: NDArray[np.float32]
    bonus: NDArray[np.float32]

    @classmethod
    def none(cls, trie: TitleTrie) -> Guide:
        """The model's own score."""
        return cls(np.ones(len(trie), dtype=np.float32), np.zeros(len(trie), dtype=np.float32))


def log_shares(trie: TitleTrie, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, n), log q(v): the items' weights (N, I + 1) below each node, as a share of those below its parent.

    Along a path they multiply to the item's share of all.
    """
    mass = np.log(np.maximum(trie.masses(weights), np.float32(TINY)))
    found = mass - mass[:, trie.parent]
    found[:, 0] = 0
    return found


def information_gain(trie: TitleTrie, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,), by how many nats the entropy of the item falls when a node's token is known; 0 where it is the only one.

    weights: (I + 1,), how likely each item is. H of a node with mass M and items of weight w below it: log M - sum w log w / M.
    """
    w = np.maximum(weights.astype(np.float64), TINY)
    mass, with_log = trie.masses(np.stack([w, w * np.log(w)]))
    entropy = np.log(mass) - with_log / mass
    found = entropy[trie.parent] - entropy
    found[0] = 0
    return found.astype(np.float32)
