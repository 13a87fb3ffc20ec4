"""The trie against a dictionary of prefixes, and its chunks against what a forward needs of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.models.language.trie import TitleTrie
from hypothesis import given, settings
from hypothesis import strategies as st

END = 9
catalogues = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6).map(lambda row: [*row, END]), min_size=1, max_size=40)


def prefix_of(trie, node):
    return [*prefix_of(trie, trie.parent[node]), int(trie.token[node])] if node else []


@given(catalogues)
@settings(max_examples=60, deadline=None)
def test_nodes_are_the_prefixes_and_siblings_stand_together(responses):
    trie = TitleTrie.of(responses)
    prefixes = {tuple(row[:k]) for row in responses for k in range(len(row) + 1)}
    assert sorted(tuple(prefix_of(trie, node)) for node in range(len(trie))) == sorted(prefixes)
    assert (np.diff(trie.depth) >= 0).all()
    for node in range(len(trie)):
        assert list(np.flatnonzero(trie.parent == node)) == list(range(trie.first[node], trie.first[node + 1]))
    for item, row in enumerate(responses):
        assert prefix_of(trie, trie.leaf[item]) == row
        assert [trie.token[node] for node in trie.paths[item] if node >= 0] == row
        assert responses[trie.item[trie.leaf[item]] - 1] == row
        assert trie.item[trie.leaf[item]] <= item + 1


@given(catalogues, st.integers(1, 7), st.booleans())
@settings(max_examples=60, deadline=None)
def test_chunks_hold_every_wanted_node_once_with_its_ancestors(responses, size, branching):
    trie = TitleTrie.of(responses)
    chunks = trie.chunks(size, branching=branching)
    scored = [int(node) for chunk in chunks for node in chunk.nodes[chunk.scored]]
    ancestors = {node: set() for node in range(len(trie))}
    for node in range(1, len(trie)):
        ancestors[node] = ancestors[trie.parent[node]] | {node}
    enough = 2 if branching else 1
    wanted = {up for node in range(len(trie)) if trie.children[node] >= enough for up in ancestors[node]}
    assert len(scored) == len(set(scored))
    assert set(scored) == wanted
    for chunk in chunks:
        assert len(chunk.nodes) <= size + trie.longest
        for place, node in enumerate(chunk.nodes):
            assert {int(other) for other in chunk.nodes[chunk.sees[place]]} == ancestors[node]


@given(catalogues)
@settings(max_examples=30, deadline=None)
def test_sums_and_masses(responses):
    trie = TitleTrie.of(responses)
    rng = np.random.default_rng(0)
    edges, weights = rng.random((2, len(trie))), rng.random((2, len(responses) + 1))
    sums, masses = trie.sums(edges), trie.masses(weights)
    for item in range(len(responses)):
        path = trie.paths[item][trie.paths[item] >= 0]
        np.testing.assert_allclose(sums[:, trie.leaf[item]], edges[:, path].sum(1))
    np.testing.assert_allclose(masses[:, 0], weights[:, 1:].sum(1))
    for node in range(len(trie)):
        below = [row[: trie.depth[node]] == prefix_of(trie, node) for row in responses]
        np.testing.assert_allclose(masses[:, node], weights[:, 1:][:, below].sum(1))


def test_a_title_before_another_and_equal_titles():
    trie = TitleTrie.of([[1, END], [1, 2, END], [1, 2, END], [3, END]])
    assert trie.leaf[1] == trie.leaf[2] != trie.leaf[0]
    assert trie.item[trie.leaf[1]] == 2
    assert all(a <= b for a, b in pairwise(trie.depth))


@pytest.mark.parametrize(
    ("responses", "words"),
    [
        ([], "catalogue without titles"),
        ([[1, END], [END]], "title of item 2 has no token"),
        ([[1, END], [1, END, 2]], "item 2 must end with the end token 9"),
        ([[1, END], [1, END, END]], "item 2 must end with the end token 9"),
    ],
)
def test_what_is_no_catalogue(responses, words):
    with pytest.raises(UsageError, match=words):
        TitleTrie.of(responses)
