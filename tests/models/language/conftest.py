"""A small catalogue, and a float64 network over it, so that two ways to one number agree to rounding."""

from __future__ import annotations

import pytest
import torch
from craftbench.models.language.prompts import Template
from craftbench.models.language.tiny import TinySizes, tiny
from craftbench.models.language.trie import TitleTrie

WORDS = ("Star", "Moon", "Red", "River", "Return", "of the", "Night", "King")
TITLES = (*dict.fromkeys(f"{a} {b} {c}".strip() for a in WORDS for b in WORDS[:4] for c in ("", "II")), "Star", "Starlight")


class World:
    """model, its titles as responses and as a trie, and prompts of unequal length, the counterfactual one first."""

    def __init__(self) -> None:
        self.template = Template("plain", "movie")
        self.model = tiny(TITLES, TinySizes(width=32, heads=2, feed_forward=48, vocabulary=290, context=64), seed=1)
        self.model.network.double()
        with torch.no_grad():
            for weight in self.model.network.parameters():
                weight.mul_(4.0 if weight.dim() == 2 else 1.0)  # far from uniform predictions
        tokenizer = self.model.tokenizer
        self.responses = [tokenizer.response(self.template.response(title)) for title in TITLES]
        self.trie = TitleTrie.of(self.responses)
        histories = [TITLES[:0], TITLES[3:5], TITLES[10:15], TITLES[20:21], TITLES[30:34]]
        self.prompts = [tokenizer.prompt(self.template.factual(history)) for history in histories]

    def log_p(self, prompt: list[int], response: list[int]) -> torch.Tensor:
        """(n,), by the whole network on this row alone."""
        ids = torch.tensor([[*prompt, *response]])
        logits = self.model.network(ids).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(1)[torch.arange(len(response)), torch.tensor(response)]


@pytest.fixture(scope="session")
def world() -> World:
    return World()
