"""A catalogue as the trie of its titles' tokens, in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError

NONE = -1

Float = TypeVar("Float", bound=np.floating[Any])


@dataclass(frozen=True)
class Chunk:
    """Nodes that one forward reads together: whole paths from the root, so that every node finds its ancestors in it.

    nodes: (C,) in depth-first order; scored: bool (C,), false for ancestors that another chunk scores; sees: bool (C, C), [i, j]
    whether node j is i or an ancestor of it.
    """

    nodes: NDArray[np.int64]
    scored: NDArray[np.bool_]
    sees: NDArray[np.bool_]


@dataclass(frozen=True)
class TitleTrie:
    """Nodes 0..n-1 in breadth-first order, 0 the root; the children of node k are first[k] .. first[k + 1] - 1.

    parent, token, depth: (n,), of the root -1, -1 and 0; first: (n + 1,); leaf: (I,), the node that ends the title of item
    1 + index. Items of equal tokens share a leaf.
    """

    parent: NDArray[np.int64]
    token: NDArray[np.int64]
    depth: NDArray[np.int64]
    first: NDArray[np.int64]
    leaf: NDArray[np.int64]

    @classmethod
    def of(cls, responses: Sequence[Sequence[int]]) -> TitleTrie:
        """The trie of what is generated for item 1, 2, ...; each response ends with the end token, which stands nowhere else in it.

        So no title is a prefix of another. Raises UsageError naming the item otherwise.
        """
        _check(responses)
        lengths = np.array([len(row) for row in responses])
        table = np.full((len(responses), lengths.max()), NONE, dtype=np.int64)
        table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate([np.asarray(row) for row in responses])
        parents, tokens, depths = [np.array([NONE])], [np.array([NONE])], [np.array([0])]
        node, known = np.zeros(len(table), dtype=np.int64), 1  # where each response stands, and how many nodes there are
        for place in range(table.shape[1]):
            alive = lengths > place
            steps, inverse = np.unique(np.stack([node[alive], table[alive, place]]), axis=1, return_inverse=True)
            parents.append(steps[0])
            tokens.append(steps[1])
            depths.append(np.full(steps.shape[1], place + 1))
            node[alive] = known + inverse.reshape(-1)
            known += steps.shape[1]
        parent = np.concatenate(parents)
        children = np.bincount(parent[1:], minlength=known)
        return cls(parent, np.concatenate(tokens), np.concatenate(depths), np.append(1, 1 + np.cumsum(children)), node)

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.parent)

    @property
    def items(self) -> int:
        """How many, without id 0."""
        return len(self.leaf)

    @property
    def longest(self) -> int:
        """Tokens of the longest response, its end among them."""
        return int(self.depth.max())

    @cached_property
    def children(self) -> NDArray[np.int64]:
        """(n,), how many each node has."""
        return np.diff(self.first)

    @cached_property
    def item(self) -> NDArray[np.int64]:
        """(n,), the item that ends at a node, the lowest id where several do, 0 where none does."""
        found = np.zeros(len(self), dtype=np.int64)
        found[self.leaf[::-1]] = np.arange(self.items, 0, -1)
        return found

    @cached_property
    def paths(self) -> NDArray[np.int64]:
        """(I, longest), the nodes of each item from below the root to its leaf, -1 behind it."""
        found = np.full((self.items, self.longest), NONE)
        node = self.leaf.copy()
        for place in range(self.longest, 0, -1):
            here = self.depth[node] == place
            found[here, place - 1] = node[here]
            node = np.where(here, self.parent[node], node)
        return found

    def sums(self, edges: NDArray[Float]) -> NDArray[Float]:
        """(N, n), for each node the sum of a value of the edges (N, n) that lead to it; what is said of the root is not added."""
        found = np.zeros_like(edges)
        for level in self.levels():
            found[:, level] = found[:, self.parent[level]] + edges[:, level]
        return found

    def masses(self, weights: NDArray[Float]) -> NDArray[Float]:
        """(N, n), for each node the sum of the weights (N, I + 1) of the items below it; column 0 counts nowhere."""
        found = np.zeros((len(weights), len(self)), dtype=weights.dtype)
        np.add.at(found.T, self.leaf, weights[:, 1:].T)
        for level in reversed(self.levels()):
            np.add.at(found.T, self.parent[level], found[:, level].T)
        return found

    def levels(self) -> list[slice]:
        """The nodes of depth 1, 2, ...: they stand together."""
        edges = np.searchsorted(self.depth, np.arange(1, self.longest + 2))
        return [slice(int(start), int(end)) for start, end in pairwise(edges)]

    def chunks(self, size: int, *, branching: bool = False) -> list[Chunk]:
        """Nodes below the root that have children, in chunks of about `size`; branching: only those with a choice at or below.

        A run of depth-first order lacks no ancestors but those of its first node, which are repeated in front of it.
        """
        wanted = self.children > int(branching)
        for level in reversed(self.levels()):
            wanted[self.parent[level][wanted[level]]] = True
        wanted[0] = False
        entered, left = self._depth_first(wanted)
        order = np.flatnonzero(wanted)[np.argsort(entered[wanted])]
        return [self._chunk(order[start : start + size], entered, left) for start in range(0, len(order), size)]

    def _chunk(self, run: NDArray[np.int64], entered: NDArray[np.int64], left: NDArray[np.int64]) -> Chunk:
        above: list[int] = []
        node = int(self.parent[run[0]])
        while node > 0:
            above.append(node)
            node = int(self.parent[node])
        nodes = np.concatenate([np.array(above[::-1], dtype=np.int64), run])
        sees = (entered[nodes] <= entered[nodes][:, None]) & (entered[nodes][:, None] < left[nodes])
        return Chunk(nodes, np.arange(len(nodes)) >= len(above), sees)

    def _depth_first(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each wanted node its place in depth-first order, and the place behind its subtree. The wanted are closed upwards."""
        size = wanted.astype(np.int64)
        for level in reversed(self.levels()):
            np.add.at(size, self.parent[level], size[level])
        before = np.cumsum(size) - size  # sizes of all earlier nodes; of siblings, which stand together, by difference
        entered = np.zeros(len(self), dtype=np.int64)
        for level in self.levels():
            parent = self.parent[level]
            entered[level] = entered[parent] + wanted[parent] + before[level] - before[self.first[parent]]
        return entered, entered + size


def _check(responses: Sequence[Sequence[int]]) -> None:
    if not responses:
        raise UsageError("a catalogue without titles cannot be scored; give at least one")
    for item, row in enumerate(responses, 1):
        if len(row) < 2:
            raise UsageError(f"the title of item {item} has no token; give every item a title")
        end = responses[0][-1]
        if row[-1] != end or end in row[:-1]:
            raise UsageError(f"the response of item {item} must end with the end token {end}, and hold it nowhere else")
