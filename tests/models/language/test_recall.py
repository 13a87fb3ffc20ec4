"""A prompt that was read before is not read again, and what is recalled is what was read."""

from __future__ import annotations

import numpy as np
from craftbench.models.language import recall
from craftbench.models.language.recall import Recall
from craftbench.models.language.scoring import title_edges


def _counted(monkeypatch):
    read = []

    def counting(model, trie, prompts):
        read.extend(prompts)
        return title_edges(model, trie, prompts)

    monkeypatch.setattr(recall, "title_edges", counting)
    return read


def test_each_prompt_is_read_once(world, monkeypatch):
    read, memory = _counted(monkeypatch), Recall(world.model, world.trie)
    expected = title_edges(world.model, world.trie, world.prompts)
    some = [world.prompts[1], world.prompts[0], world.prompts[1]]
    np.testing.assert_allclose(memory.edges(some), expected[[1, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(memory.edges(world.prompts), expected, atol=1e-6)
    assert sorted(map(tuple, read)) == sorted(map(tuple, world.prompts))


def test_what_does_not_fit_is_read_anew(world, monkeypatch):
    monkeypatch.setattr(recall, "BYTES", 4 * len(world.trie))
    read, memory = _counted(monkeypatch), Recall(world.model, world.trie)
    first = memory.edges(world.prompts[:2])
    np.testing.assert_allclose(memory.edges(world.prompts[:2]), first, atol=1e-6)
    assert [tuple(each) for each in read] == [tuple(world.prompts[place]) for place in (0, 1, 1)]
