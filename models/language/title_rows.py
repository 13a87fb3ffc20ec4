"""A catalogue and its rows in a model's words: prompts from histories, responses from items, tokenised apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.task import Sequences
from .prompts import Template
from .tokenizer import TitleTokenizer
from .trie import TitleTrie

Null = Literal["drop", "none_word", "shuffled", "another"]
NULLS: tuple[Null, ...] = ("drop", "none_word", "shuffled", "another")


@dataclass(frozen=True)
class TitleRows:
    """Token ids. factual: the prompt x_h of each row; counterfactual: its x_0; response: its title and the end token."""

    factual: Sequence[list[int]]
    counterfactual: Sequence[list[int]]
    response: Sequence[list[int]]

    def __len__(self) -> int:
        return len(self.response)

    def __getitem__(self, rows: Sequence[int]) -> TitleRows:
        return TitleRows(*([part[row] for row in rows] for part in (self.factual, self.counterfactual, self.response)))


@dataclass(frozen=True)
class Catalogue:
    """titles: by item id, "" for id 0."""

    template: Template
    tokenizer: TitleTokenizer
    titles: tuple[str, ...]

    @cached_property
    def responses(self) -> list[list[int]]:
        """By item id; id 0 has none."""
        return [[], *(self.tokenizer.response(self.template.response(title)) for title in self.titles[1:])]

    @cached_property
    def trie(self) -> TitleTrie:
        return TitleTrie.of(self.responses[1:])

    def prompts(self, history: NDArray[np.int64], *, training: bool = False) -> list[list[int]]:
        """x_h of histories (N, H), and x_0 where a history is empty."""
        texts = (self.template.factual([self.titles[item] for item in row if item], training=training) for row in history)
        return [self.tokenizer.prompt(text) for text in texts]

    def without_history(self, *, training: bool = False) -> list[int]:
        """x_0."""
        return self.tokenizer.prompt(self.template.counterfactual(training=training))

    def rows(self, sequences: Sequences, null: Null | None = None, rng: np.random.Generator | None = None) -> TitleRows:
        """What is learned of `sequences`. null: what stands for "no history"; None: the template's own."""
        factual = self.prompts(sequences.history, training=True)
        return TitleRows(factual, self._counterfactual(sequences.history, null, rng), [self.responses[y] for y in sequences.target])

    def _counterfactual(self, history: NDArray[np.int64], null: Null | None, rng: Any) -> list[list[int]]:
        if null in ("shuffled", "another"):
            other = shuffled(history, rng) if null == "shuffled" else history[another(len(history), rng)]
            return self.prompts(other, training=True)
        catalogue = self if null is None else replace(self, template=replace(self.template, null=null))
        return [catalogue.without_history(training=True)] * len(history)


def shuffled(history: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Each history (N, H) in another order, its zeros still in front."""
    keys = np.where(history > 0, rng.random(history.shape), -1.0)
    return np.take_along_axis(history, np.argsort(keys, axis=1, kind="stable"), axis=1)


def another(rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each row another one: a random cycle through all."""
    order = rng.permutation(rows)
    found = np.empty(rows, dtype=np.int64)
    found[order] = np.roll(order, 1)
    return found
